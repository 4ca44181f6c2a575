"""Scores written, read and summed up: do adversarial inputs come first?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.core.files import atomic, write_csv
from utils.data.arrays import load_array

if TYPE_CHECKING:
    import pandas as pd


def save_scores(folder: Path, scores: Mapping[str, np.ndarray], table: pd.DataFrame) -> None:
    """Write what `utils.metrics.registry.score_all` gave: an array a metric, and the table."""
    for metric, values in scores.items():
        with atomic(folder / f"{metric}.npy") as path:
            np.save(path, values)
    write_csv(folder / "metrics.csv", table)


def load_scores(folder: Path, metrics: Iterable[str]) -> dict[str, np.ndarray]:
    """Read some metrics' scores of all inputs, training inputs first."""
    return {m: load_array(folder / f"{m}.npy", "2.1") for m in metrics}


def found_first(
    scores: Mapping[str, np.ndarray], orders: Mapping[str, np.ndarray], n_train: int
) -> pd.DataFrame:
    """Mean score of both kinds of inputs, and how early an order has the adversarial ones.

    Parameters
    ----------
    scores : mapping of str to ndarray of shape (n_train + n_adversarial,)
        Metric id -> scores, training inputs first.
    orders : mapping of str to ndarray of int
        Metric id -> indices of the inputs, first = first to retrain on.
    n_train : int

    Returns
    -------
    DataFrame
        A row a metric; the last column is the share of adversarial inputs among the first tenth of
        the order.
    """
    import pandas as pd

    rows = {}
    for metric, values in scores.items():
        first = orders[metric][: max(1, len(values) // 10)]
        rows[metric] = {
            "mean, training": values[:n_train].mean(),
            "mean, adversarial": values[n_train:].mean(),
            "adversarial in first tenth": (first >= n_train).mean(),
        }
    return pd.DataFrame(rows).T


def checks(scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """A row a metric: how many scores it gave, and whether all are finite."""
    import pandas as pd

    rows = {m: {"scores": len(s), "finite": np.isfinite(s).all()} for m, s in scores.items()}
    return pd.DataFrame(rows).T


def announcement(scores: Mapping[str, np.ndarray], table: pd.DataFrame, n_train: int) -> str:
    """One line for the page; `table` is that of `utils.metrics.registry.score_all`."""
    n = len(next(iter(scores.values())))
    return (
        f"{n:,} inputs scored by {len(scores)} metrics in {table['seconds'].sum():.2f} s, "
        f"{1 - n_train / n:.0%} of them adversarial"
    )
