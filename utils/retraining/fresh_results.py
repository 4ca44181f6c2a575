"""The table of fresh attacks: one row for the original and each chosen network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from utils.attacks.ensemble import ENSEMBLE, MULTIPLES, Strength
from utils.core.files import write_csv
from utils.retraining.outcomes import unpack
from utils.retraining.results import KEY, read_csv
from utils.retraining.selection import chosen_points, measured

ORIGINAL = "original"
"""Instead of the metric in the row of the original model, which no metric guided."""

FULL = asdict(Strength())
"""How hard each attack tries at most: what AutoAttack's paper has."""
SETTING = ["epsilon", "l2", *FULL]
"""The budgets in L-infinity and L2, and how hard each attack tried."""
LEFT = {name: f"accuracy_{name}" for name in ENSEMBLE}
"""Attack -> the column of the accuracy left after it and those before."""
BY_EPSILON = {multiple: f"accuracy_at_{multiple:g}" for multiple in MULTIPLES}
BY_EPSILON |= {0.0: "accuracy_clean", 1.0: "accuracy_fresh"}
"""Multiple of epsilon -> the column of the accuracy with this budget."""
OUTCOMES = ["right_fixed", "right_fresh", "right_fresh_linf", "within_budget"]
TEXTS = ["dataset", "metric", "doubts", *OUTCOMES]
COLUMNS = list(
    dict.fromkeys(
        [
            *KEY,
            "n_inputs",
            *SETTING,
            "n_attacked",
            "accuracy_clean",
            "accuracy_adversarial",
            "accuracy_fixed",
            "accuracy_fixed_linf",
            *LEFT.values(),
            "accuracy_fresh",
            *BY_EPSILON.values(),
            "seconds",
            "doubts",
            *OUTCOMES,
        ]
    )
)
"""`n_inputs`: retraining inputs; `n_attacked`: images attacked. Accuracies but
`accuracy_adversarial`, which is of the whole adversarial test set, are of these images: as they
are; as the adversarial test set has them, of that the ones made within the fresh attack's norm and
budget (NaN if there are none); after each attack; in the worst case of all attacks, which is what
the last one leaves; and with other budgets, under APGD alone (NaN where there are no numbers).
`doubts`: signs that the attacks failed, see `utils.attacks.doubts`. `OUTCOMES` (see
`utils.retraining.outcomes`) are the images classified right on the fixed inputs, in the worst case,
and in that of the attacks within epsilon (all but Carlini-Wagner), and the fixed inputs within the
budget: what an interval takes."""


def fresh_table(rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Check rows and bring their columns into the order of `COLUMNS`; ValueError if they can't be.

    No network withstands an attack on more images than it classifies right without, nor more
    attacks on more images than fewer.
    """
    table = pd.DataFrame(rows)
    if set(table.columns) != set(COLUMNS):
        raise ValueError(
            f"fresh attacks: expected columns {', '.join(COLUMNS)}; a table of an earlier version "
            "is made anew by step 4.2"
        )
    table["doubts"] = table["doubts"].fillna("")
    attacks = ["accuracy_clean", *LEFT.values(), "accuracy_fresh"]
    within = table[[*attacks, "accuracy_fixed"]].ge(0).all(axis=1) & table["accuracy_clean"].le(1)
    for columns in (attacks, [*BY_EPSILON.values()]):  # with a larger budget it may be unknown
        within &= ~(np.diff(table[columns].to_numpy(float)) > 1e-9).any(axis=1)
    if not within.all():  # nor is it for NaN
        raise ValueError(
            "fresh attacks: expected accuracies in 0..1 that no further attack and no larger "
            "budget raises, fresh ones at most the clean"
        )
    if table.duplicated(KEY).any():
        raise ValueError("fresh attacks: a row occurs twice")
    for right, accuracy in (
        ("right_fixed", "accuracy_fixed"),
        ("right_fresh", "accuracy_fresh"),
        ("right_fresh_linf", LEFT["square"]),
    ):
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
    chosen = chosen_points(measured(results))[[*KEY, "accuracy_adversarial"]]
    tables = []
    for path in filter(os.path.exists, paths):
        try:
            table = fresh_table(read_csv(path, TEXTS))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        both = table[table["metric"] != ORIGINAL].merge(
            chosen, how="left", on=KEY, suffixes=("", "_chosen")
        )
        for row in both.itertuples():
            if not np.isclose(row.accuracy_adversarial, row.accuracy_adversarial_chosen, atol=1e-9):
                raise ValueError(f"{path}: not of the present results; run step 4.2 again")
        tables.append(table)
    return fresh_table(pd.concat(tables, ignore_index=True)) if tables else _NONE
