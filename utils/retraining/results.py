"""The results table: one row for each data point of each retraining curve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from utils.core.files import read_json, sha256, write_csv, write_json

KEY = ["dataset", "configuration", "metric", "seed", "point"]
"""What names a row: no two rows of a table have the same."""

QUALITY = [
    "loss",
    "accuracy",
    "precision",
    "recall",
    "accuracy_clean",
    "accuracy_adversarial",
    "accuracy_fresh",
    "accuracy_robust",
]
"""On the test and adversarial test set together, then on each of them alone. Then on test images
attacked anew, with this very network; and the mean of that and of the clean accuracy."""

OUTCOMES = ["right", "right_robust", "val_right", "val_right_robust"]
"""Which inputs are classified right (see `.outcomes`), so that two rows can be compared input by
input: of ``accuracy``, ``accuracy_robust`` and the same on validation."""

VALIDATION = [
    "val_loss",
    "val_accuracy",
    "val_accuracy_fresh",
    "val_accuracy_one_step",
    "val_accuracy_robust",
]
"""The same on validation images: clean and fixed adversarial ones together, attacked anew, attacked
in one step where training attacked its inputs (else NaN; far above several steps, it shows that a
network withstands one alone), robust."""

INPUT_COST = [
    "adversarial_seconds",
    "adversarial_energy_kwh",
    "scoring_seconds",
    "scoring_energy_kwh",
]
"""What making and scoring the inputs took before, see `utils.retraining.costs`."""

COST = [
    *INPUT_COST,
    "fit_seconds",
    "attack_seconds",
    "cpu_seconds",
    "cpu_percent",
    "memory_mean_mb",
    "memory_peak_mb",
    "gpu_percent",
    "gpu_memory_mb",
    "energy_kwh",
    "energy_method",
    "provenance",
]
"""What the inputs took, what the retraining of the point did, ``attack_seconds`` what attacking it
anew did, and an id of software and machine (see `write_results`); the only columns that differ from
run to run."""

_SIZES = ["n_inputs", "n_prefix", "n_adversarial"]

COLUMNS = [*KEY, *_SIZES, *QUALITY, *VALIDATION, *OUTCOMES, "problem", *COST]
"""Columns that every table has; ``accuracy_<attack>`` columns follow `QUALITY`. ``n_inputs`` were
retrained on, of which ``n_prefix`` are those that the metric put first and ``n_adversarial`` are of
step 1.1; ``problem`` is empty, or says why the network is of no use."""

_INTEGERS = ["configuration", "seed", "point", *_SIZES]
_TEXTS = ["dataset", "metric", *OUTCOMES, "problem", "energy_method", "provenance"]
_NAMES = ["dataset", "metric", *OUTCOMES, "provenance"]


def results_table(rows: Iterable[dict] | pd.DataFrame) -> pd.DataFrame:
    """Check rows and bring them into the table's form.

    Parameters
    ----------
    rows : iterable of dict, or DataFrame
        One entry a data point, with all of `COLUMNS` and an ``accuracy_<attack>`` for each attack.

    Returns
    -------
    DataFrame
        Columns in order, integers as int64, rows sorted by `KEY`.

    Raises
    ------
    ValueError
        If columns are missing or unknown, a key is empty or not a whole number, or a row occurs
        twice.
    """
    table = pd.DataFrame(rows) if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ValueError(
            f"results: columns missing: {', '.join(missing)}; a table of an earlier version is "
            "made anew by step 3-4.1"
        )
    attacks = attack_columns(table)
    unknown = [c for c in table.columns if c not in COLUMNS and c not in attacks]
    if unknown:
        raise ValueError(f"results: unknown columns: {', '.join(map(str, unknown))}")
    place = COLUMNS.index("val_loss")
    table = table[[*COLUMNS[:place], *attacks, *COLUMNS[place:]]]
    table = table.assign(problem=table["problem"].fillna(""))
    numbers = [column for column in table.columns if column not in [*_INTEGERS, *_TEXTS]]
    try:
        table = table.astype(dict.fromkeys([*_INTEGERS, *numbers], "float64"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"results: expected numbers, got something else: {error}") from error
    for column in _INTEGERS:
        if not (table[column] % 1 == 0).all():
            raise ValueError(f"results: column {column}: expected whole numbers in every row")
    if table[_NAMES].isna().any(axis=None):
        raise ValueError(f"results: columns {', '.join(_NAMES)}: expected a name in every row")
    table = table.astype(dict.fromkeys(_INTEGERS, "int64"))
    table = table.sort_values(KEY, kind="stable", ignore_index=True)
    twice = table.duplicated(KEY)
    if twice.any():
        key = ", ".join(f"{name} {value}" for name, value in table.loc[twice, KEY].iloc[0].items())
        raise ValueError(f"results: {twice.sum()} rows occur twice, the first: {key}")
    return table


def attack_columns(table: pd.DataFrame) -> list[str]:
    """The columns ``accuracy_<attack>`` of a results table."""
    return sorted(c for c in table if c.startswith("accuracy_") and c not in COLUMNS)


def write_results(
    path: str | Path,
    rows: Iterable[dict] | pd.DataFrame,
    provenance: Mapping[str, Mapping],
    parameters: Mapping[str, Any],
) -> pd.DataFrame:
    """Check `rows`, write them as CSV, and beside it as JSON how they were made; return the table.

    Both are written whole or not at all. Numbers keep every digit: ``pandas.read_csv(path)`` gives
    the same values back.

    Parameters
    ----------
    path : path
        The CSV file.
    rows : iterable of dict, or DataFrame
        See `results_table`.
    provenance : mapping of str to mapping
        What the rows were made under, by the id in their column of that name; see
        `utils.retraining.store.provenance_of`.
    parameters : mapping
        Settings that all rows have in common.

    Raises
    ------
    ValueError
        If the rows are no results table, or name an id that `provenance` does not know.
    """
    table = results_table(rows)
    named = sorted(table["provenance"].unique())
    if unknown := [name for name in named if name not in provenance]:
        raise ValueError(f"results: provenance: expected facts about {', '.join(unknown)}")
    write_csv(path, table)
    about = {"table": Path(path).name, "sha256": sha256(path), "parameters": dict(parameters)}
    about["provenance"] = {name: provenance[name] for name in named}
    write_json(about_file(path), about)
    return table


def about_file(path: str | Path) -> Path:
    """The JSON file beside a results table."""
    return Path(path).with_suffix(".json")


def _check_unchanged(path: str | Path) -> None:
    """Refuse a table that is not what was written, if there is a file that holds its hash."""
    if about_file(path).is_file():
        about = read_json(about_file(path))
        if not isinstance(about, dict) or about.get("sha256") != sha256(path):
            raise ValueError(
                f"not the table that {about_file(path).name} describes; run step 3-4.1 again, or "
                "remove that file to read the table as it is"
            )


def read_csv(path: str | Path, texts: Iterable[str]) -> pd.DataFrame:
    """A CSV file; only an empty cell is missing: a data set may well be called "null" or "NA"."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(texts, str))


def read_results(paths: str | Path | Iterable[str | Path]) -> pd.DataFrame:
    """Read one results table, or several into one.

    Parameters
    ----------
    paths : path or iterable of paths
        CSV files. Attacks may differ between them; a table without an attack has NaN there.
        One that was changed or damaged after `write_results` wrote it is refused.

    Returns
    -------
    DataFrame
        As `results_table` returns it.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ValueError
        If `paths` is empty, a file is no results table or was changed, or two hold the same row.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise ValueError("results: expected at least one file, got none")
    tables = []
    for path in paths:
        try:
            _check_unchanged(path)
            tables.append(results_table(read_csv(path, _TEXTS)))
        except ValueError as error:  # pandas' own parser errors are ValueErrors, too
            raise ValueError(f"{path}: {error}") from error
    return results_table(pd.concat(tables, ignore_index=True))
