"""What a test takes as one observation: blocks, and the differences within them.

In a *block* everything but the treatment (metric, configuration) is equal, and blocks do not depend
on each other. A block is a data set, with the mean over its seeds, as Demsar recommends (JMLR 7,
2006): then the test is about data sets like these. Seeds of one data set share its images and how
these were split, so seeds of several data sets are no independent blocks, and are never taken for
such. Only where there is a single data set are its seeds the blocks; the test is then about seeds
of this data set, and of no other. Where the blocks are too few for a test to find anything however
clear it is, no test is made, and `effects` with their intervals, by data set, are what there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from utils.statistics.summaries import KEYS, mean_interval

DIGITS = 10
"""Decimals that count: numbers that differ by rounding alone are ties. To be rounded once, as what
is compared: means of rounded numbers, and their differences, may differ in the last one again."""


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


def against_baseline(table: pd.DataFrame, baseline: str = "random") -> pd.DataFrame:
    """Compare each metric with a baseline's order of the same data set and configuration.

    Parameters
    ----------
    table : DataFrame
        What `summarise_seeds` returns, or `summarise_runs`: then runs of the same seed are paired,
        which takes out what the seeds have in common, and the intervals are known.
    baseline : str, default="random"
        Id of the metric that the others are compared with.

    Returns
    -------
    DataFrame
        One row a (dataset, configuration, metric) but the baseline: ``area_difference``,
        ``best_difference`` and ``chosen_difference`` (accuracies; positive = better than the
        baseline), each followed by its ``_interval``, the half-width of the 95 % t-interval
        of the paired differences (NaN without several seeds). Differences are NaN where
        the baseline was not run.
    """
    pair = ["dataset", "configuration", *(["seed"] if "seed" in table else [])]
    columns = {"area": "area", "best_accuracy": "best", "chosen_accuracy": "chosen"}
    base = table.loc[table["metric"] == baseline, [*pair, *columns]]
    both = table[table["metric"] != baseline].merge(
        base, on=pair, how="left", suffixes=("", "_baseline")
    )
    rows = []
    for keys, group in both.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, keys, strict=True))
        for column, name in columns.items():
            mean, half_width = mean_interval(group[column] - group[f"{column}_baseline"])
            row |= {f"{name}_difference": mean, f"{name}_difference_interval": half_width}
        rows.append(row)
    names = [f"{n}_difference{end}" for n in columns.values() for end in ("", "_interval")]
    return pd.DataFrame(rows, columns=[*KEYS, *names])
