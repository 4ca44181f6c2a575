"""Figures of one configuration's retraining curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from utils.plotting.style import REFERENCE, WIDTH, metric_style, named_lines, palette_order, styled
from utils.retraining.selection import chosen_points, measured
from utils.statistics.summaries import mean_interval
from utils.statistics.wording import configuration_title, metric_name

LABELS = {
    "accuracy": "the study's accuracy (clean + fixed adversarial)",
    "precision": "precision (macro average)",
    "recall": "recall (macro average)",
    "loss": "loss (mean cross-entropy)",
    "accuracy_clean": "accuracy (clean test images)",
    "accuracy_adversarial": "accuracy (fixed adversarial test images)",
    "accuracy_fresh": "accuracy (under a fresh attack)",
    "accuracy_robust": "robust accuracy (clean + fresh attack) / 2",
    "val_accuracy": "the study's accuracy on validation images",
    "val_accuracy_robust": "robust accuracy on validation images",
    "val_loss": "loss (clean + fixed adversarial validation images)",
    "n_prefix": "inputs put first",
    "fit_seconds": "retraining time (s)",
    "cpu_percent": "mean CPU (%, 100 = one core)",
    "memory_peak_mb": "peak memory (MB)",
    "energy_kwh": "energy (Wh)",
    "gpu_percent": "mean GPU (%)",
    "gpu_memory_mb": "GPU memory (MB)",
}
"""Axis label of a column; any other column keeps its name."""


SHOWN = {"accuracy_robust": "robust accuracy", "accuracy": "the study's accuracy"}
"""What `all_curves` shows: columns and their short names."""


def label(column: str) -> str:
    """Axis label of a column of the results table."""
    if column.startswith("accuracy_") and column not in LABELS:
        return f"accuracy (attack {column.removeprefix('accuracy_')})"
    return LABELS.get(column, column)


@styled
def retraining_curves(
    results: pd.DataFrame, quantity: str = "accuracy", x: str = "n_prefix"
) -> Figure:
    """Draw the retraining curves of one configuration, all metrics together.

    Parameters
    ----------
    results : DataFrame
        The results table of one data set and configuration. With several seeds, the curve is
        their mean and a band shows the 95 % t-interval.
    quantity : str, default="accuracy"
        Column to draw. The best point of each curve has a ring, and the legend gives its value
        (for a loss the lowest is best).
    x : {"n_prefix", "fit_seconds"}, default="n_prefix"
        Retraining inputs, or the seconds spent on the curve up to and with this point.

    Raises
    ------
    ValueError
        If the table holds several data sets or configurations, or lacks a column.
    """
    title = _one_configuration(results)
    missing = [column for column in (quantity, x) if column not in results]
    if missing:
        raise ValueError(f"results: expected columns {missing}, got {list(results.columns)}")
    figure, axis = plt.subplots(figsize=(WIDTH, 4.2))
    lower_is_better = "loss" in quantity
    for metric in palette_order(results["metric"]):
        curve = _mean_curve(results[results["metric"] == metric], quantity, x)
        curve = curve.dropna(subset="mean")
        if curve.empty:
            continue
        best = curve.loc[curve["mean"].idxmin() if lower_is_better else curve["mean"].idxmax()]
        at = f"{best['x']:,.0f} inputs" if x == "n_prefix" else f"{best['x']:,.3g} s"
        _draw(axis, curve, metric, f"{metric_name(metric)}\nbest {best['mean']:.3f} at {at}")
        axis.plot(
            best["x"],
            best["mean"],
            "o",
            markersize=12,
            markerfacecolor="none",
            color=metric_style(metric)["color"],
            markeredgewidth=1.6,
            zorder=4,
        )
    original = results.loc[results["point"] == 0, quantity].mean()
    if not np.isnan(original):
        axis.axhline(
            original,
            color=REFERENCE,
            linestyle=":",
            linewidth=1.3,
            label=f"original model\n{original:.3f}",
        )
    horizontal = label(x) if x == "n_prefix" else "retraining time, points so far together (s)"
    axis.set(title=title, xlabel=horizontal, ylabel=label(quantity))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}" if x == "n_prefix" else "{x:g}"))
    if x == "n_prefix":
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlim(left=0)
    figure.legend(
        loc="outside right upper", labelspacing=0.9, title="ring: best point", alignment="left"
    )
    return figure


@styled
def all_curves(
    results: pd.DataFrame, quantities: Mapping[str, str] = SHOWN, choice: Mapping | None = None
) -> Figure:
    """Draw the curves of all data sets and configurations, small and alike.

    Parameters
    ----------
    results : DataFrame
        The results tables together. With several seeds, curves are drawn as in
        `retraining_curves`.
    quantities : mapping of str to str
        Columns to draw and their names: a row each, for each data set. The panels of a row share
        its axis. A dotted line shows the original model.
    choice : mapping, optional
        What `utils.statistics.advice.recommend` returns: a star marks the mean over the seeds of
        its points chosen on validation.
    """
    rows = [(d, column) for d in dict.fromkeys(results["dataset"]) for column in quantities]
    configurations = sorted(results["configuration"].unique())
    figure, axes = plt.subplots(
        len(rows),
        len(configurations),
        squeeze=False,
        sharey="row",
        figsize=(WIDTH, 1.2 + 1.9 * len(rows)),
    )
    for row, (dataset, quantity) in zip(axes, rows, strict=True):
        for axis, configuration in zip(row, configurations, strict=True):
            chosen = (results["dataset"] == dataset) & (results["configuration"] == configuration)
            part = results[chosen]
            _panel(axis, part, quantity, 2 if len(configurations) > 3 else 3)
            if choice and configuration == choice["configuration"]:
                _star(axis, part, quantity, choice)
        row[0].set_ylabel(f"{dataset}\n{quantities[quantity]}", fontweight="bold")
    for axis, configuration in zip(axes[0], configurations, strict=True):
        axis.set_title(configuration_title(configuration))
    for axis in axes[-1]:
        axis.set_xlabel(label("n_prefix"))
    handles = named_lines(axes[0])  # not every configuration has every metric
    handles["original model"] = handles.pop("original model")
    if choice:
        handles["recommended"] = Line2D(
            [],
            [],
            color="white",
            marker="*",
            markersize=13,
            markeredgecolor=REFERENCE,
            linestyle="none",
        )
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


@styled
def curve_panels(results: pd.DataFrame, quantities: Sequence[str]) -> Figure:
    """Draw several quantities against the number of inputs, a small panel each.

    Parameters
    ----------
    results : DataFrame
        The results table of one data set and configuration; several seeds are drawn as in
        `retraining_curves`.
    quantities : sequence of str
        Columns of the results table.

    Raises
    ------
    ValueError
        If the table holds several data sets or configurations.
    """
    title = _one_configuration(results)
    n = min(3, len(quantities))
    rows = -(-len(quantities) // n)
    figure, axes = plt.subplots(rows, n, squeeze=False, figsize=(WIDTH, 1.2 + 2.4 * rows))
    for axis in axes.flat[len(quantities) :]:
        axis.axis("off")
    for axis, quantity in zip(axes.flat, quantities, strict=False):
        _panel(axis, results, quantity, 3)
        axis.set(title=fill(label(quantity), 26), xlabel=label("n_prefix"))
    figure.suptitle(title, fontsize=10)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def resource_curves(results: pd.DataFrame) -> Figure:
    """Draw what retraining costs against the number of inputs, all metrics together.

    Parameters
    ----------
    results : DataFrame
        The results table of one data set and configuration. GPU panels appear where a GPU was
        measured; several seeds are drawn as in `retraining_curves`.

    Raises
    ------
    ValueError
        If the table holds several data sets or configurations.
    """
    title = _one_configuration(results)
    costs = ["fit_seconds", "cpu_percent", "memory_peak_mb", "energy_kwh"]
    gpu = [column for column in ("gpu_percent", "gpu_memory_mb") if column in results]
    costs += [column for column in gpu if results[column].notna().any()]
    rows = -(-len(costs) // 2)
    figure, axes = plt.subplots(rows, 2, squeeze=False, figsize=(WIDTH, 0.8 + 2.5 * rows))
    for axis in axes.flat[len(costs) :]:
        axis.axis("off")
    for axis, cost in zip(axes.flat, costs, strict=False):
        for metric in palette_order(results["metric"]):
            curve = _mean_curve(results[results["metric"] == metric], cost, "n_prefix")
            if cost == "energy_kwh":  # small runs need readable numbers
                curve[["mean", "half_width"]] *= 1000
            _draw(axis, curve, metric, metric_name(metric))
        axis.set(title=label(cost), xlabel=label("n_prefix"))
        axis.margins(y=0.08)
        axis.update_datalim([(0, 0)])
        axis.autoscale_view()
        axis.set(xlim=(0, None), ylim=(0, None))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.xaxis.set_major_locator(MaxNLocator(5))
        if results.loc[results["point"] > 0, cost].isna().all():
            axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center")
            axis.set(xticks=[], yticks=[])
    if "energy_method" in results:
        methods = results.loc[results["point"] > 0, "energy_method"].dropna().unique()
        text = f"{label('energy_kwh')}: {', '.join(map(str, methods))}"
        axes.flat[costs.index("energy_kwh")].set_title(fill(text, 48))
    figure.suptitle(title, fontsize=10)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _panel(axis: Axes, part: pd.DataFrame, quantity: str, ticks: int) -> None:
    """Draw the curves of all metrics of one configuration, and the original model, in a panel."""
    for metric in palette_order(part["metric"]):
        curve = _mean_curve(part[part["metric"] == metric], quantity, "n_prefix")
        _draw(axis, curve, metric, metric_name(metric))
    original = part.loc[part["point"] == 0, quantity].mean()
    axis.axhline(original, color=REFERENCE, linestyle=":", label="original model")
    axis.set_xlim(left=0)
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_major_locator(MaxNLocator(ticks))


def _star(axis: Axes, part: pd.DataFrame, quantity: str, choice: Mapping) -> None:
    """Mark the recommended choice in the panel of its configuration."""
    own = part[part["metric"] == choice["metric"]]
    chosen = own.loc[chosen_points(measured(own)).index]
    axis.plot(
        chosen["n_prefix"].mean(),
        chosen[quantity].mean(),
        "*",
        markersize=15,
        zorder=5,
        color=metric_style(choice["metric"])["color"],
        markeredgecolor=REFERENCE,
        linestyle="none",
        label="_recommended",
    )


def _one_configuration(results: pd.DataFrame) -> str:
    """Title of a figure of one data set and configuration."""
    pairs = results[["dataset", "configuration"]].drop_duplicates().to_numpy().tolist()
    if len(pairs) != 1:
        raise ValueError(f"results: expected one data set and one configuration, got {pairs}")
    seeds = results["seed"].nunique()
    spread = f"\nmean of {seeds} seeds, band: 95 % t-interval" if seeds > 1 else ""
    what = configuration_title(pairs[0][1], 80).replace("\n", ": ")
    return f"{pairs[0][0]}, {what}{spread}"


def _mean_curve(curve: pd.DataFrame, quantity: str, x: str) -> pd.DataFrame:
    """Columns x, mean, half_width of the retrained points of one metric, over its seeds."""
    curve = curve[curve["point"] > 0].sort_values(["seed", "point"])
    horizontal = curve.groupby("seed")[x].cumsum() if x == "fit_seconds" else curve[x]
    rows = [
        (group["x"].mean(), *mean_interval(group[quantity]))
        for _, group in curve.assign(x=horizontal).groupby("point")
    ]
    return pd.DataFrame(rows, columns=["x", "mean", "half_width"], dtype=float)


def _draw(axis: Axes, curve: pd.DataFrame, metric: str, name: str) -> None:
    """Draw one metric's line, and its band where the spread over seeds is known."""
    look = metric_style(metric)
    axis.plot(curve["x"], curve["mean"], label=name, **look)
    if curve["half_width"].notna().any():
        axis.fill_between(
            curve["x"],
            curve["mean"] - curve["half_width"],
            curve["mean"] + curve["half_width"],
            color=look["color"],
            alpha=0.15,
            linewidth=0,
        )
