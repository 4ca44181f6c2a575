"""Figures that set configurations, metrics and data sets side by side."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from utils.plotting.style import (
    MUTED,
    REFERENCE,
    WIDTH,
    in_order,
    metric_style,
    styled,
)
from utils.statistics import metric_name, pareto_front

_COSTS = {
    "total_seconds": "retraining\ntime (s)",
    "cpu_percent": "mean CPU\n(%)",
    "memory_peak_mb": "peak memory\n(MB)",
    "total_energy_kwh": "energy\n(Wh)",
}
_ACCURACIES = {
    "chosen_accuracy": "accuracy (number of inputs\nchosen on validation)",
    "best_accuracy": "best accuracy (number of\ninputs chosen on test)",
}


@styled
def comparison(summary: pd.DataFrame, accuracy: str = "chosen_accuracy") -> Figure:
    """Draw accuracy and cost of every configuration and metric, a row of panels a data set.

    Parameters
    ----------
    summary : DataFrame
        What `utils.statistics.summarise` returns, of one to about six data sets.
    accuracy : str, default="chosen_accuracy"
        Column for accuracy; ``"best_accuracy"`` shows the study's pick on the test inputs. With
        several seeds, whiskers show its 95 % t-interval.

    Notes
    -----
    Time and energy are those of the whole curve, all its data points together. A dotted line
    shows the accuracy of the original model.
    """
    datasets = list(dict.fromkeys(summary["dataset"]))
    configurations = sorted(summary["configuration"].unique())
    metrics = in_order(summary["metric"])
    offsets = dict(zip(metrics, np.linspace(-0.36, 0.36, len(metrics) + 2)[1:-1], strict=True))
    quantities = {accuracy: _ACCURACIES.get(accuracy, accuracy)} | _COSTS
    height = 0.9 + len(datasets) * (0.5 + 0.12 * len(metrics) * len(configurations))
    figure, axes = plt.subplots(len(datasets), len(quantities), squeeze=False, sharey=True,
                                figsize=(WIDTH, min(height, 14)),
                                gridspec_kw={"width_ratios": [1.6, 1, 1, 1, 1]})
    for row, dataset in zip(axes, datasets, strict=True):
        part = summary[summary["dataset"] == dataset]
        for axis, column in zip(row, quantities, strict=True):
            for _, entry in part.iterrows():
                value = entry[column] * (1000 if "kwh" in column else 1)
                position = configurations.index(entry["configuration"]) + offsets[entry["metric"]]
                look = metric_style(entry["metric"]) | {"linestyle": "none"}
                spread = entry[f"{column}_interval"] if column == accuracy else np.nan
                axis.errorbar(value, position, xerr=None if np.isnan(spread) else spread,
                              capsize=2, elinewidth=1, **look)
            if column == accuracy:
                axis.axvline(part["original_accuracy"].iloc[0], color=REFERENCE, linestyle=":")
                axis.set_ylabel(dataset, fontweight="bold")
            else:
                highest = part[column].max() * (1000 if "kwh" in column else 1)
                axis.set_xlim(0, 1.12 * highest if highest > 0 else 1)
            if part[column].isna().all():
                axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center")
            axis.set_yticks(range(len(configurations)), [f"c{c}" for c in configurations])
            axis.set_ylim(len(configurations) - 0.5, -0.5)
            axis.xaxis.set_major_locator(MaxNLocator(5 if column == accuracy else 3))
            axis.tick_params(axis="y", length=0)
            axis.grid(axis="y", visible=False)
            for border in np.arange(len(configurations) - 1) + 0.5:
                axis.axhline(border, color=MUTED, linewidth=0.7)
    for axis, name in zip(axes[0], quantities.values(), strict=True):
        axis.set_title(name)
    handles = [_handle(metric) for metric in metrics]
    handles.append(Line2D([], [], color=REFERENCE, linestyle=":", label="original model"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3,
                  title="c1: configuration 1, and so on; time and energy: all data points together")
    return figure


@styled
def pareto(
    summary: pd.DataFrame, accuracy: str = "chosen_accuracy", seconds: str = "chosen_seconds"
) -> Figure:
    """Draw accuracy against seconds; what another choice beats in both is grey.

    Parameters
    ----------
    summary : DataFrame
        What `utils.statistics.summarise` returns, of one to about six data sets.
    accuracy, seconds : str
        Columns to draw; by default the accuracy at the data point chosen on validation, and the
        seconds of that one retraining.

    Notes
    -----
    The line joins the Pareto front: no other choice is at least as accurate and as fast and
    better in one. There, ``c1`` and so on name the configuration. The time axis is logarithmic
    where the slowest choice takes more than five times as long as the fastest.
    """
    datasets = list(dict.fromkeys(summary["dataset"]))
    columns = 1 if len(datasets) == 1 else 2
    rows = -(-len(datasets) // columns)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(WIDTH, 0.7 + (3.6 if columns == 1 else 2.9) * rows)
    )
    for axis in axes.flat[len(datasets) :]:
        axis.axis("off")
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        part = summary[summary["dataset"] == dataset].dropna(subset=[accuracy, seconds])
        front = pareto_front(part, maximise=[accuracy], minimise=[seconds])
        line = part[front].sort_values(seconds)
        axis.step(line[seconds], line[accuracy], where="post", color=REFERENCE, linewidth=0.9,
                  zorder=1, label="_front")
        for on_front, (_, entry) in zip(front, part.iterrows(), strict=True):
            look = metric_style(entry["metric"]) | {"linestyle": "none"}
            look |= {"markersize": 8} if on_front else {"color": MUTED}
            axis.plot(entry[seconds], entry[accuracy], zorder=3 if on_front else 2, **look)
            if on_front:
                axis.annotate(f"c{entry['configuration']}", (entry[seconds], entry[accuracy]),
                              xytext=(-5, 4), textcoords="offset points", ha="right", fontsize=9)
        original = summary.loc[summary["dataset"] == dataset, "original_accuracy"].iloc[0]
        axis.set(title=f"{dataset} (original model: {original:.3f})", ylabel="accuracy",
                 xlabel="retraining time (s)")
        axis.margins(x=0.08, y=0.12)
        if len(part) and 0 < 5 * part[seconds].min() < part[seconds].max():
            axis.set(xscale="log", xlabel="retraining time (s, logarithmic)")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
    handles = [_handle(metric) for metric in in_order(summary["metric"])]
    handles += [
        Line2D([], [], color=REFERENCE, linewidth=0.9, label="Pareto front"),
        Line2D([], [], color=MUTED, marker="o", linestyle="none", label="beaten (any metric)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3,
                  title="c1: configuration 1, and so on")
    return figure


def _handle(metric: str) -> Line2D:
    """Legend entry of a metric's mark."""
    return Line2D([], [], label=metric_name(metric), **metric_style(metric) | {"linestyle": "none"})
