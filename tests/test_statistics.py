"""Summaries, Pareto front and advice, against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from utils.statistics import (
    against_random,
    mean_interval,
    pareto_front,
    recommend,
    summarise,
    summarise_runs,
)


def curve(metric, accuracies, val_accuracies=None, configuration=2, seed=0, step=100):
    """Build one curve; point p has p * step inputs, p seconds and p Wh."""
    points = np.arange(len(accuracies))
    return pd.DataFrame(
        {
            "dataset": "digits",
            "configuration": configuration,
            "metric": metric,
            "seed": seed,
            "point": points,
            "n_inputs": points * step,
            "accuracy": accuracies,
            "val_accuracy": accuracies if val_accuracies is None else val_accuracies,
            "fit_seconds": points * 1.0,
            "cpu_percent": np.where(points > 0, 90.0 + points, 0.0),
            "memory_peak_mb": 500.0 + points,
            "energy_kwh": points / 1000,
        }
    )


DSA = curve("dsa", [0.5, 0.7, 0.9, 0.8], [0.95, 0.6, 0.7, 0.8])
RANDOM = curve("random", [0.5, 0.6, 0.7, 0.8], [0.95, 0.6, 0.6, 0.7])


def row(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


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
    assert (dsa["near_best_n_inputs"], dsa["near_best_seconds"]) == (200, 2)
    assert (dsa["total_seconds"], dsa["cpu_percent"], dsa["memory_peak_mb"]) == (6, 92, 503)
    assert dsa["total_energy_kwh"] == pytest.approx(0.006)
    assert np.isnan(dsa["best_accuracy_interval"])


def test_not_reached_is_nan():
    # random ends at 0.8, 0.1 below the configuration's best
    random = row(summarise(pd.concat([RANDOM, DSA])), metric="random")
    assert np.isnan(random["near_best_n_inputs"]) and np.isnan(random["near_best_seconds"])


def test_exactly_a_hundredth_below_is_near_and_ties_take_fewest_inputs():
    assert 0.07 - 0.01 > 0.06  # in binary arithmetic
    table = row(summarise(curve("nc", [0.02, 0.06, 0.07, 0.07])), metric="nc")
    assert table["near_best_n_inputs"] == 100
    assert table["best_n_inputs"] == table["chosen_n_inputs"] == 200


def test_original_model_may_already_be_near_the_best():
    table = row(summarise(curve("nc", [0.895, 0.8, 0.9])), metric="nc")
    assert (table["near_best_n_inputs"], table["near_best_seconds"]) == (0, 0)


def test_area_with_one_retrained_point_and_unequal_steps():
    assert summarise(curve("nc", [0.4, 0.8]))["area"][0] == pytest.approx(0.6)
    uneven = curve("nc", [0.4, 0.8, 0.8]).assign(n_inputs=[0, 100, 400])
    # (100 * 0.6 + 300 * 0.8) / 400
    assert summarise(uneven)["area"][0] == pytest.approx(0.75)


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
    seeds = [RANDOM, DSA, curve("random", [0.5, 0.9], seed=1), curve("dsa", [0.5, 0.9], seed=1)]
    summary = summarise(pd.concat(seeds))
    assert np.isnan(row(summary, metric="random")["near_best_n_inputs"])
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
    difference = against_random(summarise(pd.concat([RANDOM, DSA])))
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
    difference = against_random(summarise_runs(pd.concat(runs)))
    assert difference["best_difference"][0] == pytest.approx(0.11)
    assert difference["best_difference_interval"][0] == pytest.approx(0.127062, abs=1e-6)


def test_against_random_without_random():
    assert np.isnan(against_random(summarise(DSA))["area_difference"][0])
    assert against_random(summarise(RANDOM)).empty


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


def advice_table(**changes):
    """Validation picks the last point of each curve; seconds = number of the point."""
    results = pd.concat(
        [
            curve("dsa", [0.5, 0.7, 0.8, 0.905], configuration=1),  # 3 s, the highest
            curve("nc", [0.5, 0.7, 0.9], configuration=2),  # 2 s, within 0.01
            curve("lsa", [0.5, 0.89], configuration=2),  # 1 s, too low
            curve("random", [0.5, 0.8], configuration=2),
        ]
    )
    return summarise(results.assign(**changes))


def test_recommend():
    choice, text = recommend(advice_table())
    assert (choice["configuration"], choice["metric"], choice["n_inputs"]) == (2, "nc", 200)
    assert (choice["seconds"], choice["n_candidates"], choice["n_seeds"]) == (2, 2, 1)
    assert choice["over_random"] == pytest.approx(0.1)
    assert choice["over_original"] == pytest.approx(0.4)
    assert choice["over_all_inputs"] == 0
    for part in ("configuration 2", "200 inputs", "0.900", "0.905",
                 "0.100 above that of 100 inputs in random order",
                 "0.400 above that of no retraining", "one run"):  # fmt: skip
        assert part in text


def test_recommend_does_not_look_at_the_test_inputs():
    results = pd.concat(
        [curve("dsa", [0.5, 0.6], [0.5, 0.9]), curve("nc", [0.5, 0.99], [0.5, 0.8])]
    )
    choice, _ = recommend(summarise(results))
    assert (choice["metric"], choice["accuracy"]) == ("dsa", 0.6)


def test_recommend_takes_the_fewest_inputs_whatever_the_clock_said():
    results = [curve("dsa", [0.5, 0.9], step=900), curve("nc", [0.5, 0.7, 0.9], step=100)]
    choice, _ = recommend(summarise(pd.concat(results)))
    assert (choice["metric"], choice["seconds"], choice["n_inputs"]) == ("nc", 2, 200)
    # equal work: the more accurate on validation, even if its time was longer by chance
    slow = curve("dsa", [0.5, 0.8], [0.5, 0.909]).assign(fit_seconds=[0, 1.001])
    fast = curve("nc", [0.5, 0.9], [0.5, 0.9]).assign(fit_seconds=[0, 1])
    assert recommend(summarise(pd.concat([fast, slow])))[0]["metric"] == "dsa"


def test_recommend_with_seeds_gives_the_interval():
    results = [curve("dsa", [0.5, 0.9], seed=0), curve("dsa", [0.5, 0.92], seed=1)]
    choice, text = recommend(summarise(pd.concat(results)))
    assert choice["n_seeds"] == 2 and np.isnan(choice["over_random"])
    assert "± 0.127" in text and "means over 2 seeds" in text and "one run" not in text


def test_recommend_says_when_guidance_gains_nothing():
    results = pd.concat([curve("dsa", [0.9, 0.5, 0.6]), curve("random", [0.9, 0.6])])
    choice, text = recommend(summarise(results))
    assert choice["metric"] == "random"
    assert "No guidance metric" in text
    assert "0.300 below that of no retraining" in text


def test_recommend_takes_one_data_set():
    two = pd.concat([advice_table(), advice_table(dataset="mnist")])
    with pytest.raises(ValueError, match=r"\['digits', 'mnist'\]; call once"):
        recommend(two)
