"""Tests that fit the question: metrics with each other, each with random, configurations.

Several treatments (metrics, configurations) are compared by Friedman's test and, if that finds a
difference, Nemenyi's; two by Wilcoxon's signed-rank test with Holm's correction, and the effect
size of Vargha and Delaney (Demsar, JMLR 7, 2006; Arcuri and Briand, ICSE 2011).

All of them compare within *blocks*, in which everything but the treatment is equal, and which do
not depend on each other. A block is a data set, with the mean over its seeds, as Demsar
recommends: then the test speaks of data sets like these. Seeds of one data set share its images
and how these were split, so seeds of several data sets are no independent blocks, and are never
taken for such. Only where there is a single data set are its seeds the blocks; the test then speaks
of seeds of this data set, and of no other. Where the blocks are too few for a test to find anything
however clear it is, no test is made, and `effects` with their intervals, by data set, are what
there is.

Whoever makes many tests finds something by chance. So all signed-rank tests of a page are one
*family*, over which Holm's correction is made, whatever they compare; and so are all of Friedman's.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations, count
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
    """What `rank_tests` found of one table.

    Attributes
    ----------
    ranks : Series
        Mean rank of each treatment, 1 = best, the best first.
    blocks : str
        What the blocks are, in words.
    n, needed : int
        Blocks; and how many the test needs at least (0: fewer than three treatments, no test).
    statistic, p : float
        Friedman's chi-square, and its p-value after Holm's correction over the rankings that were
        made together; NaN without a test.
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


def choose_blocks(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The blocks of a test, and what they are in words.

    Parameters
    ----------
    table : DataFrame
        A row a (dataset, seed), without NaN. The blocks are the data sets, with the mean over their
        seeds; or the seeds, if there is one data set.
    """
    means = table.groupby(level="dataset", sort=False).mean()
    n_datasets, n_runs = len(means), len(table)
    if n_datasets == 1 and n_runs > 1:
        return table, f"{n_runs} seeds of one data set"
    over = "" if n_datasets == n_runs else ", means over their seeds"
    return means, f"{n_datasets} data set{'s' if n_datasets != 1 else ''}{over}"


def effects(table: pd.DataFrame, pairs: Sequence[tuple]) -> pd.DataFrame:
    """By how much one column exceeds another, in each data set.

    Parameters
    ----------
    table : DataFrame
        A row a (dataset, seed) and a column a treatment, as of `metric_blocks`.
    pairs : sequence of tuple
        Two columns each.

    Returns
    -------
    DataFrame
        A row a (pair, data set): ``first, second, dataset``; ``difference``, mean over the seeds of
        first minus second; ``interval``, half-width of its 95 % t-interval over the seeds (NaN for
        one); ``n``, the seeds.
    """
    rows = []
    for first, second in pairs:
        differences = (table[first] - table[second]).dropna()
        for dataset, part in differences.groupby(level="dataset", sort=False):
            mean, half_width = mean_interval(part)
            rows.append((first, second, dataset, mean, half_width, len(part)))
    names = ["first", "second", "dataset", "difference", "interval", "n"]
    return pd.DataFrame(rows, columns=names)


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
def needed_for_ranking(treatments: int, family: int = 1, alpha: float = ALPHA) -> int:
    r"""Smallest number of blocks with which Friedman's and Nemenyi's tests can find a difference.

    Nothing is clearer than the same order in all :math:`n` blocks. Of the :math:`k!^n` orders that
    chance can give, :math:`k!` are so, thus :math:`m k!^{1 - n} < \alpha` for the clearest of a
    `family` of :math:`m` of Friedman's tests after Holm; and the first and the last differ by
    :math:`k - 1` ranks, which must exceed Nemenyi's critical difference. That takes 3 blocks for 6
    metrics; and 3 for 3 configurations, or 4 as one of four tests.
    """
    k = treatments
    return next(
        n
        for n in count(2)
        if family * factorial(k) ** (1 - n) < alpha and critical_difference(k, n, alpha) < k - 1
    )


def needed_for_pairs(family: int, alpha: float = ALPHA) -> int:
    r"""Smallest number of blocks with which Wilcoxon's test can find a difference after Holm.

    If all :math:`n` differences have one sign, the exact two-sided p-value is :math:`2 / 2^n`, and
    Holm multiplies the smallest of a `family` of :math:`m` by :math:`m`:
    :math:`2 m / 2^n < \alpha`. That is 10 for 5 metrics against random in 3 configurations and 3
    pairs of configurations, 18 tests.
    """
    return next(n for n in count(1) if 2 * family / 2**n < alpha)


def rank_test(table: pd.DataFrame) -> Ranking:
    """Compare all columns with each other: `rank_tests` of this table alone."""
    return rank_tests({"": table})[""]


def rank_tests(tables: Mapping[Hashable, pd.DataFrame]) -> dict[Hashable, Ranking]:
    r"""Compare all columns of each table: Friedman's test, then Nemenyi's.

    Parameters
    ----------
    tables : mapping of tables
        A row a (dataset, seed) and a column a treatment, as of `metric_blocks`; more is better.
        A column of nothing but NaN is left out, and so is a row with a NaN. Holm's correction is
        over all tables with three columns or more.

    Returns
    -------
    dict of Ranking
        Friedman's chi-square, corrected for ties, is

        .. math:: \chi^2_F = \frac{12 n}{k (k + 1)}
                  \left(\sum_j R_j^2 - \frac{k (k + 1)^2}{4}\right)

        without ties, for the mean ranks :math:`R_j` of :math:`k` treatments in :math:`n` blocks.
        Its p-value is chi-square's for more than 15 blocks. For fewer that is too rough, and it is
        the share of the orders that chance can give whose statistic is as large: of all of them,
        or of 9,999 drawn with a fixed seed where there are more.
    """
    clean = {
        name: table.dropna(axis=1, how="all").dropna().round(_DIGITS)
        for name, table in tables.items()
    }
    family = sum(table.shape[1] >= 3 for table in clean.values())
    blocks, found = {}, {}
    for name, table in clean.items():
        blocks[name], words = choose_blocks(table)
        k, n = table.shape[1], len(blocks[name])
        ordered = blocks[name].rank(axis=1, ascending=False).mean().sort_values(kind="stable")
        found[name] = Ranking(ordered, words, n, needed_for_ranking(k, family) if k >= 3 else 0)
    tested = [name for name, r in found.items() if r.needed and r.n >= r.needed]
    friedman = {name: _friedman(blocks[name]) for name in tested}
    p = np.full(family, np.nan)  # a test that was not made counts all the same
    p[: len(tested)] = [friedman[name][1] for name in tested]
    for name, adjusted in zip(tested, holm(p), strict=False):
        found[name] = replace(
            found[name],
            statistic=friedman[name][0],
            p=float(adjusted),
            distance=critical_difference(blocks[name].shape[1], len(blocks[name])),
            pairs=_nemenyi(blocks[name]) if adjusted < ALPHA else pd.DataFrame(),
        )
    return found


def _friedman(blocks: pd.DataFrame) -> tuple[float, float]:
    """Friedman's statistic and its p-value, see `rank_tests`."""
    if (blocks.nunique(axis=1) == 1).all():  # all tied: 0 / 0
        return 0.0, 1.0
    statistic, p = stats.friedmanchisquare(*blocks.to_numpy().T)
    if len(blocks) <= _FEW:
        ranks = blocks.rank(axis=1).to_numpy().T
        p = stats.permutation_test(
            tuple(ranks),
            _sum_of_squares,
            permutation_type="samples",
            alternative="greater",
            n_resamples=9999,
            vectorized=True,
            rng=0,
        ).pvalue
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
        As for `rank_tests`.
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
    return _corrected([_signed_rank(table, pairs, len(pairs))])[0]


def _signed_rank(table: pd.DataFrame, pairs: Sequence[tuple], family: int) -> pd.DataFrame:
    """See `pair_tests`; ``p`` is not corrected yet, for the number of tests in its family."""
    needed = needed_for_pairs(family) if pairs else 0
    rows = []
    for first, second in pairs:
        runs = table[[first, second]].dropna().round(_DIGITS)
        blocks, words = choose_blocks(runs)
        differences = (blocks[first] - blocks[second]).round(_DIGITS)
        mean, half_width = mean_interval(differences)
        p = np.nan
        if len(blocks) >= needed:
            p = stats.wilcoxon(differences, zero_method="zsplit").pvalue
        sets = runs.groupby(level="dataset", sort=False)
        a12 = [vargha_delaney(part[first], part[second]) for _, part in sets]
        rows.append(
            {
                "first": first,
                "second": second,
                "difference": mean,
                "interval": half_width,
                "wins": int((differences > 0).sum()),
                "n": len(blocks),
                "needed": needed,
                "blocks": words,
                "a12": np.mean(a12) if a12 else np.nan,
                "p": p,
            }
        )
    names = ["first", "second", "difference", "interval", "wins", "n", "needed", "blocks", "a12"]
    return pd.DataFrame(rows, columns=[*names, "p"])


def _corrected(tests: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Tables of `_signed_rank` with ``p_holm`` for ``p``, corrected as one family."""
    adjusted = holm(np.concatenate([table["p"].to_numpy(float) for table in tests]))
    ends = np.cumsum([len(table) for table in tests])
    parts = np.split(adjusted, ends[:-1])
    return [
        table.assign(p_holm=part).drop(columns="p")
        for table, part in zip(tests, parts, strict=True)
    ]


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


@dataclass(frozen=True)
class Pairs:
    """Two and two compared: each metric with random, and the configurations.

    Attributes
    ----------
    metrics, configurations : DataFrame
        Of `pair_tests`, all of them one family for Holm's correction; the former on the area
        under the curve, with a column ``configuration``, empty where random was not run; the
        latter on the accuracy at the chosen point.
    metric_effects, configuration_effects : DataFrame
        Of `effects`, likewise: the same by data set.
    """

    metrics: pd.DataFrame
    configurations: pd.DataFrame
    metric_effects: pd.DataFrame
    configuration_effects: pd.DataFrame

    @property
    def family(self) -> int:
        """Number of tests that are corrected together."""
        return len(self.metrics) + len(self.configurations)


def compare_pairs(runs: pd.DataFrame) -> Pairs:
    """Compare each metric with random in every configuration, and each two configurations.

    Parameters
    ----------
    runs : DataFrame
        What `utils.statistics.summaries.summarise_runs` returns.
    """
    numbers = sorted(int(c) for c in runs["configuration"].unique())
    tables = [metric_blocks(runs, c) for c in numbers]
    pairs: list[list[tuple]] = [
        [(metric, "random") for metric in table if metric != "random"] if "random" in table else []
        for table in tables
    ]
    tables.append(configuration_blocks(runs))
    pairs.append(list(combinations(tables[-1].columns, 2)))
    family = sum(map(len, pairs))
    each = list(zip(tables, pairs, strict=True))
    tests = _corrected([_signed_rank(table, two, family) for table, two in each])
    by_dataset = [effects(table, two) for table, two in each]

    def joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
        named = zip(parts, numbers, strict=True)
        return pd.concat([part.assign(configuration=c) for part, c in named], ignore_index=True)

    return Pairs(joined(tests[:-1]), tests[-1], joined(by_dataset[:-1]), by_dataset[-1])
