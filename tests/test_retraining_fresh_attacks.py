"""Fresh attacks: exact on linear networks, on the right networks, and put in the right words."""

import dataclasses
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from tests.test_retraining_results import row
from utils.attacks import apgd
from utils.attacks.ensemble import Strength
from utils.attacks.norm_ball import fgsm
from utils.core.files import write_json
from utils.core.paths import Workspace
from utils.networks import architectures, files, runtime
from utils.networks.activations import predict
from utils.retraining.fresh_attacks import AttackedInputs, attack_chosen, load_inputs
from utils.retraining.fresh_results import (
    BY_EPSILON,
    LEFT,
    ORIGINAL,
    fresh_table,
    read_fresh,
    write_fresh,
)
from utils.retraining.outcomes import pack, unpack
from utils.retraining.results import results_table
from utils.retraining.selection import chosen_points, measured
from utils.statistics.robustness import (
    announcement,
    budgets_table,
    doubts_in_words,
    gain_left,
    gain_left_in_words,
    networks_table,
    setting_in_words,
    warning,
)

EPSILON, N, PIXELS = 0.1, 300, 6
FEW = Strength(steps=20, restarts=1, targets=1, queries=20, searches=1)


def linear(kernel):
    """A network of two classes, whose border goes through the middle of the images' range."""
    import keras

    runtime.start(seed=0, threads=1)
    model = keras.Sequential(
        [keras.Input((3, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    )
    model.set_weights([kernel.astype(np.float32), -kernel.sum(axis=0).astype(np.float32) / 2])
    return model


def right(model, images, labels):
    return predict(model, images).argmax(axis=1) == labels


def robust(model, inputs):
    """The exact answer in L-infinity: each pixel goes to that end of its range which favours the
    other class."""
    kernel, bias = (w.astype(np.float64) for w in model.get_weights())
    own = np.where(inputs.labels == 0, 1, -1)  # sign of the margin of what is classified right
    slope = kernel[:, 0] - kernel[:, 1]
    change = -EPSILON * own[:, None] * np.sign(slope)
    worst = np.clip(inputs.clean.reshape(N, PIXELS) + change, 0, 1) @ slope + bias[0] - bias[1]
    assert np.abs(worst).min() > 1e-5  # no case is so close that rounding decides it
    return own * worst > 0


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """An original network and two more that stand for retrained ones: files and results."""
    rng = np.random.default_rng(5)
    kernel = rng.normal(size=(PIXELS, 2))
    networks = [linear(kernel + 0.4 * p * rng.normal(size=(PIXELS, 2))) for p in range(3)]
    images = rng.random((N, 3, 2, 1), np.float32)
    labels = predict(networks[0], images).argmax(axis=1)
    labels[:20] = 1 - labels[:20]  # classified wrong to begin with
    fixed = fgsm(networks[0], images, labels, EPSILON)
    inputs = AttackedInputs(images, fixed, labels, np.array(["fgsm", "cw"])[np.arange(N) % 2])
    folder = tmp_path_factory.mktemp("models")
    rows = []
    for point, network in enumerate(networks):
        files.save(network, folder / f"c2_dsa_p{point}.keras")
        accuracies = {
            "accuracy_adversarial": right(network, fixed, labels).mean(),
            "accuracy_clean": right(network, images, labels).mean(),
        }
        rows.append(row(point, **accuracies, val_accuracy_robust=[1, 0.6, 0.7][point]))
    return networks, inputs, folder, results_table(rows)


def attack(study, folder=None, **options):
    networks, inputs, own, results = study
    options = {"epsilon": EPSILON, "l2": 1e-6, "strength": FEW, "seed": 3, **options}
    return attack_chosen(networks[0], folder or own, results, inputs, **options)


def test_accuracies_of_linear_networks_are_exact(study):
    networks, inputs, _, results = study
    table = attack(study)
    assert table[["metric", "point"]].values.tolist() == [[ORIGINAL, 0], ["dsa", 2]]
    assert (table["n_attacked"] == N).all() and table["n_inputs"].tolist() == [0, 20]
    for found in table.to_dict("records"):
        network = networks[found["point"]]
        fixed = right(network, inputs.fixed, inputs.labels)
        assert found["accuracy_fresh"] == robust(network, inputs).mean()
        assert found["accuracy_clean"] == right(network, inputs.clean, inputs.labels).mean()
        assert found["accuracy_fixed"] == results["accuracy_adversarial"][found["point"]]
        assert found["accuracy_fixed_linf"] == fixed[inputs.attack == "fgsm"].mean()
    # For the original the fixed inputs are the worst there are, for another network they are not.
    original, chosen = table["accuracy_fixed"] - table["accuracy_fresh"]
    assert original == 0 and chosen > 0.02


def test_it_only_evaluates_and_the_same_seed_gives_the_same(study):
    networks = study[0]
    before = networks[0].get_weights()
    first, again = (attack(study).drop(columns="seconds") for _ in range(2))
    assert first.equals(again)
    assert all(map(np.array_equal, before, networks[0].get_weights()))


def test_the_chosen_point_is_the_first_of_the_best_on_validation():
    values = {"dsa": [0.9, 0.5, 0.7, 0.7], "nc": [0.1, 0.8, 0.6, 0.7]}
    rows = [row(p, m, val_accuracy_robust=v) for m, vs in values.items() for p, v in enumerate(vs)]
    chosen = chosen_points(measured(results_table(rows)))
    assert chosen[["metric", "point"]].values.tolist() == [["dsa", 2], ["nc", 1]]


def test_a_missing_or_another_network_is_refused_in_one_line(study, tmp_path):
    folder = study[2]
    path = tmp_path / "c2_dsa_p2.keras"
    with pytest.raises(FileNotFoundError, match=r"p2\.keras does not exist; .*keep_models=best$"):
        attack(study, tmp_path)
    path.write_bytes((folder / "c2_dsa_p0.keras").read_bytes())
    with pytest.raises(ValueError, match=r"p2\.keras: expected the network of point 2, .* again$"):
        attack(study, tmp_path)
    files.save(architectures.build("2 | 4", (3, 2, 1), 2), path)
    with pytest.raises(ValueError, match=r"p2\.keras: expected .* original model's architecture$"):
        attack(study, tmp_path)


@pytest.mark.parametrize("part", ["clean", "adversarial"])
@pytest.mark.parametrize("point", [0, 2])
def test_a_network_must_be_as_good_as_its_row(study, part, point):
    networks, inputs, folder, results = study
    wrong = results.copy()
    wrong.loc[wrong["point"] == point, f"accuracy_{part}"] -= 0.1
    with pytest.raises(ValueError, match=rf"point {point}, .* of the {part} test inputs"):
        attack((networks, inputs, folder, wrong), strength=Strength(1, 1, 1, 1, 1))


def test_clean_accuracy_is_of_the_whole_test_set(study):
    networks, inputs, folder, results = study
    half = dataclasses.replace(
        inputs,
        clean=inputs.clean[:50],
        fixed=inputs.fixed[:50],
        labels=inputs.labels[:50],
        attack=inputs.attack[:50],
    )
    parts = [right(n, half.fixed, half.labels).mean() for n in networks]
    table = attack(
        (networks, half, folder, results.assign(accuracy_adversarial=parts)),
        strength=Strength(1, 1, 1, 1, 1),
    )
    assert (table["n_attacked"] == 50).all()


def test_some_of_the_images_are_attacked_and_all_that_is_measured_is_of_them(study):
    networks, inputs, _, results = study
    table = attack(study, n_images=100)
    assert (table["n_attacked"] == 100).all()
    some = inputs.some(100)
    assert np.array_equal(some.clean, inputs.clean[::3])  # spread evenly over 300
    assert np.array_equal(some.labels, inputs.labels[::3]) and len(some.all_labels) == N
    assert len(inputs.some(0).labels) == len(inputs.some(N + 1).labels) == N
    chosen = table.iloc[1]
    fixed = right(networks[2], inputs.fixed, inputs.labels)
    assert chosen["accuracy_fixed"] == fixed[::3].mean()
    assert np.array_equal(unpack(chosen["right_fixed"]), fixed[::3])
    assert np.array_equal(unpack(chosen["right_fresh"]), robust(networks[2], inputs)[::3])
    assert chosen["accuracy_adversarial"] == results["accuracy_adversarial"][2] == fixed.mean()


def test_the_table_has_the_setting_and_what_each_attack_leaves(study):
    table = attack(study)
    named = table[["epsilon", "steps", "restarts", "targets", "queries", "searches"]]
    assert named.drop_duplicates().values.tolist() == [[EPSILON, 20, 1, 1, 20, 1]]
    assert (table["accuracy_cw"] == table["accuracy_fresh"]).all()
    assert (table["accuracy_at_4"] < table["accuracy_fresh"]).all()
    default = attack(study, l2=0.0)
    assert default["l2"].tolist() == pytest.approx([EPSILON * 6**0.5 / 4] * 2)
    assert (default["accuracy_fresh"] <= table["accuracy_fresh"]).all()


def test_networks_are_attacked_with_what_was_compiled_once(study, monkeypatch):
    """Compiling takes longer than attacking a small network."""
    made = []
    compile_apgd = apgd._compile
    monkeypatch.setattr(apgd, "_compile", lambda *a: made.append(a[1:]) or compile_apgd(*a))
    assert len(attack(study)) == 2
    assert sorted(made) == [("ce", False), ("margin", False)]


def test_inputs_are_those_that_the_adversarial_ones_were_made_from(tmp_path):
    workspace, rng = Workspace(tmp_path), np.random.default_rng(0)
    folder = workspace.adversarial("mine", 1)
    folder.mkdir(parents=True)
    x, y, source = rng.random((5, 2, 2, 1), np.float32), np.arange(5), np.array([3, 0])
    arrays = {"x": x[:2] / 2, "y": y[source], "source": source, "attack": np.array(["cw", "pgd"])}
    np.save(workspace.data("mine") / "x_test.npy", x)
    np.save(workspace.data("mine") / "y_test.npy", y)
    for name, array in arrays.items():
        np.save(folder / f"{name}_adv_test.npy", array)
    about = {"class_names": list("abcde"), "n_classes": 5, "image_shape": [2, 2, 1]}
    about["n_images"] = {"train": 5, "val": 5, "test": 5}
    write_json(workspace.data("mine") / "dataset.json", about)
    inputs = load_inputs(workspace, "mine", 1)
    assert np.array_equal(inputs.clean, x[[3, 0]]) and np.array_equal(inputs.fixed, x[:2] / 2)
    assert inputs.labels.tolist() == [3, 0] and inputs.attack.tolist() == ["cw", "pgd"]
    np.save(workspace.data("mine") / "y_test.npy", y[::-1])
    with pytest.raises(ValueError, match=r"adversarial: not made from these test images; run step"):
        load_inputs(workspace, "mine", 1)


# Tables


def line(metric="dsa", fixed=0.6, linf=0.5, fresh=0.3, **values):
    key = {"dataset": "digits", "configuration": 2, "metric": metric, "seed": 0}
    key |= {"point": int(metric != ORIGINAL), "n_inputs": 10, "n_attacked": 100}
    accuracies = {"accuracy_clean": 0.9, "accuracy_fixed": fixed, "accuracy_fixed_linf": linf}
    key |= {"epsilon": 0.05, "l2": 0.1} | asdict(FEW)
    accuracies |= {"accuracy_adversarial": fixed} | dict.fromkeys(LEFT.values(), fresh)
    line = key | accuracies | {"accuracy_fresh": fresh, "seconds": 1.5, "doubts": "", **values}
    line |= {BY_EPSILON[m]: line["accuracy_clean"] for m in (0.25, 0.5)}
    line |= {BY_EPSILON[m]: line["accuracy_fresh"] for m in (2, 4)} | values
    n, linf = line["n_attacked"], line["accuracy_fixed_linf"]
    m = 0 if np.isnan(linf) else n // 2  # the second half is within the budget
    in_budget = round(m * linf) if m else 0
    others = round(n * line["accuracy_fixed"]) - in_budget
    first, second = np.arange(n - m) < others, np.arange(m) < in_budget
    outcomes = {
        "right_fixed": pack(np.r_[first, second]),
        "right_fresh": pack(np.arange(n) < round(n * line["accuracy_fresh"])),
        "right_fresh_linf": pack(np.arange(n) < round(n * line[LEFT["square"]])),
        "within_budget": pack(np.arange(n) >= n - m),
    }
    return outcomes | line


def test_a_table_is_read_as_it_was_written_and_only_with_its_results(tmp_path):
    path = tmp_path / "fresh.csv"
    fixed = 0.37
    table = write_fresh(path, [line(ORIGINAL, linf=np.nan), line(fixed=fixed)])
    results = [row(p, val_accuracy_robust=p, accuracy_adversarial=p * fixed) for p in (0, 1)]
    pd.testing.assert_frame_equal(read_fresh([path], results_table(results)), table)
    for later in (
        row(2, val_accuracy_robust=2),
        row(1, val_accuracy_robust=1, accuracy_adversarial=0.5),
    ):
        present = results_table([results[0], later])
        with pytest.raises(ValueError, match=r"fresh\.csv: not of the present results; run step"):
            read_fresh([path], present)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"fresh\.csv: fresh attacks: expected columns dataset, "):
        read_fresh([path], results_table(results))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy_clean": 0.29}, "fresh ones at most the clean"),
        ({"accuracy_fresh": 0.31}, "no further attack"),
        ({"accuracy_square": 0.31}, "no further attack"),
        ({"accuracy_at_2": 0.31}, "no larger budget"),
        ({"accuracy_fresh": np.nan}, "expected accuracies in 0..1"),
        ({"accuracy_clean": 1.1}, "expected accuracies in 0..1"),
        ({"accuracy_fixed": -0.1}, "expected accuracies in 0..1"),
        ({"accuracy": 0.1}, "expected columns dataset"),
        ({"metric": ORIGINAL, "point": 0}, "a row occurs twice"),
    ],
    ids=str,
)
def test_what_cannot_be_is_no_table(changes, message):
    with pytest.raises(ValueError, match=message):
        fresh_table([line(ORIGINAL), line() | changes])


def test_the_words_give_what_is_left_of_the_gain():
    def said(linf, fresh, fixed=0.6):
        return gain_left_in_words(
            fresh_table(
                [
                    line(ORIGINAL, fixed=0.3, linf=0.1, fresh=0.1),
                    line("dsa", fixed, linf=linf - 0.1, fresh=fresh),
                    line("nc", fixed, linf=linf + 0.1, fresh=fresh),
                ]
            )
        )

    few = said(linf=0.5, fresh=0.14)  # 0.4 gained on the fixed, 0.04 of it is left
    assert few.startswith("digits, configuration 2: on the fixed inputs retraining takes")
    assert "from 0.300 to 0.600, on those made within the same budget from 0.100 to 0.500" in few
    assert "in the worst case of fresh attacks from 0.100 to 0.140" in few
    assert "So 10% of the gain within the budget is left (95 % interval " in few
    assert "over images): most of the gain" in few and "is 0.140, with dsa." in few
    assert "these images cannot show whether" in said(linf=0.5, fresh=0.28)  # 45 % of them
    assert "75% of the gain within the budget is left" in said(linf=0.5, fresh=0.4)
    assert "100% of the gain within the budget is left" in said(linf=0.5, fresh=0.9)
    assert "interval 100% to 100%, over images): the gain also" in said(linf=0.5, fresh=0.9)
    assert "So 0% of the gain within" in said(linf=0.5, fresh=0.05)
    for none in (0.1, 0.12, 0.14):
        text = said(linf=none, fresh=0.2, fixed=0.5)
        assert "There is no gain beyond chance on those within the budget" in text
        assert "is left" not in text
    none = gain_left_in_words(
        fresh_table(
            [  # no attack has the same budget: 0.3 gained on all of them
                line(ORIGINAL, fixed=0.3, linf=np.nan, fresh=0.1),
                line(fixed=0.6, linf=np.nan, fresh=0.25),
            ]
        )
    )
    assert "from 0.300 to 0.600, in the worst" in none and "So 50% of the gain is left" in none


def test_networks_that_give_no_numbers_are_left_out_and_that_is_said(study):
    networks, inputs, folder, results = study
    failed = results.assign(metric="nc", problem="training failed in epoch 1")
    failed.loc[failed["point"] == 0, "problem"] = ""
    said = []
    both = pd.concat([results, failed])
    table = attack((networks, inputs, folder, both), progress=said.append)
    assert table["metric"].tolist() == [ORIGINAL, "dsa"]
    assert "nc: no network to attack: training failed in epoch 1" in said
    alone = attack((networks, inputs, folder, failed))
    assert alone["metric"].tolist() == [ORIGINAL]
    words = "no retraining gave a network to attack"
    assert gain_left_in_words(alone) == f"digits, configuration 2: {words}."
    assert announcement(alone) == words
    # a seed that has one still counts
    assert gain_left_in_words(pd.concat([table, alone.assign(seed=1)])) == gain_left_in_words(table)


def drawn(n, seed, gain, kept, seeds=(0,)):
    """Networks that gain on random images within the budget, and keep a share of it afresh."""
    generator, rows = np.random.default_rng(seed), []
    for run in seeds:
        budget = generator.random(n) < 0.7
        before = generator.random(n) < 0.2
        after = before | (generator.random(n) < gain / 0.8)
        fresh = before | (after & ~before & (generator.random(n) < kept))
        for metric, fixed, under in ((ORIGINAL, before, before), ("dsa", after, fresh)):
            key = line(metric, seed=run, n_attacked=n)
            rows.append(
                key
                | {
                    "accuracy_fixed": fixed.mean(),
                    "accuracy_fixed_linf": fixed[budget].mean(),
                    "accuracy_adversarial": fixed.mean(),
                    "accuracy_fresh": under.mean(),
                    **dict.fromkeys(LEFT.values(), under.mean()),
                    **dict.fromkeys([BY_EPSILON[m] for m in (2, 4)], under.mean()),
                    "right_fixed": pack(fixed),
                    **dict.fromkeys(("right_fresh", "right_fresh_linf"), pack(under)),
                    "within_budget": pack(budget),
                }
            )
    return fresh_table(rows)


@pytest.mark.parametrize(("n", "seeds"), [(100, (0,)), (400, (0, 1, 2))])
def test_the_interval_of_what_is_left_covers_the_truth_as_often_as_it_should(n, seeds):
    found = [gain_left(drawn(n, i, 0.5, 0.75, seeds), draws=200) for i in range(60)]
    covered = np.mean([left.low <= 0.75 <= left.high for left in found])
    assert 0.85 <= covered <= 1
    assert np.mean([left.share for left in found]) == pytest.approx(0.75, abs=0.02)
    widths = [left.high - left.low for left in found]
    assert 0.01 < np.mean(widths) < 0.35


def test_the_share_is_that_of_the_accuracies_in_the_table():
    table = drawn(200, 3, 0.4, 0.6, seeds=(0, 1))
    means = table.groupby(table["metric"] != ORIGINAL)[["accuracy_fresh", "accuracy_fixed_linf"]]
    gain = means.mean().loc[True] - means.mean().loc[False]
    left = gain_left(table)
    assert left.share == pytest.approx(gain["accuracy_fresh"] / gain["accuracy_fixed_linf"])
    assert gain_left(table) == left  # drawn from the seeds
    assert unpack(table["within_budget"][0]).sum() > 100


def test_outcomes_that_are_not_those_of_the_accuracies_are_refused():
    accuracies = {"right_fixed": "fixed", "right_fresh": "fresh", "right_fresh_linf": "square"}
    for column, accuracy in accuracies.items():
        with pytest.raises(ValueError, match=f"accuracy_{accuracy} does not match {column}"):
            fresh_table([line(ORIGINAL), line(**{column: pack(np.arange(100) < 7)})])


# Doubts and settings in words


def doubted():
    return fresh_table([line(ORIGINAL), line(doubts="The gradient is 0 on 90% of the images."),
                        line("nc")])  # fmt: skip


def test_a_number_that_is_not_to_be_trusted_is_marked_wherever_it_is_told(tmp_path):
    table, trusted = doubted(), fresh_table([line(ORIGINAL), line()])
    for said in (announcement(table), gain_left_in_words(table).lower()):
        assert "not to be trusted" in said.lower()
    for said in (announcement(trusted), gain_left_in_words(trusted)):
        assert "trusted" not in said.lower()
    assert "for 1 of 3 networks" in announcement(table)
    assert doubts_in_words(table) == (
        "- **digits, seed 0, configuration 2, dsa: 0.300 is not to be trusted.** "
        "The gradient is 0 on 90% of the images."
    )
    assert doubts_in_words(trusted).startswith("None of the signs")
    assert "not to be trusted (digits): The gradient is 0" in warning(table, 2, "dsa")
    assert warning(table, 2, "nc") == warning(table, 1, "dsa") == warning(trusted, 2, "dsa") == ""
    path = tmp_path / "fresh.csv"
    write_fresh(path, table)
    results = [row(p, m, val_accuracy_robust=p, accuracy_adversarial=p * 0.6)
               for m in ("dsa", "nc") for p in (0, 1)]  # fmt: skip
    assert read_fresh([path], results_table(results))["doubts"].tolist() == [*table["doubts"]]


def test_a_setting_that_is_not_the_full_one_is_called_quick():
    few = setting_in_words(fresh_table([line(ORIGINAL), line()]))
    assert few.startswith("**This is a quick setting: a stronger attack may find more.** Budget: ")
    assert "epsilon 0.05" in few and "20 steps, 1 start with" in few and "5,000 queries" in few
    full = setting_in_words(fresh_table([line(**asdict(Strength()))]))
    assert full.startswith("Budget: ") and "quick" not in full and "100 steps, 5 starts" in full
    assert few in setting_in_words(fresh_table([line(), line("nc", **asdict(Strength()))]))


def test_tables_for_people():
    table = doubted()
    assert budgets_table(table).loc["dsa"].tolist() == [0.9, 0.9, 0.9, 0.3, 0.3, 0.3]
    assert [*budgets_table(table)][:2] == ["0 x epsilon", "0.25 x epsilon"]
    shown = networks_table(table)
    assert {*LEFT, "clean", "fixed", "fixed_linf", "fresh"} < {*shown}
    assert not {"doubts", "epsilon", "at_2", "right_fresh"} & {*shown}
