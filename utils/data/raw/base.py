"""What every kind of raw data offers: labels at once, pixels when asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from utils.core.text import listed, readable
from utils.data.raw.copies import MANY, MOST_SHARED, equal, to_compare

Shape = tuple[int, int, int]
"""Height, width, channels."""

MAX_CLASS_NAME = 100
"""Characters of a class name that are kept; no figure or table has room for more."""

Tell = Callable[[str], None]
"""Takes a line of progress, such as `utils.core.progress.progress`."""


class Broken(NamedTuple):
    """An image that can't be decoded, and why."""

    name: str
    reason: str


class Options(NamedTuple):
    """What a user sets for raw images, where looking at them is not enough."""

    class_order: str = "number"
    """How classes are numbered, see `utils.data.class_order.ordered_classes`."""
    leave_out: Sequence[str] = ()
    """Names of folders and files; "none": nothing is left out, or doubted, for its name."""
    label_column: str = ""
    """Of a table with names and labels of images."""
    white: float = 0.0
    """The stored value that is white; 0: by content."""


@dataclass(kw_only=True)
class Raw(ABC):
    """Labeled images, listed but not decoded yet."""

    labels: np.ndarray
    """(n,) int64"""
    class_names: list[str]
    source: str
    """Where they come from, in words."""
    class_folders: list[str] = field(default_factory=list)
    """Names of the classes in the files; empty where labels are numbers in an array"""
    parts: np.ndarray
    """(n,) text: "train", "val", "test" where the source has parts, "" elsewhere"""
    tracks: np.ndarray | None = None
    """(n,) int64: images with the same number show the same object; None if that is not known"""
    notes: list[str] = field(default_factory=list)
    """What was left out, and other things a reader should know."""
    doubting: bool = True
    """Whether labels that contradict each other are refused."""

    def __post_init__(self) -> None:
        """Names may come from a stranger: from here on they can be shown anywhere."""
        self.class_names = [readable(name, MAX_CLASS_NAME) for name in self.class_names]
        self.class_folders = [readable(name, MAX_CLASS_NAME) for name in self.class_folders]
        self.source = readable(self.source)
        self.notes = [readable(note) for note in self.notes]

    @abstractmethod
    def found_shape(self) -> Shape:
        """Height, width and channels, found by looking at some images."""

    def read(
        self,
        positions: np.ndarray,
        shape: Shape,
        max_broken: int = 0,
        tell: Tell | None = None,
        resize: str = "pillow",
    ) -> tuple[np.ndarray, dict[int, Broken]]:
        """Decode some images.

        Parameters
        ----------
        positions : (m,) int
            Which images, by their position in `labels`.
        shape : (int, int, int)
            Height, width and channels they get; 1 channel is gray, 3 are red, green, blue.
        max_broken : int, default=0
            At most so many images may fail to decode.
        tell : callable, optional
            Gets a line of progress every few seconds.
        resize : {"pillow", "keras", "nearest"}, default="pillow"
            See `utils.data.raw.images.resized`.

        Returns
        -------
        images : (m, h, w, c) float32
            In [0, 1], in the order of `positions`; what is at a broken one has no meaning.
        broken : dict of int to Broken
            Places in `positions` of the images that could not be decoded.

        Raises
        ------
        ValueError
            If more than `max_broken` images fail.
        """
        images = np.empty((len(positions), *shape), np.float32)
        return images, self._decode(images, positions, resize, max_broken=max_broken, tell=tell)

    @abstractmethod
    def _decode(
        self, images: np.ndarray, positions: np.ndarray, resize: str, **limits: Any
    ) -> dict[int, Broken]:
        """Fill `images`, which have their shape; see `read`, whose other options `limits` are."""

    def check_labels(self) -> None:
        """Compare images, byte for byte: where two classes share one, a label is wrong.

        Raises
        ------
        ValueError
            If there are many, as where a folder is misread, or most official validation and test
            images are training images, too; a few wrong labels, which any large data set has, are
            noted. Other copies are counted when the images are split and decoded.
        """
        positions = to_compare([self._name(position) for position in range(len(self.labels))])
        labels, held = self.labels[positions], np.isin(self.parts[positions], ("val", "test"))
        groups = equal(self._contents(positions))
        wrong = [g for g in groups if len({*labels[g].tolist()}) > 1]
        shared = [g for g in groups if held[g].any() and not held[g].all()]
        n_wrong, n_shared = sum(map(len, wrong)), sum(int(held[g].sum()) for g in shared)
        if n_wrong:
            some = " and ".join(self._name(positions[number]) for number in wrong[0][:2])
            of = f"{n_wrong:,} of {len(positions):,} images"
            note = readable(f"{of} equal one of another class, such as {some}")
            if n_wrong > MANY * len(positions):
                self._refuse(f"{note} (at most {MANY:.0%} may)")
            self.notes.append(f"{note}: a label is wrong")
        if n_shared > MOST_SHARED * max(held.sum(), 1):
            self._refuse(
                f"{n_shared:,} of {held.sum():,} validation and test images are training images, "
                f"too, such as {self._name(positions[shared[0][0]])}"
            )

    def _refuse(self, why: str) -> None:
        if self.doubting:
            raise ValueError(
                f"{self.source}: {why}: what was taken for classes ({listed(self.class_names)}) or "
                "parts may be something else; give the path of the folder whose folders are the "
                "classes, leave some out with --set leave_out=NAME, or take all as they are with "
                "--set leave_out=none"
            )

    @abstractmethod
    def _contents(self, positions: np.ndarray) -> Iterator[tuple[int, bytes]]:
        """Place in `positions` and content of each image; equal images have equal contents."""

    @abstractmethod
    def _name(self, position: int) -> str:
        """What to call an image."""

    @abstractmethod
    def only(self, chosen: np.ndarray) -> Raw:
        """The images where the mask `chosen`, (n,) bool, is true."""

    def _chosen(self, chosen: np.ndarray) -> dict[str, Any]:
        """What subclasses share of `only`."""
        tracks = None if self.tracks is None else self.tracks[chosen]
        return {"labels": self.labels[chosen], "parts": self.parts[chosen], "tracks": tracks}
