"""Raw data in image files: a folder of class folders, or an archive of one."""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.raw import archives
from utils.raw.base import Broken, Raw, Shape, Tell
from utils.raw.images import decode_all, look
from utils.raw.layout import IMAGE_SUFFIXES, OTHER_SUFFIXES, arrange, is_image

N_LOOKS = 100
"""So many images, spread over all, are looked at to find size and colours."""


@dataclass(kw_only=True)
class ImageFiles(Raw):
    """Images in files, in a folder or in archives."""

    places: list[tuple[Path, str]]
    """For each image the folder or archive that holds it, and its name in there."""

    def found_shape(self) -> Shape:
        spread = np.unique(np.linspace(0, len(self.places) - 1, N_LOOKS).astype(int))
        looks = []
        for _, content in self._contents(spread):
            with suppress(Exception):  # a damaged one is counted when it is decoded
                looks.append(look(content))
        if not looks:
            raise ValueError(f"{self.source}: none of {len(spread)} images can be decoded")
        channels = 3 if any(coloured for _, _, coloured in looks) else 1
        (common, count), *_ = Counter((h, w) for h, w, _ in looks).most_common()
        if count == len(looks):
            return (*common, channels)
        side = int(np.median([min(h, w) for h, w, _ in looks]))
        return side, side, channels

    def read(
        self,
        positions: np.ndarray,
        shape: Shape,
        max_broken: int = 0,
        tell: Tell | None = None,
        resize: str = "antialias",
    ) -> tuple[np.ndarray, dict[int, Broken]]:
        images = np.empty((len(positions), *shape), np.float32)
        broken = decode_all(
            self._contents(positions), shape, images,
            lambda number: self.places[positions[number]][1], max_broken, tell, resize,
        )  # fmt: skip
        return images, dict(sorted(broken.items()))

    def only(self, chosen: np.ndarray) -> ImageFiles:
        places = [self.places[i] for i in np.flatnonzero(chosen)]
        return replace(self, places=places, **self._chosen(chosen))

    def _contents(self, positions: np.ndarray) -> Iterator[tuple[int, bytes]]:
        wanted: dict[Path, dict[str, int]] = defaultdict(dict)
        for number, position in enumerate(positions):
            holder, name = self.places[position]
            wanted[holder][name] = number
        for holder, names in wanted.items():
            if archives.is_archive(holder) and holder.is_file():
                yield from archives.contents(holder, names)
            else:
                yield from ((number, _content(holder / name)) for name, number in names.items())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def read_files(path: Path, class_order: str = "number") -> ImageFiles:
    """List the images in a folder or archive; a folder may hold archives, too.

    Raises
    ------
    ValueError
        If there are no images, or no two classes of them.
    """
    places: dict[str, tuple[Path, str]] = {}
    notes, empty, others = [], [], []
    if path.is_dir():
        files, empty, notes = walk(path)
        places = {name: (path, name) for name in files if is_image(name)}
        others += files
        packed = [p for name in files if archives.is_archive(p := path / name) and "/" not in name]
        if places and packed:  # often the archive that the images came from
            left = ", ".join(p.name for p in packed)
            notes.append(f"{left} left out, as there are images beside it")
            packed = []
        prefixes = {p: f"{archives.stem(p)}/" for p in packed}
    else:
        packed, prefixes = [path], {path: ""}
    for archive in packed:
        names, n_special = archives.members(archive)
        others += names
        places |= {prefixes[archive] + n: (archive, n) for n in names if is_image(n)}
        if n_special:
            notes.append(f"{n_special:,} links or devices in {archive.name} were left out")
    kinds = Counter(Path(name).suffix.lower() for name in others)
    kinds = {suffix: kinds[suffix] for suffix in OTHER_SUFFIXES if kinds[suffix]}
    if kinds:
        listed = ", ".join(f"{count:,} {suffix}" for suffix, count in kinds.items())
        notes.append(f"files of kinds that are not understood were left out: {listed}")
    if not places:
        also = "".join(f"; {note}" for note in notes)
        raise ValueError(
            f"raw images {path}: no images found; expected train/<class>/<image>, "
            "<class>/<image>, an archive of these, an .npz file or IDX files; images are files "
            f"with {' '.join(IMAGE_SUFFIXES)}{also}"
        )
    try:
        layout = arrange(list(places), class_order)
    except ValueError as error:
        raise ValueError(f"raw images {path}: {error}") from None
    if empty:
        notes.append(f"folders without files were left out: {', '.join(empty[:5])}")
    return ImageFiles(
        labels=layout.labels, class_names=layout.class_names, source=path.name,
        parts=layout.parts, tracks=layout.tracks, notes=layout.notes + notes,
        places=[places[name] for name in layout.names],
    )  # fmt: skip


class Listing(NamedTuple):
    """What lies below a folder, relative to it."""

    files: list[str]
    """Those that are not hidden."""
    empty: list[str]
    """Folders without any."""
    left_out: list[str]
    """Why some files are not among them, in words."""


def walk(folder: Path) -> Listing:
    """Files below a folder, and folders without any, relative to it.

    The folder may itself be a link. Links in it are followed as long as they stay in it, but no
    folder twice; a link comes last. What is no file (a device, a pipe) is never opened.

    Raises
    ------
    ValueError
        If a folder can't be read.
    """

    def stop(error: OSError) -> None:
        raise ValueError(f"raw images {error.filename}: can't be read ({error.strerror})")

    top = os.path.realpath(folder)
    files, empty, seen, kinds = [], [], set(), Counter()
    for root, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        kind_of = {
            name: _kind(os.path.join(root, name), top)
            for name in (*folders, *names) if not name.startswith(".")
        }  # fmt: skip
        kinds.update(kind_of.values())
        folders[:] = sorted(
            (name for name in folders if kind_of.get(name) in ("", "link")),
            key=lambda name: (kind_of[name], name),
        )
        here = Path(root).relative_to(folder).as_posix()
        names = sorted(name for name in names if kind_of.get(name) in ("", "link"))
        files += [name if here == "." else f"{here}/{name}" for name in names]
        if not names and not folders:
            empty.append(here)
    left_out = [f"{kinds[kind]:,} {kind} were left out" for kind in (_OUT, _DEVICE) if kinds[kind]]
    return Listing(files, empty, left_out)


_OUT, _DEVICE = "links that lead out of the folder", "devices, pipes or sockets"


def _kind(path: str, top: str) -> str:
    """Whether a path below `top` is a link that stays there, or something to be left out."""
    link = os.path.islink(path)
    if link and os.path.commonpath([top, os.path.realpath(path)]) != top:
        return _OUT
    with suppress(OSError):  # a link to nothing: an image that can't be decoded
        if stat.S_IFMT(os.stat(path).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            return _DEVICE
    return "link" if link else ""
