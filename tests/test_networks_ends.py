"""What is taken as the logits reproduces what the network gives, whatever its end is like."""

from __future__ import annotations

import numpy as np
import pytest

from tests.own_networks import (
    CLASSES,
    ENDS,
    IMAGES,
    LABELS,
    LOGITS,
    OTHERS,
    SHAPE,
    classifier,
    model_of,
    outputs_of,
)
from utils.attacks.norm_ball import pgd
from utils.networks.activations import activations, predict
from utils.networks.copying import copy_of
from utils.networks.ends import end_of, gives_probabilities, logits_of
from utils.networks.own import read_own_model
from utils.networks.training import Trainer

pytestmark = pytest.mark.usefixtures("keras")


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def read(model, path):
    model.save(path)
    return read_own_model(path, SHAPE, CLASSES, images=IMAGES)


@pytest.mark.parametrize("name", ENDS)
def test_soft_max_of_the_logits_is_what_the_network_gives(name, tmp_path):
    model = model_of(ENDS[name])
    own = read(model, tmp_path / "own.keras")
    expected = outputs_of(model)
    assert gives_probabilities(own)
    np.testing.assert_allclose(predict(own, IMAGES), expected, rtol=1e-4, atol=1e-6)
    for _ in range(2):
        logits = logits_of(own)(IMAGES).numpy()
        np.testing.assert_allclose(softmax(logits), outputs_of(own), atol=1e-5)
        own.set_weights([1.5 * weight for weight in own.get_weights()])  # is followed
    fooled = pgd(own, IMAGES, predict(own, IMAGES).argmax(axis=1), 0.1, 3)
    assert np.abs(fooled - IMAGES).max() > 0.01  # there is a gradient to follow
    trainer = Trainer(own, IMAGES)
    settings = {"epochs": 2, "batch_size": 20, "seed": (0,)}
    losses = [loss for loss, _ in trainer.fit(IMAGES, LABELS, np.arange(40), **settings)]
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_taken_as_they_are(name, tmp_path):
    own = read(model_of(LOGITS[name]), tmp_path / "own.keras")
    assert not gives_probabilities(own)
    np.testing.assert_array_equal(logits_of(own)(IMAGES), own(IMAGES, training=False))
    expected = softmax(outputs_of(own))
    np.testing.assert_allclose(predict(own, IMAGES), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OTHERS)
def test_other_ends_are_refused_by_name(name, tmp_path):
    function, said = OTHERS[name]
    with pytest.raises(ValueError) as error:
        read(model_of(function), tmp_path / "own.keras")
    text = str(error.value)
    assert text.startswith("model file: ") and "\n" not in text and said in text


def test_the_end_is_not_the_last_of_the_list_of_layers(keras):
    layers = keras.layers
    images = keras.Input(SHAPE)
    probabilities = layers.Dense(CLASSES, activation="softmax", name="head")(
        layers.Flatten()(images)
    )
    side = layers.Dense(CLASSES, name="side")(layers.Flatten()(images))
    model = keras.Model(images, layers.Average()([side, side]) * 0 + probabilities)
    end = end_of(model, IMAGES)
    np.testing.assert_allclose(softmax(end.logits(IMAGES).numpy()), model(IMAGES), atol=1e-6)


def test_equal_outputs_do_not_mislead(keras):
    """A network that knows nothing: the soft-max of its probabilities are these again."""
    options = {"activation": "softmax", "kernel_initializer": "zeros", "name": "head"}
    model = model_of(lambda L, x: L.Dropout(0.1)(L.Dense(CLASSES, **options)(L.Flatten()(x))))
    end = end_of(model, IMAGES)
    assert "head" in end.words and np.all(end.logits(IMAGES).numpy() == 0)


@pytest.mark.parametrize(
    ("name", "neurons"),
    [("", 6), ("base/dense_a", 6), ("base/conv", 6 * 6 * 4), ("scale", 8 * 8 * 3), ("base", 3)],
)
def test_traces_of_layers_within_nested_networks(keras, name, neurons):
    layers, inner = keras.layers, keras.Input(SHAPE)
    hidden = layers.Dense(6, "relu", name="dense_a")(
        layers.Flatten()(layers.Conv2D(4, 3, name="conv")(inner))
    )
    base = keras.Model(inner, layers.Dense(CLASSES, "softmax")(hidden), name="base")
    model = model_of(lambda L, x: base(L.Rescaling(2.0, name="scale")(x)))
    traces, probabilities = activations(model, IMAGES, name)
    assert traces.shape == (40, neurons)
    np.testing.assert_allclose(probabilities, outputs_of(model), rtol=1e-5)
    parts = {"": hidden, "base/dense_a": hidden, "base/conv": base.get_layer("conv").output}
    if name in parts:
        expected = keras.Model(inner, parts[name])(2 * IMAGES).numpy().reshape(40, -1)
    else:
        expected = 2 * IMAGES.reshape(40, -1) if name == "scale" else probabilities
    np.testing.assert_allclose(traces, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(
        ValueError,
        match=r"no layer 'conv'; do you mean 'base/conv'\?; it has .*"
        r"scale, base, base/conv",
    ):
        activations(model, IMAGES, "conv")


HEADS = {
    "wrapped": lambda L, x: L.SpectralNormalization(L.Dense(CLASSES, "softmax"))(x),
    "einsum": lambda L, x: L.Softmax()(L.EinsumDense("ab,bc->ac", CLASSES)(x)),
    "normalised": lambda L, x: L.Softmax()(L.BatchNormalization()(L.Dense(CLASSES)(x))),
    "dense": lambda L, x: L.Dense(CLASSES, "softmax")(L.Dropout(0.1)(x)),
}


@pytest.mark.parametrize("units", [7, CLASSES])
@pytest.mark.parametrize("head", HEADS)
def test_the_last_hidden_layer_is_what_the_head_takes_in(head, units):
    model = model_of(
        lambda L, x: HEADS[head](L, L.Dense(units, "relu", name="hidden")(L.Flatten()(x)))
    )
    expected = model.__class__(model.inputs[0], model.get_layer("hidden").output)(IMAGES)
    np.testing.assert_allclose(activations(model, IMAGES)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_head_that_does_not_show_its_hidden_layer_asks_for_a_name(dimensions):
    """Convolution and dense layer have as many outputs as the head: neither is taken for it."""
    model = model_of(
        lambda L, x: (
            L.Softmax()(
                L.Flatten()(
                    L.Conv1D(CLASSES, 1)(L.Reshape((1, CLASSES))(L.Dense(CLASSES)(L.Flatten()(x))))
                )
            )
            if dimensions == 1
            else L.Softmax()(L.GlobalAveragePooling2D()(L.Dense(CLASSES)(L.Conv2D(CLASSES, 3)(x))))
        )
    )
    with pytest.raises(ValueError, match="does not end in a dense layer, so name the layer"):
        activations(model, IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetB0", "MobileNetV2"])
@pytest.mark.parametrize("top", [True, False])
def test_networks_of_keras_applications(keras, tmp_path, name, top):
    layers, images = keras.layers, keras.Input((32, 32, 3))
    build = getattr(keras.applications, name)
    if top:
        result = build(include_top=True, weights=None, classes=4, input_shape=(32, 32, 3))(images)
    else:
        base = build(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg")
        result = layers.Dense(4, activation="softmax")(base(layers.RandomFlip()(images)))
    model = keras.Model(images, result)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt(np.random.default_rng(1).random((9, 32, 32, 3)) * 255)
    model.save(tmp_path / "own.keras")
    some = np.random.default_rng(0).random((8, 32, 32, 3), np.float32)
    own = read_own_model(tmp_path / "own.keras", (32, 32, 3), 4, images=some)
    expected = outputs_of(model, some)
    np.testing.assert_allclose(predict(own, some), expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(softmax(logits_of(own)(some).numpy()), expected, atol=1e-4)
    assert activations(own, some)[0].shape == (8, 1280)
    np.testing.assert_array_equal(copy_of(own, some)(some), own(some))


def test_nothing_but_a_network_that_shows_its_graph(keras):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="expected a built sequential or functional"):
        end_of(Own())
    with pytest.raises(ValueError, match="not finite"):
        end_of(classifier(), np.full((2, *SHAPE), np.nan, np.float32))
