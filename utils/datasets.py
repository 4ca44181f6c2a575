"""Data sets: what they are, reading raw files, splitting, the six arrays of later steps."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.workspace import Workspace, atomic, read_json, write_json

SPLITS = ("train", "val", "test")
Shares = tuple[float, float, float]
STUDY_SHARES: Shares = (0.7, 0.2, 0.1)
"""Shares of training, validation and test images, as in the study."""


class Raw(NamedTuple):
    """Images and labels as read, before they are split."""

    images: np.ndarray
    """(n, h, w, c) float32 in [0, 1]"""
    labels: np.ndarray
    """(n,) int64"""
    class_names: list[str]
    source: str
    """Where they came from, in words."""


class Splits(NamedTuple):
    """Six arrays: images (n, h, w, c) float32 in [0, 1] and labels (n,) int64 of each split."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry.

    Adding a data set that ships with a package is one entry here; a data set in an .npz file
    needs none: ``run_all.py --raw NAME=FILE``.
    """

    id: str
    title: str
    reader: Callable[[], Raw]
    shares: Shares = STUDY_SHARES
    study: Mapping[str, object] = field(default_factory=dict)
    """Values of the preset ``study`` that are this data set's own."""


def _read_digits() -> Raw:
    from sklearn.datasets import load_digits  # slow to import, and needed for this data set only

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    return Raw(
        images, labels.astype(np.int64), [str(i) for i in range(10)], "scikit-learn's load_digits"
    )


DATASETS: dict[str, Dataset] = {
    entry.id: entry
    for entry in [
        Dataset("digits", "handwritten digits, 8x8, in scikit-learn: no download", _read_digits),
    ]
}


def read_raw(dataset: str, raw: str | Path = "") -> Raw:
    """Read a data set whole: a registered one by its name, any other from an .npz file.

    Parameters
    ----------
    dataset : str
        A key of `DATASETS`, or the user's own name when `raw` is given.
    raw : str or Path, default=""
        An .npz file with ``x_train``, ``y_train``, ``x_test``, ``y_test`` (as Keras ships its data
        sets; they are joined, then split anew) or with ``x`` and ``y``; optionally ``class_names``.
        Images are (n, h, w) or (n, h, w, c), integers in 0..255 or floats in 0..1.

    Raises
    ------
    ValueError
        If the data set is unknown, or the file is missing, damaged or holds something else.
    """
    if raw:
        return _read_npz(Path(raw))
    if dataset not in DATASETS:
        known = ", ".join(DATASETS)
        raise ValueError(
            f"data set {dataset!r}: not known ({known}); bring it with --raw {dataset}=FILE.npz"
        )
    return DATASETS[dataset].reader()


def _read_npz(path: Path) -> Raw:
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"raw file {path}: not found; give the path of an .npz file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"raw file {path}: not a readable .npz file ({error})") from None
    parts = (
        [("x", "y")]
        if "x" in arrays
        else [(f"x_{s}", f"y_{s}") for s in SPLITS if f"x_{s}" in arrays]
    )
    if not parts or any(y not in arrays for _, y in parts):
        found = ", ".join(arrays) or "nothing"
        raise ValueError(
            f"raw file {path}: expected arrays x_train, y_train, x_test, y_test or x, y; "
            f"got {found}"
        )
    images = [_unit_range(arrays[x], f"{path}: {x}") for x, _ in parts]
    if len({part.shape[1:] for part in images}) > 1:
        shapes = ", ".join(str(part.shape[1:]) for part in images)
        raise ValueError(f"raw file {path}: expected images of one shape, got {shapes}")
    images = np.concatenate(images)
    labels = np.concatenate([_integer_labels(arrays[y], f"{path}: {y}") for _, y in parts])
    n_classes = _count_classes(labels, arrays.get("class_names"), path)
    names = [str(n) for n in arrays.get("class_names", range(n_classes))]
    check_images(images, labels, n_classes, str(path))
    return Raw(images, labels, names, path.name)


def _count_classes(labels: np.ndarray, names: np.ndarray | None, path: Path) -> int:
    """Classes that are named, or that occur: 0 to the largest label, without large gaps."""
    if names is not None:
        if names.ndim != 1:
            raise ValueError(f"{path}: expected class_names of shape (classes,), got {names.shape}")
        return len(names)
    if not len(labels) or labels.max() >= len(labels):
        got = f"up to {labels.max()} for {len(labels)} images" if len(labels) else "none"
        raise ValueError(f"{path}: expected labels 0, 1, 2, ... without gaps, got {got}")
    return int(labels.max()) + 1


def _unit_range(images: np.ndarray, name: str) -> np.ndarray:
    """Images as float32 NHWC; integers are divided by 255."""
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise ValueError(
            f"{name}: expected images of shape (n, h, w) or (n, h, w, c), got {images.shape}"
        )
    if images.dtype.kind not in "uif":
        raise ValueError(f"{name}: expected numbers, got dtype {images.dtype}")
    scale = 255 if images.dtype.kind in "ui" else 1
    if scale == 255 and images.max() < 128:
        raise ValueError(
            f"{name}: expected whole numbers in 0..255, got at most {images.max()}; divide by the "
            "largest possible value and save floats in 0..1"
        )
    images = np.asarray(images, np.float32) / np.float32(scale)
    return images if images.ndim == 4 else images[..., None]


def _integer_labels(labels: np.ndarray, name: str) -> np.ndarray:
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "ui":
        raise ValueError(
            f"{name}: expected integer labels of shape (n,), got {labels.shape} {labels.dtype}"
        )
    if len(labels) and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: expected labels 0, 1, 2, ..., got up to {labels.max()}")
    return labels.astype(np.int64)


def check_images(images: np.ndarray, labels: np.ndarray, n_classes: int, name: str) -> None:
    """Raise a ValueError that says what is wrong with a pair of arrays, if anything is."""
    if images.ndim != 4 or images.dtype != np.float32:
        raise ValueError(
            f"{name}: expected float32 images (n, h, w, c), got {images.shape} {images.dtype}"
        )
    if labels.shape != (len(images),) or labels.dtype != np.int64:
        raise ValueError(
            f"{name}: expected {len(images)} int64 labels, got {labels.shape} {labels.dtype}"
        )
    low, high = (float(images.min()), float(images.max())) if images.size else (0.0, 0.0)
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise ValueError(
            f"{name}: expected image values in [0, 1] and no NaN, got {low:g} to {high:g}"
        )
    if len(labels) and not (labels.min() >= 0 and labels.max() < n_classes):
        raise ValueError(
            f"{name}: expected labels in 0..{n_classes - 1}, got {labels.min()} to {labels.max()}"
        )


def split_sizes(raw: Raw, n_images: int = 0, shares: Shares = STUDY_SHARES) -> dict[str, int]:
    """How many images `split` puts into each split."""
    n = min(n_images or len(raw.labels), len(raw.labels))
    val, test = round(n * shares[1]), round(n * shares[2])
    return {"train": n - val - test, "val": val, "test": test}


def split(
    raw: Raw,
    shares: Shares = STUDY_SHARES,
    n_images: int = 0,
    split_seed: int = 0,
) -> Splits:
    """Split images at random into training, validation and test, each with the same class shares.

    Parameters
    ----------
    raw : Raw
    shares : tuple of 3 floats
        Shares of training, validation and test images; they sum to 1.
    n_images : int, default=0
        Keep a stratified subset of at most so many images first; 0 keeps all.
    split_seed : int, default=0
        The same seed gives the same split.

    Raises
    ------
    ValueError
        If a class has too few images to be split.
    """
    from sklearn.model_selection import train_test_split

    n = len(raw.labels)
    few = np.flatnonzero((counts := np.bincount(raw.labels)) < 3)
    few = few[counts[few] > 0]
    if few.size:
        named = ", ".join(f"{raw.class_names[c]} ({counts[c]})" for c in few[:5])
        raise ValueError(f"labels: expected at least 3 images a class to split them, got {named}")
    sizes = split_sizes(raw, n_images, shares)
    chosen = np.arange(n)
    options = {"random_state": split_seed, "shuffle": True}
    try:
        if 0 < n_images < n:
            chosen, _ = train_test_split(
                chosen, train_size=n_images, stratify=raw.labels, **options
            )
        rest, test = train_test_split(
            chosen, test_size=sizes["test"], stratify=raw.labels[chosen], **options
        )
        train, val = train_test_split(
            rest, test_size=sizes["val"], stratify=raw.labels[rest], **options
        )
    except ValueError as error:
        raise ValueError(f"n_images: too few images for a stratified split ({error})") from None
    return Splits(*(a[i] for i in (train, val, test) for a in (raw.images, raw.labels)))


def save_splits(
    workspace: Workspace, dataset: str, splits: Splits, raw: Raw, **facts: object
) -> dict:
    """Write the six arrays and ``dataset.json``; return what the latter holds."""
    folder = workspace.data(dataset)
    for name, array in splits._asdict().items():
        with atomic(folder / f"{name}.npy") as path:
            np.save(path, array)
    description = {
        "dataset": dataset,
        "source": raw.source,
        "class_names": raw.class_names,
        "n_classes": len(raw.class_names),
        "image_shape": list(splits.x_train.shape[1:]),
        "n_images": {name: len(getattr(splits, f"y_{name}")) for name in SPLITS},
        "duplicates_across_splits": count_duplicates(splits),
        **facts,
    }
    write_json(folder / "dataset.json", description)
    return description


def count_duplicates(splits: Splits) -> int:
    """Validation and test images that are equal, pixel for pixel, to one in an earlier split."""
    seen: set[bytes] = set()
    n_duplicates = 0
    for images in (splits.x_train, splits.x_val, splits.x_test):
        keys = [image.tobytes() for image in images]
        n_duplicates += sum(key in seen for key in keys)
        seen.update(keys)
    return n_duplicates


def describe(dataset: str, workspace: Workspace | str | Path = "") -> dict:
    """What ``dataset.json`` says: class names, image shape, number of images in each split."""
    path = _as_workspace(workspace).data(dataset) / "dataset.json"
    try:
        return read_json(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; step 0.0 makes it") from None
    except ValueError as error:
        raise ValueError(
            f"{path}: not readable ({error}); run step 0.0 again with --force"
        ) from None


def load_splits(dataset: str, workspace: Workspace | str | Path = "") -> Splits:
    """Load the six arrays that step 0.0 wrote, checked.

    Parameters
    ----------
    dataset : str
    workspace : Workspace, str or Path, default=""
        The workspace or its root; ``""`` is the checkout.

    Returns
    -------
    Splits
        ``x_train, y_train, x_val, y_val, x_test, y_test``: images (n, h, w, c) float32 in [0, 1],
        labels (n,) int64.

    Raises
    ------
    ValueError
        If a file is missing, damaged, of another shape or dtype, holds NaN or labels out of range.
    """
    workspace = _as_workspace(workspace)
    description = describe(dataset, workspace)
    arrays = {name: _load(workspace.data(dataset) / f"{name}.npy") for name in Splits._fields}
    for name in SPLITS:
        images, labels = arrays[f"x_{name}"], arrays[f"y_{name}"]
        where = workspace.data(dataset) / f"x_{name}.npy"
        check_images(images, labels, description["n_classes"], str(where))
        if list(images.shape[1:]) != description["image_shape"]:
            expected = tuple(description["image_shape"])
            raise ValueError(
                f"{where}: expected images of shape {expected}, got {images.shape[1:]}"
            )
    return Splits(**arrays)


def _load(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: not found; step 0.0 makes it") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: damaged ({error}); run step 0.0 again with --force") from None


def _as_workspace(workspace: Workspace | str | Path) -> Workspace:
    return workspace if isinstance(workspace, Workspace) else Workspace(workspace)
