"""One compiled forward pass: probabilities, and the activation traces of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.machine.meter import Meter
from utils.networks.ends import gives_probabilities, kept
from utils.networks.graph import Place, core, layer_names, places, single_output, tail

if TYPE_CHECKING:
    import keras


class NoNumbers(ValueError):
    """A model gives NaN or infinite numbers, or its gradients are such."""


def predict(
    model: keras.Model, images: np.ndarray, batch_size: int = 1024, finite: bool = True
) -> np.ndarray:
    """Class probabilities.

    Parameters
    ----------
    model : keras.Model
        A classifier; see `utils.networks.ends.end_of`.
    images : ndarray of shape (n, height, width, channels)
        Inputs, in [0, 1].
    batch_size : int, default=1024
        Inputs a forward pass.
    finite : bool, default=True
        Refuse NaN, which the largest of is found in the first class; else it may be among them.

    Returns
    -------
    ndarray of shape (n, classes), dtype=float32
        Non-negative, each row sums to 1.

    Raises
    ------
    NoNumbers
        If the model gives numbers that are not finite for an image.
    """
    forward = kept(model, "predict", lambda: _compile(model))
    probabilities = _in_batches(forward, check_images(model, images), batch_size)[0]
    return _finite(probabilities) if finite else probabilities


def _finite(probabilities: np.ndarray) -> np.ndarray:
    """The same; NoNumbers if some are none."""
    bad = np.count_nonzero(~np.isfinite(probabilities).all(axis=1))
    if bad:
        raise NoNumbers(
            f"model: gives numbers that are not finite (NaN or infinite) for {bad} of "
            f"{len(probabilities)} images; what it computes has no value there, such as a division "
            "by 0 on a black image, or its training failed"
        )
    return probabilities


def activations(
    model: keras.Model, images: np.ndarray, layer: str = "", batch_size: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Activation traces of one layer and class probabilities, from one forward pass.

    Parameters
    ----------
    model : keras.Model
        A classifier; see `utils.networks.ends.end_of`.
    images : ndarray of shape (n, height, width, channels)
        Inputs, in [0, 1].
    layer : str, default=""
        Name of the layer, ``base/dense`` for one of a nested network; empty for the last hidden
        layer, that is, what the final dense layer takes in (dropout changes nothing at inference).
    batch_size : int, default=1024
        Inputs a forward pass.

    Returns
    -------
    traces : ndarray of shape (n, neurons), dtype=float32
        Outputs of the layer's neurons; those of a convolutional layer are laid out in one row.
    probabilities : ndarray of shape (n, classes), dtype=float32

    Raises
    ------
    ValueError
        If there is no such layer, with the names of those there are.
    """
    forward = kept(model, f"traces {layer}", lambda: _compile(model, traced(model, layer)))
    traces, probabilities = _in_batches(forward, check_images(model, images), batch_size)
    return traces.reshape(len(traces), -1), _finite(probabilities)


def measured_activations(
    model: keras.Model, parts: Mapping[str, np.ndarray], layer: str = ""
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], dict[str, float]]:
    """`activations` of several parts of the inputs, and what each forward pass takes.

    Parameters
    ----------
    model, layer
        See `activations`.
    parts : mapping of str to ndarray of shape (n, height, width, channels)
        Images, by the name of the part.

    Returns
    -------
    outcomes : dict of str to (ndarray, ndarray)
        By part, what `activations` gives.
    costs : dict of str to float
        ``forward_<part>_seconds`` and ``forward_<part>_energy_kwh``, without compilation.
    """
    outcomes, costs, meter = {}, {}, Meter()
    for part, images in parts.items():
        activations(model, images[:1], layer)  # compiles
        with meter.measure() as usage:
            outcomes[part] = activations(model, images, layer)
        costs[f"forward_{part}_seconds"] = usage.wall_seconds
        costs[f"forward_{part}_energy_kwh"] = usage.energy_kwh
    return outcomes, costs


def traced(model: keras.Model, layer: str) -> tuple[Place, Any]:
    """Where the traces of a layer, or of the last hidden layer, are found: place and tensor.

    Raises
    ------
    ValueError
        If there is no such layer, with the names of those there are.
    """
    import keras

    output, found = single_output(model), places(model)
    if layer:
        if layer not in found:
            inner = [name for name in found if name.endswith(f"/{layer}")]
            hint = f"; do you mean {inner[0]!r}?" if len(inner) == 1 else ""
            raise ValueError(
                f"layer: the model has no layer {layer!r}{hint}; it has {layer_names(found)}"
            )
        return found[layer], found[layer].tensor
    for place in tail(model):
        last, taken_in = core(place.operation), place.taken_in[0]
        dense = isinstance(last, keras.layers.Dense | keras.layers.EinsumDense)
        if dense and len(place.tensor.shape) == 2:
            return place, taken_in
        scales = place.tensor.shape == taken_in.shape == output.shape  # such as normalization
        if getattr(last, "weights", None) and (dense or not scales):
            break
    raise ValueError(
        "layer: the model does not end in a dense layer, so name the layer to trace: "
        f"{layer_names(found)}"
    )


def _compile(
    model: keras.Model, trace: tuple[Place, Any] | None = None
) -> Callable[[Any], list[Any]]:
    """A graph function from images to the trace, if one is asked for, and probabilities."""
    import keras
    import tensorflow as tf

    probabilities = gives_probabilities(model)
    signature = [tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)]
    place, tensor = trace or (None, None)
    inner = place.function(tensor) if place and place.before else None
    outputs = model.outputs[0] if inner or place is None else [tensor, model.outputs[0]]
    part = keras.Model(model.inputs[0], outputs)

    @tf.function(input_signature=signature)
    def forward(images):
        values = tf.nest.flatten(part(images, training=False))
        if inner:
            values = [*tf.nest.flatten(inner(images)), *values]
        values = [tf.cast(value, tf.float32) for value in values]
        return values if probabilities else [*values[:-1], tf.nn.softmax(values[-1])]

    return forward


def check_images(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """`images` as an array; ValueError if it does not have the shape that `model` takes in."""
    single_output(model)
    images, shape = np.asarray(images), tuple(model.inputs[0].shape[1:])
    fits = images.ndim == len(shape) + 1 and all(
        wanted in (None, size) for wanted, size in zip(shape, images.shape[1:], strict=True)
    )
    if not fits or not len(images):
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"images: expected shape (n, {expected}), n > 0, got {images.shape}")
    return images


def _in_batches(
    forward: Callable[[Any], list[Any]], images: np.ndarray, batch_size: int
) -> list[np.ndarray]:
    """Run `forward` over `images`; each result is allocated once."""
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    results: list[np.ndarray] = []
    for first in range(0, len(images), batch_size):
        batch = np.asarray(images[first : first + batch_size], np.float32)
        parts = [part.numpy() for part in forward(batch)]
        if not results:
            results = [np.empty((len(images), *part.shape[1:]), np.float32) for part in parts]
        for result, part in zip(results, parts, strict=True):
            result[first : first + batch_size] = part
    return results
