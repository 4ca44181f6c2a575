"""Tables for people: mean ± interval in one cell, and words where there is no number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from utils.statistics.blocks import against_baseline
from utils.statistics.wording import metric_name, p_value, plus_minus, share_interval


def runs_in_words(results: pd.DataFrame) -> str:
    """How many runs the numbers come from, and what that means for reading them."""
    seeds = results["seed"].nunique()
    if seeds == 1:
        return (
            "**One run with one seed.** An interval in brackets is one over images, 95 %: "
            "where the accuracy on other images like these may lie (Wilson's interval; for robust "
            "accuracy those of its two parts, put together with their correlation). It does not "
            "show how much training adds to chance. Repeated seeds do (`--seeds 0 1 2`)."
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
        Column -> its name; the interval over seeds is shown where there is a column
        ``<column>_interval``, that over images where there are ``<column>_low`` and ``_high``.
    """
    missing = pd.Series(np.nan, index=summary.index)

    def shown(column: str, value: float, half_width: float, low: float, high: float) -> str:
        if np.isnan(value):
            return "–"
        if column.endswith("n_inputs"):
            return f"{value:,.0f}"
        text = (
            share_interval(value, low, high, digits)
            if np.isnan(half_width)
            else plus_minus(value, half_width, digits)
        )
        return text.replace(" ", "\N{NO-BREAK SPACE}")

    table = {"n": summary["n_seeds"]} | {
        name: [
            shown(column, *numbers)
            for numbers in zip(
                summary[column],
                *(summary.get(f"{column}_{end}", missing) for end in ("interval", "low", "high")),
                strict=True,
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
    "best_accuracy": "best on test",
    "best_n_inputs": "best inputs",
    "final_accuracy": "all inputs",
    "area": "area, inputs",
    "area_seconds": "area, seconds",
    "clean_lost": "clean lost",
}


def configurations_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and cost of each configuration in each data set, with names for people.

    They are means over the metrics that all of its configurations ran, or over all where there are
    none: not every metric makes sense in every configuration.
    """
    names = {c: _QUOTED[c] for c in ("original_accuracy", "chosen_accuracy", "best_accuracy")}
    names |= {"final_accuracy": "all inputs", "total_seconds": "seconds, whole curve"}
    names |= {"total_energy_kwh": "Wh, whole curve", "cpu_percent": "CPU %"}
    names |= {"memory_peak_mb": "peak memory, MB"}
    sets = summary.groupby("dataset")
    ran = summary.groupby(["dataset", "metric"])["configuration"].transform("nunique")
    common = ran == sets["configuration"].transform("nunique")
    kept = common | ~common.groupby(summary["dataset"]).transform("any")
    means = summary[kept].groupby(["dataset", "configuration"])[list(names)].mean()
    means["total_energy_kwh"] *= 1000
    return means.round(4).rename(columns=names)


def baseline_table(runs: pd.DataFrame, baseline: str = "random") -> pd.DataFrame:
    """Each metric of one configuration minus a baseline, see `against_baseline`."""
    table = against_baseline(runs, baseline).set_index("metric")
    names = {"area": "area, inputs", "chosen": "chosen", "best": "best on test"}
    shown = {
        name: [
            plus_minus(value, half, signed=True)
            for value, half in zip(
                table[f"{column}_difference"], table[f"{column}_difference_interval"], strict=True
            )
        ]
        for column, name in names.items()
    }
    return pd.DataFrame(shown, index=table.index)


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
    """Accuracy on each part of the test inputs at the chosen point, before → after.

    With one seed, after has its interval over images where the outcomes are known.
    """
    ends = ("_interval", "_low", "_high")
    parts = [
        column
        for column in summary
        if column.startswith("chosen_accuracy_") and not column.endswith(ends)
    ]
    parts = [column for column in parts if summary[column].notna().any()]
    missing = pd.Series(np.nan, index=summary.index)
    table = {}
    for column in parts:
        part = column.removeprefix("chosen_accuracy_")
        before = summary[f"original_accuracy_{part}"]
        interval = [summary.get(f"{column}_{end}", missing) for end in ("low", "high")]
        table[_PARTS.get(part, part)] = [
            "–" if np.isnan(b) or np.isnan(a) else f"{b:.3f} → {share_interval(a, low, high)}"
            for b, a, low, high in zip(before, summary[column], *interval, strict=True)
        ]
    table["clean lost, at most"] = summary["clean_lost_most"].round(3).to_numpy()
    return pd.DataFrame(table).set_index([summary[name] for name in index])


_PARTS = {
    "fresh": "under a fresh attack",
    "adversarial": "fixed adversarial",
    "study": "the study's",
    "robust": "robust",
}


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
