"""Networks of the user's own: which are taken, and what is said of the others."""

from __future__ import annotations

import numpy as np
import pytest

from tests.own_networks import outputs_of
from utils.networks import files
from utils.networks.activations import activations, predict
from utils.networks.conventions import shown
from utils.networks.own import read_own_model
from utils.networks.training import Trainer, fresh_weights

pytestmark = pytest.mark.usefixtures("keras")

IMAGES = np.random.default_rng(0).random((12, 8, 8, 1), np.float32)


@pytest.fixture
def layers(keras):
    return keras.layers


def residual(keras, shape=(8, 8, 1), activation=None, classes=3):
    """Not like the study's networks: branches, batch normalization, scaling inside, logits."""
    layers = keras.layers
    first = images = keras.Input(shape)
    first = layers.Rescaling(2.0, -1.0)(first)
    first = layers.Conv2D(4, 3, padding="same", use_bias=False)(first)
    first = layers.ReLU()(layers.BatchNormalization()(first))
    second = layers.Conv2D(4, 3, padding="same", activation="relu")(first)
    pooled = layers.GlobalAveragePooling2D()(layers.Add()([first, second]))
    return keras.Model(images, layers.Dense(classes, activation=activation)(pooled))


def saved(model, path):
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(path)
    return path


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_any_classifier_is_taken_as_it_is(keras, tmp_path, suffix, activation):
    model = residual(keras, activation=activation)
    own = read_own_model(saved(model, tmp_path / f"own{suffix}"), (8, 8, 1), 3)
    outputs = outputs_of(model, IMAGES)
    expected = outputs if activation else np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    np.testing.assert_allclose(predict(own, IMAGES), expected, rtol=1e-5)
    assert activations(own, IMAGES)[0].shape == (12, 4)  # what the last dense layer takes in
    assert type(own.optimizer).__name__ == "RMSprop"


def test_a_model_for_images_of_any_size_gets_the_size_of_the_images(keras, tmp_path):
    model = residual(keras, (None, None, 1))
    own = read_own_model(saved(model, tmp_path / "own.keras"), (8, 8, 1), 3)
    assert own.inputs[0].shape == (None, 8, 8, 1)
    np.testing.assert_array_equal(own(IMAGES).numpy(), model(IMAGES).numpy())
    trainer = Trainer(own)
    list(trainer.fit(IMAGES, np.arange(12) % 3, np.arange(12), epochs=1, batch_size=6, seed=(0,)))


def test_frozen_layers_stay_as_they_are(keras, layers, tmp_path):
    backbone = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Flatten()]
    )
    backbone.trainable = False
    model = keras.Sequential([keras.Input((8, 8, 1)), backbone, layers.Dense(3, "softmax")])
    own = read_own_model(saved(model, tmp_path / "own.keras"), (8, 8, 1), 3)
    trainer = Trainer(own)
    trainer.reset(fresh_weights(own, 1))
    list(trainer.fit(IMAGES, np.arange(12) % 3, np.arange(12), epochs=2, batch_size=6, seed=(0,)))
    pairs = list(zip(own.get_weights(), trainer.model.get_weights(), strict=True))
    assert len(pairs) == 8
    assert all(np.array_equal(before, after) for before, after in pairs[:6])
    assert not np.array_equal(*pairs[6])


def bad_models(keras, layers):
    def flat(*last, shape=(8, 8, 1)):
        return keras.Sequential([keras.Input(shape), layers.Flatten(), *last])

    images, more = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    dense = layers.Dense(3)(layers.Flatten()(images))
    both = layers.Dense(3)(layers.Flatten()(layers.Add()([images, more])))
    return {
        "smaller images": (residual(keras, (6, 6, 1)), "add --set image_size=6"),
        "colour images": (residual(keras, (8, 8, 3)), "add --set color=rgb"),
        "both": (residual(keras, (6, 6, 3)), "add --set image_size=6 color=rgb"),
        "not square": (residual(keras, (6, 8, 1)), "only square models fit"),
        "five channels": (residual(keras, (8, 8, 5)), "a model for gray or colour images"),
        "classes": (residual(keras, classes=4), "gives (4,) numbers an image, the data set has 3"),
        "a vector": (flat(layers.Dense(3), shape=(64,)), "expected one input of shape (images,"),
        "two inputs": (keras.Model([images, more], both), "expected one input of shape"),
        "two outputs": (keras.Model(images, [dense, dense]), "classifier with one output"),
        "sigmoid": (flat(layers.Dense(3, "sigmoid")), "ends in soft-max, or in logits, got 'dense"),
        "colour images of any size": (residual(keras, (None, None, 3)), "add --set color=rgb"),
        "whole numbers": (
            keras.Sequential(
                [
                    keras.Input((8, 8, 1), dtype="uint8"),
                    layers.Rescaling(1 / 255),
                    layers.Flatten(),
                    layers.Dense(3),
                ]
            ),
            "does it take in uint8 instead of float32?",
        ),
        "code": (flat(layers.Lambda(lambda x: x), layers.Dense(3)), "cannot be loaded safely"),
    }


CASES = (
    "smaller images, colour images, both, not square, five channels, classes, a vector, "
    "two inputs, two outputs, sigmoid, colour images of any size, whole numbers, code"
).split(", ")


@pytest.mark.parametrize("case", CASES)
def test_other_models_are_refused_with_a_reason(keras, layers, tmp_path, case):
    cases = bad_models(keras, layers)
    assert list(cases) == CASES
    model, message = cases[case]
    model.save(tmp_path / "own.keras")
    with pytest.raises(ValueError) as error:
        read_own_model(tmp_path / "own.keras", (8, 8, 1), 3)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_code_in_an_older_file_is_refused(keras, layers, tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Lambda(lambda x: x)])
    model.save(tmp_path / "own.h5")
    with pytest.raises(ValueError, match="cannot be loaded safely"):
        read_own_model(tmp_path / "own.h5", (8, 8, 1), 3)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_damaged_files_are_refused(keras, tmp_path, suffix):
    path = tmp_path / f"own{suffix}"
    residual(keras).save(path)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"x" * 99):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model file: "):
            read_own_model(path, (8, 8, 1), 3)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_own_model(tmp_path / "none.keras", (8, 8, 1), 3)
    path.unlink()
    path.mkdir()  # as a SavedModel is
    with pytest.raises(ValueError, match=r"expected a \.keras or \.h5 file"):
        read_own_model(path, (8, 8, 1), 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_named(keras, tmp_path, value):
    inner = residual(keras)
    model = keras.Sequential([keras.Input((8, 8, 1)), inner])
    weights = inner.layers[-1].get_weights()
    weights[0][1, 2] = value
    inner.layers[-1].set_weights(weights)
    name = inner.layers[-1].name
    with pytest.raises(ValueError, match=rf"1 of the 12 numbers of .*{name}/kernel are NaN or inf"):
        read_own_model(saved(model, tmp_path / "own.keras"), (8, 8, 1), 3)


def test_networks_that_no_training_changes_are_refused(keras, layers, tmp_path):
    frozen = residual(keras)
    frozen.trainable = False
    with pytest.raises(ValueError, match="no weights that training may change"):
        read_own_model(saved(frozen, tmp_path / "own.keras"), (8, 8, 1), 3)
    whole = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, name="d")])
    whole.layers[-1].quantize("int8")
    whole.save(tmp_path / "own.keras")
    with pytest.raises(ValueError, match=r"layer 'd' is quantised \(int8\)"):
        read_own_model(tmp_path / "own.keras", (8, 8, 1), 3)


def test_gradients_that_vanish_are_refused(keras, layers, tmp_path):
    flat = [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, name="d")]
    sure = keras.Sequential(flat)
    sure.layers[-1].set_weights([1e4 * sure.layers[-1].get_weights()[0], np.zeros(3)])
    twice = keras.Model(sure.inputs[0], layers.Average()([layers.Softmax()(sure.outputs[0])] * 2))
    with pytest.raises(
        ValueError, match=r"logarithms of its probabilities .* is 0 for . of 8 images"
    ):
        read_own_model(saved(twice, tmp_path / "own.keras"), (8, 8, 1), 3)
    once = keras.Model(sure.inputs[0], layers.Softmax()(sure.outputs[0]))  # it has logits
    read_own_model(saved(once, tmp_path / "own.keras"), (8, 8, 1), 3)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".KERAS", ".H5", ".Keras", ".hdf5"])
def test_suffixes_in_any_case(keras, tmp_path, suffix):
    model = residual(keras)
    lower = saved(model, tmp_path / f"own{suffix.lower()}")
    path = lower.rename(tmp_path / f"mine{suffix}")
    np.testing.assert_array_equal(files.load(path)(IMAGES), model(IMAGES))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("nested", [False, True])
def test_state_of_layers_is_read_from_older_files(keras, layers, tmp_path, nested):
    """Keras itself sets the weights alone, and normalizes by 0 and 1."""
    scale = layers.Normalization()
    scale.adapt(50 * IMAGES)
    first = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(50.0), scale])
    start = [first] if nested else first.layers
    model = keras.Sequential([keras.Input((8, 8, 1)), *start, layers.Flatten(), layers.Dense(3)])
    own = read_own_model(saved(model, tmp_path / "own.h5"), (8, 8, 1), 3)
    np.testing.assert_allclose(own(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("values", ["1", "-1..1", "imagenet", "caffe"])
def test_a_gradient_is_looked_for_under_each_convention(tmp_path, values):
    """All neurons are off, unless the darkest pixels are as dark as in one convention."""
    import keras

    low = shown(np.zeros((1, 4, 4, 3), np.float32), values, "rgb").min()
    images = np.random.default_rng(0).random((8, 4, 4, 3), np.float32)
    tensor = keras.Input((4, 4, 3))
    dark = keras.layers.ReLU()(keras.layers.Rescaling(-1.0, 0.5 * low if low else 0.5)(tensor))
    model = keras.Model(tensor, keras.layers.Dense(2)(keras.layers.Flatten()(dark)))
    model.save(tmp_path / "own.keras")
    read_own_model(tmp_path / "own.keras", (4, 4, 3), 2, images=images)
