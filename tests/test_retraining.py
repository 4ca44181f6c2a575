"""Retraining: order, prefixes, the loop against Keras, and what must not leak."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from tests.own_networks import outputs_of
from tests.test_retraining_results import row
from utils.core.code import NO_NUMBERS
from utils.core.files import checksum, write_json
from utils.core.paths import Workspace
from utils.core.seeds import rng
from utils.machine.provenance import facts
from utils.networks import architectures, files, runtime
from utils.networks.training import Trainer, architecture_of, fresh_weights, train
from utils.retraining import curves, store
from utils.retraining.configurations import configuration_of
from utils.retraining.curves import retrain
from utils.retraining.inputs import RetrainingData, load_data
from utils.retraining.orders import order_for, order_inputs, prefix_sizes
from utils.retraining.outcomes import unpack
from utils.retraining.results import COST
from utils.retraining.store import Curve, provenance_of, signature_of

pytestmark = pytest.mark.usefixtures("keras")

SHAPE, CLASSES = (8, 8, 1), 4
OPTIONS = {"points": 4, "epochs": 2, "batch_size": 16, "seed": 5, "dataset": "tiny"}


def images(n, seed):
    """Noise, brighter in the quarter of the image that tells the class."""
    rng = np.random.default_rng([seed, n])
    y = rng.integers(CLASSES, size=n)
    x = rng.random((n, *SHAPE), dtype=np.float32) * 0.6
    for i, label in enumerate(y):
        row, column = 4 * (label // 2), 4 * (label % 2)
        x[i, row : row + 4, column : column + 4] += 0.2
    return x, y


@pytest.fixture(scope="module")
def data():
    parts = {}
    for seed, (part, n) in enumerate(
        {"train": 60, "val": 30, "test": 41, "adv_train": 39, "adv_val": 23, "adv_test": 37}.items()
    ):
        parts[f"x_{part}"], parts[f"y_{part}"] = images(n, seed)
    return RetrainingData(**parts, attack_adv_test=np.array(["fgsm"] * 20 + ["cw"] * 17))


@pytest.fixture(scope="module")
def model(data):
    """A small original model with dropout, after one epoch."""
    model = architectures.build("4 P D.25 | 8 D.5", SHAPE, CLASSES, seed=1)
    train(model, data.x_train, data.y_train, data.x_val, data.y_val, epochs=1, batch_size=16)
    return model


@pytest.fixture(scope="module")
def trainer(model):
    return Trainer(model)


@pytest.fixture(scope="module")
def order():
    return order_inputs(np.random.default_rng(3).random(99), seed=0)


def validation(data):
    """Clean and adversarial validation inputs."""
    x = np.concatenate([data.x_val, data.x_adv_val])
    return x, np.concatenate([data.y_val, data.y_adv_val])


def plain(units=6):
    """A model without any randomness."""
    import keras

    keras.utils.set_random_seed(9)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def normalized():
    import keras

    return keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def same(a, b):
    """Equal tables, timings aside."""
    drop = [column for column in COST if column in a.columns]
    pd.testing.assert_frame_equal(a.drop(columns=drop), b.drop(columns=drop), check_exact=True)


def equal_weights(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# Order and prefixes


def test_highest_score_comes_first():
    assert order_inputs(np.array([0.2, -1.0, 3.0, 0.5]), seed=0).tolist() == [2, 3, 0, 1]


def test_order_is_a_permutation_and_ties_depend_on_the_seed_alone():
    scores = np.repeat([1.0, 2.0], 50)
    order = order_inputs(scores, seed=0)
    assert sorted(order) == list(range(100))
    assert set(order[:50]) == set(range(50, 100))
    assert order[:50].tolist() != sorted(order[:50])
    np.random.seed(123)  # noqa: NPY002 - the global generator must not matter
    assert order_inputs(scores, seed=0).tolist() == order.tolist()
    assert order_inputs(scores, seed=1).tolist() != order.tolist()


def test_ties_do_not_favour_any_position_in_the_file():
    first = [order_inputs(np.zeros(10), seed)[0] for seed in range(500)]
    # each of 10 places is first in 50 of 500 orders on average, standard deviation 6.7
    assert np.bincount(first, minlength=10).min() > 20


@pytest.mark.parametrize("scores", [[np.nan, 1.0], [1.0, -np.inf], [[1.0, 2.0]]])
def test_scores_must_be_finite_and_in_a_row(scores):
    with pytest.raises(ValueError, match="scores: expected"):
        order_inputs(np.array(scores), seed=0)


def test_configuration_3_orders_the_adversarial_part_only():
    scores = np.array([9.0, 8.0, 1.0, 3.0, 2.0])
    assert order_for(3, scores, n_train=2, seed=0).tolist() == [1, 2, 0]
    assert order_for(2, scores, n_train=2, seed=0).tolist() == [0, 1, 3, 4, 2]
    with pytest.raises(ValueError, match="adversarial input, got 5"):
        order_for(3, scores, n_train=5, seed=0)
    with pytest.raises(ValueError, match="configuration: expected one of 1, 2, 3, 4, 5, got 6"):
        order_for(6, scores, n_train=2, seed=0)


def test_prefixes_grow_in_equal_steps_to_the_whole():
    # 2.5, 5, 7.5, 10, halves rounded up
    assert prefix_sizes(10, 4) == [3, 5, 8, 10]
    for n, points in [(7, 7), (1000, 20), (56_001, 10), (5, 1)]:
        sizes = prefix_sizes(n, points)
        assert len(sizes) == points and sizes[-1] == n
        steps = np.diff([0, *sizes])
        assert steps.min() >= 1 and np.ptp(steps) <= 1
    for points in (0, 11):
        with pytest.raises(ValueError, match="points: expected 1 to 10"):
            prefix_sizes(10, points)


def test_retraining_inputs_hold_training_and_adversarial_inputs_alone(data):
    for configuration in (1, 2):
        x, y = configuration_of(configuration).inputs(data)
        assert np.array_equal(x[:60], data.x_train) and np.array_equal(x[60:], data.x_adv_train)
        assert y.tolist() == [*data.y_train, *data.y_adv_train]
    x, y = configuration_of(3).inputs(data)
    assert np.array_equal(x, data.x_adv_train) and np.array_equal(y, data.y_adv_train)


def test_load_reads_the_files_of_the_earlier_steps(data, tmp_path):
    workspace = Workspace(tmp_path)
    about = {"class_names": list("abcd"), "n_classes": 4, "image_shape": [8, 8, 1]}
    about["n_images"] = {"train": 60, "val": 30, "test": 41}
    write_json(workspace.data("tiny") / "dataset.json", about)
    with pytest.raises(FileNotFoundError, match=r"x_train\.npy does not exist; run step 0\.0"):
        load_data(workspace, "tiny", 3)
    for name, array in vars(data).items():
        adversarial = "adv" in name
        folder = workspace.adversarial("tiny", 3) if adversarial else workspace.data("tiny")
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", array)
    again = load_data(workspace, "tiny", 3)
    assert all(np.array_equal(array, getattr(again, name)) for name, array in vars(data).items())
    with pytest.raises(FileNotFoundError, match=r"run step 1\.1"):
        load_data(workspace, "tiny", 4)
    np.save(workspace.adversarial("tiny", 3) / "x_adv_val.npy", data.x_adv_val * 2)
    with pytest.raises(ValueError, match=r"in \[0, 1\].*run step 1\.1 again with --force"):
        load_data(workspace, "tiny", 3)


def test_arrays_that_do_not_fit_are_refused(data):
    with pytest.raises(ValueError, match="val: expected"):
        dataclasses.replace(data, y_val=data.y_val[:-1])
    with pytest.raises(ValueError, match="attack_adv_test: expected shape"):
        dataclasses.replace(data, attack_adv_test=data.attack_adv_test[1:])


# The loop


def test_loop_equals_keras_fit_on_the_same_batches(data):
    import keras

    x, y = data.x_train[:50], data.y_train[:50]  # batches of 16, 16, 16 and 2
    ours = plain()
    start = ours.get_weights()
    trainer = Trainer(ours)
    trainer.reset(start, learning_rate=0.01)
    history = list(trainer.fit(x, y, np.arange(50), epochs=3, batch_size=16, seed=[5, 1]))
    keras_model = plain()
    keras_model.set_weights(start)
    architectures.compile_model(keras_model, 0.01)
    for epoch in range(3):
        shuffled = rng(5, "shuffle", 1, epoch).permutation(50)
        log = keras_model.fit(
            x[shuffled], y[shuffled], batch_size=16, epochs=1, shuffle=False, verbose=0
        )
        assert history[epoch][0] == pytest.approx(log.history["loss"][0], rel=1e-4)
        assert history[epoch][1] == pytest.approx(log.history["accuracy"][0], abs=1e-6)
    for a, b in zip(trainer.model.get_weights(), keras_model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    losses, classes = trainer.predict(data.x_test, data.y_test)
    probabilities = outputs_of(trainer.model, data.x_test)
    assert classes.tolist() == probabilities.argmax(axis=1).tolist()
    expected = keras.ops.mean(
        keras.losses.sparse_categorical_crossentropy(data.y_test, probabilities)
    )
    assert losses.mean() == pytest.approx(float(expected), rel=1e-4)


def test_loss_stays_finite_and_exact_when_the_soft_max_saturates(data):
    model = plain()
    weights = model.get_weights()
    weights[-1] = np.array([0, 200, 0, 0], np.float32)  # class 1 gets a probability of 1
    weights[-2] = np.zeros_like(weights[-2])
    trainer = Trainer(model)
    trainer.reset(weights)
    losses, _ = trainer.predict(data.x_test, data.y_test)
    # minus log soft-max = 200 for the other classes; clipped probabilities would give 16
    assert losses.tolist() == [0.0 if label == 1 else 200.0 for label in data.y_test]


def test_model_that_ends_in_logits_trains_alike(data):
    import keras

    soft = plain()
    logits = keras.Sequential(
        [
            keras.Input(SHAPE),
            *[
                type(i).from_config(
                    {**i.get_config(), **({"activation": "linear"} if i is soft.layers[-1] else {})}
                )
                for i in soft.layers
            ],
        ]
    )
    results = []
    for model in (soft, logits):
        trainer = Trainer(model)
        trainer.reset(soft.get_weights())
        list(
            trainer.fit(
                data.x_train, data.y_train, np.arange(60), epochs=1, batch_size=16, seed=[0]
            )
        )
        results.append(trainer.model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_reset_restores_weights_optimizer_and_random_generators(data, trainer, model):
    def state():
        return [v.numpy() for v in [*trainer.model.variables, *trainer.optimizer.variables]]

    start = model.get_weights()
    trainer.reset(start, seed=1, learning_rate=0.002)
    before = state()
    slots = [v for v in trainer.optimizer.variables if v is not trainer.optimizer.learning_rate]
    assert all(not v.numpy().any() for v in slots)
    list(trainer.fit(data.x_train, data.y_train, np.arange(60), epochs=1, batch_size=16, seed=[0]))
    assert all(v.numpy().any() for v in slots)
    changed = [not np.array_equal(a, b) for a, b in zip(before, state(), strict=True)]
    assert changed.count(False) == 1  # the learning rate
    trainer.reset(start, seed=1, learning_rate=0.002)
    assert equal_weights(before, state())
    assert float(trainer.optimizer.learning_rate.numpy()) == pytest.approx(0.002)


def test_no_tracing_for_other_sizes(data, trainer, model):
    trainer.reset(model.get_weights())
    for n, batch in [(60, 16), (7, 3), (33, 64)]:
        list(
            trainer.fit(
                data.x_train, data.y_train, np.arange(n), epochs=1, batch_size=batch, seed=[0]
            )
        )
        trainer.predict(data.x_test[:n], data.y_test[:n])
    assert [e.experimental_get_tracing_count() for e in trainer._epochs.values()] == [1]
    assert trainer._forward.experimental_get_tracing_count() == 1


def test_train_returns_the_history_and_depends_on_the_seed_alone(data):
    def run(seed):
        model = architectures.build("4 P D.25 | 8 D.5", SHAPE, CLASSES, seed=1)
        arrays = (data.x_train, data.y_train, data.x_val, data.y_val)
        lines = []
        table = train(model, *arrays, epochs=3, batch_size=16, seed=seed, progress=lines.append)
        return table, model.get_weights(), lines

    table, weights, lines = run(0)
    architectures.build("8 | 8", SHAPE, CLASSES)  # another model in between changes nothing
    again, same_weights, _ = run(0)
    _, others, _ = run(1)
    assert table.columns.tolist() == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert table["epoch"].tolist() == [1, 2, 3]
    pd.testing.assert_frame_equal(table, again, check_exact=True)
    assert equal_weights(weights, same_weights) and not equal_weights(weights, others)
    assert len(lines) == 3 and lines[0].startswith("epoch 1 of 3: validation accuracy 0.")


def test_training_learns(data):
    arrays = (data.x_train, data.y_train, data.x_val, data.y_val)
    for seed in range(3):  # of no seed in particular; without dropout, the loss is hardly noisy
        table = train(plain(), *arrays, epochs=8, batch_size=16, learning_rate=0.01, seed=seed)
        assert table["loss"].iloc[-1] < 0.8 * table["loss"].iloc[0]


def test_architecture_tells_networks_apart_by_their_layers_alone(model):
    def described(text, seed=0):
        return architecture_of(architectures.build(text, SHAPE, CLASSES, seed=seed))

    plain(), normalized()  # Keras numbers its layers' names on
    assert described("4 P D.25 | 8 D.5", seed=4) == architecture_of(model)
    for other in ("4 P D.25 | 8 D.4", "4 P D.25 | 9 D.5", "4 P | 8 D.5"):
        assert described(other) != architecture_of(model)


def test_fresh_weights_depend_on_the_seed_alone(model):
    import keras

    weights = fresh_weights(model, 7)
    keras.utils.set_random_seed(99)
    plain()
    assert equal_weights(fresh_weights(model, 7), weights)
    assert not equal_weights(fresh_weights(model, 8), weights)
    kernels = [w for w in weights if w.ndim > 1]
    assert all(k.std() > 0 for k in kernels)
    assert all(not w.any() for w in weights if w.ndim == 1)  # biases start at 0
    assert not equal_weights(model.get_weights(), weights)


# Curves


def test_curve_has_all_points_and_leaves_the_model_alone(data, model, trainer, order):
    before, config = model.get_weights(), architecture_of(model)
    lines = []
    table = retrain(
        model, 2, order, data, trainer=trainer, metric="dsa", progress=lines.append, **OPTIONS
    )
    assert table["point"].tolist() == [0, 1, 2, 3, 4]
    assert table["n_inputs"].tolist() == [0, 25, 50, 74, 99]
    assert {"accuracy_cw", "accuracy_fgsm"} <= set(table.columns)
    assert equal_weights(before, model.get_weights()) and config == architecture_of(model)
    original = table.iloc[0]
    assert original[["fit_seconds", "cpu_seconds", "energy_kwh"]].tolist() == [0, 0, 0]
    assert (table["fit_seconds"][1:] > 0).all() and (table["memory_peak_mb"][1:] > 0).all()
    assert len(lines) == 5
    clean, fresh = (f"{table[f'accuracy_{part}'][3]:.3f}" for part in ("clean", "fresh"))
    assert lines[3] == (
        f"dsa: point 3 of 4, 74 inputs, accuracy {clean}, under a fresh attack {fresh}"
    )


def test_quality_of_point_0_by_hand(data, model, trainer, order):
    row = retrain(model, 2, order, data, trainer=trainer, **OPTIONS).iloc[0]
    x = np.concatenate([data.x_test, data.x_adv_test])
    y = np.concatenate([data.y_test, data.y_adv_test])
    probabilities = outputs_of(model, x)
    hit = (classes := probabilities.argmax(axis=1)) == y
    assert row["loss"] == pytest.approx(-np.log(probabilities[np.arange(78), y]).mean(), rel=1e-4)
    assert row["accuracy"] == pytest.approx(hit.mean())
    assert row["accuracy_clean"] == pytest.approx(hit[:41].mean())
    assert row["accuracy_adversarial"] == pytest.approx(hit[41:].mean())
    assert row["accuracy_fgsm"] == pytest.approx(hit[41:61].mean())
    assert row["accuracy_cw"] == pytest.approx(hit[61:].mean())
    per_class = [
        (hit[classes == c].mean() if (classes == c).any() else 0.0, hit[y == c].mean())
        for c in range(CLASSES)
    ]
    assert row["precision"] == pytest.approx(np.mean([p for p, _ in per_class]))
    assert row["recall"] == pytest.approx(np.mean([r for _, r in per_class]))
    x, y = validation(data)
    val = outputs_of(model, x)
    assert row["val_accuracy"] == pytest.approx(np.mean(val.argmax(axis=1) == y))
    assert np.array_equal(unpack(row["val_right"]), val.argmax(axis=1) == y)
    # One mean over all 30 + 23 inputs, not the mean of two means.
    assert row["val_loss"] == pytest.approx(-np.log(val[np.arange(53), y]).mean(), rel=1e-4)


@pytest.mark.parametrize("configuration", [1, 2, 3])
def test_same_seed_same_table_whatever_ran_before(data, model, trainer, order, configuration):
    if configuration == 3:
        order = order[order < 39]
    first = retrain(model, configuration, order, data, **OPTIONS)
    plain(7)
    retrain(model, 2, np.arange(99), data, trainer=trainer, **{**OPTIONS, "seed": 8})
    same(first, retrain(model, configuration, order, data, trainer=trainer, **OPTIONS))
    other = retrain(model, configuration, order, data, trainer=trainer, **{**OPTIONS, "seed": 6})
    assert other["loss"].tolist()[1:] != first["loss"].tolist()[1:]


def test_batch_normalization_and_dropout_leak_nothing(data, order):
    model = normalized()
    before = model.get_weights()
    for configuration in (1, 2):
        first = retrain(model, configuration, order, data, **OPTIONS)
        again = retrain(model, configuration, order, data, trainer=Trainer(model), **OPTIONS)
        same(first, again)
    assert equal_weights(before, model.get_weights())


@pytest.mark.parametrize("configuration", [1, 2])
def test_each_point_alone_gives_the_same_row(data, model, trainer, order, configuration, tmp_path):
    options = {**OPTIONS, "curve_file": tmp_path / "curve.json", "trainer": trainer}
    whole = retrain(model, configuration, order, data, **options)
    content = json.loads((tmp_path / "curve.json").read_text())
    for point in (1, 3):
        rows = [row for row in content["rows"] if row["point"] != point]
        part = {"signature": content["signature"], "provenance": content["provenance"]}
        part["rows"] = rows
        write_json(tmp_path / "curve.json", {"sha256": checksum(part), **part})
        same(whole, retrain(model, configuration, order, data, **options))


def test_start_of_configuration_1_is_the_same_at_each_point(
    monkeypatch, data, model, trainer, order
):
    starts = []
    reset = Trainer.reset

    def spy(self, weights, *args):
        starts.append([w.copy() for w in weights])
        reset(self, weights, *args)

    monkeypatch.setattr(Trainer, "reset", spy)
    for metric in ("dsa", "nc"):
        retrain(model, 1, order, data, trainer=trainer, metric=metric, **OPTIONS)
    fresh = fresh_weights(model, OPTIONS["seed"])
    for number, start in enumerate(starts):  # point 0 is the original model
        assert equal_weights(start, model.get_weights() if number % 5 == 0 else fresh)


def test_points_train_on_their_prefix_and_on_nothing_else(monkeypatch, data, model, trainer, order):
    seen, seeds = [], []
    fit = Trainer.fit

    def spy(self, x, y, order, **options):
        seen.append((np.asarray(x), order.copy()))
        seeds.append(options["seed"])
        return fit(self, x, y, order, **options)

    monkeypatch.setattr(Trainer, "fit", spy)
    table = retrain(model, 2, order, data, trainer=trainer, **OPTIONS)
    inputs, _ = configuration_of(2).inputs(data)
    adversarial = [(order[:size] >= len(data.y_train)).sum() for size in prefix_sizes(99, 4)]
    assert table["n_adversarial"].tolist() == [0, *adversarial] and adversarial[-1] == 39
    for size, (x, prefix) in zip(prefix_sizes(99, 4), seen, strict=True):
        assert np.array_equal(x, inputs) and prefix.tolist() == order[:size].tolist()
    assert seeds == [[5, point] for point in (1, 2, 3, 4)]  # shuffling is alike for all metrics


def test_test_and_validation_inputs_do_not_reach_the_weights(data, model, trainer, order, tmp_path):
    poison = {}
    for part in ("val", "adv_val", "test", "adv_test"):
        poison[f"x_{part}"] = 1 - getattr(data, f"x_{part}")
        poison[f"y_{part}"] = (getattr(data, f"y_{part}") + 1) % CLASSES
    poison["attack_adv_test"] = data.attack_adv_test[::-1]
    trained_on = {"x_train", "y_train", "x_adv_train", "y_adv_train"}
    assert poison.keys() | trained_on == vars(data).keys()
    poisoned = dataclasses.replace(data, **poison)
    for name, arrays in (("clean", data), ("poisoned", poisoned)):
        folder = {"keep_models": "all", "models_dir": tmp_path / name}
        retrain(model, 2, order, arrays, trainer=trainer, metric="dsa", **folder, **OPTIONS)
    for point in (1, 4):
        file = f"c2_dsa_p{point}.keras"
        clean, other = (files.load(tmp_path / name / file) for name in ("clean", "poisoned"))
        assert equal_weights(clean.get_weights(), other.get_weights())


# Going on after a stop


class Stop(Exception):
    pass


def stop_after_point_2(text):
    if "point 2 of" in text:
        raise Stop


def test_a_stopped_curve_goes_on_and_gives_the_same_table(
    monkeypatch, data, model, trainer, order, tmp_path
):
    options = {**OPTIONS, "trainer": trainer, "metric": "dsa"}
    undisturbed = retrain(model, 1, order, data, **options)
    file = tmp_path / "curves" / "c1_dsa.json"
    with pytest.raises(Stop):
        retrain(model, 1, order, data, curve_file=file, progress=stop_after_point_2, **options)
    rows = json.loads(file.read_text())["rows"]
    assert [row["point"] for row in rows] == [0, 1, 2]
    fits = []
    fit = Trainer.fit
    monkeypatch.setattr(
        Trainer, "fit", lambda self, x, y, o, **k: fits.append(len(o)) or fit(self, x, y, o, **k)
    )
    resumed = retrain(model, 1, order, data, curve_file=file, **options)
    same(undisturbed, resumed)
    assert fits == [74, 99]
    assert resumed["fit_seconds"].tolist()[:3] == [row["fit_seconds"] for row in rows]
    pd.testing.assert_frame_equal(
        resumed, retrain(model, 1, order, data, curve_file=file, **options), check_exact=True
    )
    assert fits == [74, 99]


def test_points_of_other_settings_data_or_code_are_not_reused(
    monkeypatch, data, model, trainer, order, tmp_path
):
    file = tmp_path / "c.json"
    options = {**OPTIONS, "points": 2, "epochs": 1, "trainer": trainer, "curve_file": file}
    retrain(model, 2, order, data, **options)
    finished = file.read_text()

    def reused(model=model, configuration=2, order=order, data=data, **changes):
        file.write_text(finished)
        lines = []
        retrain(model, configuration, order, data, **{**options, **changes}, progress=lines.append)
        return "done before" in lines[0]

    assert reused()
    x_test = data.x_test.copy()
    x_test[0, 0, 0, 0] += 0.01
    assert not reused(data=dataclasses.replace(data, x_test=x_test))
    assert not reused(order=order[::-1])
    assert not reused(configuration=1)
    assert not reused(model=architectures.build("4 P D.25 | 8 D.5", SHAPE, CLASSES, seed=2))
    changes = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "seed": 1, "points": 3}
    for name, value in changes.items():
        assert not reused(**{name: value}), name
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "threads", lambda: 2)  # sums in another order
        assert not reused()
    assert reused()
    code = {**curves.fingerprint("from utils.retraining.curves import retrain"), "retrain": "new"}
    monkeypatch.setattr(curves, "fingerprint", lambda *arguments: code)  # stands for changed code
    assert not reused()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"signature": "x"}', "\x00\xff"])
def test_a_damaged_curve_file_counts_as_absent(data, model, trainer, order, tmp_path, content):
    file = tmp_path / "c.json"
    file.write_text(content, encoding="latin-1")
    options = {**OPTIONS, "points": 1, "epochs": 1, "trainer": trainer, "curve_file": file}
    assert len(retrain(model, 2, order, data, **options)) == 2
    assert len(json.loads(file.read_text())["rows"]) == 2


def test_rows_of_a_damaged_curve_file_are_computed_anew(data, model, trainer, order, tmp_path):
    options = {**OPTIONS, "trainer": trainer, "curve_file": tmp_path / "c.json"}
    whole = retrain(model, 2, order, data, **options)
    content = json.loads((tmp_path / "c.json").read_text())
    del content["rows"][1]["loss"]
    content["rows"][2] = None
    (tmp_path / "c.json").write_text(json.dumps(content))
    same(whole, retrain(model, 2, order, data, **options))


def test_rows_name_where_they_were_made_when_a_curve_goes_on_elsewhere(
    monkeypatch, data, model, trainer, order, tmp_path
):
    options = {**OPTIONS, "trainer": trainer, "curve_file": tmp_path / "c.json"}
    with pytest.raises(Stop):
        retrain(model, 2, order, data, progress=stop_after_point_2, **options)
    here, there = facts(), {**facts(), "id": "p-there", "platform": "another machine"}
    for module in (store, curves):
        monkeypatch.setattr(module, "facts", lambda: there)
    table = retrain(model, 2, order, data, **options)
    assert table["provenance"].tolist() == [here["id"]] * 3 + ["p-there"] * 2
    made = provenance_of([tmp_path / "c.json"])
    for known in (here, there):
        about = made.pop(known["id"])
        assert about.pop("started") <= about.pop("ended")
        assert about == known
    assert not made


def test_facts_come_with_the_first_start_and_the_last_end(monkeypatch, tmp_path):
    times = iter(["12:00", "12:05", "14:00", "15:00", "11:00", "13:00"])
    monkeypatch.setattr(store, "now", lambda: next(times))
    for name, point in (("a", 0), ("a", 1), ("b", 0)):  # a is stopped and goes on
        Curve(tmp_path / name, "same", "none", None, "c").add(row(point), None)

    def times_of(*names):
        [about] = provenance_of(tmp_path / name for name in names).values()
        return about["started"], about["ended"]

    assert times_of("a") == ("12:00", "15:00")
    assert times_of("b") == ("11:00", "13:00")
    assert times_of("a", "b") == times_of("b", "a") == ("11:00", "15:00")


def test_no_flipped_bit_or_cut_gives_another_row(tmp_path):
    file = tmp_path / "c.json"

    def kept():
        return Curve(file, "same", "none", None, "c")

    for point in (0, 1):
        kept().add(row(point), None)
    whole, rows = file.read_bytes(), kept().rows
    assert len(rows) == 2
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        assert kept().rows in ({}, rows), f"byte {place}"
    for size in range(0, len(whole) - 2, 20):
        file.write_bytes(whole[:size])
        assert kept().rows == {}


def test_code_counts_in_a_signature():
    base = signature_of({}, [], {"f": "1", "g": "2"})
    assert signature_of({}, [], {"g": "2", "f": "1"}) == base
    assert signature_of({}, [], {"f": "1", "g": "3"}) != base


def test_what_retrains_and_judges_a_network_is_in_its_signature():
    code = curves.fingerprint("from utils.retraining.curves import retrain\nretrain", NO_NUMBERS)
    made = {
        "retrain",
        "Configuration",
        "InnerAttack",
        "falling",
        "prefix_sizes",
        "Trainer",
        "train",
        "threads",
        "rng",
    }
    judged = {
        "evaluate",
        "withstands",
        "pgd",
        "pack",
        "agree",
        "end_of",
        "Meter",
        "EnergyTracker",
        "chosen_point",
    }
    assert made | judged <= code.keys()


# Models that are kept


def test_no_best_or_all_models_are_kept(data, model, trainer, order, tmp_path):
    options = {**OPTIONS, "trainer": trainer, "metric": "nc", "models_dir": tmp_path}
    (tmp_path / "original.keras").touch()
    (tmp_path / "c2_nc_p99.keras").touch()  # of an earlier run with more points

    def kept():
        return sorted(path.name for path in tmp_path.glob("*.keras"))

    for keep in ("none", "best", "all", "best"):
        table = retrain(model, 2, order, data, keep_models=keep, **options)
        best = int(table["val_accuracy_robust"][1:].idxmax())
        points = {"none": [], "best": [best], "all": [1, 2, 3, 4]}[keep]
        assert kept() == [*(f"c2_nc_p{point}.keras" for point in points), "original.keras"]
    saved = files.load(tmp_path / f"c2_nc_p{best}.keras")
    x, y = validation(data)
    hits = outputs_of(saved, x).argmax(axis=1) == y
    assert hits.mean() == pytest.approx(table["val_accuracy"][best])


def test_a_model_that_is_wanted_but_gone_or_damaged_is_made_again(
    data, model, trainer, order, tmp_path
):
    options = {**OPTIONS, "trainer": trainer, "metric": "nc", "curve_file": tmp_path / "c.json"}
    whole = retrain(model, 2, order, data, **options)
    for keep, expected in (("best", 1), ("all", 4)):
        table = retrain(model, 2, order, data, keep_models=keep, models_dir=tmp_path, **options)
        same(whole, table)
        assert len(list(tmp_path.glob("*.keras"))) == expected
    file = tmp_path / "c2_nc_p3.keras"
    before = file.read_bytes()
    file.write_bytes(before[:-9] + b"?" + before[-8:])
    retrain(model, 2, order, data, keep_models="all", models_dir=tmp_path, **options)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"configuration": 6}, "configuration: expected one of 1, 2, 3, 4, 5, got 6"),
        ({"order": np.zeros(99, int)}, "order: expected a permutation"),
        ({"order": np.arange(39)}, "order: expected a permutation of 0 .. 98"),
        ({"points": 100}, "points: expected 1 to 99"),
        ({"epochs": 0}, "epochs, batch_size: expected at least 1"),
        ({"country": "Spain"}, "country: expected"),
        ({"keep_models": "some"}, "keep_models: expected one of"),
        ({"keep_models": "all"}, "models_dir: expected a folder"),
    ],
)
def test_wrong_arguments_are_refused(data, model, trainer, order, changes, message):
    arguments = {"configuration": 2, "order": order, **OPTIONS, **changes}
    with pytest.raises(ValueError, match=message):
        retrain(model, data=data, trainer=trainer, **arguments)


def test_labels_and_trainer_must_fit_the_model(data, model, order):
    labels = data.y_test.copy()
    labels[0] = CLASSES
    with pytest.raises(ValueError, match=r"y_test: expected labels 0 .. 3, .* got 0 .. 4"):
        retrain(model, 2, order, dataclasses.replace(data, y_test=labels), **OPTIONS)
    with pytest.raises(ValueError, match="same architecture"):
        retrain(model, 2, order, data, trainer=Trainer(plain()), **OPTIONS)
