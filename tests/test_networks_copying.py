"""Copies of networks compute the same, whatever layers they have; so do files and new starts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.own_networks import (
    CLASSES,
    IMAGES,
    LABELS,
    LAYERS,
    SHAPE,
    classifier,
    network,
    outputs_of,
)
from utils.networks import files
from utils.networks.activations import predict
from utils.networks.copying import copy_of, require_same
from utils.networks.precision import in_float32
from utils.networks.training import Trainer, fresh_weights
from utils.retraining.curves import retrain
from utils.retraining.inputs import RetrainingData

pytestmark = pytest.mark.usefixtures("keras")

HALF = "mixed precision"
CONSTANT = {"normalization", "frozen", "nested"}  # have weights that a fresh start keeps


def data():
    """All parts are the same images: what learns anything, knows them by heart."""
    parts = ("train", "val", "test", "adv_train", "adv_val", "adv_test")
    arrays = {f"x_{part}": IMAGES for part in parts} | {f"y_{part}": LABELS for part in parts}
    return RetrainingData(**arrays, attack_adv_test=np.full(len(LABELS), "fgsm"))


@pytest.mark.parametrize("name", LAYERS)
def test_copy_file_and_start_compute_the_same(name, tmp_path):
    model = network(name)
    expected = outputs_of(model)
    assert np.ptp(expected, axis=0).max() > 1e-3  # images make a difference
    np.testing.assert_array_equal(outputs_of(copy_of(model, IMAGES)), expected)
    files.save(model, tmp_path / "own.keras", IMAGES)
    np.testing.assert_array_equal(outputs_of(files.load(tmp_path / "own.keras")), expected)
    trainer = Trainer(model, IMAGES)
    tolerance = 5e-3 if name == HALF else 1e-5
    classes = predict(model, IMAGES).argmax(axis=1)
    for weights in (fresh_weights(model, 1), model.get_weights()):
        trainer.reset(weights)
        list(trainer.fit(IMAGES, LABELS, np.arange(40), epochs=1, batch_size=8, seed=(0,)))
        assert all(np.isfinite(w).all() for w in trainer.model.get_weights())
    trainer.reset(model.get_weights())
    np.testing.assert_allclose(outputs_of(trainer.model), expected, rtol=tolerance, atol=tolerance)
    assert (trainer.predict(IMAGES, LABELS)[1] == classes).mean() >= (0.9 if name == HALF else 1)
    np.testing.assert_array_equal(outputs_of(model), expected)  # never changed


@pytest.mark.slow
@pytest.mark.parametrize("configuration", [1, 2, 3])
@pytest.mark.parametrize("name", ["normalization", "nested", "batch normalization", HALF])
def test_point_0_is_the_original_model_and_the_kept_file_its_row(configuration, name, tmp_path):
    model, n = network(name), len(LABELS)
    options = {"order": np.arange(n if configuration == 3 else 2 * n), "data": data()}
    options |= {"points": 1, "batch_size": 8, "learning_rate": 0.01, "metric": "dsa"}
    before = (predict(model, IMAGES).argmax(axis=1) == LABELS).mean()
    table = retrain(
        model,
        configuration,
        **options,
        epochs=20,
        keep_models="best",
        models_dir=tmp_path,
        clean_accuracy=before,
    )
    assert table["accuracy_clean"][0] == before
    assert table["accuracy_clean"][1] > (0.7 if configuration == 1 else before)  # it learns
    kept = files.load(tmp_path / f"c{configuration}_dsa_p1.keras")
    assert (predict(kept, IMAGES).argmax(axis=1) == LABELS).mean() == table["accuracy_clean"][1]
    other = before + 0.4 if before < 0.5 else before - 0.4
    with pytest.raises(
        ValueError, match=r"right about 0\.\d+ of .* at point 0.*run step 0\.1 again"
    ):
        retrain(model, configuration, **options, clean_accuracy=other)


@pytest.mark.parametrize("name", ["separable", "nested", "dropout"])
def test_a_retraining_that_fails_is_never_right(name):
    """All are of class 0, which the largest of NaN would be."""
    same = vars(data()) | {f"y_{part}": 0 * LABELS for part in ("val", "test", "adv_test")}
    options = {"points": 1, "epochs": 2, "batch_size": 20, "learning_rate": 1e38}
    table = retrain(network(name), 2, np.arange(80), RetrainingData(**same), **options)
    last = table.iloc[1]
    assert np.isnan(last["loss"]) and last["accuracy"] == 0
    assert last["val_accuracy"] < 1 and last["accuracy_clean"] == 0


@pytest.mark.parametrize("name", LAYERS)
def test_fresh_weights_keep_what_no_training_changes(name):
    model = network(name)
    fresh, again = fresh_weights(model, 3), fresh_weights(model, 3)
    assert all(map(np.array_equal, fresh, again))
    frozen = {id(v) for layer in model.layers if not layer.trainable for v in layer.weights}
    kinds = set()
    for variable, old, new in zip(model.weights, model.get_weights(), fresh, strict=True):
        kind = variable.path.rsplit("/", 1)[-1]
        if id(variable) in frozen or kind in ("mean", "variance", "count", "vector_u"):
            kinds.add("kept")
            np.testing.assert_array_equal(new, old)
        elif kind.startswith("moving"):
            np.testing.assert_array_equal(new, float(kind == "moving_variance"))
        elif kind == "kernel":
            assert not np.array_equal(new, old)
    assert ("kept" in kinds) == (name in CONSTANT or name == "spectral normalization")


def test_a_trainer_does_not_take_the_state_of_another_model(keras):
    trainer = Trainer(network("normalization"), IMAGES)
    other = network("normalization").get_weights()
    trainer.reset(other)  # the same mean and variance
    other[0] = other[0] + 1
    with pytest.raises(ValueError, match=r"normalization.*/mean, which no training changes"):
        trainer.reset(other)


def test_a_copy_that_computes_something_else_is_refused(keras):
    model = network("normalization")
    faulty = keras.Model.from_config(model.get_config())
    faulty.set_weights(model.get_weights())  # as it is often done
    with pytest.raises(
        ValueError, match=r"computes something else .* is not trained: normalization"
    ):
        require_same(model, faulty, IMAGES, "the copy")
    require_same(model, model)


def test_a_file_that_computes_something_else_is_refused(keras, tmp_path):
    model = network("normalization")
    model.layers[2].mean = model.layers[2].mean + 1.0  # state that no weight holds
    with pytest.raises(ValueError, match=r"own\.keras, loaded again, computes something else"):
        files.save(model, tmp_path / "own.keras")
    with pytest.raises(ValueError, match="a copy of the model computes something else"):
        copy_of(model, IMAGES)


@pytest.mark.parametrize("mode", ["int8", "float8"])
@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
def test_quantised_networks_are_copied(keras, mode):
    layers = keras.layers
    model = keras.Sequential([keras.Input((12,)), layers.Dense(8), layers.Dense(4)])
    model.quantize(mode)
    x = np.random.default_rng(0).random((5, 12), np.float32)
    np.testing.assert_array_equal(copy_of(model, x)(x), model(x))


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16", "float64"])
def test_every_precision_becomes_float32_with_the_same_numbers(keras, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    single = in_float32(model, IMAGES)
    assert {v.dtype for v in single.weights} == {"float32"}
    assert single(IMAGES).dtype == "float32" and single.output_shape == (None, CLASSES)
    np.testing.assert_allclose(single(IMAGES), outputs_of(model), atol=2e-2)
    assert in_float32(single) is single and single.input_shape[1:] == SHAPE
