"""What a name of a file or folder means: an image, a part of a data set, or no class at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

IMAGE_SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".ppm", ".pgm", ".pbm",
    ".pnm", ".bmp", ".gif", ".tif", ".tiff", ".webp",
)  # fmt: skip

OTHER_IMAGES = (
    ".heic", ".heif", ".avif", ".jp2", ".svg", ".eps", ".psd", ".dng", ".cr2", ".nef", ".arw",
    ".dcm", ".nii", ".exr", ".hdr", ".tga", ".ico", ".xcf", ".jxl", ".mhd", ".nrrd",
)  # fmt: skip
"""Suffixes of images that are not understood here."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")

_NO_IMAGES = (
    *OTHER_IMAGES, *TABLE_SUFFIXES, ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".rst",
    ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".py", ".ipynb", ".m", ".mat",
    ".npy", ".npz", ".pkl", ".pickle", ".h5", ".hdf5", ".pt", ".pth", ".keras", ".db", ".ini",
    ".log", ".toml", ".cfg", ".sh", ".bat", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z",
    ".rar", ".parquet", ".arrow", ".tfrecord", ".mp4", ".avi", ".mov", ".mp3", ".wav", ".exe",
    ".url", ".lnk", ".cache",
)  # fmt: skip

_SIGNATURES = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|II\*\0|MM\0\*|RIFF....WEBP|P[1-6]\s|BM....\0\0\0\0",
    re.DOTALL,
)
N_HEAD = 16
"""So many bytes of a file tell whether it is an image that is understood."""


def is_hidden(name: str) -> bool:
    """Whether any part of a path is hidden."""
    return any(part.startswith(".") for part in name.split("/"))


def is_image(name: str) -> bool:
    """Whether a path ends as an image's does and no part of it is hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(name)


def is_table(name: str) -> bool:
    """Whether a path ends as that of a table of labels may, and no part of it is hidden."""
    return name.lower().endswith(TABLE_SUFFIXES) and not is_hidden(name)


def may_be_image(name: str) -> bool:
    """Whether only the content can tell: browsers save images as x.jpg_large, or without suffix."""
    return not (is_hidden(name) or name.lower().endswith((*IMAGE_SUFFIXES, *_NO_IMAGES)))


def starts_as_image(head: bytes) -> bool:
    """Whether the first `N_HEAD` bytes of a file are an image's."""
    return _SIGNATURES.match(head) is not None


def suffix(name: str) -> str:
    """The suffix of a path in small letters, or words for none."""
    stem, dot, last = name.rpartition("/")[2].rpartition(".")
    return f".{last.lower()}" if stem and dot and len(last) <= 12 else "without suffix"


# --- names of folders ---

_FILLERS = {
    "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "pic", "pics", "picture",
    "pictures", "photo", "photos", "folder", "files", "seg", "final", "split", "splits", "subset",
    "new", "cropped", "resized", "jpg", "jpeg", "png", "raw", "original", "official", "class",
    "classes", "binary", "ground", "pixel", "level", "by",
}  # fmt: skip
_HOLDERS = {"set", "sets", "data", "dataset", "image", "images", "img", "imgs", "folder", "files"}
_PART_WORDS = {
    "train": ("train", "training", "trainval", "trn"),
    "val": ("val", "valid", "validate", "validation", "dev", "devel", "development", "eval",
            "evaluation"),
    "test": ("test", "testing", "tst"),
}  # fmt: skip
_PART_OF = {word: part for part, words in _PART_WORDS.items() for word in words}
_GLUED = re.compile(
    rf"({'|'.join(sorted(_PART_OF, key=len, reverse=True))})"
    r"(?:sets?|data|datasets?|images?|imgs?|pics|pictures|photos|files)?"
)
_TECHNICAL = {
    "mask", "masks", "annotation", "annotations", "annot", "annots", "label", "labels", "trimap",
    "trimaps", "segmentation", "segmentations", "truth", "groundtruth", "gt", "bbox", "bboxes",
    "contours", "heatmap", "heatmaps", "augmented", "augmentation", "augmentations",
    "unlabeled", "unlabelled", "pred", "predict", "prediction", "predictions", "submission",
    "submissions",
}  # fmt: skip
_COPIES = {"copy", "copies", "backup", "duplicate", "duplicates", "aug"}
"""After the name of a folder beside it, these make the name of no class."""
_NOT = re.compile(r"(?:no|non|not|un|without)(?=.{3})")
_IMAGE_WORDS = {"image", "images", "img", "imgs", "data", "dataset", "jpegimages"}
_JUNK = {
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
    "thumbnails",
    "ipynb_checkpoints",
}
_VARIANT = re.compile(r"(?:k?fold|cv)[\W_]*\d+|\d+[\W_]*fold|\d+x", re.IGNORECASE)
_PIECES = {
    "part",
    "parts",
    "images",
    "image",
    "img",
    "imgs",
    "batch",
    "chunk",
    "shard",
    "disc",
    "disk",
    "volume",
    "vol",
    "folder",
    "dir",
    "split",
    "subset",
    "set",
    "archive",
}


def words(name: str) -> list[str]:
    """The words of a name in small letters: ``["asl", "train", "2017"]`` for ``ASL_train2017``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", name)
    return [word.lower() for word in re.split(r"[\W_]+", spaced) if word]


class Part(NamedTuple):
    """The official part of a data set that a name means."""

    part: str
    """ "train", "val", "test" or "" for none."""
    rest: tuple[str, ...] = ()
    """Other words of the name that mean something: ``train_station`` is hardly a part."""


@lru_cache(2**16)  # tables and paths name the same folders again and again
def part_of(name: str) -> Part:
    """The official part that a name begins or ends with, in any spelling; ``rps-test-set``, too."""
    found = words(name)
    while len(found) > 1 and (found[-1] in _HOLDERS or found[-1].isdecimal()):
        found.pop()
    ends = {i: m[1] for i in {0, len(found) - 1} if found and (m := _GLUED.fullmatch(found[i]))}
    parts = {_PART_OF[word] for word in ends.values()}
    if parts == {"train", "val"}:  # both together, as opposed to the test
        parts = {"train"}
    if len(parts) != 1:
        return Part("")
    rest = [w for i, w in enumerate(found) if i not in ends and not _filler(w)]
    return Part(parts.pop(), tuple(rest))


def _filler(word: str) -> bool:
    return word in _FILLERS or word.isdecimal()


def is_junk(name: str) -> bool:
    """Whether a folder is a by-product of a system or program, never a class."""
    return name.lower() in _JUNK


def technical(names: Iterable[str]) -> list[str]:
    """Those of some sibling folders whose names tell of masks, labels, copies: hardly classes.

    Not if a sibling names the opposite, as ``no_mask`` or ``nomask`` does of ``mask``.
    """
    of = {name: words(name) for name in names}
    plain = {word for found in of.values() if not _is_technical(found) for word in found}
    plain |= {_NOT.sub("", word) for word in plain}
    return [name for name, found in of.items() if _is_technical(found) and not plain & {*found}]


def _is_technical(found: list[str]) -> bool:
    named = [word in _TECHNICAL for word in found]
    return any(named) and all(
        n or _filler(w) or w in _PART_OF for n, w in zip(named, found, strict=True)
    )


def derived(names: Iterable[str], beside: str = "") -> list[str]:
    """Those of some sibling folders that are named after another: ``cat masks`` beside ``cat``.

    Or after the folder `beside`, in which they are.
    """
    of = {name: words(name) for name in names}
    plain = {tuple(found) for found in [*of.values(), words(beside)]}

    def rest(found: list[str]) -> tuple[str, ...]:
        return tuple(word for word in found if word not in _TECHNICAL | _COPIES)

    return [name for name, found in of.items() if rest(found) in plain - {tuple(found), ()}]


def is_image_word(name: str) -> bool:
    """Whether a name means no more than that it holds images."""
    found = [word for word in words(name) if not word.isdecimal()]
    return bool(found) and _IMAGE_WORDS.issuperset(found)


def is_variant(name: str) -> bool:
    """Whether a name is that of a fold of a cross-validation, or of a magnification."""
    return _VARIANT.fullmatch(name) is not None


def are_pieces(names: Iterable[str]) -> bool:
    """Whether names are those of one thing in pieces, such as ``images_part_1, images_part_2``."""
    found = [words(name) for name in names]
    plain = {tuple(word for word in f if not word.isdecimal()) for f in found}
    numbered = all(any(word.isdecimal() for word in f) for f in found)
    return len(found) > 1 and numbered and len(plain) == 1 and not _PIECES.isdisjoint(plain.pop())


_MASK = re.compile(r"(.+?)[ _.-]*(?:mask|seg|segmentation|gt|annotation)s?[ _-]?\d*")


def masks(names: Iterable[str]) -> list[str]:
    """Files that are masks of others beside them: ``a_mask.png`` beside ``a.png``."""
    names = list(names)
    stems = {name.rpartition(".")[0].lower() for name in names}
    found = []
    for name in names:
        folder, slash, file = name.rpartition("/")
        match = _MASK.fullmatch(file.rpartition(".")[0].lower())
        if match and f"{folder}{slash}".lower() + match[1] in stems:
            found.append(name)
    return found
