"""Raw data in arrays: .npz files, IDX files, and what packages ship."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from utils.core.text import listed
from utils.data.raw.base import Broken, Raw, Shape
from utils.data.raw.images import resized
from utils.data.raw.scale import DEEP, FLOAT, Scale, Stored, apply, check_mixed, scale_of

PARTS = ("train", "val", "test")
_NAMES = ("class_names", "x", "y", *(f"{kind}_{part}" for kind in "xy" for part in PARTS))
_IDX = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?$")


@dataclass(kw_only=True)
class Arrays(Raw):
    """Images in memory."""

    images: np.ndarray
    """(n, h, w, c): whole numbers or floats"""
    stored: Stored
    scale: Scale
    """Which values are black and white; see `utils.data.raw.scale.scale_of`."""

    def found_shape(self) -> Shape:
        height, width, channels = self.images.shape[1:]
        return height, width, min(channels, 3)

    def _decode(
        self, images: np.ndarray, positions: np.ndarray, resize: str, **limits: Any
    ) -> dict[int, Broken]:
        for start in range(0, len(positions), 1000):
            batch = self.images[positions[start : start + 1000]].astype(np.float32)
            batch = apply(self.scale, self.stored, batch)
            images[start : start + 1000] = _fitted(batch, images.shape[1:], resize)
        return {}

    def _contents(self, positions: np.ndarray) -> Iterator[tuple[int, bytes]]:
        return ((n, self.images[position].tobytes()) for n, position in enumerate(positions))

    def _name(self, position: int) -> str:
        return f"image {position}"

    def only(self, chosen: np.ndarray) -> Arrays:
        return replace(self, images=self.images[chosen], **self._chosen(chosen))


def _fitted(images: np.ndarray, shape: Shape, resize: str) -> np.ndarray:
    """Images (n, h, w, c) float32 with other colours and another size, if need be."""
    height, width, channels = shape
    if images.shape[3] == 4:  # red, green, blue, opacity: shown on white
        images = images[..., :3] * images[..., 3:] + (1 - images[..., 3:])
    if channels == 1 and images.shape[3] == 3:
        images = images @ np.array([[0.299], [0.587], [0.114]], np.float32)
    if images.shape[1:3] != (height, width):
        planes = [
            resized(Image.fromarray(plane), height, width, resize)
            for plane in np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(
                -1, *images.shape[1:3]
            )
        ]
        images = np.reshape(planes, (len(images), -1, height, width)).transpose(0, 2, 3, 1)
    return np.clip(images, 0, 1)


def read_npz(path: Path, white: float = 0.0) -> Arrays:
    """Read an .npz file.

    Parameters
    ----------
    path : Path
        Holds ``x_train``, ``y_train``, ``x_test``, ``y_test``, as Keras ships its data sets, and
        optionally ``x_val``, ``y_val``; or ``x`` and ``y``; and optionally ``class_names``. Images
        are (n, h, w) or (n, h, w, c), whole numbers or floats.
    white : float, default=0.0
        The value that is white; 0: by content, see `utils.data.raw.scale.scale_of`.

    Raises
    ------
    ValueError
        If the file is missing, damaged or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as file:
            _fits_in_memory(path, sum(info.file_size for info in archive.infolist()))
            arrays = {name: file[name] for name in file.files if name in _NAMES}
            found = ", ".join(file.files) or "nothing"
            unused = [name for name in file.files if name not in _NAMES]
    except FileNotFoundError:
        raise ValueError(f"raw file {path}: not found; give the path of an .npz file") from None
    except _TooLarge:
        raise
    except (
        OSError,
        ValueError,
        EOFError,
        TypeError,
        MemoryError,
        RuntimeError,
        SyntaxError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason.startswith("Object arrays"):
            raise ValueError(
                f"raw file {path}: not a readable .npz file: it holds Python objects, which may "
                "carry code; save numbers, and class_names as np.array(names, dtype=str)"
            ) from None
        raise ValueError(f"raw file {path}: not a readable .npz file ({reason})") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"raw file {path}: {name} is no array")
    pairs = {"": ("x", "y")} if "x" in arrays else {}
    pairs = pairs or {part: (f"x_{part}", f"y_{part}") for part in PARTS if f"x_{part}" in arrays}
    if not pairs or any(y not in arrays for _, y in pairs.values()):
        raise ValueError(
            f"raw file {path}: expected arrays x_train, y_train, x_test, y_test or x, y; "
            f"got {found}"
        )
    if "" in pairs and (other := [name for name in arrays if name.startswith("x_")]):
        raise ValueError(f"raw file {path}: holds x and {other[0]}; expected x, y or parts")
    unused += [f"y_{part}" for part in PARTS if f"y_{part}" in arrays and part not in pairs]
    names = arrays.get("class_names")
    if names is not None and names.ndim != 1:
        raise ValueError(f"{path}: expected class_names of shape (classes,), got {names.shape}")
    if names is not None:
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names]
        if len(set(names)) < len(names):
            raise ValueError(f"{path}: expected different class_names, got {', '.join(names)}")
    parts = {part: (arrays[x], arrays[y]) for part, (x, y) in pairs.items()}
    raw = from_parts(parts, str(path), names, white)
    raw.notes += [f"arrays that are not used: {listed(unused, 8)}"] if unused else []
    return raw


class _TooLarge(ValueError):
    """What the file holds does not fit in memory."""


def _fits_in_memory(path: Path, size: int) -> None:
    import psutil

    free = psutil.virtual_memory().available
    if size > free:
        raise _TooLarge(
            f"raw file {path}: unpacks to {size / 2**30:,.1f} GiB, {free / 2**30:,.1f} are free"
        )


def read_idx(folder: Path, files: list[str], white: float = 0.0) -> Arrays:
    """Read the four files of MNIST and its relatives; ``t10k`` holds the test images."""
    found = {(m[1], m[2]): folder / m.string for m in map(_IDX.search, files) if m}
    missing = [
        f"{p}-{k}" for p in ("train", "t10k") for k in ("images", "labels") if (p, k) not in found
    ]
    if missing:
        raise ValueError(f"raw images {folder}: IDX file {missing[0]}-... is missing")
    parts = {
        part: (_idx(found[name, "images"], 3), _idx(found[name, "labels"], 1))
        for part, name in (("train", "train"), ("test", "t10k"))
    }
    return from_parts(parts, str(folder), white=white)


def idx_files(names: list[str]) -> list[str]:
    """The names that are those of IDX files."""
    return [name for name in names if _IDX.search(name)]


def _idx(path: Path, n_dimensions: int) -> np.ndarray:
    """One IDX file of bytes: magic number, sizes, values; all big-endian."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            magic, sizes = file.read(4), file.read(4 * n_dimensions)
            shape = [int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4)]
            if magic == bytes([0, 0, 8, n_dimensions]) and len(sizes) == 4 * n_dimensions:
                _fits_in_memory(path, prod(shape))
                content = file.read(prod(shape) + 1)  # no more than the header gives, and if more
                if len(content) == prod(shape):
                    return np.frombuffer(content, np.uint8).reshape(shape)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"raw file {path}: not a readable IDX file ({error})") from None
    raise ValueError(f"raw file {path}: not an IDX file of {n_dimensions} dimensions, or cut")


def from_parts(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    source: str,
    class_names: list[str] | None = None,
    white: float = 0.0,
) -> Arrays:
    """Join images and labels of one or more parts ("train", "val", "test", or "") and check them.

    Raises
    ------
    ValueError
        If an array has another shape, type or range than it should.
    """
    for part, (images, labels) in parts.items():
        name = f"{source}: {part or 'x'}"
        _check_images(images, name)
        if not (labels.ndim == 1 or labels.shape[1:] == (1,)) or labels.dtype.kind not in "ui":
            raise ValueError(
                f"{name}: expected whole-number labels of shape (n,), got {labels.shape} "
                f"{labels.dtype}; one-hot labels: save y.argmax(axis=1); names: save numbers, and "
                "the names as class_names"
            )
        if labels.size != len(images):
            raise ValueError(f"{name}: got {len(images)} images, but {labels.size} labels")
    shapes = {images.shape[1:] for images, _ in parts.values()}
    if len(shapes) > 1:
        raise ValueError(f"{source}: expected images of one shape, got {sorted(shapes)}")
    images = np.concatenate([images for images, _ in parts.values()])
    stored, scale = _scale_of(images, white, source)
    largest = max(int(labels.max()) for _, labels in parts.values())
    if not class_names and largest >= len(images):
        raise ValueError(
            f"{source}: expected labels 0, 1, 2, ... without gaps, got up to {largest} for "
            f"{len(images)} images"
        )
    labels = np.concatenate([labels.reshape(-1).astype(np.int64) for _, labels in parts.values()])
    if labels.min() < 0:
        raise ValueError(f"{source}: expected labels 0, 1, 2, ..., got {labels.min()}")
    n_classes = len(class_names) if class_names else int(labels.max()) + 1
    if labels.max() >= n_classes:
        raise ValueError(
            f"{source}: got {n_classes} class_names, but labels up to {labels.max()}; they start "
            "at 0"
        )
    if len(np.unique(labels)) < 2:
        raise ValueError(f"{source}: expected at least 2 classes, got only {labels[0]}")
    return Arrays(
        labels=labels,
        class_names=class_names or [str(i) for i in range(n_classes)],
        source=Path(source).name,
        parts=np.repeat(list(parts), [len(images) for images, _ in parts.values()]),
        images=images if images.ndim == 4 else images[..., None],
        notes=[f"images are {scale.note}"] if scale.note else [],
        stored=stored,
        scale=scale,
    )


def _scale_of(images: np.ndarray, white: float, source: str) -> tuple[Stored, Scale]:
    """One scale for all parts; that of booleans and of 8 bits goes without saying."""
    kind = FLOAT if images.dtype.kind == "f" else DEEP
    stored = Stored(kind, float(images.min()), float(images.max()))
    if images.dtype.kind == "b":
        return stored, Scale(0, 1, "")
    try:
        scale = scale_of(stored, white)
        if not white and images.dtype != np.uint8:
            check_mixed(images.max(axis=tuple(range(1, images.ndim))), kind, scale)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return stored, scale._replace(note="") if images.dtype == np.uint8 and not white else scale


def _check_images(images: np.ndarray, name: str) -> None:
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"{name}: expected images of shape (n, h, w) or (n, h, w, c), got {images.shape}"
        )
    if images.ndim == 4 and images.shape[3] not in (1, 3, 4):
        raise ValueError(f"{name}: expected 1, 3 or 4 channels, last, got shape {images.shape}")
    if images.dtype.kind not in "uifb":
        raise ValueError(f"{name}: expected numbers, got dtype {images.dtype}")
