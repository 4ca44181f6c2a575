"""Two treatments at a time: Wilcoxon's signed-rank test with Holm's correction, and A12.

See `utils.statistics.blocks` for what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, count

import numpy as np
import pandas as pd
from scipy import stats

from utils.metrics.registry import BASELINES
from utils.statistics.blocks import (
    DIGITS,
    choose_blocks,
    configuration_blocks,
    effects,
    metric_blocks,
)
from utils.statistics.significance import ALPHA, holm
from utils.statistics.summaries import mean_interval


@dataclass(frozen=True)
class Pairs:
    """Two and two compared: each metric with the baselines, and the configurations.

    Attributes
    ----------
    metrics, configurations : DataFrame
        Of `signed_rank_tests`, all of them one family for Holm's correction; the former on the area
        under the curve, with a column ``configuration``, empty where no baseline was run (the
        baseline is ``second``); the latter on the accuracy at the chosen point.
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
    """Compare each metric with the baselines in every configuration, and each two configurations.

    Parameters
    ----------
    runs : DataFrame
        What `utils.statistics.summaries.summarise_runs` returns.
    """
    numbers = sorted(int(c) for c in runs["configuration"].unique())
    tables = [metric_blocks(runs, c) for c in numbers]
    pairs: list[list[tuple]] = [
        [
            (metric, baseline)
            for baseline in BASELINES
            for metric in table
            if baseline in table
            and (metric not in BASELINES or BASELINES.index(metric) > BASELINES.index(baseline))
        ]
        for table in tables
    ]
    tables.append(configuration_blocks(runs))
    pairs.append(list(combinations(tables[-1].columns, 2)))
    each = list(zip(tables, pairs, strict=True))
    tests = signed_rank_tests(each)
    by_dataset = [effects(table, two) for table, two in each]

    def joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
        named = zip(parts, numbers, strict=True)
        return pd.concat([part.assign(configuration=c) for part, c in named], ignore_index=True)

    return Pairs(joined(tests[:-1]), tests[-1], joined(by_dataset[:-1]), by_dataset[-1])


def needed_for_pairs(family: int, alpha: float = ALPHA) -> int:
    r"""Smallest number of blocks with which Wilcoxon's test can find a difference after Holm.

    If all :math:`n` differences have one sign, the exact two-sided p-value is :math:`2 / 2^n`, and
    Holm multiplies the smallest of a `family` of :math:`m` by :math:`m`:
    :math:`2 m / 2^n < \alpha`. That is 10 for 18 tests, and 11 for the 38 of
    5 metrics and 2 baselines in 4 configurations.
    """
    return next(n for n in count(1) if 2 * family / 2**n < alpha)


def signed_rank_tests(tables: Sequence[tuple[pd.DataFrame, Sequence[tuple]]]) -> list[pd.DataFrame]:
    """Compare pairs of columns: Wilcoxon's signed-rank test, Holm's correction, and A12.

    Parameters
    ----------
    tables : sequence of (DataFrame, sequence of tuple)
        Tables as for `utils.statistics.ranking.rank_tests`, each with its pairs of two columns.
        Holm's correction is over all pairs of all tables.

    Returns
    -------
    list of DataFrame
        One a table, with a row a pair: ``first, second``; ``difference`` and ``interval``, mean of
        first minus second over the blocks and half-width of its 95 % t-interval; ``wins``, blocks
        in which first is better; ``n``, ``needed`` and ``blocks``, what they are; ``a12``, see
        `vargha_delaney`: over the seeds of each data set, and of that the mean over the data
        sets; ``p_holm``, Wilcoxon's exact two-sided p-value (a normal approximation for more than
        50 blocks, or more than 13 with ties) after Holm's correction, NaN where `n` < `needed`.
        Differences of 0 count half for each side (``zsplit``, as Demsar has it).
    """
    family = sum(len(pairs) for _, pairs in tables)
    tests = [_signed_rank(table, pairs, family) for table, pairs in tables]
    adjusted = holm(np.concatenate([found["p"].to_numpy(float) for found in tests]))
    parts = np.split(adjusted, np.cumsum([len(found) for found in tests])[:-1])
    return [
        found.assign(p_holm=part).drop(columns="p")
        for found, part in zip(tests, parts, strict=True)
    ]


def _signed_rank(table: pd.DataFrame, pairs: Sequence[tuple], family: int) -> pd.DataFrame:
    """See `signed_rank_tests`; ``p`` is not corrected yet for the number of tests in its family."""
    needed = needed_for_pairs(family) if pairs else 0
    rows = []
    for first, second in pairs:
        runs = table[[first, second]].dropna()
        blocks, words = choose_blocks(runs)
        differences = (blocks[first] - blocks[second]).round(DIGITS)
        mean, half_width = mean_interval(differences)
        p = np.nan
        if len(blocks) >= needed:
            p = stats.wilcoxon(differences, zero_method="zsplit").pvalue
        sets = runs.round(DIGITS).groupby(level="dataset", sort=False)
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


def vargha_delaney(first: Sequence[float], second: Sequence[float]) -> float:
    r"""Effect size A12: how likely a run of `first` is better than one of `second`.

    .. math:: A_{12} = P(X > Y) + \tfrac12 P(X = Y)

    over all pairs of values: 0.5 = no effect; from 0.56 (or 0.44) small, 0.64 medium, 0.71 large
    (Vargha and Delaney 2000; Arcuri and Briand, ICSE 2011).
    """
    x, y = np.asarray(first, dtype=float)[:, None], np.asarray(second, dtype=float)
    return float(((x > y) + 0.5 * (x == y)).mean())
