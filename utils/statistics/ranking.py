"""Several treatments ranked against each other: Friedman's test, then Nemenyi's.

See `utils.statistics.blocks` for what is compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from math import factorial

import numpy as np
import pandas as pd
from scipy import stats

from utils.statistics.blocks import DIGITS, choose_blocks
from utils.statistics.significance import ALPHA, holm

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
    clean = {name: table.dropna(axis=1, how="all").dropna() for name, table in tables.items()}
    family = sum(table.shape[1] >= 3 for table in clean.values())
    blocks, found = {}, {}
    for name, table in clean.items():
        means, words = choose_blocks(table)
        blocks[name] = means.round(DIGITS)
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
