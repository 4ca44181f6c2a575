"""Summaries, Pareto front and advice, against numbers worked out by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from utils.retraining.outcomes import join, pack, unpack
from utils.retraining.selection import choose, paired
from utils.statistics.advice import pareto_front, recommend, unbeaten
from utils.statistics.analysis import analyse
from utils.statistics.answers import answers
from utils.statistics.blocks import against_baseline
from utils.statistics.certainty import chance_in_words
from utils.statistics.export import as_json
from utils.statistics.recommendation import announcement
from utils.statistics.sensitivity import sensitivity_in_words, sensitivity_table, summarise_variants
from utils.statistics.summaries import mean_interval, summarise_runs, summarise_seeds
from utils.statistics.tables import (
    effects_table,
    pairs_table,
    parts_table,
    reach_table,
    runs_in_words,
    spread_table,
)


def outcomes(accuracy, shift=0, n=1000):
    """So many of n inputs are right, from number `shift` on.

    Without a shift two of these differ as little as can be, in d inputs and all one way: the
    standard error sqrt(d (1 - d / n) / (n - 1) / n) is below their difference d / n from d = 2 on.
    Shifted to where they are wrong about other inputs, it is larger.
    """
    return pack(np.roll(np.arange(n) < round(n * accuracy), shift))


def curve(metric, accuracies, val_accuracies=None, configuration=2, seed=0, step=100, shift=0):
    """Build one curve of one quantity; point p has p * step inputs, p seconds and p Wh.

    Of its inputs half are adversarial, and at each point 0.1 are lost where images are attacked.
    """
    points = np.arange(len(accuracies))
    val_accuracies = accuracies if val_accuracies is None else val_accuracies
    return pd.DataFrame(
        {
            "dataset": "digits",
            "configuration": configuration,
            "metric": metric,
            "seed": seed,
            "point": points,
            "n_inputs": points * step,
            "n_prefix": points * step,
            "n_adversarial": points * step // 2,
            "accuracy": accuracies,
            "right": [outcomes(accuracy, shift) for accuracy in accuracies],
            "accuracy_clean": 0.9 - points / 100,
            "accuracy_fresh": np.array(accuracies) - 0.1,
            "accuracy_adversarial": accuracies,
            "accuracy_cw": points / 10,
            "val_accuracy": val_accuracies,
            "val_right": [outcomes(accuracy, shift) for accuracy in val_accuracies],
            "fit_seconds": points * 1.0,
            "cpu_seconds": points * 2.0,
            "cpu_percent": np.where(points > 0, 90.0 + points, 0.0),
            "memory_peak_mb": 500.0 + points,
            "energy_kwh": points / 1000,
            "adversarial_seconds": np.where(points > 0, 40.0, 0.0),
            "scoring_seconds": np.where(points > 0, 0.5, 0.0),
            "adversarial_energy_kwh": np.where(points > 0, 0.08, 0.0),
            "scoring_energy_kwh": np.where(points > 0, 0.01, 0.0),
        }
    )


def whole(results, **study):
    """A results table whose robust quantity is that of `results`; the study's is equal, or `study`.

    Robust outcomes are of two parts: on clean images and under attack they are the same here.
    """
    both = {"right": "right_robust", "val_right": "val_right_robust"}
    robust = results.rename(
        columns={"accuracy": "accuracy_robust", "val_accuracy": "val_accuracy_robust"} | both
    )
    for column in ("right_robust", "val_right_robust"):
        robust[column] = [join(unpack(text), unpack(text)) for text in robust[column]]
    names = ["accuracy", "val_accuracy", "right", "val_right"]
    return robust.assign(**{name: results[name] for name in names} | study)


DSA = curve("dsa", [0.5, 0.7, 0.9, 0.8], [0.95, 0.6, 0.7, 0.8])
RANDOM = curve("random", [0.5, 0.6, 0.7, 0.8], [0.95, 0.6, 0.6, 0.7])


def analysed(results):
    """The evidence of a robust quantity like `results`, and of a study's that is the same."""
    return analyse(whole(results))


def summarise(results):
    return summarise_seeds(summarise_runs(results))


def row(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def with_setting(results, parameter, value, is_base=False):
    return pd.concat(
        [
            pd.DataFrame(
                {"parameter": parameter, "value": value, "is_base": is_base}, index=results.index
            ),
            results,
        ],
        axis=1,
    )


def test_whether_the_advice_stays_when_a_setting_changes():
    low = [0.5, 0.6, 0.6, 0.6]
    base = pd.concat([DSA, curve("nc", low), RANDOM])
    turned = pd.concat([curve("dsa", low), curve("nc", [0.5, 0.75, 0.9, 0.9]), RANDOM])
    results = pd.concat(
        [
            with_setting(turned, "points", "20"),
            with_setting(base, "points", "5"),
            with_setting(base, "points", "10", True),
            with_setting(turned, "layer", "conv_1"),
            with_setting(base, "layer", "default", True),
        ]
    )
    runs = summarise_variants(whole(results))
    values = runs.drop_duplicates(["parameter", "value"])
    assert values["value"].tolist() == ["5", "10", "20", "conv_1", "default"]
    table = sensitivity_table(runs)
    same, other = row(table, parameter="points", value="5"), row(table, value="20")
    assert same["metric"] == "dsa" and same["same"] and same["lost"] == 0 and same["tau"] == 1
    # validation chooses: of dsa the last point (0.8), which is not its best on the test inputs
    assert same["accuracy"] == same["kept_accuracy"] == 0.8
    assert other["metric"] == "nc" and not other["same"] and other["original_accuracy"] == 0.5
    assert other["accuracy"] == 0.9 and other["kept_accuracy"] == 0.6
    assert other["lost"] == pytest.approx(0.3)
    # dsa > random > nc has become nc > random > dsa: every pair of metrics turned
    assert other["tau"] == pytest.approx(-1)
    assert row(table, value="conv_1")["lost"] == pytest.approx(0.3)
    text = sensitivity_in_words(table)
    assert "- **points** on digits, 10 in the run, 5, 20 in its variants: configuration 2 " in text
    assert (
        "is recommended with 1 of the 2; with the others it is at most 0.300 lower in robust"
        in text
    )
    (stays,) = [r for _, r in table.groupby("parameter") if r["parameter"].iloc[0] == "points"]
    text = sensitivity_in_words(stays[stays["value"] != "20"])
    assert text.endswith(
        "configuration 2 with Distance-based surprise adequacy is recommended with each of them."
    )


def test_mean_interval():
    # mean 2, s = 1, t(0.975, 2) = 4.302653: 4.302653 * 1 / sqrt(3) = 2.484138
    mean, half_width = mean_interval([1, 2, np.nan, 3])
    assert mean == 2
    assert half_width == pytest.approx(2.484138, abs=1e-6)


@pytest.mark.parametrize(("values", "mean"), [([0.7], 0.7), ([], np.nan), ([np.nan], np.nan)])
def test_one_value_has_no_interval(values, mean):
    found, half_width = mean_interval(values)
    assert found == pytest.approx(mean, nan_ok=True)
    assert np.isnan(half_width)


def test_summary_of_one_curve():
    summary = summarise(pd.concat([RANDOM, DSA]))
    assert summary["metric"].tolist() == ["random", "dsa"]
    dsa = row(summary, metric="dsa")
    assert dsa["n_seeds"] == 1
    assert dsa["original_accuracy"] == 0.5
    assert (dsa["best_accuracy"], dsa["best_point"], dsa["best_n_inputs"]) == (0.9, 2, 200)
    assert (dsa["best_seconds"], dsa["best_energy_kwh"]) == (2, 0.002)
    # validation picks point 3 of the retrained ones, although the original model has 0.95
    assert (dsa["chosen_accuracy"], dsa["chosen_n_inputs"], dsa["chosen_seconds"]) == (0.8, 300, 3)
    assert (dsa["final_accuracy"], dsa["final_n_inputs"]) == (0.8, 300)
    assert dsa["gain"] == pytest.approx(0.4)
    # 100 * (0.6 + 0.8 + 0.85) / 300
    assert dsa["area"] == pytest.approx(0.75)
    # on validation the original model is above all retrained ones
    assert (dsa["near_best_n_inputs"], dsa["near_best_accuracy"]) == (0, 0.5)
    assert (dsa["near_best_seconds"], dsa["near_best_search_seconds"]) == (0, 0)
    assert (dsa["total_seconds"], dsa["cpu_percent"], dsa["memory_peak_mb"]) == (6, 92, 503)
    assert dsa["total_energy_kwh"] == pytest.approx(0.006)
    assert np.isnan(dsa["best_accuracy_interval"])
    # clean accuracy 0.90, 0.89, 0.88, 0.87; the chosen point is the last
    assert dsa["clean_lost"] == pytest.approx(0.03)
    assert dsa["chosen_accuracy_clean"] == pytest.approx(0.87)
    assert (dsa["original_accuracy_cw"], dsa["chosen_accuracy_cw"]) == (0, 0.3)
    assert (dsa["chosen_cpu_seconds"], dsa["final_energy_kwh"]) == (6, 0.003)
    assert dsa["chosen_seconds_with_inputs"] == 3 + 40 + 0.5
    assert dsa["chosen_energy_kwh_with_inputs"] == pytest.approx(0.003 + 0.08 + 0.01)


def test_clean_accuracy_lost_on_the_way():
    results = curve("dsa", [0.5, 0.6, 0.7]).assign(accuracy_clean=[0.9, 0.4, 0.95])
    summary = row(summarise(results), metric="dsa")
    assert summary["clean_lost"] == pytest.approx(-0.05)
    assert summary["clean_lost_most"] == pytest.approx(0.5)


LOW = curve("dsa", [0.5, 0.7, 0.9, 0.8], [0.5, 0.6, 0.8, 0.801])
LOWER = curve("random", [0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.79])


def test_near_the_best_is_within_one_standard_error_on_validation():
    # dsa's last point is the highest; its second is wrong about one input more of 1,000
    summary = summarise(pd.concat([LOWER, LOW]))
    dsa, random = row(summary, metric="dsa"), row(summary, metric="random")
    assert (dsa["near_best_n_inputs"], dsa["near_best_accuracy"]) == (200, 0.9)
    assert (dsa["near_best_seconds"], dsa["near_best_energy_kwh"]) == (2, 0.002)
    assert dsa["near_best_search_seconds"] == 3  # points 1 and 2; point 2 alone takes 2
    # random ends 11 inputs below it, all one way: its standard error is 0.0033
    assert random.filter(like="near_best_").drop("near_best_runs").isna().all()
    assert random["near_best_runs"] == 0
    # wrong about other inputs, 11 fewer of 409 in which they differ are within 0.020
    elsewhere = curve("random", [0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.79], shift=300)
    assert row(summarise(pd.concat([elsewhere, LOW])), metric="random")["near_best_n_inputs"] == 300


def test_of_equals_on_validation_the_fewest_inputs_are_chosen():
    table = row(summarise(curve("nc", [0.02, 0.06, 0.07, 0.05], [0.9, 0.3, 0.4, 0.4])), metric="nc")
    assert table["chosen_n_inputs"] == table["best_n_inputs"] == 200


def test_original_model_may_already_be_near_the_best():
    table = row(summarise(curve("nc", [0.899, 0.8, 0.9])), metric="nc")
    assert (table["near_best_n_inputs"], table["near_best_seconds"]) == (0, 0)


@pytest.mark.parametrize(
    ("first", "second", "difference", "square"),
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
        ([1, 1, 1, 1], [1, 1, 1, 0], 0.25, (1 - 4 / 16) / 12),
        ([1, 1, 0, 0, 1], [0, 0, 1, 1, 1], 0, 4 / 20),
        ([0, 1, 1, 1, 0, 1, 1, 1], [1, 0, 0, 0, 0, 1, 1, 1], 2 / 8, (4 - 8 / 16) / 56),
        ([1], [0], 1, 0),
    ],
)
def test_paired_standard_error(first, second, difference, square):
    found = paired(pack(first), pack(second))
    assert found == pytest.approx((difference, square))
    # as from McNemar's counts: (b + c - (b - c)^2 / n) / (n (n - 1))
    first, second = np.array(first), np.array(second)
    b, c, n = np.sum(first > second), np.sum(first < second), len(first)
    if n > 1:
        assert found[1] == pytest.approx((b + c - (b - c) ** 2 / n) / (n * (n - 1)))


def test_paired_outcomes_are_of_the_same_inputs():
    with pytest.raises(ValueError, match="expected equally many, got 2 and 3"):
        paired(pack([1, 0]), pack([1, 0, 1]))


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 540, 14001])
def test_outcomes_come_back_as_they_were(n):
    right = np.random.default_rng(n).random(n) < 0.8
    text = pack(right)
    assert np.array_equal(unpack(text), right) and len(text) < 20 + n / 5 and "," not in text


NO_OUTCOMES = ["", "3", "3:", "9:wA==", "-1:", "3:wA", "x:wA==", "3:w A=", "nan"]


@pytest.mark.parametrize("text", NO_OUTCOMES)
def test_what_are_no_outcomes_is_refused(text):
    with pytest.raises(ValueError, match="outcomes: expected a number, ':' and bits, got"):
        unpack(text)


def test_the_standard_error_over_seeds_and_data_sets():
    """Two seeds of one data set and of another, with numbers by hand."""
    right = {  # d0: dsa - nc is 2 and 1 of 4; d1: 0 and 1 of 2
        ("d0", 0): ([1, 1, 1, 0], [1, 0, 0, 0]),
        ("d0", 1): ([1, 1, 1, 0], [0, 1, 1, 0]),
        ("d1", 0): ([1, 0], [0, 1]),
        ("d1", 1): ([1, 1], [0, 1]),
    }
    rows = [
        {
            "dataset": d,
            "seed": s,
            "configuration": 2,
            "metric": metric,
            "share": n / 100,
            "val_accuracy": np.mean(outcome),
            "val_right": pack(outcome),
        }
        for (d, s), both in right.items()
        for metric, n, outcome in zip(("dsa", "nc"), (90, 10), both, strict=True)
    ]
    table = choose(pd.DataFrame(rows))
    # d0: images (0.25 / 3 + 0.1875 / 3) / 2, seeds 0.5 - 0.25: s^2 / 2 = 0.03125 / 2
    d0 = (0.25 / 3 + 0.1875 / 3) / 2 + 0.03125 / 2
    # d1: images (1 / 1 + 0.25 / 1) / 2, seeds 0 and 0.5: s^2 / 2 = 0.125 / 2
    d1 = (1 + 0.25) / 2 + 0.125 / 2
    assert table.loc[(2, "nc"), "error"] == pytest.approx(np.sqrt(d0 + d1) / 2)
    assert table.loc[(2, "nc"), "below"] == pytest.approx((0.375 + 0.25) / 2)
    assert table.index[0] == (2, "nc") and table["near"].all()  # 0.31 below, the error is 0.44


def test_a_pair_that_lacks_a_run_is_left_out_and_named():
    # nc was lucky in the one seed that it was run with
    parts = [curve("dsa", [0.5, 0.7 + s / 100], seed=s) for s in range(3)]
    parts += [curve("random", [0.5, 0.6], seed=s) for s in range(3)]
    for lacking in ([0], [0, 2], [1]):
        lucky = [curve("nc", [0.5, 0.99], seed=s) for s in lacking]
        choice, text = advise(pd.concat(parts + lucky))
        assert (choice["metric"], choice["n_seeds"]) == ("dsa", 3)
        assert choice["left_out"] == [[2, "nc"]]
        assert "not run on every data set with every seed: Neuron coverage in conf" in text
    whole = [curve("nc", [0.5, 0.99], seed=s) for s in range(3)]
    choice, text = advise(pd.concat(parts + whole))
    assert choice["metric"] == "nc" and choice["left_out"] == [] and "Left out" not in text
    # likewise one that lacks a seed on one of two data sets
    other = [part.assign(dataset="mnist") for part in parts + whole[:2]]
    choice, _ = advise(pd.concat(parts + whole + other))
    assert choice["metric"] == "dsa" and choice["left_out"] == [[2, "nc"]]


def test_area_with_one_retrained_point_and_unequal_steps():
    assert summarise(curve("nc", [0.4, 0.8]))["area"][0] == pytest.approx(0.6)
    uneven = curve("nc", [0.4, 0.8, 0.8]).assign(n_inputs=[0, 100, 400], n_prefix=[0, 100, 400])
    # (100 * 0.6 + 300 * 0.8) / 400
    assert summarise(uneven)["area"][0] == pytest.approx(0.75)


def test_area_over_seconds():
    # 0, 1, 2, 3 s as 0, 100, 200, 300 inputs: the same
    dsa = row(summarise(pd.concat([RANDOM, DSA])), metric="dsa")
    assert dsa["area_seconds"] == pytest.approx(dsa["area"])
    # twice as slow: up to the 3 s that both have, 0.5 at 0 s, 0.7 at 2 s, 0.8 at 3 s:
    # 2 * 0.6 + 1 * 0.75 = 1.95, over 3 s
    slow = DSA.assign(fit_seconds=DSA["fit_seconds"] * 2)
    assert row(summarise(pd.concat([RANDOM, slow])), metric="dsa")["area_seconds"] == (
        pytest.approx(0.65)
    )
    # a point that was faster by chance comes first: 0.5 at 0 s, 0.9 at 1 s, 0.7 at 2 s
    noisy = curve("nc", [0.5, 0.7, 0.9]).assign(fit_seconds=[0.0, 2.0, 1.0])
    assert summarise(noisy)["area_seconds"][0] == pytest.approx((0.7 + 0.8) / 2)
    assert np.isnan(summarise(DSA.assign(fit_seconds=0.0))["area_seconds"][0])


def test_row_order_does_not_matter():
    results = pd.concat([RANDOM, DSA])
    shuffled = results.sample(frac=1, random_state=0)
    key = "metric"
    pd.testing.assert_frame_equal(
        summarise(results).sort_values(key, ignore_index=True),
        summarise(shuffled).sort_values(key, ignore_index=True),
    )


def test_several_seeds():
    other = curve("dsa", [0.5, 0.6, 0.7, 0.7], seed=1)
    dsa = row(summarise(pd.concat([DSA, other])), metric="dsa")
    assert dsa["n_seeds"] == 2
    # 0.9 and 0.7: s = 0.141421, t(0.975, 1) = 12.706205: 12.706205 * 0.141421 / sqrt(2) = 1.27062
    assert dsa["best_accuracy"] == pytest.approx(0.8)
    assert dsa["best_accuracy_interval"] == pytest.approx(1.27062, abs=1e-5)
    assert len(summarise_runs(pd.concat([DSA, other]))) == 2


def test_near_best_needs_every_seed():
    seeds = [LOWER, LOW, curve("random", [0.5, 0.9], seed=1), curve("dsa", [0.5, 0.9], seed=1)]
    summary = summarise(pd.concat(seeds))
    assert np.isnan(row(summary, metric="random")["near_best_n_inputs"])
    assert row(summary, metric="random")["near_best_runs"] == 1
    assert row(summary, metric="dsa")["near_best_n_inputs"] == 150  # 200 and 100


def test_energy_not_measured_stays_nan():
    summary = summarise(DSA.assign(energy_kwh=np.nan))
    assert summary[["best_energy_kwh", "total_energy_kwh"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (DSA.drop(columns="val_accuracy"), "missing.*val_accuracy"),
        (DSA[DSA["point"] > 0], r"expected point 0.*got \[1, 2, 3\]"),
        (DSA[DSA["point"] == 0], r"got \[0\]"),
        (pd.concat([DSA, DSA]), r"got \[0, 0, 1"),
        (DSA.assign(accuracy=np.nan), "got NaN"),
    ],
)
def test_broken_tables(broken, message):
    with pytest.raises(ValueError, match=message):
        summarise(broken)


def test_against_random():
    difference = against_baseline(summarise(pd.concat([RANDOM, DSA])))
    assert difference["metric"].tolist() == ["dsa"]
    # areas 0.75 and (0.55 + 0.65 + 0.75) / 3 = 0.65
    assert difference["area_difference"][0] == pytest.approx(0.1)
    assert difference["best_difference"][0] == pytest.approx(0.1)
    assert difference["chosen_difference"][0] == pytest.approx(0.0)
    assert np.isnan(difference["area_difference_interval"][0])


def test_against_random_pairs_the_seeds():
    # the seeds differ by 0.2, dsa is ahead by 0.10 and 0.12: mean 0.11, s = 0.0141421,
    # half-width 12.706205 * 0.0141421 / sqrt(2) = 0.127062
    runs = [
        curve(metric, [0.5, best], seed=seed)
        for metric, bests in {"dsa": [0.7, 0.92], "random": [0.6, 0.8]}.items()
        for seed, best in enumerate(bests)
    ]
    difference = against_baseline(summarise_runs(pd.concat(runs)))
    assert difference["best_difference"][0] == pytest.approx(0.11)
    assert difference["best_difference_interval"][0] == pytest.approx(0.127062, abs=1e-6)


def test_against_random_without_random():
    assert np.isnan(against_baseline(summarise(DSA))["area_difference"][0])
    assert against_baseline(summarise(RANDOM)).empty


def test_pareto_front():
    table = pd.DataFrame(
        {"accuracy": [0.9, 0.8, 0.8, 0.7, 0.9, np.nan], "seconds": [10, 5, 5, 6, 12, 1]}
    )
    # row 3 is beaten by 1, row 4 by 0; 1 and 2 are equal, and NaN is never on the front
    front = pareto_front(table, maximise=["accuracy"], minimise=["seconds"])
    assert front.tolist() == [True, True, True, False, False, False]
    assert pareto_front(table, minimise=["seconds"]).tolist() == [False] * 5 + [True]
    assert pareto_front(table.iloc[:0], maximise=["accuracy"]).tolist() == []


def test_pareto_front_without_columns():
    with pytest.raises(ValueError, match="got none"):
        pareto_front(pd.DataFrame({"accuracy": [1.0]}))


def test_unbeaten_needs_all_three_and_leaves_out_what_was_not_measured():
    table = pd.DataFrame(
        {
            "chosen_accuracy": [0.9, 0.9, 0.8],
            "chosen_seconds": [2.0, 1.0, 1.0],
            "chosen_energy_kwh": [1.0, 2.0, 2.0],
        }
    )
    assert unbeaten(table).tolist() == [True, True, False]
    assert unbeaten(table.assign(chosen_energy_kwh=np.nan)).tolist() == [False, True, False]


def advice_runs(**changes):
    """Validation picks the last point of each curve; seconds = number of the point."""
    results = pd.concat(
        [
            curve("dsa", [0.5, 0.7, 0.8, 0.905], configuration=1),  # 300 inputs, the highest
            # 200 inputs, 5 of 1,000 below, but 195 differ: within one standard error of 0.014
            curve("nc", [0.5, 0.7, 0.9, 0.88], configuration=2, shift=300),
            curve("lsa", [0.5, 0.89], configuration=2),  # 100 inputs, 15 below and all one way
            curve("random", [0.5, 0.8, 0.75, 0.79], configuration=2),
        ]
    )
    return results.assign(**changes)


def advise(results):
    evidence = analysed(results)
    return evidence.choice, evidence.text


def test_recommend():
    choice, text = advise(advice_runs())
    assert (choice["configuration"], choice["metric"], choice["n_inputs"]) == (2, "nc", 200)
    assert (choice["seconds"], choice["cpu_seconds"], choice["energy_kwh"]) == (2, 4, 0.002)
    assert choice["seconds_with_inputs"] == 42.5
    assert choice["energy_kwh_with_inputs"] == pytest.approx(0.092)
    assert (choice["n_candidates"], choice["n_seeds"], choice["highest"]) == (2, 1, [1, "dsa"])
    assert choice["share"] == pytest.approx(2 / 3)
    beats = {name: entry["difference"] for name, entry in choice["beats"].items()}
    assert beats == pytest.approx({"random": 0.1, "all_inputs": 0.02, "no_retraining": 0.4})
    for part in (
        "configuration 2",
        "200 inputs that Neuron coverage",
        "from 0.500 to 0.900",
        "0.100 above 100 inputs in random order",
        "0.020 above all 300 inputs (3.0 s)",
        "0.400 above no retraining",
        "2.0 s and 2 Wh",
        "one run with one seed",
        "0.790 to 0.890",
        "A test against random order takes 7 seeds, or as many data sets",
        "the fewest inputs within one standard error of the highest robust accuracy on valid",
        "(0.005 below Distance-based surprise adequacy in configuration 1, with a "
        "standard error of 0.014)",
        "this order's best is 0.900 at 200 inputs",
    ):
        assert part in text, part


def test_recommend_does_not_look_at_the_test_inputs():
    results = pd.concat(
        [curve("dsa", [0.5, 0.6], [0.5, 0.9]), curve("nc", [0.5, 0.99], [0.5, 0.8])]
    )
    choice, _ = advise(results)
    assert (choice["metric"], choice["accuracy"]) == ("dsa", 0.6)


def test_both_numbers_are_named():
    results = curve("dsa", [0.5, 0.95, 0.6, 0.6], [0.5, 0.7, 0.9, 0.6])
    choice, text = advise(results)
    assert (choice["accuracy"], choice["n_inputs"]) == (0.6, 200)
    assert (choice["best_accuracy"], choice["best_n_inputs"]) == (0.95, 100)
    assert "chosen on the test inputs, as the study does, this order's best is 0.950 at 100" in text


def test_recommend_takes_the_fewest_inputs_whatever_the_clock_said():
    results = [curve("dsa", [0.5, 0.9], step=900), curve("nc", [0.5, 0.7, 0.9], step=100)]
    choice, _ = advise(pd.concat(results))
    assert (choice["metric"], choice["seconds"], choice["n_inputs"]) == ("nc", 2, 200)
    # equal work: the more accurate on validation, even if its time was longer by chance
    slow = curve("dsa", [0.5, 0.8], [0.5, 0.909]).assign(fit_seconds=[0, 1.001])
    fast = curve("nc", [0.5, 0.9], [0.5, 0.9]).assign(fit_seconds=[0, 1])
    assert advise(pd.concat([fast, slow]))[0]["metric"] == "dsa"


def test_recommend_with_seeds_gives_the_interval():
    results = [curve("dsa", [0.5, 0.9], seed=0), curve("dsa", [0.5, 0.92], seed=1)]
    choice, text = advise(pd.concat(results))
    assert choice["n_seeds"] == 2 and "random" not in choice["beats"]
    assert "0.910 ± 0.127" in text and "2 seeds of one data set" in text and "one run" not in text
    assert "random order" not in text


def test_recommend_tells_when_guidance_gains_nothing():
    results = pd.concat([curve("dsa", [0.9, 0.5, 0.6]), curve("random", [0.9, 0.6])])
    choice, text = advise(results)
    assert choice["metric"] == "random" and "random" not in choice["beats"]
    assert "retraining gains nothing" in text and "100 inputs in random order" in text
    assert "on validation it is within one standard error of the highest" in text
    assert "(it is the highest itself; 1 other within that)" in text
    assert "0.300 below no retraining" in text


def test_recommend_over_data_sets_counts_them_alike_and_takes_shares():
    # nc takes half of the small data set and all of the large one: 0.75; dsa all of both
    results = pd.concat(
        [
            curve("nc", [0.5, 0.7, 0.7], [0.5, 0.8, 0.7]),
            curve("dsa", [0.5, 0.6, 0.7], [0.5, 0.7, 0.8]),
            curve("nc", [0.3, 0.8, 0.9], step=5000).assign(dataset="mnist"),
            curve("dsa", [0.3, 0.8, 0.9], step=5000).assign(dataset="mnist"),
            curve("lsa", [0.3, 0.99], step=5000).assign(dataset="mnist"),  # not on digits
        ]
    )
    choice, text = advise(results)
    assert (choice["metric"], choice["share"], choice["datasets"]) == (
        "nc",
        0.75,
        ["digits", "mnist"],
    )
    assert choice["accuracy"] == pytest.approx(0.8) and np.isnan(choice["accuracy_interval"])
    assert "on 2 data sets" in text and "75% of the inputs" in text
    with pytest.raises(ValueError, match="run on every data set"):
        recommend(summarise_runs(results[results["metric"] == "lsa"]).iloc[:0])


def test_record_is_plain_json():
    results = pd.concat([advice_runs(energy_kwh=np.nan), advice_runs(seed=1)])
    record = json.loads(json.dumps(as_json(analysed(results)), allow_nan=False))
    assert record["recommendation"]["configuration"] == 2
    assert len(record["questions"]) == 4 and record["choices"][0]["datasets"] == ["digits"]
    assert record["tests"]["against_baselines"][0]["p_holm"] is None
    assert record["recommendation"]["energy_kwh"] is None and " Wh" not in record["text"]


def test_how_large_chance_is():
    # 905 of 1,000: sqrt(0.905 * 0.095 / 999); nc differs in 195, lsa in 15 and random in 105
    text = chance_in_words(summarise_runs(advice_runs()))
    assert text.startswith("**How large chance is.** On the 1,000 validation images of digits, all")
    assert (
        "the standard error of the highest robust accuracy is 0.009 (Distance-based surprise"
        in text
    )
    assert "in configuration 1, 0.905). For the difference between its chosen point" in text
    assert "on the same inputs, it is 0.004 to 0.014." in text and "One seed cannot show" in text
    two = pd.concat([advice_runs(), advice_runs().assign(seed=1, dataset="digits")])
    assert "The error of the difference includes the spread of the seeds." in chance_in_words(
        summarise_runs(two)
    )
    both = pd.concat([advice_runs(), DSA.assign(dataset="mnist")])
    text = chance_in_words(summarise_runs(both))
    assert (
        text.count("standard error of the highest robust accuracy") == 2
        and "images of mnist" in text
    )
    assert text.count("For the difference between") == 1  # one choice alone has none


def test_a_page_announces_what_the_comparison_would_recommend_of_its_curves():
    results = advice_runs()
    among = "robust accuracy 0.500 -> 0.900, recommended overall:"
    said = announcement(summarise_runs(results))
    assert said == f"digits: {among} c2, nc, 200 inputs"
    one = " with dsa, 300 inputs"  # nothing to choose from
    several = ", recommended among its metrics: lsa, 100 inputs"
    for configuration, metric, words in ((1, "dsa", one), (2, "lsa", several)):
        part = summarise_runs(results[results["configuration"] == configuration])
        assert announcement(part).endswith(words)
        assert recommend(part)["metric"] == metric
    two = pd.concat([results, results.assign(seed=1, accuracy=results["accuracy"] + 0.02)])
    assert f"{among} c2, nc, 200 inputs".replace("500 -> 0.900", "510 -> 0.910") in (
        announcement(summarise_runs(two))
    )
    # not what is merely the highest on validation, nor on the test inputs
    assert recommend(summarise_runs(results))["highest"] == [1, "dsa"]


def test_answers_with_one_run_are_cautious():
    metric, configuration, cost, size = answers(analysed(advice_runs()))
    assert (
        "there is 1 data set, and a test against random order takes 7 data sets" in metric["answer"]
    )
    assert metric["verdict"].startswith("cannot tell")  # no uncertainty metric
    assert "no two configurations" in configuration["answer"]  # dsa in one, nc in the other
    assert configuration["verdict"].startswith("cannot tell")
    assert "67% of the inputs" in cost["answer"] and "6.0 s" in cost["answer"]
    whole = "(4.0 s of processor time); with making and scoring its inputs 42.5 s and 92 Wh. "
    assert whole in cost["answer"]
    assert "1 data set, and an answer takes 5" in size["answer"]


def test_costs_of_inputs_that_were_not_measured_are_not_told():
    cost = answers(analysed(advice_runs().assign(adversarial_seconds=np.nan)))[2]["answer"]
    assert "(4.0 s of processor time). It uses" in cost and "nan" not in cost


def study(gains, n=10, datasets=1):
    """Curves whose single retrained point lies `gains` above random's, with small noise by seed."""
    parts = [
        curve(metric, [0.5, 0.7 + gain + seed / 1000], configuration=c, seed=seed).assign(
            dataset=f"d{d}"
        )
        for d in range(datasets)
        for seed in range(n)
        for c, metrics in gains.items()
        for metric, gain in metrics.items()
    ]
    return pd.concat(parts)


def test_where_random_is_recommended_its_tests_are_those_of_the_others():
    worse = {2: {"deepgini": -0.1, "nc": -0.05, "random": 0}}
    text = analysed(study(worse)).text
    assert "no metric orders better beyond chance (Wilcoxon with Holm)" in text
    assert "no test is made" not in text
    assert "no test is made" in analysed(study(worse, n=3)).text


def test_configurations_that_are_equally_accurate_have_no_first():
    gains = {c: {"deepgini": 0.1, "random": 0} for c in (1, 2)}
    configuration = answers(analysed(study(gains)))[1]
    assert configuration["answer"].startswith("No configuration has the highest robust accuracy")
    assert configuration["verdict"] == "cannot tell: several are equally accurate"


@pytest.mark.slow
def test_answers_agree_with_the_study_beyond_chance():
    gains = {c: {"deepgini": 0.1 + c / 1000, "nc": 0.05, "random": 0} for c in (1, 3)}
    gains[2] = {"deepgini": 0.2, "nc": 0.15, "random": 0.1}
    metric, configuration, cost, _ = answers(analysed(study(gains)))
    assert metric["verdict"] == "agrees, beyond chance"
    assert (
        "Better than random order beyond chance: DeepGini and Neuron coverage."
        in (metric["answer"])
    )
    assert configuration["verdict"] == "agrees, beyond chance"
    assert cost["verdict"].startswith("agrees")
    text = analysed(study(gains)).text
    assert "over 10 seeds of one data set" in text and "not of other data sets" in text
    assert "not of other" not in analysed(study(gains, n=1, datasets=10)).text


@pytest.mark.slow
def test_seeds_of_several_data_sets_are_not_tested_as_if_independent():
    gains = {c: {"deepgini": 0.1 * c, "nc": 0.05, "random": 0} for c in (1, 2, 3)}
    evidence = analysed(study(gains, n=9, datasets=3))
    assert evidence.pairs.metrics["p_holm"].isna().all()
    assert evidence.pairs.configurations["p_holm"].isna().all()
    text = evidence.text
    effects = (
        "+0.150 ± 0.000 on d0, +0.150 ± 0.000 on d1 and +0.150 ± 0.000 on d2 "
        "(± the 95 % t-interval over 9 seeds)"
    )
    assert effects in text and "p = " not in text and "Wilcoxon" not in text
    assert "Over 3 data sets, means over their seeds, no test is made. A test against " in text
    assert text.index(effects) < text.index("no test is made")
    assert "takes 9 data sets" in text  # nine tests: 2 * 9 / 2^9 < 0.05
    metric, configuration, *_ = answers(evidence)
    assert "not shown beyond chance" in metric["verdict"] + configuration["verdict"]
    assert "there are 3 data sets, means over their seeds, and" in metric["answer"]
    many = analysed(study(gains, n=2, datasets=9)).text
    assert "is above 0 on 9 of 9 data sets" in many and "over 9 data sets, m" in many.lower()


def test_answers_compare_what_was_run_on_the_same_data_sets():
    runs = [curve("deepgini", [0.5, 0.7, 0.8]), curve("random", [0.5, 0.6, 0.7])]
    hard = [part.assign(dataset="hard", accuracy=part["accuracy"] - 0.4) for part in runs]
    easy_only = curve("nc", [0.5, 0.65, 0.75]).assign(fit_seconds=0.1)
    metric, _, cost, _ = answers(analysed(pd.concat([*runs, *hard, easy_only])))
    assert "DeepGini has the highest mean robust accuracy" in metric["answer"]
    assert "Neuron coverage" not in metric["answer"] + cost["answer"]
    assert "there are 2 data sets, and a test against random order takes" in metric["answer"]


def test_answers_disagree_where_the_results_do():
    gains = {
        2: {"deepgini": 0.0, "nc": 0.1, "random": 0.05},
        3: {"deepgini": 0.1, "nc": 0.3, "random": 0.15},
    }
    metric, configuration, cost, _ = answers(analysed(study(gains)))
    assert metric["verdict"] == "does not agree, beyond chance"
    assert "Worse than random order beyond chance: DeepGini." in metric["answer"]
    assert configuration["verdict"] == "does not agree, beyond chance"
    assert cost["verdict"].startswith("does not agree")
    few = [answer["verdict"] for answer in answers(analysed(study(gains, n=2)))]
    assert few[:2] == ["does not agree in direction, not shown beyond chance"] * 2


def test_size_of_the_data_set():
    def sets(gains):
        return pd.concat(
            curve("dsa", [0.5, 0.5 + gain], step=100 * 2**i).assign(dataset=f"d{i}")
            for i, gain in enumerate(gains)
        )

    # one order of 5! in each direction: p = 2 / 120
    rising = answers(analysed(sets([0.1, 0.2, 0.3, 0.35, 0.4])))[3]
    assert rising["verdict"] == "agrees, beyond chance"
    assert "tau = 1.00, p = 0.017" in rising["answer"] and "larger ones" in rising["answer"]
    mixed = answers(analysed(sets([0.1, 0.2, 0.3, 0.4, 0.0])))[3]
    assert mixed["verdict"] == "cannot tell: any trend may be chance"
    assert "do not differ in size" in answers(analysed(sets([0.1] * 5)))[3]["answer"]


def test_tables_for_people():
    results = pd.concat([LOWER, LOW])
    assert "One run with one seed" in runs_in_words(results)
    summary = summarise(results)
    reach = reach_table(summary, ["metric"])
    assert reach.loc["random"].tolist() == ["0 of 1"] + ["not reached"] * 5
    assert reach.loc["dsa"].tolist() == ["1 of 1", "200", "2.00", "4.00", "2", "3.00"]
    missing = reach_table(summarise(results.assign(energy_kwh=np.nan)), ["metric"])
    assert missing.loc["dsa", "Wh"] == "–"
    columns = {"chosen_accuracy": "chosen", "chosen_n_inputs": "inputs"}
    assert spread_table(summary, ["metric"], columns).loc["dsa"].tolist() == [
        1,
        "0.800\N{NO-BREAK SPACE}[0.774,\N{NO-BREAK SPACE}0.824]",  # Wilson, 800 of 1,000
        "300",
    ]
    assert parts_table(summary, ["metric"]).loc["dsa", "cw"] == "0.000 → 0.300"
    two = pd.concat([results, results.assign(seed=1, accuracy=results["accuracy"] + 0.02)])
    assert "Means over 2 seeds" in runs_in_words(two)
    # 0.80 and 0.82: half-width 12.706205 * 0.0141421 / sqrt(2)
    cell = spread_table(summarise(two), ["metric"], columns).loc["dsa", "chosen"]
    assert cell.replace("\N{NO-BREAK SPACE}", " ") == "0.810 ± 0.127"
    pairs = pairs_table(analysed(two).pairs.metrics)
    assert pairs["difference"].tolist() == ["+0.100 ± 0.000"]
    assert pairs.columns.name == "2 seeds of one data set: no test, it takes 6"
    by_dataset = effects_table(analysed(two).pairs.metric_effects)
    assert by_dataset["digits"].tolist() == ["+0.100\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.000"]
