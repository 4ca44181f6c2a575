"""What every kind of raw data offers: labels at once, pixels when asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from utils.text import readable

Shape = tuple[int, int, int]
"""Height, width, channels."""

MAX_CLASS_NAME = 100
"""Characters of a class name that are kept; no figure or table has room for more."""

Tell = Callable[[str], None]
"""Takes a line of progress, such as `utils.notebook.progress`."""


class Broken(NamedTuple):
    """An image that can't be decoded, and why."""

    name: str
    reason: str


@dataclass(kw_only=True)
class Raw(ABC):
    """Labeled images, listed but not decoded yet."""

    labels: np.ndarray
    """(n,) int64"""
    class_names: list[str]
    source: str
    """Where they come from, in words."""
    parts: np.ndarray
    """(n,) text: "train", "val", "test" where the source says so, "" elsewhere"""
    tracks: np.ndarray | None = None
    """(n,) int64: images with the same number show the same object; None if nothing says so"""
    notes: list[str] = field(default_factory=list)
    """What was left out, and other things a reader should know."""

    def __post_init__(self) -> None:
        """Names may come from a stranger: from here on they can be shown anywhere."""
        self.class_names = [readable(name, MAX_CLASS_NAME) for name in self.class_names]
        self.source = readable(self.source)
        self.notes = [readable(note) for note in self.notes]

    @abstractmethod
    def found_shape(self) -> Shape:
        """Height, width and channels, found by looking at some images."""

    @abstractmethod
    def read(
        self,
        positions: np.ndarray,
        shape: Shape,
        max_broken: int = 0,
        tell: Tell | None = None,
        resize: str = "antialias",
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
        resize : {"antialias", "bilinear"}, default="antialias"
            See `utils.raw.images.resized`.

        Returns
        -------
        images : (m, h, w, c) float32
            In [0, 1], in the order of `positions`; what stands at a broken one has no meaning.
        broken : dict of int to Broken
            Places in `positions` of the images that could not be decoded.

        Raises
        ------
        ValueError
            If more than `max_broken` images fail.
        """

    @abstractmethod
    def only(self, chosen: np.ndarray) -> Raw:
        """The images where the mask `chosen`, (n,) bool, is true."""

    def _chosen(self, chosen: np.ndarray) -> dict[str, object]:
        """What subclasses share of `only`."""
        tracks = None if self.tracks is None else self.tracks[chosen]
        return {"labels": self.labels[chosen], "parts": self.parts[chosen], "tracks": tracks}
