"""APGD and Square: by hand on linear networks, against PGD, and where gradients are masked."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_attacks import accuracy, digits, linear
from utils.attacks.apgd import _periods, apgd
from utils.attacks.norm_ball import pgd
from utils.attacks.square import _sides, square
from utils.networks import runtime

__all__ = ["digits"]  # a fixture


def least_margin(weights, image, label, eps):
    """Of a linear network of two classes, the margin that no change within `eps` goes below."""
    slope = np.subtract(*np.array(weights, float).T) * (1 if label == 0 else -1)
    worst = np.clip(image.ravel() - eps * np.sign(slope), 0, 1)
    return worst, slope @ worst


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("attack", [apgd, square], ids=["apgd", "square"])
def test_the_worst_point_of_a_linear_network_is_found(attack, label):
    weights = [[1, 3], [2, -1]]
    image = np.array([0.45, 0.9], np.float32).reshape(1, 1, 2, 1)
    eps = 0.02  # too little to fool it: the way goes on to the corner
    worst, margin = least_margin(weights, image, label, eps)
    if margin < 0:
        return
    result = attack(linear(weights), image, np.array([label]), eps, 200)
    np.testing.assert_allclose(result.ravel(), worst, atol=1e-6)


def test_checkpoints_are_those_of_the_paper():
    assert _periods(100) == [22, 19, 16, 13, 10, 7, 6, 6, 1]
    assert _periods(1) == [1] and sum(_periods(7)) == 7


def test_squares_shrink_as_in_the_paper():
    sides = _sides(10_000, (32, 32), 0.8)
    assert sides[0] == 29  # sqrt(0.8 * 32 * 32)
    assert sides[9] == 29 and sides[10] == 20 and sides[-1] == 1
    assert len(sides) == 9_999 and (np.diff(sides) <= 0).all()
    assert _sides(4, (3, 3), 1.0).max() <= 3


def test_logits_that_are_equal_are_no_division_by_zero(digits):
    import keras

    model, images, labels = digits
    *layers, last = model.layers
    inputs = features = keras.Input(images.shape[1:])
    for layer in layers:
        features = layer(features)
    logits = keras.ops.matmul(features, last.kernel.numpy()) + last.bias.numpy()
    model = keras.Model(inputs, keras.ops.softmax(keras.ops.tanh(50 * logits)))
    # Most logits are exactly 1 or -1; with others than numbers the attack would be refused.
    result = apgd(model, images, labels, 0.05, 5, loss="dlr", targets=(labels + 1) % 10)
    assert np.abs(result - images).max() <= 0.05 + 1e-6


@pytest.mark.parametrize("attack", [apgd, square], ids=["apgd", "square"])
def test_results_are_within_the_budget_and_depend_on_the_seed_alone(digits, attack):
    model, images, labels = digits
    first = attack(model, images, labels, 0.05, 20, seed=1)
    assert np.abs(first - images).max() <= 0.05 + 1e-6
    assert first.min() >= 0 and first.max() <= 1 and first.dtype == np.float32
    assert np.array_equal(first, attack(model, images, labels, 0.05, 20, seed=1))
    assert not np.array_equal(first, attack(model, images, labels, 0.05, 20, seed=2))


def test_apgd_does_not_depend_on_the_batch(digits):
    model, images, labels = digits
    whole = apgd(model, images, labels, 0.05, 20, seed=1)
    parts = apgd(model, images, labels, 0.05, 20, seed=1, batch_size=50)
    fooled = [accuracy(model, each, labels) for each in (whole, parts)]
    assert fooled[0] == fooled[1]


@pytest.mark.parametrize("eps", [0.03, 0.08])
def test_apgd_finds_no_less_than_pgd(digits, eps):
    model, images, labels = digits
    found = accuracy(model, pgd(model, images, labels, eps, 50), labels)
    options = [{"loss": "ce"}, {"loss": "dlr"}, {"loss": "margin"}]
    left = [
        accuracy(model, apgd(model, images, labels, eps, 50, **option), labels)
        for option in options
    ]
    assert max(left) <= found + 0.01


def test_a_target_is_where_the_targeted_loss_leads(digits):
    from utils.networks.activations import predict

    model, images, labels = digits
    targets = (labels + 1) % 10
    attacked = apgd(model, images, labels, 0.4, 50, loss="dlr", targets=targets)
    other = apgd(model, images, labels, 0.4, 50, loss="dlr", targets=(labels + 2) % 10)
    reached = [
        (predict(model, each).argmax(axis=1) == targets).mean() for each in (attacked, other)
    ]
    assert reached[0] > reached[1] + 0.2


def test_square_fools_a_network_whose_gradient_is_masked(digits):
    """Rounded inputs have no gradient; the climbing attacks stay where they started."""
    import keras

    model, images, labels = digits
    inputs = keras.Input(images.shape[1:])
    masked = keras.Model(inputs, model(keras.ops.round(inputs * 8) / 8))
    clean = accuracy(masked, images, labels)
    climbed = accuracy(masked, apgd(masked, images, labels, 0.15, 20), labels)
    searched = accuracy(masked, square(masked, images, labels, 0.15, 300), labels)
    assert clean > 0.9 and searched < climbed - 0.1


def test_the_dlr_loss_does_not_depend_on_the_scale_of_the_logits(digits):
    import keras

    model, images, labels = digits
    scaled = keras.Model(model.inputs, 1e4 * model.layers[-1].input)
    left = [
        accuracy(m, apgd(m, images, labels, 0.1, 30, loss="dlr"), labels) for m in (model, scaled)
    ]
    assert left[1] <= left[0] + 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mse"}, "loss: expected one of ce, dlr, margin"),
        ({"steps": 0}, "steps: expected at least 1"),
        ({"eps": -1}, "eps: expected at least 0"),
    ],
)
def test_wrong_options_are_refused(digits, options, message):
    with pytest.raises(ValueError, match=message):
        apgd(*digits, **options)


def test_dlr_takes_enough_classes():
    runtime.start(seed=0, threads=1)
    image, label = np.full((1, 1, 2, 1), 0.5, np.float32), np.array([0])
    with pytest.raises(ValueError, match="expected at least 3 classes, got 2"):
        apgd(linear([[1, 3], [2, -1]]), image, label, loss="dlr")
