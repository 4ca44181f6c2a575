"""Copies of a network, and the proof that they compute the same.

A network is more than its weights: some layers compute with what they made of them (`Normalization`
with the root of its variance), and setting weights does not reach that. So a network is copied as
Keras saves and loads it, and the copy must give the original's outputs.
"""

from __future__ import annotations

import random
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.networks.ends import some_images
from utils.networks.graph import layers_within

if TYPE_CHECKING:
    import keras


def copy_of(model: keras.Model, images: np.ndarray | None = None) -> keras.Model:
    """A copy with all state, not compiled.

    Parameters
    ----------
    model : keras.Model
        Not changed.
    images : ndarray of shape (n, height, width, channels), optional
        Images in [0, 1] to compare the two on; without, random ones.

    Raises
    ------
    ValueError
        If the copy gives other outputs.
    """
    import keras

    with tempfile.TemporaryDirectory() as folder, same_random_state():
        path = Path(folder) / "copy.keras"
        model.save(path)
        with warnings.catch_warnings():  # an optimizer is not copied
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            copy = keras.models.load_model(path, compile=False)
    require_same(model, copy, images, "a copy of the model")
    return copy


def move_state(model: keras.Model, other: keras.Model) -> None:
    """Give another network of the same layers all state of a network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.weights.h5"
        model.save_weights(path)
        other.load_weights(path)


def require_same(
    model: keras.Model,
    other: keras.Model,
    images: np.ndarray | None = None,
    what: str = "the other",
    tolerance: float = 1e-5,
) -> None:
    """ValueError unless two networks give the same outputs, but for rounding.

    Parameters
    ----------
    model, other : keras.Model
    images : ndarray of shape (n, height, width, channels), optional
        Images in [0, 1]; some are taken. Without, random ones.
    what : str
        Names `other` in the message.
    tolerance : float, default=1e-5
        Largest difference, as a share of the largest output.
    """
    images = some_images(model, images)
    outputs, others = (_outputs(network, images) for network in (model, other))
    same = len(outputs) == len(others) and all(
        one.shape == two.shape
        and np.allclose(one, two, tolerance, tolerance * _largest(one), equal_nan=True)
        for one, two in zip(outputs, others, strict=True)
    )
    if not same:
        raise ValueError(
            f"model: {what} computes something else than the model itself on {len(images)} images; "
            "a layer has state that Keras does not save. Layers with state that is not trained: "
            f"{', '.join(_with_state(model)) or 'none'}"
        )


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0))


def _outputs(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    import keras

    outputs = keras.tree.flatten(model(images, training=False))
    return [keras.ops.convert_to_numpy(values).astype(np.float32) for values in outputs]


def _with_state(model: keras.Model) -> list[str]:
    return [
        layer.name
        for layer in layers_within(model)
        if hasattr(layer, "finalize_state")
        or (not hasattr(layer, "layers") and layer.non_trainable_variables)
    ]


def agree(one: float, other: float, n: int) -> bool:
    """Whether two accuracies on `n` images can be of one network.

    Machines and batches round otherwise, which turns close calls.
    """
    return abs(one - other) <= max(0.01, 2 / n)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Leave Python's generator as it was: layers draw seeds from it, and later draws must not
    depend on how many networks were made before."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def finalize(model: keras.Model) -> None:
    """Have `Normalization` layers compute with the mean and variance that are their weights.

    Keras leaves that out when it reads an ``.h5`` file.
    """
    import keras

    for layer in layers_within(model):
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()
