"""Networks like those that people bring: every kind of layer with state, and every kind of end."""

from __future__ import annotations

import numpy as np

SHAPE = (8, 8, 3)
CLASSES = 3
IMAGES = np.random.default_rng(0).random((40, *SHAPE), np.float32)
LABELS = IMAGES.mean(axis=(1, 2)).argmax(axis=1)


def model_of(function):
    """A functional model; `function` gets Keras's layers and the symbolic images."""
    import keras

    images = keras.Input(SHAPE)
    return keras.Model(images, function(keras.layers, images))


def outputs_of(model, images=IMAGES):
    """What a network gives. `predict` of Keras would compile a function for each network."""
    return np.asarray(model(images, training=False), np.float32)


def body(layers, x):
    return layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(x))


def classifier(activation="softmax", name=None, shape=SHAPE):
    """A small network to nest in others."""
    import keras

    layers, images = keras.layers, keras.Input(shape)
    hidden = layers.Dense(6, activation="relu")(layers.Flatten()(layers.Conv2D(4, 3)(images)))
    return keras.Model(images, layers.Dense(CLASSES, activation=activation)(hidden), name=name)


def adapted(layer):
    layer.adapt(200 * IMAGES)
    return layer


def moved(model):
    """Moving statistics and the like as after training, not as at first."""
    rng = np.random.default_rng(1)
    for variable in model.non_trainable_variables:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, tuple(variable.shape)))
    return model


def _end(layers, x):
    return layers.Dense(CLASSES, activation="softmax")(layers.Flatten()(x))


def _shared(layers, images):
    conv = layers.Conv2D(3, 3, padding="same", activation="relu")
    return _end(layers, conv(layers.BatchNormalization()(conv(images))))


def _frozen(layers, images):
    import keras

    inner = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(200.0),
            adapted(layers.Normalization()),
            layers.Conv2D(2, 3),
            layers.BatchNormalization(),
        ]
    )
    inner.trainable = False
    return _end(layers, inner(images))


def _nested(layers, images):
    import keras

    inner = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(255.0),
            adapted(layers.Normalization()),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
        ]
    )
    return _end(layers, inner(layers.RandomFlip("horizontal")(images)))


LAYERS = {
    "normalization": lambda L, x: _end(L, adapted(L.Normalization())(L.Rescaling(255.0)(x))),
    "normalization inverse": lambda L, x: _end(L, L.Normalization(mean=0.5, variance=0.1)(x)),
    "batch normalization": lambda L, x: _end(L, L.BatchNormalization()(L.Conv2D(4, 3)(x))),
    "group normalization": lambda L, x: _end(L, L.GroupNormalization(2)(L.Conv2D(4, 3)(x))),
    "layer normalization": lambda L, x: _end(L, L.LayerNormalization()(L.Conv2D(4, 3)(x))),
    "spectral normalization": lambda L, x: _end(L, L.SpectralNormalization(L.Conv2D(4, 3))(x)),
    "discretization": lambda L, x: _end(L, L.Concatenate()(
        [x, adapted(L.Discretization(num_bins=4))(L.Rescaling(200.0)(x))])),
    "augmentation": lambda L, x: _end(L, L.RandomContrast(0.2)(L.RandomRotation(0.1)(
        L.RandomFlip()(x)))),
    "dropout": lambda L, x: _end(L, L.GaussianNoise(0.1)(
        L.SpatialDropout2D(0.2)(L.Dropout(0.3)(x)))),
    "separable": lambda L, x: _end(L, L.SeparableConv2D(4, 3)(L.DepthwiseConv2D(3)(x))),
    "shared": _shared,
    "frozen": _frozen,
    "nested": _nested,
    "mixed precision": lambda L, x: L.Dense(CLASSES, activation="softmax", dtype="mixed_float16")(
        L.BatchNormalization(dtype="mixed_float16")(
            L.Dense(5, activation="relu", dtype="mixed_float16")(L.Flatten()(x)))),
}  # fmt: skip
"""Name -> function of Keras's layers and the images; all end in a soft-max."""


def network(name):
    return moved(model_of(LAYERS[name]))


def _ops():
    import keras

    return keras.ops


def _dense(layers, x, units=CLASSES):
    return layers.Dense(units)(body(layers, x))


def _twice(layers, x):
    return model_of(lambda L, y: classifier()(L.Rescaling(2.0)(y)))(x)


def _by_hand(layers, x):
    powers = _ops().exp(_dense(layers, x))
    return powers / _ops().sum(powers, axis=-1, keepdims=True)


def _activation(name):
    import keras

    return getattr(keras.activations, name)


ENDS = {
    "nested": lambda L, x: classifier()(L.RandomFlip("horizontal")(x)),
    "nested twice": _twice,
    "nested logits and soft-max": lambda L, x: L.Softmax()(classifier(None)(x)),
    "operation": lambda L, x: _ops().softmax(_dense(L, x)),
    "function": lambda L, x: _activation("softmax")(_dense(L, x)),
    "temperature": lambda L, x: L.Softmax()(_dense(L, x) / 0.5),
    "dropout behind": lambda L, x: L.Dropout(0.5)(L.Softmax()(_dense(L, x))),
    "shape behind": lambda L, x: L.Flatten()(L.Softmax()(L.Reshape((1, CLASSES))(_dense(L, x)))),
    "scale of one behind": lambda L, x: L.Rescaling(1.0)(L.Softmax()(_dense(L, x))),
    "pooling": lambda L, x: L.Activation("softmax")(
        L.GlobalAveragePooling2D()(L.Conv2D(CLASSES, 3)(x))),
    "batch normalization": lambda L, x: L.Softmax()(L.BatchNormalization()(_dense(L, x))),
    "wrapped": lambda L, x: L.SpectralNormalization(L.Dense(CLASSES, "softmax"))(body(L, x)),
    "two heads": lambda L, x: L.Softmax()(L.Concatenate()([_dense(L, x, 1), _dense(L, x, 2)])),
    "mean of two": lambda L, x: L.Average()([classifier(name="a")(x), classifier(name="b")(x)]),
    "convolution": lambda L, x: L.Flatten()(L.Conv2D(CLASSES, 1, activation="softmax")(
        L.GlobalAveragePooling2D(keepdims=True)(x))),
    "by hand": _by_hand,
}  # fmt: skip
"""Ends that give probabilities."""

LOGITS = {
    "dense": _dense,
    "nested": lambda L, x: classifier(None)(x),
    "temperature": lambda L, x: _dense(L, x) / 0.5,
    "pooling": lambda L, x: L.GlobalAveragePooling2D()(L.Conv2D(CLASSES, 3)(x)),
    "mean of two": lambda L, x: L.Average()(
        [classifier(None, "a")(x), classifier(None, "b")(x)]),
    "log of soft-max": lambda L, x: L.Dense(CLASSES, activation="log_softmax")(body(L, x)),
}  # fmt: skip

HIGH = {"class_name": "Constant", "config": {"value": 100.0}}
OTHERS = {
    "soft-max over images": (
        lambda L, x: L.Softmax(axis=0)(L.Dense(CLASSES)(L.Flatten()(x))),
        "it is not taken over the classes; take it over the last axis",
    ),
    "nested sigmoid": (lambda L, x: classifier("sigmoid", "base")(x), "'base/dense"),
    "sigmoid, operation": (lambda L, x: _ops().sigmoid(_dense(L, x)), "(Sigmoid)"),
    "sigmoid, by hand": (lambda L, x: 1 / (1 + _ops().exp(-_dense(L, x))), "rows add up to"),
    "wrapped sigmoid": (lambda L, x: L.SpectralNormalization(L.Dense(CLASSES, "sigmoid"))(
        body(L, x)), "with sigmoid"),
    "wrapped twice": (lambda L, x: L.Flatten()(L.TimeDistributed(L.SpectralNormalization(
        L.Dense(CLASSES, "relu")))(L.Reshape((1, -1))(body(L, x)))), "with relu"),
    "tanh, then dropout": (lambda L, x: L.Dropout(0.1)(L.Dense(CLASSES, "tanh")(body(L, x))),
                           "with tanh"),
    "relu": (lambda L, x: L.ReLU()(_dense(L, x)), "(ReLU)"),
    "relu that changes nothing": (
        lambda L, x: L.ReLU()(L.Dense(CLASSES, bias_initializer=HIGH)(body(L, x))), "(ReLU)",
    ),
    "percent": (lambda L, x: L.Rescaling(100.0)(L.Softmax()(_dense(L, x))), "add up to 100"),
    "doubled": (lambda L, x: 2 * L.Softmax()(_dense(L, x)), "add up to 2"),
    "sum of two": (lambda L, x: L.Add()([classifier(name="a")(x), classifier(name="b")(x)]),
                   "a/dense"),
    "part of a soft-max": (lambda L, x: L.Softmax()(_dense(L, x, 5))[:, :CLASSES], "get_item"),
}  # fmt: skip
"""Ends that are refused, and what the message has."""
