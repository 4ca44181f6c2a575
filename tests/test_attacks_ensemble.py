"""The worst case over several attacks, accuracy against the budget, and signs of failed attacks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_attacks import accuracy, digits, linear
from utils.attacks import doubts as of_doubts
from utils.attacks import ensemble
from utils.attacks.apgd import apgd
from utils.attacks.doubts import doubts
from utils.attacks.ensemble import (
    ENSEMBLE,
    Strength,
    WorstCase,
    accuracy_by_epsilon,
    l2_budget,
    worst_case,
)
from utils.attacks.norm_ball import fgsm, pgd
from utils.attacks.robustness import right
from utils.attacks.square import square
from utils.networks.activations import predict

__all__ = ["digits"]  # a fixture

EPS, FEW = 0.1, Strength(steps=20, restarts=1, targets=3, queries=50, searches=2)


@pytest.fixture(scope="module")
def found(digits):
    return worst_case(*digits, EPS, FEW)


# The worst case


def test_no_attack_alone_leaves_less(digits, found):
    model, images, labels = digits
    alone = [
        pgd(model, images, labels, EPS, FEW.steps),
        fgsm(model, images, labels, EPS),
        square(model, images, labels, EPS, FEW.queries),
        apgd(model, images, labels, EPS, FEW.steps),
        apgd(model, images, labels, EPS, FEW.steps, loss="margin"),
    ]
    least = min(accuracy(model, attacked, labels) for attacked in alone)
    assert 0.1 < found.right.mean() <= least


def test_it_is_known_what_each_image_fell_to(digits, found):
    model, images, labels = digits
    clean = right(model, images, labels)
    assert np.array_equal(found.fell_to == "clean", ~clean)
    assert np.array_equal(found.fell_to == "", found.right)
    assert set(found.fell_to) <= {"", "clean", *ENSEMBLE} and list(found.seconds) == [*ENSEMBLE]
    left = list(found.left().values())
    assert left == sorted(left, reverse=True) and left[-1] == found.right.mean()


def test_what_is_left_after_each_attack_by_hand():
    fell_to = np.array(["", "clean", "apgd_ce", "apgd_ce", "cw", "square", "", ""])
    left = WorstCase(fell_to == "", fell_to, {}).left()
    assert left == {"apgd_ce": 5 / 8, "apgd_targeted": 5 / 8, "square": 4 / 8, "cw": 3 / 8}


def test_images_that_have_fallen_are_not_attacked_again(digits, monkeypatch):
    model, images, labels = digits
    asked = {}

    def noting(name):
        attack = getattr(ensemble, name)

        def noted(network, x, y, *rest, **options):
            attacked = attack(network, x, y, *rest, **options)
            fooled = ~right(network, attacked, y)
            kind = f"{name} {options.get('loss', '')}"
            asked.setdefault(kind, []).append((len(x), fooled.sum()))
            return attacked

        monkeypatch.setattr(ensemble, name, noted)

    for name in ("apgd", "square", "carlini_wagner"):
        noting(name)
    strength = Strength(steps=5, restarts=3, targets=3, queries=5, searches=1)
    outcome = worst_case(model, images, labels, EPS, strength, l2=0.0)
    left = right(model, images, labels).sum()
    for kind in ("apgd ", "apgd dlr", "square "):
        for attacked, fooled in asked[kind]:
            assert attacked == left
            left -= fooled
    assert [len(calls) for calls in asked.values()] == [3, 3, 1, 1]
    assert asked["carlini_wagner "][0][0] == left == outcome.right.sum()  # its budget is 0


def test_the_budget_of_carlini_wagner_is_kept(digits):
    model, images, labels = digits
    none = worst_case(model, images, labels, 0.01, FEW, l2=0.0)
    assert "cw" not in set(none.fell_to)
    much = worst_case(model, images, labels, 0.01, FEW, l2=100.0)
    assert (much.fell_to == "cw").mean() > 0.5
    assert l2_budget(0.3, (28, 28, 1)) == pytest.approx(2.1)  # 0.3 * 28 / 4; the field's is 2
    assert l2_budget(8 / 255, (32, 32, 3)) == pytest.approx(0.43, abs=0.01)  # the field's is 0.5


def test_the_same_seed_gives_the_same(digits, found):
    again = worst_case(*digits, EPS, FEW)
    assert np.array_equal(again.fell_to, found.fell_to)


@pytest.mark.parametrize("weights", [[[1, 3], [2, -1]], [[1, 3, 0], [2, -1, 1]]], ids=["2", "3"])
def test_few_classes_are_attacked_exactly_on_a_linear_network(weights):
    """The targeted loss takes four. The worst corner is known, as the margin is linear."""
    model, eps = linear(weights), 0.1
    images = np.random.default_rng(0).random((200, 1, 2, 1), np.float32)
    labels = predict(model, images).argmax(axis=1)
    outcome = worst_case(model, images, labels, eps, FEW, l2=0.0)
    corners = np.array([[i, j] for i in (-1, 1) for j in (-1, 1)]) * eps
    points = np.clip(images.reshape(200, 1, 2) + corners, 0, 1)
    stands = ((points @ weights).argmax(axis=2) == labels[:, None]).all(axis=1)
    assert 20 < stands.sum() < 180
    assert np.abs(outcome.right.sum() - stands.sum()) <= 1  # rounding, at the border


# Accuracy against the budget


def test_accuracy_falls_with_the_budget_to_nothing(digits, found):
    model, images, labels = digits
    curve = accuracy_by_epsilon(model, images, labels, EPS, found, 20, (4, 0, 0.5, 1, 8))
    assert list(curve) == [0, 0.5, 1, 4, 8]
    values = list(curve.values())
    assert values == sorted(values, reverse=True)
    assert values[0] == accuracy(model, images, labels) and values[-1] == 0
    assert curve[1] == found.right.mean()
    half = apgd(model, images, labels, EPS / 2, 20)
    assert curve[0.5] == pytest.approx(accuracy(model, half, labels), abs=0.02)


def test_budgets_agree_with_the_exact_answer_on_a_linear_network():
    model, eps = linear([[1, 3], [2, -1]]), 0.1
    images = np.random.default_rng(0).random((300, 1, 2, 1), np.float32)
    labels = predict(model, images).argmax(axis=1)
    outcome = worst_case(model, images, labels, eps, FEW, l2=0.0)
    curve = accuracy_by_epsilon(model, images, labels, eps, outcome)
    flat = images.reshape(300, 2).astype(float)
    slope, own = np.array([-2, 3.0]), np.where(labels == 0, 1, -1)
    for multiple, measured in curve.items():
        worst = np.clip(flat - multiple * eps * own[:, None] * np.sign(slope), 0, 1) @ slope
        assert measured == pytest.approx((worst * own > 0).mean(), abs=1 / 300)


# Signs of a failed attack


def signs(model, images, labels, eps=EPS, strength=FEW):
    outcome = worst_case(model, images, labels, eps, strength)
    return outcome.right.mean(), " ".join(doubts(model, images, labels, eps, outcome, FEW.steps))


def behind(model, make):
    """The network behind a change of what it takes in."""
    import keras

    inputs = keras.Input(model.inputs[0].shape[1:])
    return keras.Model(inputs, model(make(inputs)))


def rounded(model):
    """Rounded pixels have no gradient."""
    import keras

    return behind(model, lambda x: keras.ops.round(x * 8) / 8)


def test_an_honest_network_raises_no_doubt(digits, found):
    assert doubts(*digits, EPS, found, FEW.steps) == []


def test_no_gradient_and_square_better_are_seen_on_rounded_inputs(digits):
    model, images, labels = digits
    strength = Strength(steps=20, restarts=1, targets=3, queries=300, searches=1)
    honest = worst_case(model, images, labels, 0.15, strength).right.mean()
    left, said = signs(rounded(model), images, labels, 0.15, strength)
    climbed = accuracy(rounded(model), apgd(rounded(model), images, labels, 0.15, 20), labels)
    assert left < climbed - 0.1  # the search still finds much of what the gradient does not show
    assert left > honest  # though not all: so it has to be said
    assert "The gradient is 0 on 100% of the images" in said
    assert "Square, which needs no gradient, fools" in said
    assert "With any change allowed" in said


def test_logits_that_are_probabilities_are_seen(digits):
    import keras

    model, images, labels = digits
    twice = keras.Model(model.inputs, keras.layers.Softmax()(model.outputs[0]))
    assert "The logits are probabilities already" in signs(twice, images, labels)[1]


def test_an_output_that_changes_from_call_to_call_is_seen(digits):
    import keras

    model, images, labels = digits
    source = keras.random.SeedGenerator(0)
    noise = keras.layers.Lambda(lambda x: x + 0.1 * keras.random.normal(x.shape[1:], seed=source))
    said = signs(behind(model, noise), images, labels)[1]
    assert "gives other numbers for the same images from call to call" in said


def test_more_steps_that_find_much_more_are_seen(digits):
    model, images, labels = digits
    outcome = WorstCase(*(2 * [right(model, images, labels)]), {})
    outcome = WorstCase(outcome.right, np.where(outcome.right, "", "clean"), {})
    said = doubts(model, images, labels, EPS, outcome, 5)
    assert len(said) == 1 and said[0].startswith("Four times the steps find much more: ")


def test_accuracy_that_does_not_fall_is_seen(digits, found, monkeypatch):
    monkeypatch.setattr(of_doubts, "apgd", lambda model, images, *_, **__: images)
    said = doubts(*digits, EPS, found, FEW.steps)
    assert len(said) == 1 and "(epsilon 0.5 and 1), 100% of" in said[0]


@pytest.mark.parametrize("scale", [1e4, 1e-4])
def test_scaled_logits_do_not_make_a_network_robust(digits, found, scale):
    """The gradient of the cross-entropy itself is 0 in float32 where they are this large."""
    import keras

    model, images, labels = digits
    last = model.layers[-1]
    assert last.name == "probabilities"
    kernel, bias = (scale * w for w in last.get_weights())
    dense = keras.layers.Dense(10, "softmax", name="probabilities")
    scaled = keras.Model(model.inputs, dense(last.input))
    dense.set_weights([kernel, bias])
    assert accuracy(scaled, images, labels) == accuracy(model, images, labels)
    strength = Strength(steps=20, restarts=1, targets=9, queries=50, searches=2)
    left, said = signs(scaled, images, labels, EPS, strength)
    assert left == pytest.approx(found.right.mean(), abs=0.03) and not said
