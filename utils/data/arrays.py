"""The arrays that steps hand on: step 0.0 writes six; all are checked when they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utils.core.files import atomic, read_json, write_json
from utils.core.paths import Workspace
from utils.core.text import readable
from utils.data.raw.base import MAX_CLASS_NAME, Raw

SPLITS = ("train", "val", "test")


class Splits(NamedTuple):
    """Six arrays: images (n, h, w, c) float32 in [0, 1] and labels (n,) int64 of each split."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def save_splits(
    workspace: Workspace, dataset: str, splits: Splits, raw: Raw, **facts: object
) -> dict:
    """Write the six arrays and ``dataset.json``; return what the latter holds.

    `facts` are added to ``dataset.json``.
    """
    folder = workspace.data(dataset)
    for name, array in splits._asdict().items():
        with atomic(folder / f"{name}.npy") as path:
            np.save(path, array)
    description = {
        "dataset": dataset,
        "source": raw.source,
        "notes": raw.notes,
        "class_names": raw.class_names,
        "class_folders": raw.class_folders,
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
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
        n_duplicates += sum(key in seen for key in keys)
        seen.update(keys)
    return n_duplicates


class MissingFile(FileNotFoundError, ValueError):
    """A file that an earlier step writes does not exist; the message names the step."""


def missing(path: Path, step: str) -> MissingFile:
    """The error for a file that does not exist."""
    return MissingFile(f"{path} does not exist; run step {step} first")


def describe(dataset: str, workspace: Workspace | str | Path = "") -> dict:
    """What is in ``dataset.json``: class names, image shape, number of images in each split.

    Raises
    ------
    MissingFile, ValueError
        If it does not exist or is damaged.
    """
    path = _as_workspace(workspace).data(dataset) / "dataset.json"
    try:
        return _checked(read_json(path))
    except FileNotFoundError:
        raise missing(path, "0.0") from None
    except ValueError as error:
        raise _damaged(path, error, "0.0") from None


def _damaged(path: Path, error: object, step: str) -> ValueError:
    return ValueError(f"{path}: damaged ({error}); run step {step} again with --force")


def _checked(about: Any) -> dict:
    """What a ``dataset.json`` must hold; it may come with a stranger's workspace."""
    try:
        names, shape, sizes = (about[key] for key in ("class_names", "image_shape", "n_images"))
        counts = [*shape, *(sizes[split] for split in SPLITS)]
        whole = all(type(count) is int and count >= 0 for count in counts)
        whole = whole and len(shape) == 3 and about["n_classes"] == len(names) > 0
        names = [readable(name, MAX_CLASS_NAME) for name in names]
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError("not what step 0.0 writes")
    return {**about, "class_names": names}


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
    MissingFile, ValueError
        If a file does not exist, is damaged, of another shape or dtype, holds NaN or labels out of
        range.
    """
    workspace = _as_workspace(workspace)
    about = describe(dataset, workspace)
    pairs = [load_pair(workspace.data(dataset), name, about, "0.0") for name in SPLITS]
    return Splits(*(array for pair in pairs for array in pair))


def load_pair(
    folder: Path, part: str, about: Mapping[str, Any], step: str
) -> tuple[np.ndarray, np.ndarray]:
    """Load ``x_<part>.npy`` and ``y_<part>.npy``, checked.

    Parameters
    ----------
    folder : Path
    part : str
        Such as ``test`` or ``adv_test``.
    about : mapping
        See `describe`.
    step : str
        Id of the step that makes them, for messages.

    Returns
    -------
    images : ndarray of shape (n, height, width, channels), dtype=float32
    labels : ndarray of shape (n,), dtype=int64

    Raises
    ------
    MissingFile, ValueError
        If a file does not exist, is damaged, or holds something else.
    """
    images, labels = (load_array(folder / f"{name}_{part}.npy", step) for name in "xy")
    try:
        check_images(images, labels, about["n_classes"], part)
        if list(images.shape[1:]) != about["image_shape"]:
            expected = tuple(about["image_shape"])
            raise ValueError(f"expected images of shape {expected}, got {images.shape[1:]}")
    except ValueError as error:
        raise _damaged(folder / f"x_{part}.npy", error, step) from None
    return images, labels


def load_array(path: Path, step: str) -> np.ndarray:
    """Load an array that `step` writes; errors as those of `load_pair`."""
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise missing(path, step) from None
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, error, step) from None


def _as_workspace(workspace: Workspace | str | Path) -> Workspace:
    return workspace if isinstance(workspace, Workspace) else Workspace(workspace)


def check_images(images: np.ndarray, labels: np.ndarray, n_classes: int, name: str) -> None:
    """ValueError if something is wrong with a pair of arrays, and what."""
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
