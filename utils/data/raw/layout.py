"""Class and official part of each image, from the folders that it is in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from utils.core.text import listed
from utils.data.class_order import ordered_classes
from utils.data.raw import doubts
from utils.data.raw.doubts import Doubt
from utils.data.raw.folders import NONE, Folder, is_left_out, open_class, tree
from utils.data.raw.names import derived, is_junk, masks, part_of, technical

_TRACK = re.compile(r"(?:\d{5}_)?(\d{5})_\d{5}\.\w+$")
"""GTSRB's track_frame; a popular copy of it puts the class first."""


class Layout(NamedTuple):
    """The images among some names, with what their names mean."""

    names: list[str]
    labels: np.ndarray
    class_names: list[str]
    parts: np.ndarray
    tracks: np.ndarray | None
    notes: list[str]


def arrange(
    names: list[str], class_order: str = "number", leave_out: Collection[str] = ()
) -> Layout:
    """Find classes and official parts in the paths of images.

    Understood are ``train/<class>/*`` with ``test/`` and ``val/`` likewise, in many spellings (see
    `utils.data.raw.names.part_of`), ``<class>/train/*``, and one folder of class folders, each
    within any other folders. Folders within a class folder belong to the class.

    Parameters
    ----------
    names : list of str
        Paths of images, with forward slashes.
    class_order : str, default="number"
        See `utils.data.class_order.ordered_classes`.
    leave_out : collection of str, default=()
        Names of folders that are left out, at any depth; `NONE` takes all others as they are.

    Raises
    ------
    ValueError
        If there are no two classes, or a part holds a class that the training images lack; a
        `Doubt` if the folders may mean something else.
    """
    reading = _Reading(leave_out)
    reading.read(tree(names))
    placed = reading.placed
    if reading.doubting and (beside := masks(placed)):
        for name in beside:
            del placed[name]
        reading.leave(beside, "that are masks of images beside them")
    if len(classes := ordered_classes({name for _, name in placed.values()}, class_order)) < 2:
        found = f"got only {classes[0]}" if classes else "got none"
        raise ValueError(f"expected folders of at least 2 classes with images, {found}")
    kept = sorted(placed)
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[placed[name][1]] for name in kept], np.int64)
    parts = np.array([placed[name][0] for name in kept])
    return Layout(kept, labels, classes, parts, _tracks(kept, labels), reading.notes())


class _Reading:
    """One attempt to understand a tree of folders."""

    def __init__(self, leave_out: Collection[str]) -> None:
        self.leave_out = leave_out
        self.doubting = NONE not in leave_out
        self.out: dict[str, list[str]] = {}
        """Why images are left out, and which."""
        self.seen: set[str] = set()
        """All of these."""
        self.placed: dict[str, tuple[str, str]] = {}
        """Part and class of an image."""
        self.inside: list[str] = []
        """Folders of classes in which images are in folders of their own."""

    def read(self, top: Folder) -> None:
        """Give each image its part and class, or a reason to be left out."""
        self._prune(top)
        level = self._open(top)
        if self._class_first(level):
            why = "in no folder of train, val or test"
        elif splits := self._splits(level):
            self._split(level, splits)
            why = "in no folder of train, val or test"
        elif inner := self._one_with_splits(level):
            why = f"beside {inner.path}"
            if splits := self._splits(inner):
                self._split(inner, splits)
            else:
                self._all_classes(inner)
        else:
            self._all_classes(level)
            why = "that lie in no class folder"
        self.leave(level.below(), why)
        self.leave(top.below(), f"beside {level.path}")

    def leave(self, images: Iterable[str], why: str) -> None:
        """Leave out images, as far as they have neither a class nor another reason."""
        rest = [n for n in images if n not in self.placed and n not in self.seen]
        self.out.setdefault(why, []).extend(rest)
        self.seen.update(rest)

    def notes(self) -> list[str]:
        """What was left out, in words."""
        inside = (
            [f"images in folders within {listed(self.inside)} are of that class"]
            if self.inside
            else []
        )
        return inside + [
            f"{len(names):,} images {why}, such as {min(names)}, were left out"
            for why, names in self.out.items()
            if names
        ]

    def _prune(self, folder: Folder) -> None:
        for name, child in list(folder.folders.items()):
            unwanted = is_left_out(f"{child.path}/", self.leave_out)
            if unwanted or is_junk(name):
                why = f"in {name}" + (", as asked" if unwanted else "")
                self.leave(child.below(), why)
                del folder.folders[name]
                continue
            self._prune(child)
            if not (child.images or child.folders):
                del folder.folders[name]

    def _open(self, folder: Folder, known: Collection[str] = ()) -> Folder:
        """Go into wrappers: folders that are alone, or beside masks and the like, with others.

        A folder with the name of a class that is `known` is none.
        """
        while True:
            inside = list(folder.folders)
            if self.doubting and (odd := technical(inside)) and len(inside) == len(odd) + 1:
                inside = [name for name in inside if name not in odd]
            if len(inside) != 1 or inside[0] in known or not folder.folders[inside[0]].folders:
                return folder
            folder = folder.folders[inside[0]]

    def _inner(self, folder: Folder) -> set[str]:
        return set(self._open(folder).folders)

    def _splits(self, level: Folder) -> dict[str, str] | None:
        return doubts.splits(level.folders, self._inner, self.doubting)

    def _class_first(self, level: Folder) -> bool:
        """``<class>/train/*``: parts below the classes."""
        inner = {name: open_class(folder).folders for name, folder in level.folders.items()}
        parts = [part_of(n) for folders in inner.values() for n in folders]
        flat = all(len(f.folders) < 2 for folders in inner.values() for f in folders.values())
        if (
            len(inner) < 2
            or not all(inner.values())
            or not flat
            or not all(p.part and not p.rest for p in parts)
            or "train" not in {p.part for p in parts}
            or all(part_of(name).part for name in inner)
        ):
            return False
        for name, folders in inner.items():
            for part, folder in folders.items():
                self._take(folder, part_of(part).part, name)
        return True

    def _one_with_splits(self, level: Folder) -> Folder | None:
        """The one folder, at any depth, that holds official parts, such as ``dataset/train``."""
        found = [f for f in level.folders.values() if self.doubting and self._has_splits(f)]
        if not found:
            return None
        inner = self._open(found[0])
        inner = self._one_with_splits(inner) or inner
        least = 0.5 if self._splits(inner) else 0.8  # training images alone are no clear sign
        if len(found) > 1 or len(found[0].below()) < least * len(level.below()):
            raise Doubt(
                f"{listed(f.path for f in found)} hold{'s' * (len(found) == 1)} official parts, "
                f"and there are the folders {listed(level.folders)} beside each other; give the "
                "path of one data set"
            )
        return inner

    def _has_splits(self, folder: Folder) -> bool:
        while len(folder.folders) == 1:
            ((name, folder),) = folder.folders.items()
            if part_of(name) == ("train", ()) and len(self._inner(folder)) > 1:
                return True
        level = self._open(folder)
        if not any(f.folders for f in level.folders.values()):
            return False
        try:
            return bool(self._splits(level)) or any(map(self._has_splits, level.folders.values()))
        except Doubt:
            return False

    def _split(self, level: Folder, splits: Mapping[str, str]) -> None:
        classes: set[str] = set()
        for part in sorted({*splits.values()}, key=("train", "val", "test").index):
            roots = [level.folders[name] for name, p in splits.items() if p == part]
            root = (
                doubts.fullest(roots, f"{part} images") if self.doubting else doubts.largest(roots)
            )
            opened = self._open(root, classes)
            found = set(opened.folders)
            if part == "train":
                if self.doubting:
                    self._leave_mirrors(opened)
                classes = found = set(opened.folders)
                if self.doubting:
                    doubts.of_classes(opened.folders, self._inner)
            if len(found) > 1 or found & classes:  # else all are in one other folder: no labels
                if strange := sorted(found - classes):
                    raise ValueError(
                        f"{part} images of class {strange[0]}, which the training images do not "
                        f"have; leave it out with --set leave_out={strange[0]}"
                    )
                self._classes(opened, part)
            self.leave(root.below(), "that lie in no class folder")
            for copy in roots:
                self.leave(copy.below(), f"in a second folder of {part} images")

    def _all_classes(self, level: Folder) -> None:
        if self.doubting:
            self._leave_mirrors(level)
            doubts.of_classes(level.folders, self._inner)
        self._classes(level, "")

    def _leave_mirrors(self, level: Folder) -> None:
        """``masks/cat`` or a copy of all, ``pets/cat``, beside ``cat`` and ``dog``."""
        odd = technical(level.folders)
        for name, folder in list(level.folders.items()):
            mirrored = self._inner(folder) & level.folders.keys()
            if name in odd and mirrored:
                self.leave(level.folders.pop(name).below(), f"in {name}")
            elif len(mirrored) > 1 and part_of(name).part:
                raise Doubt(
                    f"{folder.path} holds folders such as {listed(sorted(mirrored), 3)}, which "
                    "also lie beside it: put the latter into a folder train"
                )
            elif len(mirrored) > 1:
                doubts.fullest([_without(level, name), self._open(folder)], "the same classes")
                copies = level.folders.pop(name).below()
                self.leave(copies, f"in {name}, which copies what lies beside it")

    def _classes(self, level: Folder, part: str) -> None:
        for name, folder in level.folders.items():
            self._take(folder, part, name)
            opened = open_class(folder)
            inside = [f for f in opened.folders.values() if not self.seen.issuperset(f.below())]
            if self.doubting and len(inside) + bool(opened.images) > 1:
                self.inside.append(folder.path)

    def _take(self, folder: Folder, part: str, name: str) -> None:
        """All images below a folder, but for masks and the like beside others."""
        own = folder.path.rpartition("/")[2]
        odd = (
            {*technical(folder.folders), *derived(folder.folders, own if folder.images else "")}
            if self.doubting
            else set()
        )
        for inside in folder.folders:
            if inside in odd and (folder.images or len(odd) < len(folder.folders)):
                self.leave(folder.folders[inside].below(), f"in folders named {inside}")
            else:
                self._take(folder.folders[inside], part, name)
        self.placed |= dict.fromkeys(folder.images, (part, name))


def _without(level: Folder, name: str) -> Folder:
    rest = {n: folder for n, folder in level.folders.items() if n != name}
    return Folder(level.path, level.images, rest)


def _tracks(names: list[str], labels: np.ndarray) -> np.ndarray | None:
    """A number for each track of each class, -1 where a name holds none."""
    found = [_TRACK.search(name.rpartition("/")[2]) for name in names]
    if not any(found):
        return None
    tracks = np.array([int(match[1]) if match else -1 for match in found], np.int64)
    return np.where(tracks < 0, -1, labels * 100_000 + tracks)
