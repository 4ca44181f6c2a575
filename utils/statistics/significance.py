"""Tests that fit the question: metrics with each other, each with random, configurations.

Several treatments (metrics, configurations) are compared by Friedman's test and, if that finds a
difference, Nemenyi's; two by Wilcoxon's signed-rank test with Holm's correction, and the effect
size of Vargha and Delaney (Demsar, JMLR 7, 2006; Arcuri and Briand, ICSE 2011).

All of them compare within *blocks*, in which everything but the treatment is equal. A block is a
data set, with the mean over its seeds, where there are enough data sets, as Demsar recommends:
then the test speaks of data sets like these. Where there are not, a block is one run, that is a
(data set, seed). Runs of one data set share its images, so the test then speaks only of the data
sets that were run, not of others. Where the blocks are too few for a test to find anything however
clear it is, no test is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from math import factorial

import numpy as np
import pandas as pd
from scipy import stats

from utils.statistics.summaries import mean_interval

ALPHA = 0.05
"""Level of all tests."""
_DIGITS = 12  # accuracies that differ by rounding alone are ties
_FEW = 15  # blocks for which chi-square is too rough


@dataclass(frozen=True)
class Ranking:
    """What `rank_test` found.

    Attributes
    ----------
    ranks : Series
        Mean rank of each treatment, 1 = best, the best first.
    blocks : str
        What the blocks are, in words.
    n, needed : int
        Blocks; and how many the test needs at least (0: fewer than three treatments, no test).
    statistic, p : float
        Friedman's chi-square and its p-value; NaN without a test.
    distance : float
        Nemenyi's critical difference of mean ranks; NaN without a test.
    pairs : DataFrame
        Nemenyi's p-value of each two treatments; empty unless Friedman's p is below 0.05.
    """

    ranks: pd.Series
    blocks: str
    n: int
    needed: int
    statistic: float = np.nan
    p: float = np.nan
    distance: float = np.nan
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def tested(self) -> bool:
        """Whether there were blocks enough for a test."""
        return not np.isnan(self.p)

    def alike(self, treatment: object) -> list:
        """The other treatments that the tests cannot tell from this one."""
        others = [t for t in self.ranks.index if t != treatment]
        return [t for t in others if self.pairs.empty or self.pairs.loc[treatment, t] >= ALPHA]


def metric_blocks(runs: pd.DataFrame, configuration: int, quantity: str = "area") -> pd.DataFrame:
    """A row a (dataset, seed) and a column a metric, of one configuration of `summarise_runs`."""
    part = runs[runs["configuration"] == configuration]
    return part.pivot(index=["dataset", "seed"], columns="metric", values=quantity)


def configuration_blocks(runs: pd.DataFrame, quantity: str = "chosen_accuracy") -> pd.DataFrame:
    """A row a (dataset, seed) and a column a configuration: means over the metrics all of them ran.

    Metrics of one run share its model and images, so they are no blocks of their own.
    """
    table = runs.pivot(
        index=["dataset", "seed", "metric"], columns="configuration", values=quantity
    ).dropna()
    return table.groupby(level=["dataset", "seed"], sort=False).mean()


def choose_blocks(table: pd.DataFrame, needed: int) -> tuple[pd.DataFrame, str]:
    """The blocks of a test, and what they are in words.

    Parameters
    ----------
    table : DataFrame
        A row a (dataset, seed), without NaN.
    needed : int
        Blocks that the test needs. With as many data sets, these are the blocks, with the mean
        over their seeds; else every (dataset, seed).
    """
    means = table.groupby(level="dataset", sort=False).mean()
    n_datasets, n_runs = len(means), len(table)
    if n_datasets == n_runs or n_datasets >= needed:
        over = "" if n_datasets == n_runs else ", means over their seeds"
        return means, f"{n_datasets} data set{'s' if n_datasets != 1 else ''}{over}"
    if n_datasets == 1:
        return table, f"{n_runs} seeds of one data set"
    return table, f"{n_runs} runs: the seeds of {n_datasets} data sets"


@cache
def critical_difference(treatments: int, n: int, alpha: float = ALPHA) -> float:
    r"""Difference of two mean ranks that Nemenyi's test calls significant.

    .. math:: CD = q_\alpha \sqrt{\frac{k (k + 1)}{6 n}}

    with the quantile :math:`q_\alpha` of the studentised range for :math:`k` `treatments` and
    infinitely many degrees of freedom, divided by :math:`\sqrt 2`, and `n` blocks (Demsar 2006).
    """
    return _q(treatments, alpha) * np.sqrt(treatments * (treatments + 1) / (6 * n))


@cache
def _q(treatments: int, alpha: float) -> float:
    return float(stats.studentized_range.ppf(1 - alpha, treatments, np.inf) / np.sqrt(2))


@cache
def needed_for_ranking(treatments: int, alpha: float = ALPHA) -> int:
    r"""Smallest number of blocks with which Friedman's and Nemenyi's tests can find a difference.

    Nothing is clearer than the same order in all :math:`n` blocks. Of the :math:`k!^n` orders that
    chance can give, :math:`k!` are so, thus :math:`k!^{1 - n} < \alpha` for Friedman's test; and
    the first and the last differ by :math:`k - 1` ranks, which must exceed Nemenyi's critical
    difference. That takes 3 blocks for 6 metrics, and for 3 configurations.
    """
    k = treatments
    return next(
        n for n in count(2)
        if factorial(k) ** (1 - n) < alpha and critical_difference(k, n, alpha) < k - 1
    )  # fmt: skip


def needed_for_pairs(comparisons: int, alpha: float = ALPHA) -> int:
    r"""Smallest number of blocks with which Wilcoxon's test can find a difference after Holm.

    If all :math:`n` differences have one sign, the exact two-sided p-value is :math:`2 / 2^n`, and
    Holm multiplies the smallest of :math:`m` by :math:`m`: :math:`2 m / 2^n < \alpha`, that is 8
    for 5 metrics against random and 7 for 3 pairs of configurations.
    """
    return next(n for n in count(1) if 2 * comparisons / 2**n < alpha)


def rank_test(table: pd.DataFrame) -> Ranking:
    r"""Compare all columns with each other: Friedman's test, then Nemenyi's.

    Parameters
    ----------
    table : DataFrame
        A row a (dataset, seed) and a column a treatment, as of `metric_blocks`; more is better.
        A column of nothing but NaN is left out, and so is a row with a NaN.

    Returns
    -------
    Ranking
        Friedman's chi-square, corrected for ties, is

        .. math:: \chi^2_F = \frac{12 n}{k (k + 1)}
                  \left(\sum_j R_j^2 - \frac{k (k + 1)^2}{4}\right)

        without ties, for the mean ranks :math:`R_j` of :math:`k` treatments in :math:`n` blocks.
        Its p-value is chi-square's for more than 15 blocks. For fewer that is too rough, and it is
        the share of the orders that chance can give whose statistic is as large: of all of them,
        or of 9,999 drawn with a fixed seed where there are more.
    """
    table = table.dropna(axis=1, how="all").dropna().round(_DIGITS)
    k = table.shape[1]
    needed = needed_for_ranking(k) if k >= 3 else 0
    blocks, words = choose_blocks(table, needed or len(table) + 1)
    ordered = blocks.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    found = Ranking(ordered, words, len(blocks), needed)
    if not needed or len(blocks) < needed:
        return found
    statistic, p = _friedman(blocks)
    pairs = _nemenyi(blocks) if p < ALPHA else pd.DataFrame()
    distance = critical_difference(k, len(blocks))
    return Ranking(ordered, words, len(blocks), needed, statistic, p, distance, pairs)


def _friedman(blocks: pd.DataFrame) -> tuple[float, float]:
    """Friedman's statistic and its p-value, see `rank_test`."""
    if (blocks.nunique(axis=1) == 1).all():  # all tied: 0 / 0
        return 0.0, 1.0
    statistic, p = stats.friedmanchisquare(*blocks.to_numpy().T)
    if len(blocks) <= _FEW:
        ranks = blocks.rank(axis=1).to_numpy().T
        p = stats.permutation_test(
            tuple(ranks), _sum_of_squares, permutation_type="samples", alternative="greater",
            n_resamples=9999, vectorized=True, rng=0,
        ).pvalue  # fmt: skip
    return float(statistic), float(p)


def _sum_of_squares(*ranks: np.ndarray, axis: int) -> np.ndarray:
    """What Friedman's statistic grows with, when ranks are permuted within blocks."""
    return sum(column.sum(axis=axis) ** 2 for column in ranks)


def _nemenyi(blocks: pd.DataFrame) -> pd.DataFrame:
    """Nemenyi's p-values, a row and a column a treatment."""
    from scikit_posthocs import posthoc_nemenyi_friedman  # late: slow to import

    p = posthoc_nemenyi_friedman(blocks.to_numpy())
    return pd.DataFrame(p.to_numpy(), index=blocks.columns, columns=blocks.columns)


def pair_tests(table: pd.DataFrame, pairs: Sequence[tuple]) -> pd.DataFrame:
    """Compare pairs of columns: Wilcoxon's signed-rank test, Holm's correction, and A12.

    Parameters
    ----------
    table : DataFrame
        As for `rank_test`.
    pairs : sequence of tuple
        Two columns each; Holm's correction is over all of these pairs.

    Returns
    -------
    DataFrame
        A row a pair: ``first, second``; ``difference`` and ``interval``, mean of first minus
        second over the blocks and half-width of its 95 % t-interval; ``wins``, blocks in which
        first is better; ``n``, ``needed`` and ``blocks``, what they are; ``a12``, see
        `vargha_delaney`: over the seeds of each data set, and of that the mean over the data
        sets; ``p_holm``, Wilcoxon's exact two-sided p-value (a normal approximation for more than
        50 blocks, or more than 13 with ties) after Holm's correction, NaN where `n` < `needed`.
        Differences of 0 count half for each side (``zsplit``, as Demsar has it).
    """
    needed = needed_for_pairs(len(pairs)) if pairs else 0
    rows = []
    for first, second in pairs:
        runs = table[[first, second]].dropna().round(_DIGITS)
        blocks, words = choose_blocks(runs, needed)
        differences = (blocks[first] - blocks[second]).round(_DIGITS)
        mean, half_width = mean_interval(differences)
        p = np.nan
        if len(blocks) >= needed:
            p = stats.wilcoxon(differences, zero_method="zsplit").pvalue
        sets = runs.groupby(level="dataset", sort=False)
        effects = [vargha_delaney(part[first], part[second]) for _, part in sets]
        rows.append(
            {
                "first": first, "second": second, "difference": mean, "interval": half_width,
                "wins": int((differences > 0).sum()), "n": len(blocks), "needed": needed,
                "blocks": words, "a12": np.mean(effects) if effects else np.nan, "p": p,
            }
        )  # fmt: skip
    names = ["first", "second", "difference", "interval", "wins", "n", "needed", "blocks", "a12"]
    found = pd.DataFrame(rows, columns=[*names, "p"])
    return found.assign(p_holm=holm(found["p"].to_numpy(float))).drop(columns="p")


def vargha_delaney(first: Sequence[float], second: Sequence[float]) -> float:
    r"""Effect size A12: how likely a run of `first` is better than one of `second`.

    .. math:: A_{12} = P(X > Y) + \tfrac12 P(X = Y)

    over all pairs of values: 0.5 = no effect; from 0.56 (or 0.44) small, 0.64 medium, 0.71 large
    (Vargha and Delaney 2000; Arcuri and Briand, ICSE 2011).
    """
    x, y = np.asarray(first, dtype=float)[:, None], np.asarray(second, dtype=float)
    return float(((x > y) + 0.5 * (x == y)).mean())


def holm(p: np.ndarray) -> np.ndarray:
    r"""Holm's step-down correction of p-values for their number, NaN (no test) included.

    The :math:`i`-th smallest of :math:`m` becomes :math:`\max_{j \le i} (m - j + 1)\, p_{(j)}`,
    at most 1.
    """
    order = np.argsort(p)  # NaN last
    stepped = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def metrics_against_random(runs: pd.DataFrame, quantity: str = "area") -> pd.DataFrame:
    """Test each metric against random, in each configuration: `pair_tests` with ``configuration``.

    Holm's correction is over the metrics of one configuration. Empty where random was not run.
    """
    tables = []
    for configuration in sorted(runs["configuration"].unique()):
        table = metric_blocks(runs, configuration, quantity)
        others = [metric for metric in table if metric != "random"]
        pairs = [(metric, "random") for metric in others] if "random" in table else []
        found = pair_tests(table, pairs)
        found.insert(0, "configuration", configuration)
        tables.append(found)
    return pd.concat(tables, ignore_index=True)
