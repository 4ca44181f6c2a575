"""Adversarial training: what the inner attack does to a batch, and what training makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_retraining import CLASSES, OPTIONS, data, images, model, plain, trainer
from utils.attacks import fgsm
from utils.networks import runtime
from utils.networks.activations import NoNumbers
from utils.networks.training import Trainer, train
from utils.retraining import curves
from utils.retraining.curves import falling, retrain
from utils.retraining.evaluation import FreshAttack
from utils.retraining.hardening import InnerAttack
from utils.retraining.inputs import RetrainingData

__all__ = ["data", "model", "trainer"]  # fixtures


@pytest.fixture(scope="module", autouse=True)
def tensorflow():
    runtime.start(seed=0, threads=1)


@pytest.fixture(scope="module")
def trained(data):
    network = plain()
    train(network, data.x_train, data.y_train, data.x_val, data.y_val, epochs=30, batch_size=16)
    return network


def loss(network, x, y):
    own = np.take_along_axis(network(x, training=False).numpy(), y[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(own, 1e-12))


def gradient(network, x, y):
    """Of the cross-entropy, by Keras."""
    import keras
    import tensorflow as tf

    point = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        outputs = network(point, training=False)
        value = tf.reduce_sum(keras.losses.sparse_categorical_crossentropy(y, outputs))
    return tape.gradient(value, point).numpy()


def start(x, seed, reach):
    import tensorflow as tf

    noise = tf.random.stateless_uniform(x.shape, seed, -reach, reach).numpy()
    return np.clip(x + noise, 0, 1)


def test_one_step_is_fgsm_from_a_random_start(trained):
    x, y = images(20, seed=5)
    attacked = InnerAttack(0.1).compile(trained)(x, y, [3, 0]).numpy()
    begin = start(x, [3, 0], 0.1)
    change = begin + 0.125 * np.sign(gradient(trained, begin, y)) - x
    expected = np.clip(x + np.clip(change, -0.1, 0.1), 0, 1)
    close = np.isclose(attacked, expected, atol=1e-6)
    assert close.mean() > 0.99  # a gradient of nearly 0 may round to another sign
    assert np.abs(attacked - x).max() <= 0.1 + 1e-6
    assert loss(trained, attacked, y).mean() > loss(trained, begin, y).mean()


def test_several_steps_are_pgd_and_find_more(trained):
    x, y = images(40, seed=5)
    one, ten = (InnerAttack(0.1, steps=n).compile(trained)(x, y, [3, 0]).numpy() for n in (1, 10))
    assert np.abs(ten - x).max() <= 0.1 + 1e-6
    assert loss(trained, ten, y).mean() >= loss(trained, one, y).mean() - 1e-3


def test_n_fgsm_is_not_cut_back(trained):
    x, y = images(20, seed=5)
    x = np.clip(x, 0.4, 0.6)
    attacked = InnerAttack(0.1, noise=2).compile(trained)(x, y, [3, 0]).numpy()
    begin = start(x, [3, 0], 0.2)
    expected = begin + 0.1 * np.sign(gradient(trained, begin, y))
    assert np.isclose(attacked, expected, atol=1e-6).mean() > 0.99
    assert 0.2 < np.abs(attacked - x).max() <= 0.3 + 1e-6


@pytest.mark.parametrize(
    ("share", "sizes"), [(0, [64, 64, 22]), (0.5, [32, 32, 11]), (0.999, [1, 1, 1])]
)
def test_each_batch_has_its_clean_share(share, sizes):
    flags = InnerAttack(0.1, clean_share=share).attacked(150, 64)
    assert [flags[first : first + 64].sum() for first in (0, 64, 128)] == sizes


class Doubled:
    """In place of an attack: doubles the images, whatever the network."""

    def compile(self, model):
        return lambda images, labels, seed: 2 * images

    def attacked(self, n, batch_size):
        return np.ones(n, bool)


def weights_after(network, x, y, order, **options):
    trainer = Trainer(network)
    trainer.prepare(options.get("attack"))
    trainer.reset(network.get_weights(), 0, 1e-2)
    list(trainer.fit(x, y, order, epochs=2, batch_size=16, seed=[0, 1], **options))
    return trainer.model.get_weights()


def test_training_takes_what_the_attack_gives_and_nothing_else(data):
    network, order = plain(), np.arange(50)
    x = data.x_train / 4
    doubled = np.concatenate([2 * x[:30], x[30:]])
    expected = weights_after(network, doubled, data.y_train, order)
    found = weights_after(network, x, data.y_train, order, attack=Doubled(), n_attacked=30)
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    other = weights_after(network, x, data.y_train, order, attack=Doubled())
    assert not np.allclose(other[0], found[0], atol=1e-4)


def test_preparing_changes_nothing(data):
    network, order = plain(), np.arange(50)
    prepared, fresh = Trainer(network), Trainer(network)
    prepared.prepare(InnerAttack(0.1))
    for each in (prepared, fresh):
        fit = {"epochs": 1, "batch_size": 16, "seed": [0, 1], "attack": InnerAttack(0.1)}
        list(each.fit(data.x_train, data.y_train, order, **fit))
    for one, two in zip(prepared.model.get_weights(), fresh.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_rates_fall(data):
    assert falling(1.0, 4) == sorted(falling(1.0, 4), reverse=True)
    network, order = plain(), np.arange(50)
    rates = {"learning_rates": [1e-2, 0.0]}
    trainer = Trainer(network)
    trainer.reset(network.get_weights(), 0, 1e-2)
    list(trainer.fit(data.x_train, data.y_train, order, epochs=1, batch_size=16, seed=[0, 1]))
    one = trainer.model.get_weights()
    two = weights_after(network, data.x_train, data.y_train, order, **rates)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_hardened_networks_withstand_more():
    from sklearn.datasets import load_digits

    digits = load_digits(n_class=CLASSES)
    x, y = (digits.images[..., None] / 16).astype(np.float32), digits.target.astype(np.int64)
    network = plain(units=32)
    train(network, x[:400], y[:400], x[400:], y[400:], epochs=30, batch_size=16)
    pairs = {
        "train": (x[:400], y[:400]),
        "val": (x[400:550], y[400:550]),
        "test": (x[550:], y[550:]),
    }
    adversarial = {
        f"adv_{part}": (fgsm(network, *pair, 0.15), pair[1]) for part, pair in pairs.items()
    }
    parts = {
        f"{n}_{part}": v
        for part, pair in (pairs | adversarial).items()
        for n, v in zip("xy", pair, strict=True)
    }
    given = RetrainingData(**parts, attack_adv_test=np.array(["fgsm"] * len(y[550:])))
    rows = {}
    for configuration, n in ((2, 800), (4, 400)):
        options = {**OPTIONS, "points": 1, "epochs": 10, "hardening_epochs": 20}
        options["fresh"] = FreshAttack(0.15)
        table = retrain(network, configuration, np.arange(n), given, **options)
        rows[configuration] = table.iloc[1]
    assert rows[4]["accuracy_clean"] > table["accuracy_clean"][0] - 0.06
    for column in ("accuracy_fresh", "val_accuracy_fresh"):
        assert rows[4][column] > rows[2][column] + 0.05


@pytest.mark.parametrize(("beyond", "inputs"), [("leave_out", [0, 30, 60]), ("keep", [0, 60, 60])])
def test_inputs_beyond_the_prefix(data, trained, beyond, inputs):
    options = {**OPTIONS, "points": 2, "epochs": 2, "beyond_prefix": beyond}
    table = retrain(trained, 4, np.arange(60), data, **options)
    assert table["n_inputs"].tolist() == inputs
    assert table["n_prefix"].tolist() == [0, 30, 60]
    assert table["n_adversarial"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("configuration", "changes", "counts"),
    [
        (4, {"hardening_epochs": 3}, True),
        (4, {"inner": InnerAttack(0.05, clean_share=0.5)}, True),
        (4, {"beyond_prefix": "keep"}, True),
        (4, {"epochs": 5}, False),  # half of it counts
        (2, {"epochs": 5}, True),
        (2, {"hardening_epochs": 3}, False),
        (2, {"inner": InnerAttack(0.05, clean_share=0.5)}, False),
        (2, {"beyond_prefix": "keep"}, False),
        (2, {"fresh": FreshAttack(images=20)}, True),
        (4, {"fresh": FreshAttack(steps=5)}, True),
    ],
)
def test_a_curve_goes_on_where_what_changed_decides_nothing(
    monkeypatch, data, trained, configuration, changes, counts
):
    class Asked(Exception):
        pass

    seen = []

    def ask(settings, arrays, code):
        seen.append(settings)
        raise Asked

    monkeypatch.setattr(curves, "signature_of", ask)
    n = 60 if configuration == 4 else 99
    for change in ({}, changes):
        options = {**OPTIONS, "epochs": 4, "inner": InnerAttack(0.05), **change}
        with pytest.raises(Asked):
            retrain(trained, configuration, np.arange(n), data, **options)
    assert (seen[0] != seen[1]) == counts


def test_an_unknown_way_with_what_is_beyond_the_prefix_is_refused(data, trained):
    with pytest.raises(ValueError, match=r"beyond_prefix: expected one of .*'Keep'"):
        retrain(trained, 4, np.arange(60), data, **OPTIONS, beyond_prefix="Keep")


def test_configuration_5_takes_all_training_inputs(monkeypatch, data, trained):
    seen = []
    fit = Trainer.fit

    def spy(self, x, y, order, **options):
        seen.append((np.asarray(x)[order], len(order)))
        return fit(self, x, y, order, **options)

    monkeypatch.setattr(Trainer, "fit", spy)
    table = retrain(trained, 5, np.arange(39)[::-1], data, **{**OPTIONS, "points": 3})
    assert table["n_inputs"].tolist() == [0, 73, 86, 99]
    assert table["n_adversarial"].tolist() == table["n_prefix"].tolist() == [0, 13, 26, 39]
    first, n = seen[0]
    assert n == 73
    np.testing.assert_array_equal(first[:13], data.x_adv_train[::-1][:13])
    np.testing.assert_array_equal(first[13:], data.x_train)


def test_training_that_fails_is_said_and_the_other_points_go_on(data, trained):
    options = {**OPTIONS, "points": 2, "learning_rate": 1.0, "epochs": 3}
    poisoned = data.x_train.copy()
    poisoned[-1] = np.nan  # in the second prefix alone
    broken = type(data)(**{**vars(data), "x_train": poisoned})
    table = retrain(trained, 4, np.arange(60), broken, **options)
    assert table["problem"].tolist()[0] == table["problem"].tolist()[1] == ""
    assert "no numbers" in table["problem"][2]
    assert table["accuracy_clean"][2] == table["accuracy_fresh"][2] == 0


def test_a_network_that_gives_no_gradient_is_a_failed_point(data):
    """sqrt of 0 has a number, its gradient has none."""
    import keras

    image = keras.Input((8, 8, 1))
    nothing = keras.ops.sqrt(keras.ops.relu(image - 2.0))
    both = keras.layers.Flatten()(keras.layers.Concatenate()([image, nothing]))
    network = keras.Model(image, keras.layers.Dense(CLASSES, "softmax")(both))
    table = retrain(network, 2, np.arange(99), data, **{**OPTIONS, "points": 2, "epochs": 5})
    assert table["problem"].tolist() == ["the network gives no numbers where it is attacked"] * 3
    assert (table["accuracy_fresh"] == 0).all() and (table["accuracy_clean"] > 0).all()
    assert table["accuracy_robust"].tolist() == (table["accuracy_clean"] / 2).tolist()
    with pytest.raises(NoNumbers, match="gradients that are not finite"):
        fgsm(network, data.x_test, data.y_test)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, "epsilon: expected more than 0, got 0"),
        ({"steps": 0}, "inner_steps: expected at least 1, got 0"),
        ({"noise": -1}, "inner_noise: expected at least 0"),
        ({"clean_share": 1.0}, "clean_share: expected 0 to less than 1"),
    ],
)
def test_bad_inner_attacks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InnerAttack(**{"epsilon": 0.1, **options})
