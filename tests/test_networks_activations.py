"""One forward pass: traces and probabilities against Keras's own."""

import numpy as np
import pytest

from tests.own_networks import outputs_of
from utils.networks import architectures, files, runtime
from utils.networks.activations import activations, measured_activations, predict


@pytest.fixture(scope="module")
def model():
    runtime.start(seed=0, threads=1)
    return architectures.build("4 P | 16 D.5 6 D.5", (8, 8, 1), 3)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((50, 8, 8, 1), np.float32)


# The last hidden layer is dense_2: what stands between it and the output is dropout.
@pytest.mark.parametrize(
    ("layer", "same_as", "neurons"),
    [("", "dense_2", 6), ("dense_1", "dense_1", 16), ("conv_1", "conv_1", 8 * 8 * 4)],
)
def test_traces_equal_those_of_a_sub_model(model, images, layer, same_as, neurons):
    import keras

    naive = keras.Model(model.inputs[0], model.get_layer(same_as).output)
    traces, probabilities = activations(model, images, layer, batch_size=7)
    assert traces.shape == (50, neurons) and traces.dtype == np.float32
    expected = outputs_of(naive, images).reshape(50, -1)
    np.testing.assert_allclose(traces, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(probabilities, outputs_of(model, images), rtol=1e-5)


def test_measured_passes_give_the_same_and_what_they_take(model, images):
    parts = {"train": images, "adv_train": images[:20]}
    outcomes, costs = measured_activations(model, parts, "dense_1")
    for part, own in parts.items():
        for found, expected in zip(outcomes[part], activations(model, own, "dense_1"), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert 0 < costs[f"forward_{part}_seconds"] < 10
        assert costs[f"forward_{part}_energy_kwh"] >= 0
    assert len(costs) == 4


def test_predict_follows_the_weights_and_does_not_depend_on_the_batch(model, images):
    before = predict(model, images)
    np.testing.assert_allclose(predict(model, images, batch_size=13), before, rtol=1e-5)
    kept = model.get_weights()
    try:
        model.set_weights([3 * weight for weight in kept])
        np.testing.assert_allclose(predict(model, images), outputs_of(model, images), rtol=1e-5)
        assert not np.allclose(predict(model, images), before)
    finally:
        model.set_weights(kept)


def test_a_model_that_ends_in_logits_gives_probabilities():
    import keras

    layers = [keras.Input((2, 1, 1)), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    model.set_weights([np.array([[1.0, 0.0], [0.0, 1.0]]), np.zeros(2)])
    probabilities = predict(model, np.array([[[[1.0]], [[0.0]]]], np.float32))
    # Logits (1, 0): e / (e + 1) = 0.731059 and 1 / (e + 1) = 0.268941.
    np.testing.assert_allclose(probabilities, [[0.731059, 0.268941]], atol=1e-6)


def test_a_model_can_be_saved_after_use(model, images, tmp_path):
    expected = predict(model, images)
    files.save(model, tmp_path / "model.keras")
    np.testing.assert_array_equal(predict(files.load(tmp_path / "model.keras"), images), expected)


def test_errors(model, images):
    with pytest.raises(ValueError, match=r"no layer 'dense_9'; it has conv_1, .*probabilities"):
        activations(model, images, "dense_9")
    with pytest.raises(ValueError, match=r"expected shape \(n, 8, 8, 1\).*got \(50, 8, 8\)"):
        predict(model, images[..., 0])
    with pytest.raises(ValueError, match="n > 0"):
        predict(model, images[:0])
    with pytest.raises(ValueError, match="batch_size: expected at least 1"):
        predict(model, images, batch_size=0)
