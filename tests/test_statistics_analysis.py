"""Two answers, the robust one and the study's, are kept apart and named; numbers by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.test_statistics import analysed, curve, outcomes, whole
from utils.statistics.analysis import analyse
from utils.statistics.answers import answers, answers_text
from utils.statistics.export import as_json, by_quantity
from utils.statistics.pairs import compare_pairs
from utils.statistics.summaries import summarise_runs
from utils.statistics.tables import baseline_table, configurations_table, parts_table


def two_kinds(seeds=(0,)):
    """Configuration 4 with random is robust; by the study's accuracy, 2 with dsa is better."""
    numbers = {  # robust, then the study's: at points 0 to 2
        (4, "random"): ([0.4, 0.6, 0.7], [0.4, 0.5, 0.55]),
        (2, "dsa"): ([0.4, 0.45, 0.5], [0.4, 0.7, 0.9]),
        (2, "random"): ([0.4, 0.44, 0.48], [0.4, 0.6, 0.8]),
    }
    parts = []
    for seed in seeds:
        for (configuration, metric), (robust, study) in numbers.items():
            part = whole(curve(metric, robust, configuration=configuration, seed=seed))
            right = [outcomes(accuracy) for accuracy in study]
            part = part.assign(accuracy=study, val_accuracy=study, right=right, val_right=right)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def test_the_robust_quantity_is_followed_and_what_the_studys_would_choose_is_said():
    found = analyse(two_kinds())
    choice = found.choice
    assert (found.quantity, found.study.quantity) == ("robust", "study")
    assert (choice["configuration"], choice["metric"], choice["accuracy"]) == (4, "random", 0.7)
    study = found.study.choice
    assert (study["configuration"], study["metric"], study["accuracy"]) == (2, "dsa", 0.9)
    assert choice["by_study"] == {
        "configuration": 2,
        "metric": "dsa",
        "n_inputs": 200,
        "n_prefix": 200,
        "accuracy": 0.5,
    }
    assert choice["beats"]["by_study"]["difference"] == pytest.approx(0.2)
    for part in (
        "robust accuracy from 0.400 to 0.700 (95 % interval over images 0.671 to 0.728)",
        "on clean images, from 0.900 to 0.880, and of that under a fresh attack, from 0.300 to 0.6",
        "The study's accuracy, on clean and fixed adversarial images together, goes from 0.400 to ",
        "By the study's accuracy the choice would be configuration 2 with Distance-based surprise "
        "adequacy, 200 inputs; its robust accuracy is 0.500, 0.200 below the recommended one.",
    ):
        assert part in found.text, part
    assert study["by_study"] is None


def test_where_both_choose_alike_nothing_is_said_of_the_other():
    found = analysed(pd.concat([curve("dsa", [0.5, 0.7, 0.9]), curve("random", [0.5, 0.6, 0.7])]))
    assert found.choice["by_study"] is None and "would be" not in found.text


def test_another_point_of_the_same_curve_is_another_choice():
    right = [outcomes(accuracy) for accuracy in (0.5, 0.9, 0.6)]
    table = whole(curve("dsa", [0.5, 0.6, 0.9]), val_accuracy=[0.5, 0.9, 0.6], val_right=right)
    found = analyse(table)
    assert (found.choice["n_inputs"], found.choice["by_study"]["n_inputs"]) == (200, 100)
    assert "adequacy, 100 inputs; its robust accuracy is 0.600, 0.300 below" in found.text


def test_points_that_differ_in_each_seed_are_another_choice_though_their_means_are_equal():
    parts = []
    for seed, robust in enumerate(([0.5, 0.9, 0.6], [0.5, 0.6, 0.9])):
        study = [0.5, robust[2], robust[1]]
        right = [outcomes(accuracy) for accuracy in study]
        columns = {"accuracy": study, "val_accuracy": study, "right": right, "val_right": right}
        parts.append(whole(curve("dsa", robust, seed=seed), **columns))
    choice = analyse(pd.concat(parts, ignore_index=True)).choice
    assert (choice["accuracy"], choice["by_study"]["accuracy"]) == (0.9, 0.6)
    assert choice["n_prefix"] == choice["by_study"]["n_prefix"] == 150


def test_over_seeds_the_studys_choice_is_compared_seed_by_seed():
    both = two_kinds(seeds=(0, 1))
    better = (both["seed"] == 1) & (both["configuration"] == 4)
    both.loc[better, "accuracy_robust"] += 0.02
    beats = analyse(both).choice["beats"]["by_study"]
    # 0.20 and 0.22: mean 0.21, half-width 12.706205 * 0.0141421 / sqrt(2)
    assert beats["difference"] == pytest.approx(0.21)
    assert beats["interval"] == pytest.approx(0.127062, abs=1e-6)
    assert "mcnemar" not in beats and "McNemar" not in analyse(both).text


def test_with_one_seed_networks_are_compared_on_the_same_images():
    found = analyse(two_kinds())
    beats = found.choice["beats"]["by_study"]
    # 200 of 1,000 images in both parts, all one way; the same image counts in both
    assert beats["error"] == pytest.approx(np.sqrt(0.2 * 0.8 / 999))
    clean, fresh = beats["mcnemar"].values()
    assert clean["p"] == fresh["p"] < 1e-9 and clean["difference"] == pytest.approx(0.2)
    assert f"to the study's choice {beats['error']:.3f}" in found.text
    assert "better than the study's choice on clean images (p < 0.001)" in found.text
    same = analysed(pd.concat([curve("dsa", [0.5, 0.5]), curve("random", [0.5, 0.5])]))
    assert "no difference is beyond chance" in same.text


def parts_of(configuration, n_inputs, n_prefix, n_adversarial):
    """A recommendation of the first point, on so many inputs; two more points are lower."""
    part = whole(curve("dsa", [0.5, 0.9, 0.6], configuration=configuration))
    columns = {"n_inputs": n_inputs, "n_prefix": n_prefix, "n_adversarial": n_adversarial}
    return analyse(part.assign(**columns)).text.split(". This one")[0]


@pytest.mark.parametrize(
    ("configuration", "n_inputs", "n_prefix", "n_adversarial", "words"),
    [
        (
            2,
            [0, 863, 1617],
            [0, 863, 1617],
            [0, 180, 180],
            "on the 863 inputs that Distance-based surprise adequacy puts first (all 180 "
            "adversarial inputs and 683 of 1,437 training inputs)",
        ),
        (
            1,
            [0, 863, 1617],
            [0, 863, 1617],
            [0, 100, 180],
            "(100 of 180 adversarial inputs and 763 of 1,437 training inputs)",
        ),
        (3, [0, 90, 180], [0, 90, 180], [0, 90, 180], "(90 of 180 adversarial inputs)"),
        (4, [0, 700, 1437], [0, 700, 1437], [0, 0, 0], "the 700 inputs that Distance-based"),
        (4, [0, 700, 1437], [0, 700, 1437], [0, 0, 0], "(of 1,437 training inputs)"),
        (
            4,
            [0, 1437, 1437],
            [0, 700, 1437],
            [0, 0, 0],
            "puts first (of 1,437 training inputs; the other 737 training inputs are trained on as "
            "they are)",
        ),
        (
            5,
            [0, 1527, 1617],
            [0, 90, 180],
            [0, 90, 180],
            "on the 90 inputs that Distance-based surprise adequacy puts first (90 of 180 "
            "adversarial inputs and all 1,437 training inputs)",
        ),
    ],
)
def test_how_a_recommended_prefix_is_made_up(
    configuration, n_inputs, n_prefix, n_adversarial, words
):
    assert words in parts_of(configuration, n_inputs, n_prefix, n_adversarial)


def test_inputs_kept_beyond_the_prefix_do_not_make_a_prefix_the_whole():
    both = [curve(m, [0.5, a, 0.6], configuration=4) for m, a in (("dsa", 0.9), ("random", 0.7))]
    part = whole(pd.concat(both)).assign(n_inputs=[0, 1437, 1437] * 2, n_prefix=[0, 700, 1437] * 2)
    found = analyse(part)
    assert found.choice["share"] == 1 and found.choice["prefix_share"] == 700 / 1437
    assert "0.200 above 700 inputs in random order" in found.text
    assert "no order saves any" not in found.text


@pytest.mark.parametrize(
    ("configuration", "n_inputs", "words"),
    [
        (2, [0, 50, 100], "on the 50% of the inputs that Distance-based surprise adequacy puts"),
        (4, [0, 50, 100], "on the 50% of the training inputs that"),
        (5, [0, 150, 200], "on the 50% of the adversarial inputs that"),
        (5, [0, 150, 200], "puts first, and all training inputs. This one"),
    ],
)
def test_over_data_sets_shares_are_of_the_inputs_in_order(configuration, n_inputs, words):
    part = whole(curve("dsa", [0.5, 0.9, 0.6], configuration=configuration))
    part = part.assign(n_inputs=n_inputs, n_prefix=[0, 50, 100])
    assert words in analyse(pd.concat([part, part.assign(dataset="mnist")])).text


BASELINES = [curve("random", [0.5, 0.6, 0.7]), curve("adversarial_first", [0.5, 0.7, 0.76])]


def test_what_of_a_lead_is_left_against_adversarial_inputs_first():
    # areas: dsa 0.7, random 0.6, adversarial first (0.6 + 0.73) / 2
    found = analysed(pd.concat([curve("dsa", [0.5, 0.75, 0.8]), *BASELINES]))
    said = answers(found)[0]["answer"]
    assert "0.700 (random order: 0.600; adversarial inputs first, at random: 0.665)" in said
    assert (
        "Of the lead of Distance-based surprise adequacy in configuration 2 over random order, "
        "0.100, 0.035 is left against adversarial inputs first, at random."
    ) in said
    best = [curve("dsa", [0.5, 0.9, 0.6]), curve("adversarial_first", [0.5, 0.8, 0.6])]
    text = analysed(pd.concat(best)).text
    assert "0.100 above 100 inputs with the adversarial ones first, at random" in text
    low = analysed(pd.concat([curve("dsa", [0.5, 0.65, 0.74]), *BASELINES]))
    assert "0.035, nothing is left against" in answers(low)[0]["answer"]
    none = analysed(pd.concat([curve("dsa", [0.5, 0.5, 0.6]), *BASELINES]))
    assert "does not lead over random order" in answers(none)[0]["answer"]


def test_a_lead_is_shown_where_the_baseline_was_run():
    """The recommended configuration orders training inputs alone, and so lacks that baseline."""
    hard = [curve(m, [0.5, 0.9, 0.95], configuration=4) for m in ("dsa", "random")]
    found = analysed(pd.concat([curve("dsa", [0.5, 0.75, 0.8]), *BASELINES, *hard]))
    assert found.choice["configuration"] == 4
    said = answers(found)[0]["answer"]
    assert (
        "In configuration 4, " in said and "adequacy in configuration 2 over random order" in said
    )


def test_adversarial_inputs_first_may_be_recommended_and_reads_well():
    table = pd.concat([curve("dsa", [0.5, 0.6, 0.7]), *BASELINES])
    text = analysed(table).text
    assert "on 200 inputs with the adversarial ones first, at random (all 100 adversarial" in text
    assert "adversarial_first" not in text


def test_metrics_are_tested_against_both_baselines():
    metrics = ["dsa", "nc", "random", "adversarial_first"]
    table = pd.concat(curve(metric, [0.5, 0.7], configuration=2) for metric in metrics)
    three = pd.concat(curve(metric, [0.5, 0.7], configuration=3) for metric in metrics[:3])
    found = compare_pairs(summarise_runs(pd.concat([table, three])))
    pairs = found.metrics[["configuration", "first", "second"]].to_numpy().tolist()
    assert sorted(pairs) == sorted(
        [
            *([2, metric, "random"] for metric in ("dsa", "nc", "adversarial_first")),
            *([2, metric, "adversarial_first"] for metric in ("dsa", "nc")),
            *([3, metric, "random"] for metric in ("dsa", "nc")),
        ]
    )
    assert found.family == 8
    runs = summarise_runs(pd.concat([curve("dsa", [0.5, 0.75, 0.8]), *BASELINES]))
    table = baseline_table(runs, "adversarial_first")
    assert table.loc["dsa"].tolist() == ["+0.035", "+0.040", "+0.040"]
    assert table.loc["random", "chosen"] == "-0.060"


def test_whether_the_study_is_right_is_judged_by_its_own_quantity():
    """By robust accuracy configuration 4 is first, by the study's configuration 2."""
    configuration = answers(analyse(two_kinds()))[1]
    assert configuration["answer"].startswith("Configuration 4 ")
    assert "(4: 0.700, 2: 0.480)" in configuration["answer"]
    assert configuration["by_study"].startswith("configuration 2 ")
    assert "(2: 0.800, 4: 0.550)" in configuration["by_study"]
    assert configuration["verdict"] == "agrees in direction, not shown beyond chance"
    text = answers_text(analyse(two_kinds()))
    assert "By the study's accuracy, configuration 2 (from the original model, on training" in text
    assert "By its own quantity, these results: agrees in direction" in text


def test_records_name_the_quantity_of_each_number():
    found = analyse(two_kinds())
    record = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert record["quantity"].startswith("robust: mean of the accuracy on clean images")
    assert record["recommendation"]["accuracy"] == 0.7
    assert record["study"]["quantity"].startswith("study: accuracy on clean and fixed")
    assert record["study"]["recommendation"]["accuracy"] == 0.9
    assert record["recommendation"]["parts"]["study"] == [0.4, 0.55]
    table = by_quantity(found)
    assert table["quantity"].tolist() == ["robust"] * 3 + ["study"] * 3
    chosen = table.set_index(["quantity", "configuration", "metric"])["chosen_accuracy"]
    assert chosen["robust", 2, "dsa"] == 0.5 and chosen["study", 2, "dsa"] == 0.9


def test_tables_hold_the_other_quantity_and_compare_like_with_like():
    found = analyse(two_kinds())
    table = by_quantity(found)
    robust = table[table["quantity"] == "robust"]
    parts = parts_table(robust, ["configuration", "metric"])
    assert parts.loc[(2, "dsa"), "the study's"] == "0.400 → 0.900 [0.880, 0.917]"
    assert parts.loc[(2, "dsa"), "under a fresh attack"].startswith("0.300 → 0.400 [")
    assert "robust" not in parts and not [c for c in parts if c.startswith(("low", "high"))]
    # dsa was run in configuration 2 alone: configurations are compared on random
    means = configurations_table(robust)["chosen"]
    assert means["digits", 2] == 0.48 and means["digits", 4] == 0.7
    apart = robust[(robust["configuration"] == 4) | (robust["metric"] == "dsa")]
    assert configurations_table(apart)["chosen"]["digits", 2] == 0.5  # nothing in common
