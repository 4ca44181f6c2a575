"""Whether the advice stays when one setting of the run changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from utils.retraining.selection import measured
from utils.statistics.advice import recommend
from utils.statistics.summaries import summarise_runs
from utils.statistics.wording import metric_name

SETTING = ["parameter", "value", "is_base"]
_CHOICE = ["original_accuracy", "configuration", "metric", "share", "accuracy"]


def summarise_variants(results: pd.DataFrame) -> pd.DataFrame:
    """`summarise_runs` for the run itself and each of its variants, of the robust quantity.

    Parameters
    ----------
    results : DataFrame
        What `utils.plan.variants.read_variants` returns.

    Returns
    -------
    DataFrame
        ``parameter, value, is_base``, then the columns of `summarise_runs`. The values of a
        parameter are in order: numbers by size, texts by the alphabet.
    """
    parts = []
    for _, varied in results.groupby("parameter", sort=False):
        numbers = pd.to_numeric(varied["value"], errors="coerce")
        order = varied["value"] if numbers.isna().any() else numbers
        for _, part in varied.groupby([order, "is_base"]):
            names = part[SETTING].iloc[0]
            runs = summarise_runs(measured(part))
            parts.append(runs.assign(**names)[[*SETTING, *runs]])
    return pd.concat(parts, ignore_index=True)


def sensitivity_table(runs: pd.DataFrame) -> pd.DataFrame:
    """How the recommendation and the order of the metrics fare under each setting.

    Parameters
    ----------
    runs : DataFrame
        What `summarise_variants` returns.

    Returns
    -------
    DataFrame
        One row a (parameter, value, data set), the run itself among them: ``original_accuracy``;
        ``configuration, metric, share, accuracy`` of what `recommend` names there;
        ``kept_accuracy``: of the configuration and metric that are recommended for the run itself,
        at their point chosen here; ``same``: whether those two are recommended here too; ``lost``:
        accuracy minus kept accuracy; ``tau``: Kendall's rank correlation of the metrics' ``area``
        with that in the run itself, mean over the configurations (NaN where one has fewer than two
        metrics, or all are equal). Accuracies are robust ones, means over the seeds.
    """
    rows = []
    for (dataset, parameter), varied in runs.groupby(["dataset", "parameter"], sort=False):
        base = varied[varied["is_base"]]
        kept = recommend(base.drop(columns=SETTING))
        for (value, is_base), part in varied.groupby(["value", "is_base"], sort=False):
            choice = recommend(part.drop(columns=SETTING))
            accuracies = part.groupby(["configuration", "metric"])["chosen_accuracy"].mean()
            kept_accuracy = accuracies[kept["configuration"], kept["metric"]]
            rows.append(
                {
                    "dataset": dataset,
                    "parameter": parameter,
                    "value": value,
                    "is_base": is_base,
                    **{name: choice[name] for name in _CHOICE},
                    "same": all(choice[name] == kept[name] for name in ("configuration", "metric")),
                    "kept_accuracy": kept_accuracy,
                    "lost": choice["accuracy"] - kept_accuracy,
                    "tau": _agreement(part, base),
                }
            )
    return pd.DataFrame(rows)


def _agreement(runs: pd.DataFrame, base: pd.DataFrame) -> float:
    """Mean over the configurations of the rank correlation between the metrics' areas."""
    areas = [r.groupby(["configuration", "metric"])["area"].mean() for r in (runs, base)]
    both = pd.concat(areas, axis=1, keys=["here", "base"])
    taus = [
        stats.kendalltau(part["here"], part["base"]).statistic
        for _, part in both.groupby("configuration")
    ]
    return float(np.mean(taus))


def table_for_people(table: pd.DataFrame) -> pd.DataFrame:
    """`sensitivity_table` with short names."""
    names = {"is_base": "run itself", "original_accuracy": "before", "kept_accuracy": "kept"}
    return table.rename(columns=names).set_index(["dataset", "parameter", "value"]).round(3)


def announcement(table: pd.DataFrame) -> str:
    """One line for the page: in how many variants the recommendation stays."""
    others = table[~table["is_base"]]
    return (
        f"{', '.join(table['dataset'].unique())}: the same recommendation in "
        f"{others['same'].sum()} of {len(others)} variants; keeping to it loses at most "
        f"{max(others['lost'].max(), 0):.3f} of robust accuracy"
    )


def sensitivity_in_words(table: pd.DataFrame) -> str:
    """One line of Markdown for each data set and parameter of `sensitivity_table`."""
    lines = []
    for (dataset, parameter), part in table.groupby(["dataset", "parameter"], sort=False):
        base, others = part[part["is_base"]].iloc[0], part[~part["is_base"]]
        values = ", ".join(others["value"])
        kept = f"configuration {base['configuration']} with {metric_name(base['metric'])}"
        result = f"{kept} is recommended with each of them"
        if not others["same"].all():
            result = (
                f"{kept}, which is recommended for the run itself, is recommended with "
                f"{others['same'].sum()} of the {len(others)}; with the others it is at most "
                f"{max(others['lost'].max(), 0):.3f} lower in robust accuracy than what is "
                "recommended there"
            )
        lines.append(
            f"- **{parameter}** on {dataset}, {base['value']} in the run, "
            f"{values} in its variants: {result}."
        )
    return "\n".join(lines)
