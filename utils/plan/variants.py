"""The results of a run together with those of its variants, in which one setting differs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from utils.core.paths import Workspace
from utils.plan.records import read_record
from utils.plan.rules import as_text
from utils.plan.steps import VARIED
from utils.retraining.results import read_results


def read_variants(
    workspace: Workspace,
    variants: Iterable[str],
    datasets: Iterable[str],
    seeds: Iterable[int],
    configurations: Iterable[int],
) -> pd.DataFrame:
    """Read the results tables of a run and of its variants into one.

    Parameters
    ----------
    workspace : Workspace
        Of the run.
    variants : iterable of str
        Names, such as ``epsilon-0.1``.
    datasets, seeds, configurations : iterables

    Returns
    -------
    DataFrame
        The columns of the results table after ``parameter``, ``value`` (text) and ``is_base``. The
        rows of the run itself occur once for each parameter that is varied, with the value that it
        has there; see `value_in_run`.

    Raises
    ------
    FileNotFoundError, ValueError
        If a table is missing, damaged or none.
    """
    datasets, seeds, configurations = list(datasets), list(seeds), list(configurations)
    variants = list(variants)
    base = read_results(workspace.results_of(datasets, seeds, configurations))
    parts = []
    for variant in variants:
        name, _, value = variant.partition("-")
        own = workspace.variant(variant).results_of(datasets, seeds, configurations)
        parts.append(_named(read_results(own), name, value, False))
    for name in dict.fromkeys(variant.partition("-")[0] for variant in variants):
        for dataset, table in base.groupby("dataset", sort=False):
            value = value_in_run(workspace, name, dataset, seeds, configurations)
            parts.append(_named(table, name, value, True))
    return pd.concat(parts, ignore_index=True)


def _named(table: pd.DataFrame, parameter: str, value: str, is_base: bool) -> pd.DataFrame:
    names = {"parameter": parameter, "value": value, "is_base": is_base}
    return pd.concat([pd.DataFrame(names, index=table.index), table], axis=1)


def value_in_run(
    workspace: Workspace,
    name: str,
    dataset: str,
    seeds: Iterable[int],
    configurations: Iterable[int],
) -> str:
    """The value of a parameter in the jobs whose results are compared, from their records.

    Only the jobs that variants repeat count, of this data set and these seeds and configurations:
    other steps, other runs in the same workspace and other files have values of their own.

    Returns
    -------
    str
        ``default`` for an empty value, ``?`` if no record has it. Where the jobs differ (parts of
        a run made with other settings), every value with the jobs that have it, such as
        ``10 (3-4.1, seed 0, configuration 1); 5 (3-4.1, seed 0, configuration 2)``.
    """
    cells = [(seed, c) for seed in seeds for c in configurations]
    jobs: dict[str, list[str]] = {}
    seen = set()
    for step in VARIED:
        for seed, configuration in cells:
            axes: dict[str, Any] = {
                "dataset": dataset,
                "seed": seed,
                "configuration": configuration,
            }
            own = {axis: value for axis, value in axes.items() if axis in step.per}
            folder = workspace.reports(dataset, own.get("seed"))
            path = folder / f"{step.copy.format(d=dataset, c=configuration)}.json"
            record = None if path in seen else read_record(path)
            seen.add(path)
            if record and name in (parameters := record["parameters"]):
                about = [f"{axis} {own[axis]}" for axis in ("seed", "configuration") if axis in own]
                value = as_text(parameters[name]) or "default"
                jobs.setdefault(value, []).append(", ".join([step.id, *about]))
    if len(jobs) < 2:
        return next(iter(jobs), "?")
    return "; ".join(f"{value} ({' and '.join(where)})" for value, where in jobs.items())
