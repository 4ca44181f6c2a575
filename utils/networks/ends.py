"""A classifier's end: whether it gives probabilities, and what the logits behind them are.

What is taken as logits is shown to be them: their soft-max must be what the network gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.core.seeds import rng
from utils.networks.graph import Place, core, layer_names, places, single_output, tail

if TYPE_CHECKING:
    import keras

_N_TRIED = 16  # images


def kept(model: keras.Model, key: str, make: Callable[[], Any]) -> Any:
    """What `make` gave for `key` the first time, kept with `model` and freed with it.

    Compiled functions are traced once a model this way, not once a call. They read the model's
    variables, so they follow later changes of its weights.
    """
    functions = model.__dict__.setdefault("_kept_functions", {})
    if key not in functions:
        functions[key] = make()
    return functions[key]


def some_images(model: keras.Model, images: np.ndarray | None = None) -> np.ndarray:
    """Some of `images`, spread evenly, or random ones in [0, 1] that `model` takes in."""
    if images is not None and len(images):
        return np.asarray(images[:: -(-len(images) // _N_TRIED)], np.float32)
    shape = [size or 32 for size in model.inputs[0].shape[1:]]
    return rng(0, "trial images").random((8, *shape), np.float32)


@dataclass(frozen=True, eq=False)
class End:
    """What a classifier gives.

    Attributes
    ----------
    probabilities : bool
        Whether it gives probabilities; else it gives logits.
    words : str
        What is taken as logits, in a few words.
    logits : callable
        ``logits(images) -> tensor (n, classes)``, float32, in inference mode.
    """

    probabilities: bool
    words: str
    logits: Callable[[Any], Any]


def end_of(model: keras.Model, images: np.ndarray | None = None) -> End:
    """Find what a classifier gives, by what it computes on images.

    Parameters
    ----------
    model : keras.Model
        A sequential or functional classifier with one output. It may end in a soft-max: a layer,
        an activation or an operation, maybe in a nested network, maybe with operations behind it
        that change nothing. Probabilities that are made in another way, such as the mean of two
        networks, are taken too: their logarithms serve as logits. Everything else must be logits.
    images : ndarray of shape (n, height, width, channels), optional
        Images in [0, 1] to look at; without, what was found before counts, else random ones.

    Returns
    -------
    End

    Raises
    ------
    ValueError
        If the model does not show its graph, gives numbers that are not finite, or ends in
        something that is neither probabilities nor logits.
    """
    single_output(model)
    if images is not None:
        model.__dict__.get("_kept_functions", {}).pop("end", None)
    return kept(model, "end", lambda: _find(model, some_images(model, images)))


def require_repeatable(model: keras.Model, images: np.ndarray | None = None) -> None:
    """ValueError if a model gives other numbers for the same images when it is asked again."""
    import keras

    images = some_images(model, images)
    first, again = (keras.tree.flatten(model(images, training=False)) for _ in range(2))
    if not all(
        np.allclose(one, two, rtol=1e-3, atol=1e-6, equal_nan=True)
        for one, two in zip(first, again, strict=True)
    ):
        raise ValueError(
            "model: gives other numbers for the same images each time; a random layer in it, such "
            "as Dropout or RandomFlip, is called with training=True; leave that out"
        )


def gives_probabilities(model: keras.Model) -> bool:
    """Whether the model gives probabilities; otherwise it gives logits. See `end_of`."""
    return end_of(model).probabilities


def logits_of(model: keras.Model) -> Callable[[Any], Any]:
    """The model without its final soft-max, on the same weights.

    Gradients of saturated probabilities vanish in float32; those of the logits do not.

    Parameters
    ----------
    model : keras.Model
        See `end_of`.

    Returns
    -------
    callable
        ``logits(images) -> tensor (n, classes)``, float32, in inference mode; usable inside
        ``tf.function``. Later changes of the model's weights are seen.

    Raises
    ------
    ValueError
        See `end_of`.
    """
    return end_of(model).logits


def _find(model: keras.Model, images: np.ndarray) -> End:
    import keras

    outputs = model(images, training=False)
    if isinstance(outputs, list | tuple | dict) or len(outputs.shape) != 2:
        raise ValueError(
            f"model: expected one tensor (images, classes), got {_shape_of(outputs)} from "
            f"{model.name!r}"
        )
    outputs = keras.ops.convert_to_numpy(outputs).astype(np.float32)
    if not np.isfinite(outputs).all():
        raise ValueError("model: gives numbers that are not finite (NaN or infinite) for images")
    sums = outputs.sum(axis=1)
    shares = outputs.min() >= -1e-6 and np.ptp(sums) <= 1e-2 * abs(sums[0])  # half precision
    probabilities = bool(shares and abs(sums - 1).max() <= 5e-3)
    softmax = _softmax_at_the_end(model)
    if probabilities:
        if softmax and (before := _before(softmax)):
            logits = _float32(before, outputs.shape[1])
            found = _softmax(logits(images))
            if found.shape == outputs.shape and np.allclose(found, outputs, rtol=5e-3, atol=1e-4):
                return End(True, f"what the soft-max of {softmax.name} takes in", logits)
        return End(True, "the logarithms of its probabilities", _logarithms(model))
    if softmax:
        behind = _behind(model, softmax)
        why = (
            f"what stands behind it ({behind}) changes them; make the soft-max the end, or leave "
            "it out"
            if behind
            else "it is not taken over the classes; take it over the last axis"
        )
        raise ValueError(
            f"model: expected probabilities from the soft-max of {softmax.name!r}, got rows that "
            f"add up to {sums[0]:.4g}: {why}"
        )
    _check_logits(model, images, outputs, shares)
    return End(False, "its outputs", _float32(lambda x: model(x, training=False)))


def _shape_of(outputs: Any) -> str:
    return f"shape {tuple(outputs.shape)}" if hasattr(outputs, "shape") else type(outputs).__name__


def _softmax_at_the_end(model: keras.Model) -> Place | None:
    """The last soft-max, if nothing that has weights is behind it."""
    import keras

    for place in tail(model):
        operation = core(place.operation)
        activation = getattr(operation, "activation", None)
        if type(operation).__name__ == "Softmax" or activation is keras.activations.softmax:
            return place
        if getattr(operation, "weights", None):
            return None
    return None


def _behind(model: keras.Model, softmax: Place) -> str:
    names = []
    for place in tail(model):
        if place.name == softmax.name:
            break
        names.append(place.name)
    return layer_names(names[::-1])


def _before(softmax: Place) -> Callable[[Any], Any] | None:
    """From images to what a soft-max takes in; None if it is part of another kind of layer."""
    import keras

    layer, body = core(softmax.operation), softmax.function(softmax.taken_in[0])
    if not isinstance(layer, keras.layers.Dense):
        return None if getattr(layer, "weights", None) else body

    def before(images: Any) -> Any:
        features = body(images)
        product = keras.ops.matmul(features, keras.ops.cast(layer.kernel, features.dtype))
        return product if layer.bias is None else keras.ops.add(product, layer.bias)

    return before


def _float32(function: Callable[[Any], Any], classes: int = 0) -> Callable[[Any], Any]:
    import keras

    def logits(images: Any) -> Any:
        values = function(images)
        if classes and len(values.shape) != 2:  # behind the soft-max they are laid out in one row
            values = keras.ops.reshape(values, (-1, classes))
        return keras.ops.cast(values, "float32")

    return logits


def _logarithms(model: keras.Model) -> Callable[[Any], Any]:
    """Logits of probabilities that no soft-max at the end gives.

    Their soft-max are the probabilities, and their gradients those of the log-odds, until a
    probability is too small for float32 (the log-odds exceed 87).
    """
    import keras

    smallest = float(np.finfo(np.float32).tiny)

    def logits(images: Any) -> Any:
        values = keras.ops.cast(model(images, training=False), "float32")
        return keras.ops.log(keras.ops.maximum(values, smallest))

    return logits


def _softmax(logits: Any) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def _check_logits(
    model: keras.Model, images: np.ndarray, outputs: np.ndarray, shares: bool
) -> None:
    """Outputs are logits, unless an activation or their range shows that they are none."""
    last = None
    for place in tail(model):
        last = place
        if getattr(place.operation, "weights", None) or _activation(place) in _activations():
            break  # an activation is one, even where it changes none of these outputs
        values = np.asarray(place.function(place.taken_in[0])(images), np.float32)
        if values.size != outputs.size or not np.array_equal(values.ravel(), outputs.ravel()):
            break  # not one of those that change nothing, such as dropout
    if last is None:  # several come together, or the images are the outputs
        named, weights = "its last operation", False
    else:
        operation = core(last.operation)
        named = f"{last.name!r} ({type(operation).__name__})"
        weights = bool(getattr(operation, "weights", None))
        if (activation := _activation(last)) in _activations():
            raise ValueError(
                "model: expected a classifier that ends in soft-max, or in logits, got "
                f"{named} with {activation}; its layers: {layer_names(places(model))}"
            )
    if not weights and (shares or (outputs.min() >= 0 and outputs.max() <= 1)):
        raise ValueError(
            f"model: expected probabilities or logits, got numbers from {outputs.min():.3g} to "
            f"{outputs.max():.3g} whose rows add up to {outputs[0].sum():.4g}, from {named}; end "
            f"in a soft-max, or leave out what follows the logits; its layers: "
            f"{layer_names(places(model))}"
        )


def _activation(place: Place) -> str:
    """The name of an operation, or of its activation, in small letters."""
    operation = core(place.operation)
    activation = getattr(operation, "activation", operation)
    return getattr(activation, "__name__", type(activation).__name__).lower().replace("_", "")


def _activations() -> set[str]:
    """Names of Keras's activations that logits do not go through."""
    import keras

    names = {name.replace("_", "") for name in dir(keras.activations) if name[0] != "_"}
    return (names | {"prelu", "thresholdedrelu"}) - {"linear", "logsoftmax"}
