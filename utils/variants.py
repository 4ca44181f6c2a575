"""The results of a run together with those of its variants, in which one setting differs."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from utils.parameters import as_text
from utils.results import read_results
from utils.workspace import Workspace, read_json


def read_variants(
    place: Workspace,
    variants: Iterable[str],
    datasets: Iterable[str],
    seeds: Iterable[int],
    configurations: Iterable[int],
) -> pd.DataFrame:
    """Read the results tables of a run and of its variants into one.

    Parameters
    ----------
    place : Workspace
        Of the run.
    variants : iterable of str
        Names, such as ``epsilon-0.1``.
    datasets, seeds, configurations : iterables

    Returns
    -------
    DataFrame
        The columns of the results table after ``parameter``, ``value`` (text) and ``is_base``. The
        rows of the run itself occur once for each parameter that is varied, with the value that it
        has there.

    Raises
    ------
    FileNotFoundError, ValueError
        If a table is missing, damaged or none.
    """
    keys = [(d, s, c) for d in datasets for s in seeds for c in configurations]
    base = read_results(place.results(*key) for key in keys)
    parts = []
    for variant in variants:
        name, _, value = variant.partition("-")
        table = read_results(place.variant(variant).results(*key) for key in keys)
        parts.append(_named(table, name, value, False))
    for name in dict.fromkeys(variant.partition("-")[0] for variant in variants):
        for dataset, table in base.groupby("dataset", sort=False):
            settings = settings_of(place, dataset, table["seed"].iloc[0])
            parts.append(_named(table, name, as_text(settings.get(name, "?")) or "default", True))
    return pd.concat(parts, ignore_index=True)


def _named(table: pd.DataFrame, parameter: str, value: str, is_base: bool) -> pd.DataFrame:
    names = {"parameter": parameter, "value": value, "is_base": is_base}
    return pd.concat([pd.DataFrame(names, index=table.index), table], axis=1)


def settings_of(place: Workspace, dataset: str, seed: int) -> dict[str, object]:
    """The parameters of all jobs of a data set and seed, as their records tell."""
    folders = [place.reports(dataset), place.reports(dataset, seed)]
    records = [read_json(path) for folder in folders for path in sorted(folder.glob("[!.]*.json"))]
    return {name: value for r in records for name, value in r.get("parameters", {}).items()}
