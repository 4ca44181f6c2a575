"""The table of fresh attacks: one row for the original and each chosen network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.core.files import write_csv
from utils.networks.copying import agree
from utils.retraining.outcomes import unpack
from utils.retraining.results import KEY, read_csv
from utils.retraining.selection import chosen_points

if TYPE_CHECKING:
    pass


ORIGINAL = "original"
"""Instead of the metric in the row of the original model, which no metric guided."""


OUTCOMES = ["right_fixed", "right_fresh", "within_budget"]


COLUMNS = [
    *KEY,
    "n_inputs",
    "n_attacked",
    "accuracy_clean",
    "accuracy_fixed",
    "accuracy_fixed_linf",
    "accuracy_fresh",
    "seconds",
    *OUTCOMES,
]
"""`n_inputs`: retraining inputs; `n_attacked`: images attacked, and all accuracies are of these:
as they are, as the adversarial test set has them, of that the ones made within the fresh attack's
norm and budget (NaN if there are none), and under the fresh attack. `OUTCOMES` (see
`utils.retraining.outcomes`) are the images classified right on the fixed inputs and under the fresh
attack, and the fixed inputs within the budget: what an interval takes."""


def fresh_table(rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Check rows and bring their columns into the order of `COLUMNS`; ValueError if they can't be.

    No network withstands an attack on more images than it classifies right without.
    """
    table = pd.DataFrame(rows)
    if set(table.columns) != set(COLUMNS):
        raise ValueError(
            f"fresh attacks: expected columns {', '.join(COLUMNS)}; a table of an earlier version "
            "is made anew by step 4.2"
        )
    clean, fresh = table["accuracy_clean"], table["accuracy_fresh"]
    within = clean.le(1) & fresh.ge(0) & fresh.le(clean) & table["accuracy_fixed"].between(0, 1)
    if not within.all():  # nor is it for NaN
        raise ValueError("fresh attacks: expected accuracies in 0..1, fresh ones at most the clean")
    if table.duplicated(KEY).any():
        raise ValueError("fresh attacks: a row occurs twice")
    for right, accuracy in (("right_fixed", "accuracy_fixed"), ("right_fresh", "accuracy_fresh")):
        found = np.array([unpack(text).mean() for text in table[right]])
        if not np.allclose(found, table[accuracy], atol=1e-9):
            raise ValueError(f"fresh attacks: {accuracy} does not match {right}")
    return table[COLUMNS]


_NONE = pd.DataFrame(columns=COLUMNS)


def write_fresh(path: str | Path, rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Write `fresh_table` of `rows` as CSV, whole or not at all, and return it."""
    table = fresh_table(rows)
    write_csv(path, table)
    return table


def read_fresh(paths: Iterable[str | Path], results: pd.DataFrame) -> pd.DataFrame:
    """Read tables of `write_fresh` into one.

    Parameters
    ----------
    paths : iterable of path
        Those that do not exist are left out: not every network needs to be attacked.
    results : DataFrame
        The results tables that the attacked networks belong to.

    Raises
    ------
    ValueError
        If a file is no such table, or one of other networks than those that `results` choose.
    """
    chosen = chosen_points(results)[[*KEY, "accuracy_adversarial"]]
    tables = []
    for path in filter(os.path.exists, paths):
        try:
            table = fresh_table(read_csv(path, ["dataset", "metric", *OUTCOMES]))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        both = table[table["metric"] != ORIGINAL].merge(chosen, how="left", on=KEY)
        for row in both.itertuples():
            if not agree(row.accuracy_fixed, row.accuracy_adversarial, row.n_attacked):
                raise ValueError(f"{path}: not of the present results; run step 4.2 again")
        tables.append(table)
    return fresh_table(pd.concat(tables, ignore_index=True)) if tables else _NONE
