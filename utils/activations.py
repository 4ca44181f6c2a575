"""One compiled forward pass: probabilities, and the activation traces of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.models import ends_in_softmax, final_layer

if TYPE_CHECKING:
    import keras


def kept(model: keras.Model, key: str, make: Callable[[], Any]) -> Any:
    """What `make` gave for `key` the first time, kept with `model` and freed with it.

    Compiled functions are traced once a model this way, not once a call. They read the model's
    variables, so they follow later changes of its weights.
    """
    functions = model.__dict__.setdefault("_kept_functions", {})
    if key not in functions:
        functions[key] = make()
    return functions[key]


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 1024) -> np.ndarray:
    """Class probabilities.

    Parameters
    ----------
    model : keras.Model
        A classifier that ends in a soft-max or in logits.
    images : ndarray of shape (n, height, width, channels)
        Inputs, in [0, 1].
    batch_size : int, default=1024
        Inputs a forward pass.

    Returns
    -------
    ndarray of shape (n, classes), dtype=float32
        Non-negative, each row sums to 1.
    """
    forward = kept(model, "predict", lambda: _compile(model, [model.outputs[0]]))
    return _in_batches(forward, check_images(model, images), batch_size)[0]


def activations(
    model: keras.Model, images: np.ndarray, layer: str = "", batch_size: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Activation traces of one layer and class probabilities, from one forward pass.

    Parameters
    ----------
    model : keras.Model
        A classifier that ends in a soft-max or in logits.
    images : ndarray of shape (n, height, width, channels)
        Inputs, in [0, 1].
    layer : str, default=""
        Name of the layer; empty for the last hidden layer, that is, what the final dense layer
        takes in (dropout changes nothing at inference).
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
    tensor = trace_tensor(model, layer)
    forward = kept(model, f"traces {layer}", lambda: _compile(model, [tensor, model.outputs[0]]))
    traces, probabilities = _in_batches(forward, check_images(model, images), batch_size)
    return traces.reshape(len(traces), -1), probabilities


def trace_tensor(model: keras.Model, layer: str) -> Any:
    """The symbolic output of `layer`, or of the last hidden layer."""
    import keras

    final_layer(model)
    names = ", ".join(item.name for item in model.layers)
    if layer:
        for item in model.layers:
            if item.name == layer:
                return item.output
        raise ValueError(f"layer: the model has no layer {layer!r}; it has {names}")
    final = [item for item in model.layers if item.weights][-1:]
    if not final or not isinstance(final[0], keras.layers.Dense):
        raise ValueError(
            f"layer: the model does not end in a dense layer, so name the layer to trace: {names}"
        )
    return final[0].input


def _compile(model: keras.Model, outputs: list[Any]) -> Callable[[Any], list[Any]]:
    """A graph function from images to `outputs`, the last of them as probabilities."""
    import keras
    import tensorflow as tf

    part, softmax = keras.Model(model.inputs[0], outputs), ends_in_softmax(model)
    signature = [tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)]

    @tf.function(input_signature=signature)
    def forward(images):
        values = tf.nest.flatten(part(images, training=False))
        values = [tf.cast(value, tf.float32) for value in values]
        return values if softmax else [*values[:-1], tf.nn.softmax(values[-1])]

    return forward


def check_images(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """`images` as an array; ValueError if it does not have the shape that `model` takes in."""
    final_layer(model)
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
