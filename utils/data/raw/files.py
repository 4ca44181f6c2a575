"""Raw data in image files: a folder of class folders, or an archive of one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.text import listed
from utils.data.raw import archives, doubts
from utils.data.raw.base import Broken, Options, Raw, Shape
from utils.data.raw.folders import NONE, as_given, is_left_out
from utils.data.raw.images import look
from utils.data.raw.layout import Layout, arrange
from utils.data.raw.names import (
    IMAGE_SUFFIXES,
    N_HEAD,
    OTHER_IMAGES,
    is_hidden,
    is_image,
    is_table,
    may_be_image,
    starts_as_image,
    suffix,
)
from utils.data.raw.pool import decode_all
from utils.data.raw.scale import FLOAT, Stored, over, scale_of
from utils.data.raw.tables import arrange_by_tables
from utils.data.raw.walking import walk

MAX_TABLES = 50
"""So many text files at most are looked at for labels."""
N_LOOKS = 100
"""So many images, spread over all, are looked at to find size and colours."""


@dataclass(kw_only=True)
class ImageFiles(Raw):
    """Images in files, in a folder or in archives."""

    places: list[tuple[Path, str]]
    """For each image the folder or archive that holds it, and its name in there."""
    white: float = 0.0
    """The stored value that is white; 0: by content."""

    def found_shape(self) -> Shape:
        spread = np.unique(np.linspace(0, len(self.places) - 1, N_LOOKS).astype(int))
        looks = []
        for _, content in self._contents(spread):
            with suppress(Exception):  # a damaged one is counted when it is decoded
                looks.append(look(content))
        if not looks:
            raise ValueError(f"{self.source}: none of {len(spread)} images can be decoded")
        for stored in over(found.stored for found in looks).values():
            self._check_scale(stored, len(looks) == len(self.places))
        channels = 3 if any(found.coloured for found in looks) else 1
        (common, count), *_ = Counter((found.height, found.width) for found in looks).most_common()
        if count == len(looks):
            return (*common, channels)
        side = int(np.median([min(found.height, found.width) for found in looks]))
        return side, side, channels

    def _check_scale(self, stored: Stored, whole: bool) -> None:
        """Find early that values can't be brought into 0..1, as far as some images tell."""
        beyond = stored.high > 66_000 or (stored.low < 0 and stored.kind != FLOAT)
        if whole or beyond or self.white:
            try:
                scale_of(stored, self.white)
            except ValueError as error:
                raise ValueError(f"{self.source}: {error}") from None

    def _decode(
        self, images: np.ndarray, positions: np.ndarray, resize: str, **limits: Any
    ) -> dict[int, Broken]:
        broken, notes = decode_all(
            self._contents(positions),
            images.shape[1:],
            images,
            lambda number: self._name(positions[number]),
            resize=resize,
            white=self.white,
            **limits,
        )
        self.notes += [note for note in notes if note not in self.notes]
        return dict(sorted(broken.items()))

    def only(self, chosen: np.ndarray) -> ImageFiles:
        places = [self.places[i] for i in np.flatnonzero(chosen)]
        return replace(self, places=places, **self._chosen(chosen))

    def _contents(self, positions: np.ndarray) -> Iterator[tuple[int, bytes]]:
        return contents([self.places[position] for position in positions])

    def _name(self, position: int) -> str:
        return self.places[position][1]


def contents(
    places: Sequence[tuple[Path, str]], most: int = archives.MAX_IMAGE
) -> Iterator[tuple[int, bytes]]:
    """Number and first `most` bytes of each file, as `ImageFiles.places` names them."""
    wanted: dict[Path, dict[str, int]] = defaultdict(dict)
    for number, (holder, name) in enumerate(places):
        wanted[holder][name] = number
    for holder, names in wanted.items():
        if archives.is_archive(holder) and holder.is_file():
            yield from archives.contents(holder, names, most)
        else:
            yield from ((n, _content(holder / name, most)) for name, n in names.items())


def _content(path: Path, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError:
        return b""


def read_files(path: Path, options: Options = Options()) -> ImageFiles:  # noqa: B008
    """List the images in a folder or archive; a folder may hold archives, too.

    Their labels are the folders that they are in; where these are none, or `options` names a
    column, they are looked for in tables, see `utils.data.raw.tables.arrange_by_tables`.

    Raises
    ------
    ValueError
        If there are no images, no two classes of them, or it is not clear what is a class.
    """
    files, notes = _files(path)
    files, asked = _without(files, options.leave_out, path)
    images = _images(files)
    if not images:
        also = "".join(f"; {note}" for note in [*_others(files, images), *notes])
        raise ValueError(
            f"raw images {path}: no images found; expected train/<class>/<image>, "
            "<class>/<image>, an archive of these, an .npz file or IDX files; images are files "
            f"with {' '.join(IMAGE_SUFFIXES)}{also}"
        )
    try:
        layout = _arranged(files, images, options)
        if NONE not in options.leave_out:
            doubts.of_names(layout.class_names)
    except ValueError as error:
        raise ValueError(f"raw images {path}: {error}") from None
    return ImageFiles(
        labels=layout.labels,
        class_names=layout.class_names,
        class_folders=layout.class_names,
        source=path.name,
        parts=layout.parts,
        tracks=layout.tracks,
        white=options.white,
        notes=[*layout.notes, *_others(files, images), *asked, *notes],
        places=[files[name] for name in layout.names],
    )


Files = dict[str, tuple[Path, str]]
"""Path of each file, and the folder or archive that holds it, and its name in there."""


def _files(path: Path) -> tuple[Files, list[str]]:
    """All files in a folder, and in archives in it, or in an archive; notes."""
    if not path.is_dir():
        return _packed(path, "")
    names, empty, notes = walk(path)
    packed = [n for n in names if archives.is_archive(path / n) and "/" not in n]
    files = {name: (path, name) for name in names if name not in packed}
    if empty:
        notes.append(f"folders without files were left out: {', '.join(empty[:5])}")
    if packed and any(is_image(name) for name in files):  # often that which the images came from
        return files, [*notes, f"{', '.join(packed)} left out, as there are images beside it"]
    for name in packed:
        inside, more = _packed(path / name, f"{archives.stem(path / name)}/")
        files |= inside
        notes += more
    return files, notes


def _packed(archive: Path, prefix: str) -> tuple[Files, list[str]]:
    names, n_special = archives.members(archive)
    shown = [name for name in names if not is_hidden(name)]
    left = {"links or devices": n_special, "hidden files": len(names) - len(shown)}
    notes = [f"{n:,} {what} in {archive.name} were left out" for what, n in left.items() if n]
    return {prefix + name: (archive, name) for name in shown}, notes


def _without(files: Files, leave_out: Sequence[str], path: Path) -> tuple[Files, list[str]]:
    """Without files that the user leaves out by name; `arrange` does so with folders."""
    unwanted = {as_given(name) for name in leave_out} - {NONE}
    if not unwanted:
        return files, []
    there = {as_given(part) for name in files for part in (*name.split("/"), *_above(name))}
    if missing := sorted(unwanted - there):
        raise ValueError(
            f"leave_out: no folder or file named {missing[0]} in {path} (write _ for spaces)"
        )
    named = [n for n in files if unwanted & {as_given(n), as_given(n.rpartition("/")[2])}]
    notes = [f"left out, as asked: {listed(named)}"] if named else []
    gone = set(named)
    return {n: place for n, place in files.items() if n not in gone}, notes


def _above(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:n]) for n in range(2, len(parts) + 1))


def _images(files: Files) -> list[str]:
    """By suffix; where only the content tells, by its first bytes."""
    unknown = [name for name in files if may_be_image(name)]
    heads = contents([files[name] for name in unknown], N_HEAD)
    also = {unknown[number] for number, head in heads if starts_as_image(head)}
    return [name for name in files if name in also or is_image(name)]


def _others(files: Files, images: list[str]) -> list[str]:
    """What is no image, counted by suffix."""
    counts = Counter(suffix(name) for name in {*files} - {*images})
    strange = {kind: n for kind, n in counts.items() if kind in OTHER_IMAGES}
    plain = {kind: n for kind, n in counts.items() if kind not in OTHER_IMAGES}
    return [
        f"{why}: {listed((f'{n:,} {kind}' for kind, n in sorted(kinds.items())), 8)}"
        for why, kinds in (
            ("images of kinds that are not understood, left out", strange),
            ("files that are no images", plain),
        )
        if kinds
    ]


def _arranged(files: Files, images: list[str], options: Options) -> Layout:
    """By folders or tables."""
    by_folders = None
    try:
        by_folders = arrange(images, options.class_order, options.leave_out)
        if not options.label_column:
            return by_folders
    except ValueError as error:
        problem = error
    names = [name for name in files if is_table(name)]
    if len(names) > MAX_TABLES:  # a text for each image is no table of all
        names = [name for name in names if not name.lower().endswith(".txt")][:MAX_TABLES]
    found = {names[n]: text for n, text in contents([files[name] for name in names])}
    kept = [n for n in images if not is_left_out(n, options.leave_out)]
    layout = arrange_by_tables(found, kept, options.class_order, options.label_column)
    if layout is None and options.label_column:
        raise ValueError(
            f"label_column: got {options.label_column!r}, but no table has names of images; "
            f"looked at {listed(names) or 'none, as there is no .csv, .tsv or .txt file'}"
        )
    if layout is None:
        also = f"; no names and labels of images in {listed(names)}" if names else ""
        raise ValueError(f"{problem}{also}")
    return layout
