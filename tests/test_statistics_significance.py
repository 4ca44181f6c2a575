"""Tests of significance, against published examples, R's numbers and exact enumeration."""

import subprocess
import sys
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.conftest import ROOT
from utils.statistics.blocks import configuration_blocks, effects, metric_blocks
from utils.statistics.pairs import (
    compare_pairs,
    needed_for_pairs,
    signed_rank_tests,
    vargha_delaney,
)
from utils.statistics.ranking import critical_difference, needed_for_ranking, rank_tests
from utils.statistics.significance import holm

# Demsar, JMLR 7 (2006), table 2: AUC of C4.5 without and with pruning (m) on 14 data sets
C45 = pd.DataFrame(
    [
        [0.763, 0.768], [0.599, 0.591], [0.954, 0.971], [0.628, 0.661], [0.882, 0.888],
        [0.936, 0.931], [0.661, 0.668], [0.583, 0.583], [0.775, 0.838], [1.000, 1.000],
        [0.940, 0.962], [0.619, 0.666], [0.972, 0.981], [0.957, 0.978],
    ],
    columns=["C4.5", "m"],
)  # fmt: skip


def blocks(values, columns=None, seeds=1):
    """Rows as (dataset, seed): so many seeds of each data set after another."""
    table = pd.DataFrame(values, columns=columns)
    index = [(f"d{i // seeds}", i % seeds) for i in range(len(table))]
    table.index = pd.MultiIndex.from_tuples(index, names=["dataset", "seed"])
    return table


def rank_one(table):
    """One table alone: nothing to correct for."""
    return rank_tests({"": table})[""]


def pairs_of(table, pairs):
    return signed_rank_tests([(table, pairs)])[0]


def test_friedman_by_hand():
    # ranks of a: 1 1 1 2, of b: 2 3 2 1, of c: 3 2 3 3; means 1.25, 2, 2.75
    found = rank_one(blocks([[3, 2, 1], [3, 1, 2], [3, 2, 1], [2, 3, 1]], list("abc")))
    assert found.ranks.to_dict() == {"a": 1.25, "b": 2, "c": 2.75}
    # 12 * 4 / (3 * 4) * (1.25^2 + 2^2 + 2.75^2 - 3 * 4^2 / 4)
    assert found.statistic == pytest.approx(4.5)
    assert (found.n, found.blocks) == (4, "4 data sets")


def test_critical_difference_of_demsars_example():
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


@pytest.mark.parametrize(
    ("treatments", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (6, 2.850), (10, 3.164)]
)
def test_critical_difference_has_demsars_quantiles(treatments, q):
    expected = q * np.sqrt(treatments * (treatments + 1) / (6 * 20))
    assert critical_difference(treatments, 20) == pytest.approx(expected, abs=0.001)


def test_nemenyi_p_values_fit_the_critical_difference():
    rng = np.random.default_rng(0)
    table = blocks(rng.random((20, 4)) + [0, 0.1, 0.4, 0.8], list("abcd"))
    found = rank_one(table)
    assert found.p < 0.001
    for a, b in permutations("abcd", 2):
        far = abs(found.ranks[a] - found.ranks[b])
        assert (found.pairs.loc[a, b] < 0.05) == (far > found.distance)
        q = far / np.sqrt(4 * 5 / (6 * 20)) * np.sqrt(2)
        p = stats.studentized_range.sf(q, 4, np.inf)
        assert found.pairs.loc[a, b] == pytest.approx(p, abs=2e-3)
    assert found.ranks.index[0] == "d" and "a" not in found.alike("d")


def test_friedman_as_r():
    """R's help of friedman.test (Hollander and Wolfe 1973): 11.143, p = 0.003805, with ties."""
    times = """5.40 5.50 5.55 5.85 5.70 5.75 5.20 5.60 5.50 5.55 5.50 5.40 5.90 5.85 5.70
    5.45 5.55 5.60 5.40 5.40 5.35 5.45 5.50 5.35 5.25 5.15 5.00 5.85 5.80 5.70 5.25 5.20 5.10
    5.65 5.55 5.45 5.60 5.35 5.45 5.05 5.00 4.95 5.50 5.50 5.40 5.45 5.55 5.50 5.55 5.55 5.35
    5.45 5.50 5.55 5.50 5.45 5.25 5.65 5.60 5.40 5.70 5.65 5.55 6.30 6.30 6.25"""
    found = rank_one(blocks(np.array(times.split(), dtype=float).reshape(22, 3)))
    assert found.statistic == pytest.approx(11.143, abs=5e-4)
    assert found.p == pytest.approx(0.003805, abs=5e-7)


@pytest.mark.parametrize(
    "values",
    [
        [[3, 2, 1], [3, 2, 1], [2, 3, 1], [3, 1, 2]],
        [[3, 2, 2], [3, 2, 1], [1, 1, 1], [3, 3, 1]],  # ties
        [[3, 1, 2], [1, 2, 3], [2, 3, 1], [1, 2, 3]],
    ],
)
def test_friedman_with_few_blocks_is_exact(values):
    def statistic(rows):
        return (np.sum(rows, axis=0) ** 2).sum()

    ranks = [stats.rankdata(row) for row in values]
    every = [statistic(rows) for rows in product(*(list(permutations(row)) for row in ranks))]
    expected = np.mean(np.array(every) >= statistic(ranks) - 1e-9)
    assert rank_one(blocks(values)).p == pytest.approx(expected)


def test_friedman_with_few_blocks_and_many_treatments_is_near_exact():
    # the same order of 6 in 3 blocks: 1 / 720^2, below what 9,999 draws can show
    same = rank_one(blocks([[1, 2, 3, 4, 5, 6]] * 3))
    assert same.p == pytest.approx(1e-4)
    assert rank_one(blocks([[1, 2, 3, 4, 5, 6]] * 3)).p == same.p  # repeatable


def test_friedman_where_all_are_equal():
    found = rank_one(blocks(np.ones((5, 3)), list("abc")))
    assert (found.statistic, found.p) == (0, 1) and found.pairs.empty
    assert found.alike("a") == ["b", "c"]
    # equal but for rounding
    rounded = rank_one(blocks([[0.1 + 0.2, 0.3, 0.3]] * 5))
    assert rounded.p == 1


@pytest.mark.parametrize("treatments", [3, 6])
def test_the_blocks_needed_are_the_fewest_that_can_show_anything(treatments):
    needed = needed_for_ranking(treatments)
    assert needed == 3
    clear = [list(range(treatments))] * needed
    found = rank_one(blocks(clear))
    assert found.tested and found.p < 0.05 and found.pairs.iloc[0, -1] < 0.05
    fewer = rank_one(blocks(clear[1:]))
    assert not fewer.tested and np.isnan(fewer.distance) and fewer.needed == 3
    assert fewer.ranks.tolist() == list(range(1, treatments + 1))  # ranks are known all the same
    assert critical_difference(treatments, needed - 1) > treatments - 1


@pytest.mark.parametrize(
    ("comparisons", "needed"), [(1, 6), (3, 7), (5, 8), (6, 8), (13, 10), (18, 10), (33, 11)]
)
def test_the_pairs_needed_are_the_fewest_that_can_show_anything(comparisons, needed):
    assert needed_for_pairs(comparisons) == needed
    for n, possible in ((needed, True), (needed - 1, False)):
        smallest = stats.wilcoxon(np.arange(1.0, n + 1)).pvalue
        assert smallest == pytest.approx(2 / 2**n)
        assert (comparisons * smallest < 0.05) == possible


def test_two_or_one_to_compare():
    two = rank_one(blocks(np.random.default_rng(0).random((9, 2))))
    assert not two.tested and two.needed == 0 and len(two.ranks) == 2
    assert rank_one(blocks([[0.5]] * 4)).ranks.tolist() == [1]


def test_missing_values_leave_out_treatments_and_blocks():
    values = [[1, 2, 3, np.nan]] * 4 + [[3, np.nan, 1, np.nan]]
    found = rank_one(blocks(values, list("abcd")))
    assert (found.n, list(found.ranks.index)) == (4, ["c", "b", "a"])


@pytest.mark.parametrize(
    ("n_datasets", "seeds", "n", "words"),
    [
        (3, 5, 3, "3 data sets, means over their seeds"),
        (2, 5, 2, "2 data sets, means over their seeds"),  # not ten runs, which share two splits
        (2, 40, 2, "2 data sets, means over their seeds"),
        (4, 1, 4, "4 data sets"),
        (1, 5, 5, "5 seeds of one data set"),
        (1, 1, 1, "1 data set"),
    ],
)
def test_seeds_are_blocks_only_where_there_is_one_data_set(n_datasets, seeds, n, words):
    values = np.random.default_rng(1).random((n_datasets * seeds, 3))
    found = rank_one(blocks(values, seeds=seeds))
    assert (found.n, found.blocks, found.tested) == (n, words, n >= 3)
    pair = pairs_of(blocks(values, seeds=seeds), [(0, 1)]).iloc[0]
    assert (pair["n"], pair["blocks"]) == (n, words)
    assert np.isnan(pair["p_holm"])  # 6 are needed, even for one


def test_effects_are_those_of_each_data_set_with_intervals_over_its_seeds():
    # a - b: 1 and 3 on d0, 5 on d1 in one seed (the other lacks b)
    table = blocks([[2, 1], [4, 1], [7, 2], [9, np.nan]], ["a", "b"], seeds=2)
    found = effects(table, [("a", "b"), ("b", "a")])
    assert found["dataset"].tolist() == ["d0", "d1"] * 2 and found["n"].tolist() == [2, 1] * 2
    assert found["difference"].tolist() == [2, 5, -2, -5]
    # s = sqrt(2), t(0.975, 1) = 12.706205: 12.706205 * sqrt(2) / sqrt(2)
    np.testing.assert_allclose(found["interval"], [12.706205, np.nan] * 2, rtol=1e-6)
    assert effects(table, []).empty


def test_means_over_seeds_are_ranked_not_the_seeds():
    # a is best in four of five seeds of each data set, b on average
    part = [[2, 1, 0]] * 4 + [[0, 9, 1]]
    assert rank_one(blocks(part * 3, list("abc"), seeds=5)).ranks.index[0] == "b"
    assert rank_one(blocks(part, list("abc"), seeds=5)).ranks.index[0] == "a"


def test_wilcoxon_as_demsar():
    """His table 2: C4.5 with and without m; T = 12, two differences of 0 split."""
    table = blocks(C45.to_numpy(), C45.columns)
    difference = (C45["m"] - C45["C4.5"]).round(12)
    assert stats.wilcoxon(difference, zero_method="zsplit").statistic == 12
    found = pairs_of(table, [("m", "C4.5")]).iloc[0]
    # T - 105 / 2 over sqrt(14 * 15 * 29 / 24) is z = -2.54: p = 0.011
    assert found["p_holm"] == pytest.approx(0.011, abs=0.0015)
    assert (found["n"], found["wins"]) == (14, 10)
    assert found["difference"] == pytest.approx(difference.mean())


@pytest.mark.parametrize(
    "differences",
    [
        [1, 2, 3, 4, 5, 6, -7, 8],
        [1, 1, 2, -2, 3, 3, 3, 4],  # ties
        [0, 1, 1, -1, 2, 3, 0, 4],  # ties and zeros
        [0, 0, 0, 0, 0, 0, 0, 0],
    ],
)
def test_wilcoxon_is_exact(differences):
    differences = np.array(differences) / 10
    ranks = stats.rankdata(abs(differences).round(9))
    signed = np.sign(differences) * ranks  # a zero gives both sides half: no difference
    every = [abs(np.sum(signs * signed)) for signs in product([-1, 1], repeat=8)]
    expected = np.mean(np.array(every) >= abs(signed.sum()) - 1e-9)
    table = blocks(np.c_[0.5 + differences, np.full(8, 0.5)], ["a", "b"])
    assert pairs_of(table, [("a", "b")])["p_holm"][0] == pytest.approx(expected)


def test_differences_of_means_over_seeds_that_are_equal_are_ties():
    """Thirds: their means differ in the last digits, whatever these are rounded to before."""
    thirds = np.arange(1, 21).reshape(10, 2)
    first = (1000 + thirds * [1, 2]) / 3000
    second = first - np.array([[1, 3], [3, 1], [-1, -3], [2, 2], [4, 0]] * 2) / 6000
    table = blocks(np.c_[first.ravel(), second.ravel()], ["a", "b"], seeds=2)
    differences = np.array([2, 2, -2, 2, 2] * 2)
    p = stats.wilcoxon(differences, zero_method="zsplit").pvalue
    assert pairs_of(table, [("a", "b")])["p_holm"][0] == pytest.approx(p)
    ranks = rank_one(blocks(np.c_[first.ravel(), first.ravel()[::-1][::-1] + 1e-17], seeds=2)).ranks
    assert ranks.tolist() == [1.5, 1.5]


def test_pairs_with_too_few_blocks_are_not_tested():
    values = np.c_[np.arange(5.0) + 1, np.arange(5.0)]
    found = pairs_of(blocks(values, ["a", "b"]), [("a", "b")]).iloc[0]
    assert np.isnan(found["p_holm"]) and found["needed"] == 6
    assert (found["difference"], found["wins"], found["n"]) == (1, 5, 5)
    assert pairs_of(blocks([[1, 2]], ["a", "b"]), []).empty


def test_holm_as_r():
    # p.adjust(c(0.01, 0.04, 0.03), "holm")
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.5, 0.6])), [1, 1])
    # a test that was not made still counts
    np.testing.assert_allclose(holm(np.array([np.nan, 0.01, 0.02])), [np.nan, 0.03, 0.04])
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).random(9) / 10
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1])


def test_vargha_delaney():
    assert vargha_delaney([1, 2, 3], [2, 2]) == 0.5
    assert vargha_delaney([3, 4], [1, 3]) == 3.5 / 4
    x, y = np.random.default_rng(0).integers(0, 5, (2, 12))
    assert vargha_delaney(x, y) == pytest.approx(stats.mannwhitneyu(x, y).statistic / 144)


def test_the_effect_is_that_within_data_sets():
    # a beats b by a little on both data sets, which differ by much: 1 within, 0.75 over all
    values = [[0.2, 0.1], [0.21, 0.11], [0.9, 0.8], [0.91, 0.81]]
    found = pairs_of(blocks(values, ["a", "b"], seeds=2), [("a", "b")]).iloc[0]
    assert found["a12"] == 1


GAINS = {"digits": 0.1, "mnist": 0.3}


def runs(metrics, seeds=8, configurations=(1, 2)):
    """Areas: `metrics` says by how much each lies above 0.5 (and a little more in each seed)."""
    return pd.DataFrame(
        [
            {
                "dataset": "digits",
                "configuration": c,
                "metric": metric,
                "seed": seed,
                "area": 0.5 + gain + seed / 100,
                "chosen_accuracy": 0.6 + gain + c / 10 + seed / 100,
            }
            for c in configurations
            for metric, gain in metrics.items()
            for seed in range(seeds)
        ]
    )


def test_all_pairs_of_a_page_are_corrected_together():
    gains = {"dsa": 0.1, "nc": 0, "random": 0}
    found = compare_pairs(runs(gains, seeds=9))
    assert found.metrics["configuration"].tolist() == [1, 1, 2, 2] and found.family == 5
    dsa, nc = found.metrics.iloc[0], found.metrics.iloc[1]
    # dsa in both configurations and configuration 2 above 1: the three clearest of five tests
    assert dsa["p_holm"] == pytest.approx(5 * 2 / 2**9) and nc["p_holm"] == 1
    assert found.configurations["p_holm"].tolist() == pytest.approx([5 * 2 / 2**9])
    assert (dsa["difference"], dsa["wins"], dsa["n"]) == (pytest.approx(0.1), 9, 9)
    assert (dsa["blocks"], dsa["needed"]) == ("9 seeds of one data set", 8)
    # with more metrics and configurations on the page the same differences say less
    wide = gains | {"lsa": 0, "deepgini": 0, "softmax_entropy": 0}
    one, three = (compare_pairs(runs(wide, 9, range(1, c + 1))) for c in (1, 3))
    assert (one.family, three.family) == (5, 18)
    assert one.metrics["p_holm"].min() == pytest.approx(5 * 2 / 2**9)
    assert set(three.metrics["needed"]) == {10} and three.metrics["p_holm"].isna().all()


def test_rankings_of_a_page_are_corrected_together():
    clear = blocks([[3, 2, 1]] * 4, list("abc"))
    alone = rank_one(clear)
    four = rank_tests(dict.fromkeys("wxyz", clear) | {"two": clear[["a", "b"]]})
    assert alone.p == pytest.approx(6 / 6**4) and four["w"].p == pytest.approx(4 * 6 / 6**4)
    assert (alone.needed, four["w"].needed, four["two"].needed) == (3, 4, 0)
    fewer = rank_tests(dict.fromkeys("wxyz", clear.iloc[1:]))  # 4 * 6 / 6^3 > 0.05
    assert not any(ranking.tested for ranking in fewer.values())
    assert rank_one(clear.iloc[1:]).tested
    # what is beyond chance alone need not be so as one of several: no Nemenyi then
    vague = blocks([[3, 2, 1], [3, 1, 2], [3, 2, 1], [3, 2, 1], [2, 3, 1]], list("abc"))
    assert 0.05 / 4 < rank_one(vague).p < 0.05 and not rank_one(vague).pairs.empty
    assert rank_tests(dict.fromkeys("wxyz", vague))["w"].pairs.empty


def test_without_random_or_with_random_alone_there_is_nothing_to_test():
    for metrics in ({"dsa": 0.1, "nc": 0}, {"random": 0}):
        found = compare_pairs(runs(metrics))
        assert found.metrics.empty and found.metric_effects.empty and found.family == 1


def test_effects_of_a_page_are_by_data_set():
    parts = {name: runs({"dsa": gain, "random": 0}, 3) for name, gain in GAINS.items()}
    table = pd.concat([part.assign(dataset=name) for name, part in parts.items()])
    found = compare_pairs(table)
    effect = found.metric_effects.set_index(["configuration", "dataset"])
    np.testing.assert_allclose(effect["difference"], [0.1, 0.3, 0.1, 0.3])
    assert (effect["n"] == 3).all() and (found.metrics["n"] == 2).all()
    assert found.configuration_effects["dataset"].tolist() == ["digits", "mnist"]


def test_configurations_are_paired_on_the_metrics_that_all_of_them_ran():
    table = runs({"dsa": 0.1, "nc": 0.3}, seeds=2)
    table = table[(table["configuration"] == 1) | (table["metric"] == "dsa")]  # 2 ran dsa only
    found = configuration_blocks(table)
    np.testing.assert_allclose(found[1], [0.8, 0.81])
    np.testing.assert_allclose(found[2], [0.9, 0.91])
    assert metric_blocks(table, 1).shape == (2, 2) and metric_blocks(table, 2).shape == (2, 1)


def test_statistics_import_nothing_slow():
    code = (
        "import sys, utils.statistics; "
        "print([m for m in ('tensorflow', 'keras', 'scikit_posthocs') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
