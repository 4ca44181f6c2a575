"""The study's convolutional networks: described in one line of text, built and compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from utils.core.seeds import rng

if TYPE_CHECKING:
    import keras

ARCHITECTURES: dict[str, str] = {
    "gtsrb": "32 32 P D.2 64 64 P D.2 128 128 P D.2 | 512 D.5 256 D.5",
    "intel": "32 P 64 P 128 P D.3 128 P D.3 D.5 | 512 D.5 100",
    "mnist": "32 64 P D.25 | 128 D.5",
    "cifar": "16 32 P 64 64 P D.25 128 P D.25 D.3 | 256 D.3 64",
    "fashion": "64 P 64 P D.25 | 128 D.5 64 D.5",
    "digits": "16 32 P D.25 | 64 D.5",
}
"""Data set -> its network, in the notation that `build` reads."""


def architecture_for(dataset: str, image_shape: Sequence[int], n_classes: int) -> str:
    """The study's architecture of a data set, or a sensible one for data of your own.

    Parameters
    ----------
    dataset : str
        Id of the data set.
    image_shape : (int, int, int)
        Height, width and channels.
    n_classes : int
        Number of classes.

    Returns
    -------
    str
        Notation as `build` reads it. For unknown data sets: up to three blocks of two convolutions
        and a pooling, as many as leave at least 4 x 4 values, then one hidden dense layer.
    """
    if dataset in ARCHITECTURES:
        return ARCHITECTURES[dataset]
    side, filters = min(image_shape[:2]), 32
    blocks: list[str] = []
    while side >= 8 and len(blocks) < 3:
        blocks.append(f"{filters} {filters} P D.2")
        side, filters = side // 2, filters * 2
    return f"{' '.join(blocks) or '32'} | {128 if n_classes <= 10 else 256} D.5"


def build(
    architecture: str,
    image_shape: Sequence[int],
    n_classes: int,
    learning_rate: float = 0.001,
    seed: int = 0,
) -> keras.Model:
    """Build and compile a classifier from one line of text.

    Parameters
    ----------
    architecture : str
        Layers in order, separated by spaces: a number is a 3 x 3 convolution with as many filters
        (same padding, ReLU), ``P`` a 2 x 2 max pooling, ``D.25`` a dropout of 25 %; ``|`` flattens,
        and numbers after it are dense layers (ReLU). A soft-max layer is added at the end.
    image_shape : (int, int, int)
        Height, width and channels.
    n_classes : int
        Number of classes.
    learning_rate : float, default=0.001
        Of the RMSprop optimizer.
    seed : int, default=0
        The same seed gives the same weights and dropout masks, whatever was built before.

    Returns
    -------
    keras.Model
        Compiled with sparse categorical cross-entropy and accuracy.

    Raises
    ------
    ValueError
        If the text cannot be read or pools more often than the image size allows.

    Examples
    --------
    >>> build("32 64 P D.25 | 128 D.5", (28, 28, 1), 10).count_params()
    1625866
    """
    import keras

    if len(image_shape) != 3 or n_classes < 2:
        raise ValueError(
            "model: expected image_shape (height, width, channels) and at least 2 classes, "
            f"got {tuple(image_shape)} and {n_classes}"
        )
    convolutions, _, dense = architecture.partition("|")
    tokens = [*convolutions.split(), "|", *dense.split(), str(n_classes)]
    # One seed a layer, drawn from `seed` alone, so that Keras's global generator plays no part.
    seeds = rng(seed, "layers").integers(2**31, size=len(tokens)).tolist()
    layers: list[keras.Layer] = [keras.Input(tuple(map(int, image_shape)), name="images")]
    counts: dict[str, int] = {}

    def add(kind: str, layer: Callable[..., keras.Layer], *args: Any, **options: Any) -> None:
        counts[kind] = counts.get(kind, 0) + 1
        layers.append(layer(*args, **options, name=f"{kind}_{counts[kind]}"))

    side, flat = min(image_shape[:2]), False
    for token, layer_seed in zip(tokens[:-1], seeds[:-1], strict=True):
        initializer = keras.initializers.GlorotUniform(seed=layer_seed)
        if token == "|" and not flat:
            flat = True
            add("flatten", keras.layers.Flatten)
        elif token == "P" and not flat:
            side //= 2
            if side < 1:
                raise ValueError(
                    f"architecture: {architecture!r} pools more often than images of "
                    f"{image_shape[0]} x {image_shape[1]} allow; drop a 'P'"
                )
            add("pool", keras.layers.MaxPooling2D)
        elif token.startswith("D.") and token[2:].isdigit():
            add("dropout", keras.layers.Dropout, float(token[1:]), seed=layer_seed)
        elif token.isdigit() and int(token) > 0:
            options = {"activation": "relu", "kernel_initializer": initializer}
            if flat:
                add("dense", keras.layers.Dense, int(token), **options)
            else:
                add("conv", keras.layers.Conv2D, int(token), 3, padding="same", **options)
        else:
            raise ValueError(
                f"architecture: cannot read {token!r} in {architecture!r}; expected numbers, "
                "'P' (before '|' only), 'D.25' and one '|', e.g. '32 64 P D.25 | 128 D.5'"
            )
    initializer = keras.initializers.GlorotUniform(seed=seeds[-1])
    layers.append(
        keras.layers.Dense(
            n_classes, activation="softmax", kernel_initializer=initializer, name="probabilities"
        )
    )
    return compile_model(keras.Sequential(layers, name="classifier"), learning_rate)


def compile_model(model: keras.Model, learning_rate: float = 0.001) -> keras.Model:
    """Compile `model` as the study does, with a fresh RMSprop optimizer, and return it."""
    import keras

    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate, name="rmsprop"),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
