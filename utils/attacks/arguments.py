"""Checks of what attacks are given and of what they give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from utils.networks.activations import NoNumbers, check_images

if TYPE_CHECKING:
    import keras


def checked(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """`images` as float32 and `labels` as int64; ValueError if either is not what it should be."""
    images, labels = check_images(model, images), np.asarray(labels)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"images: expected float32 in [0, 1], got {images.dtype}; divide integers by 255"
        )
    _check_range("images", images)
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels: expected integers of shape ({len(images)},), got {labels.dtype} of shape "
            f"{labels.shape}; one-hot labels: pass labels.argmax(axis=1)"
        )
    classes = model.outputs[0].shape[-1]
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels: expected 0 to {classes - 1}, as the model has {classes} classes, got "
            f"{labels.min()} to {labels.max()}"
        )
    at_least("batch_size", batch_size, 1)
    return images.astype(np.float32, copy=False), labels.astype(np.int64, copy=False)


def checked_result(images: np.ndarray) -> np.ndarray:
    """`images`, after the same check of range; NoNumbers if the model's gradients are none."""
    if np.isnan(images).any():
        raise NoNumbers("model: gradients that are not finite, so it can't be attacked")
    _check_range("adversarial images", images)
    return images


def at_least(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")


def _check_range(name: str, images: np.ndarray) -> None:
    if images.size and not (images.min() >= 0 and images.max() <= 1):  # NaN fails too
        raise ValueError(
            f"{name}: expected values in [0, 1], got {images.min():.4g} to {images.max():.4g}"
        )
