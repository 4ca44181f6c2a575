"""What names of files say: class, official part, track."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".pbm", ".bmp", ".gif", ".tif", ".tiff", ".webp"
)  # fmt: skip

OTHER_SUFFIXES = (
    ".heic", ".heif", ".avif", ".jp2", ".svg", ".eps", ".psd", ".dng", ".cr2", ".nef", ".arw"
)  # fmt: skip
"""Of images, too, but not understood here."""

PART_OF = {
    **dict.fromkeys(("train", "training", "seg_train", "final_training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "seg_val"), "val"),
    **dict.fromkeys(("test", "testing", "seg_test", "final_test"), "test"),
}
"""Name of a folder -> the official part that it holds."""

_TRACK = re.compile(r"(?:\d{5}_)?(\d{5})_\d{5}\.\w+$")
"""GTSRB's track_frame; a popular copy of it puts the class first."""


class Layout(NamedTuple):
    """The images among some names, with what their names say."""

    names: list[str]
    labels: np.ndarray
    class_names: list[str]
    parts: np.ndarray
    tracks: np.ndarray | None
    notes: list[str]


def is_image(name: str) -> bool:
    """Whether a path ends as an image's does and no part of it is hidden."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return name.lower().endswith(IMAGE_SUFFIXES) and not hidden


def arrange(names: list[str], class_order: str = "number") -> Layout:
    """Find classes and official parts in the paths of images.

    Understood are ``train/<class>/*`` with ``test/`` and ``val/`` likewise (also Intel's
    ``seg_train/seg_train/``, GTSRB's ``Final_Training/Images/``) and one folder of class folders,
    each within any other folder. Folders within a class folder belong to the class.

    Parameters
    ----------
    names : list of str
        Paths, with forward slashes; see `is_image`.
    class_order : {"number", "text"}, default="number"
        See `in_order`.

    Raises
    ------
    ValueError
        If there are no two classes, or a part holds a class that the training images lack.
    """
    inner = _without_wrappers([name.split("/")[:-1] for name in names])
    placed = [_place(folders) for folders in inner]
    if not any(part == "train" for part, _, _ in placed):
        placed = [("", "", folders) for folders in inner]
    reference = "train" if any(part == "train" for part, _, _ in placed) else ""
    classes: list[str] = []
    class_of: dict[int, tuple[str, str]] = {}
    notes = []
    for part in dict.fromkeys((reference, *sorted({p[0] for p in placed} - {""}))):
        indices, others = _one_root([i for i, p in enumerate(placed) if p[0] == part], placed)
        if others:
            notes.append(
                f"{len(others):,} images in a second folder of {part} images, such as "
                f"{names[others[0]]}, were left out"
            )
        folders = _without_wrappers([placed[i][2] for i in indices])
        if part == reference:
            classes = in_order({f[0] for f in folders if f}, class_order)
            if len(classes) < 2:
                found = f"got only {classes[0]}" if classes else "got none"
                raise ValueError(f"expected folders of at least 2 classes with images, {found}")
        found = {f[0] for f in folders if f}
        labeled = len(found) > 1 or found & set(classes)  # not if all lie in one other folder
        if labeled and (strange := sorted(found - set(classes))):
            raise ValueError(
                f"{part} images of class {strange[0]}, which the training images do not have"
            )
        classless = [i for i, f in zip(indices, folders, strict=True) if not (f and labeled)]
        if classless:
            notes.append(
                f"{len(classless):,} images that lie in no class folder, such as "
                f"{names[classless[0]]}, were left out"
            )
        class_of |= {
            i: (part, f[0]) for i, f in zip(indices, folders, strict=True) if f and labeled
        }
    kept = sorted(class_of, key=lambda i: names[i])
    if reference and (left := [n for n, p in zip(names, placed, strict=True) if not p[0]]):
        notes.append(
            f"{len(left):,} images in no folder of train, val or test, such as {left[0]}, "
            "were left out"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    labels = np.array([numbers[class_of[i][1]] for i in kept], np.int64)
    parts = np.array([class_of[i][0] for i in kept])
    return Layout(
        [names[i] for i in kept], labels, classes, parts,
        _tracks([names[i] for i in kept], labels), notes,
    )  # fmt: skip


def _place(folders: list[str]) -> tuple[str, str, list[str]]:
    """Official part, its folder, and the folders from there to the image."""
    for depth, folder in enumerate(folders[:-1]):  # the last one is a class
        if part := PART_OF.get(folder.lower()):
            return part, "/".join(folders[: depth + 1]), folders[depth + 1 :]
    return "", "", folders


def _one_root(
    indices: list[int], placed: list[tuple[str, str, list[str]]]
) -> tuple[list[int], list[int]]:
    """Of several folders for one part (some archives hold all twice) the fullest; the others."""
    roots = Counter(placed[i][1] for i in indices)
    best = min(roots, key=lambda root: (-roots[root], root))
    return ([i for i in indices if placed[i][1] == best],
            [i for i in indices if placed[i][1] != best])  # fmt: skip


def _without_wrappers(folders: list[list[str]]) -> list[list[str]]:
    """Drop leading folders that all images share, but not the last one."""
    while len({f[0] for f in folders if f}) == 1 and any(len(f) > 1 for f in folders):
        folders = [f[1:] for f in folders]
    return folders


def in_order(class_names: Iterable[str], class_order: str = "number") -> list[str]:
    """Names of classes in the order of their numbers.

    Parameters
    ----------
    class_names : iterable of str
    class_order : {"number", "text"}, default="number"
        By number, 2 comes before 10, and numbers before words. As text, 10 comes before 2: so
        Keras's and PyTorch's loaders of folders number classes.
    """
    return sorted(class_names, key=_number_first if class_order == "number" else None)


def _number_first(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def _tracks(names: list[str], labels: np.ndarray) -> np.ndarray | None:
    """A number for each track of each class, -1 where a name holds none."""
    found = [_TRACK.search(name.rpartition("/")[2]) for name in names]
    if not any(found):
        return None
    tracks = np.array([int(match[1]) if match else -1 for match in found], np.int64)
    return np.where(tracks < 0, -1, labels * 100_000 + tracks)
