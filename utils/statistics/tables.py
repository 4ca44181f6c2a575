"""Tables for people: mean ± interval in one cell, and words where there is no number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from utils.statistics.summaries import against_random
from utils.statistics.wording import metric_name, p_value, plus_minus


def runs_in_words(results: pd.DataFrame) -> str:
    """How many runs the numbers come from, and what that means for reading them."""
    seeds = results["seed"].nunique()
    if seeds == 1:
        return (
            "**One run with one seed.** Numbers have no interval, and small differences may be "
            "chance. Repeated seeds show how much is chance (`--seeds 0 1 2`)."
        )
    return (
        f"**Means over {seeds} seeds.** ± is the half-width of the 95 % t-interval of the mean: "
        "how far the mean of other seeds may be from this one."
    )


def spread_table(
    summary: pd.DataFrame, index: list[str], columns: Mapping[str, str], digits: int = 3
) -> pd.DataFrame:
    """Columns of `summarise_seeds` as ``mean ± interval``, with their names for people.

    Parameters
    ----------
    summary : DataFrame
        Of `summarise_seeds`.
    index : list of str
        Columns that name a row.
    columns : mapping of str to str
        Column -> its name; the interval is shown where there is a column ``<column>_interval``.
    """
    missing = pd.Series(np.nan, index=summary.index)

    def shown(column: str, value: float, half_width: float) -> str:
        if np.isnan(value):
            return "–"
        if column.endswith("n_inputs"):
            return f"{value:,.0f}"
        return plus_minus(value, half_width, digits).replace(" ", "\N{NO-BREAK SPACE}")

    table = {"n": summary["n_seeds"]} | {
        name: [
            shown(column, value, half_width)
            for value, half_width in zip(
                summary[column], summary.get(f"{column}_interval", missing), strict=True
            )
        ]
        for column, name in columns.items()
    }
    return pd.DataFrame(table).set_index([summary[name] for name in index])


def summary_table(summary: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """The numbers to quote, a row a curve; see `spread_table`."""
    return spread_table(summary, index, _QUOTED)


_QUOTED = {
    "original_accuracy": "before",
    "chosen_accuracy": "chosen",
    "chosen_n_inputs": "chosen inputs",
    "best_accuracy": "best (study)",
    "best_n_inputs": "best inputs",
    "final_accuracy": "all inputs",
    "area": "area, inputs",
    "area_seconds": "area, seconds",
    "clean_lost": "clean lost",
}


def configurations_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and cost of each configuration in each data set: means over the metrics."""
    columns = ["original_accuracy", "chosen_accuracy", "best_accuracy", "final_accuracy"]
    columns += ["total_seconds", "total_energy_kwh", "cpu_percent", "memory_peak_mb"]
    return summary.groupby(["dataset", "configuration"])[columns].mean().round(4)


def random_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Each metric of one configuration minus random, see `against_random`; empty columns go."""
    table = against_random(runs).drop(columns=["dataset", "configuration"])
    return table.set_index("metric").dropna(axis=1, how="all").round(3)


def reach_table(summary: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """What it takes to come near the configuration's highest accuracy, or ``not reached``.

    Near is within one standard error on validation, see `utils.retraining.selection.near`.
    """
    columns = {
        "near_best_n_inputs": ("inputs", 1, ",.0f"),
        "near_best_seconds": ("seconds", 1, ",.2f"),
        "near_best_cpu_seconds": ("CPU seconds", 1, ",.2f"),
        "near_best_energy_kwh": ("Wh", 1000, ".4g"),
        "near_best_search_seconds": ("search: seconds for all points up to it", 1, ",.2f"),
    }
    reached = [
        f"{int(r)} of {n}"
        for r, n in zip(summary["near_best_runs"], summary["n_seeds"], strict=True)
    ]
    table = {"runs that reach it": reached}
    never = summary["near_best_n_inputs"].isna()
    for column, (name, factor, form) in columns.items():
        table[name] = [
            "not reached" if missed else "–" if np.isnan(value) else f"{factor * value:{form}}"
            for value, missed in zip(summary[column], never, strict=True)
        ]
    return pd.DataFrame(table).set_index([summary[name] for name in index])


def parts_table(summary: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """Accuracy on each part of the test inputs at the chosen point, before → after."""
    parts = [c for c in summary if c.startswith("chosen_accuracy_") and "interval" not in c]
    table = {}
    for column in parts:
        part = column.removeprefix("chosen_accuracy_")
        before = summary[f"original_accuracy_{part}"]
        table[part] = [
            "–" if np.isnan(b) or np.isnan(a) else f"{b:.3f} → {a:.3f}"
            for b, a in zip(before, summary[column], strict=True)
        ]
    table["clean lost, at most"] = summary["clean_lost_most"].round(3).to_numpy()
    return pd.DataFrame(table).set_index([summary[name] for name in index])


def pairs_table(tests: pd.DataFrame, name: Callable[[Any], str] = metric_name) -> pd.DataFrame:
    """Differences of `utils.statistics.pairs.signed_rank_tests` for people.

    Effect size and p-values are left out where no pair was tested; then the head of the table has
    the number of blocks and how many a test takes.
    """
    pairs = [f"{name(a)} – {name(b)}" for a, b in zip(tests["first"], tests["second"], strict=True)]
    keys = {"configuration": tests["configuration"]} if "configuration" in tests else {}
    difference = [
        plus_minus(value, half, signed=True)
        for value, half in zip(tests["difference"], tests["interval"], strict=True)
    ]
    table = pd.DataFrame({**keys, "pair": pairs, "difference": difference}).set_index(
        [*keys, "pair"]
    )
    if len(tests) and tests["p_holm"].isna().all():
        table.columns.name = f"{tests['blocks'].iloc[0]}: no test, it takes {tests['needed'].max()}"
        return table
    return table.assign(
        **{
            "better in": [f"{w} of {n}" for w, n in zip(tests["wins"], tests["n"], strict=True)],
            "A12": tests["a12"].round(2).to_numpy(),
            "Wilcoxon, Holm": ["no test" if np.isnan(p) else p_value(p) for p in tests["p_holm"]],
            "blocks": tests["blocks"].to_numpy(),
        }
    )


def effects_table(effects: pd.DataFrame, name: Callable[[Any], str] = metric_name) -> pd.DataFrame:
    """Differences in each data set for people, a column a data set: mean ± interval over seeds.

    Parameters
    ----------
    effects : DataFrame
        Of `utils.statistics.blocks.effects`, with or without a column ``configuration``.
    name : callable
        Gives the name of what is compared.
    """
    keys = ["configuration", "pair"] if "configuration" in effects else ["pair"]
    shown = [
        plus_minus(value, half, signed=True).replace(" ", "\N{NO-BREAK SPACE}")
        for value, half in zip(effects["difference"], effects["interval"], strict=True)
    ]
    pairs = zip(effects["first"], effects["second"], strict=True)
    table = effects.assign(pair=[f"{name(a)} – {name(b)}" for a, b in pairs], shown=shown)
    table = table.pivot_table(
        index=keys, columns="dataset", values="shown", aggfunc="first", sort=False
    )
    return table.fillna("–").rename_axis(columns=None)
