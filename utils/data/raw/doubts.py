"""When folders are official parts, when classes, and when that is not clear."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from utils.core.text import listed
from utils.data.raw.folders import Folder
from utils.data.raw.names import are_pieces, derived, is_image_word, is_variant, part_of, technical

FEW = 0.05
"""Up to this share of the images, what is beside training images is left out, with a note."""


class Doubt(ValueError):
    """Folders that may mean several things."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"{found}; or leave some out with --set leave_out=NAME, or take all as they are with "
            "--set leave_out=none"
        )


Inner = Callable[[Folder], set[str]]
"""The names of the folders in a folder, below its wrappers."""


def splits(folders: Mapping[str, Folder], inner: Inner, doubting: bool) -> dict[str, str] | None:
    """The official part that each of some sibling folders holds; None if they are no parts.

    A name is not enough, as a class of vehicles may be called train: training images are in
    class folders, and beside them are other parts, with the same classes or unlabeled.

    Raises
    ------
    Doubt
        If they may be both; without `doubting`, they are no parts then.
    """
    named = {name: p for name in folders if (p := part_of(name)).part}
    if not named:
        return None
    classes_of = {name: inner(folder) for name, folder in folders.items()}
    trains = [n for n, p in named.items() if p.part == "train" and len(classes_of[n]) > 1]
    trains = [n for n in trains if not named[n].rest] or trains
    if not trains:
        _flat(folders, named, doubting)
        return None
    classes = set.union(*(classes_of[n] for n in trains))
    rests = {named[n].rest for n in trains}

    def goes_along(name: str) -> bool:
        plain = not named[name].rest or named[name].rest in rests
        unlabeled = len(classes_of[name]) < 2
        return bool(classes_of[name] & classes) or (plain and (unlabeled or () in rests))

    others = [n for n, p in named.items() if p.part != "train" and goes_along(n)]
    odd = technical(folders) if doubting else []
    apart = [n for n in folders if n not in (*trains, *others, *odd)]
    if others or not apart:
        return {n: named[n].part for n in (*trains, *others)}
    n_apart = sum(len(folders[n].below()) for n in apart)
    if n_apart <= FEW * sum(len(folder.below()) for folder in folders.values()):
        return dict.fromkeys(trains, "train")
    alike = any(classes_of[n] & classes for n in apart)
    if doubting and (alike or len(apart) == 1 or not all(classes_of[n] for n in apart)):
        raise Doubt(
            f"{listed(trains)} holds class folders such as {listed(sorted(classes), 3)}, and "
            f"beside it lies {listed(apart)}: parts of the data or classes? Give the path of the "
            "folder whose folders are the classes"
        )
    return None


def _flat(folders: Mapping[str, Folder], named: Mapping, doubting: bool) -> None:
    """There are no training images in class folders: then no two parts should be there."""
    for rest in {p.rest for p in named.values()}:
        alike = [n for n, p in named.items() if p.rest == rest]
        if doubting and len({named[n].part for n in alike}) > 1:
            sizes = listed(f"{n} ({len(folders[n].below()):,} images)" for n in alike)
            raise Doubt(
                f"{sizes} are named as parts, but training images are in no folders of classes; "
                "expected train/<class>/*, or a .csv or .txt file with the name and label of each "
                "image"
            )


def largest(roots: Sequence[Folder]) -> Folder:
    """The one with most images."""
    return min(roots, key=lambda root: (-len(root.below()), root.path))


def fullest(roots: Sequence[Folder], what: str) -> Folder:
    """Of several folders for `what` the one that holds all of the others, as some archives hold
    all twice."""
    best = largest(roots)
    of_best = {name.removeprefix(best.path) for name in best.below()}
    for root in roots:
        if not {name.removeprefix(root.path) for name in root.below()} <= of_best:
            raise Doubt(
                f"{listed(r.path or 'the top folder' for r in roots)} all hold {what}, but "
                "are no copies of each other; give the path of one data set"
            )
    return best


def of_classes(folders: Mapping[str, Folder], inner: Inner) -> None:
    """Doubt that some sibling folders are classes.

    Raises
    ------
    Doubt
    """
    path = "Give the path of the folder whose folders are the classes"
    odd = technical(folders)
    odd += [n for n in folders if is_image_word(n) or is_variant(n)]
    odd = [*dict.fromkeys([*odd, *derived(folders), *_held_out(folders, inner)])]
    if odd and len(folders) > 1:
        raise Doubt(
            f"found the folders {listed(folders)}, of which {listed(odd)} "
            f"look{'s' * (len(odd) == 1)} like no class. {path}"
        )
    if are_pieces(folders):
        raise Doubt(f"the folders {listed(folders)} look like one in pieces, no classes. {path}")
    for folder in folders.values():
        parts = [part_of(name) for name in folder.folders]
        if parts and not folder.images and all(p.part and not p.rest for p in parts):
            raise Doubt(f"{folder.path} holds {listed(folder.folders)}, but others do not. {path}")
    below = [names for folder in folders.values() if (names := inner(folder))]
    counts = Counter(name for names in below for name in names - {*technical(names)})
    shared = [n for n, count in counts.items() if count >= 2 and 2 * count >= len(folders)]
    variants = [n for n in shared if is_variant(n)]
    if len(below) == len(folders) and all(re.search(r"\d", name) for name in folders):
        all_names = {name for names in below for name in names}
        shared = shared if len(shared) > 1 or len(all_names) >= len(folders) else [*all_names]
    if len(shared) > 1 or variants:
        raise Doubt(
            f"the folders {listed(folders)} hold the same folders ({listed(sorted(shared))}), so "
            f"it is not clear which are the classes. {path}"
        )
    if len(below) == len(folders) > 1 and all(map(_holds_names, folders.values())):
        some = listed(inside.path for f in folders.values() for inside in [*f.folders.values()][:1])
        raise Doubt(
            f"every one of the folders {listed(folders)} holds several folders, such as {some}: "
            "which are the classes? If the lower ones, put them all into one folder"
        )


def _held_out(folders: Mapping[str, Folder], inner: Inner) -> list[str]:
    """Folders with the name of a test: beside one that holds classes, or beside several others."""
    found = [n for n in folders if part_of(n).part in ("val", "test")]
    others = [n for n in folders if n not in found]
    deep = [n for n in folders if len(inner(folders[n])) > 1]
    if found and others and deep == others:
        return found
    return [n for n in found if not part_of(n).rest] if len(others) > 1 else []


def _holds_names(folder: Folder) -> bool:
    """Whether a folder holds no images, but several folders that numbers do not tell apart."""
    while len(folder.folders) == 1 and not folder.images:
        (folder,) = folder.folders.values()
    named = [name for name in folder.folders if not re.search(r"\d", name)]
    return not folder.images and len({*named} - {*technical(named), *derived(named)}) > 1


def of_names(class_names: Iterable[str]) -> None:
    """Doubt that classes whose names are spelled almost alike are different ones.

    Raises
    ------
    Doubt
    """
    alike = defaultdict(list)
    for name in class_names:
        plain = unicodedata.normalize("NFC", name)
        words = re.sub(r"[\s_-]+", " ", plain).strip().casefold()
        alike[words if len(words) > 1 else plain].append(name)  # A and a may be letters
    if several := [names for names in alike.values() if len(names) > 1]:
        raise Doubt(f"classes {listed(map(repr, several[0]))} seem to be one; give them one name")
