"""Figures that set configurations, metrics and data sets side by side."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from utils.plotting.style import MUTED, REFERENCE, WIDTH, metric_style, palette_order, styled
from utils.statistics.advice import unbeaten
from utils.statistics.wording import configuration_title, metric_name

_COSTS = {
    "total_seconds": "retraining\ntime (s)",
    "cpu_percent": "mean CPU\n(%)",
    "memory_peak_mb": "peak memory\n(MB)",
    "total_energy_kwh": "energy\n(Wh)",
}
_ACCURACIES = {
    "chosen_accuracy": "robust accuracy (number of\ninputs chosen on validation)",
    "best_accuracy": "best robust accuracy (number\nof inputs chosen on test)",
}


@styled
def comparison(summary: pd.DataFrame, accuracy: str = "chosen_accuracy") -> Figure:
    """Draw accuracy and cost of every configuration and metric, a row of panels a data set.

    Parameters
    ----------
    summary : DataFrame
        What `utils.statistics.summaries.summarise_seeds` returns, of one to about six data sets.
    accuracy : str, default="chosen_accuracy"
        Column for accuracy; ``"best_accuracy"`` shows the study's pick on the test inputs.
        Whiskers show its 95 % interval: over several seeds, or with one seed over images.

    Notes
    -----
    Time and energy are those of the whole curve, all its data points together. A dotted line
    shows the accuracy of the original model.
    """
    datasets = list(dict.fromkeys(summary["dataset"]))
    configurations = sorted(summary["configuration"].unique())
    metrics = palette_order(summary["metric"])
    offsets = dict(zip(metrics, np.linspace(-0.36, 0.36, len(metrics) + 2)[1:-1], strict=True))
    quantities = {accuracy: _ACCURACIES.get(accuracy, accuracy)} | _COSTS
    height = 0.9 + len(datasets) * (0.5 + 0.12 * len(metrics) * len(configurations))
    figure, axes = plt.subplots(
        len(datasets),
        len(quantities),
        squeeze=False,
        sharey=True,
        figsize=(WIDTH, min(height, 14)),
        gridspec_kw={"width_ratios": [1.6, 1, 1, 1, 1]},
    )
    for row, dataset in zip(axes, datasets, strict=True):
        part = summary[summary["dataset"] == dataset]
        for axis, column in zip(row, quantities, strict=True):
            for _, entry in part.iterrows():
                value = entry[column] * (1000 if "kwh" in column else 1)
                position = configurations.index(entry["configuration"]) + offsets[entry["metric"]]
                look = metric_style(entry["metric"]) | {"linestyle": "none"}
                axis.errorbar(
                    value,
                    position,
                    xerr=_spread(entry, column) if column == accuracy else None,
                    capsize=2,
                    elinewidth=1,
                    **look,
                )
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
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        title=f"{_named(configurations)}\ntime and energy: all data points together",
    )
    return figure


@styled
def pareto(
    summary: pd.DataFrame, accuracy: str = "chosen_accuracy", with_inputs: bool = False
) -> Figure:
    """Draw accuracy against time and energy, a row a data set; what is beaten in all is grey.

    Parameters
    ----------
    summary : DataFrame
        What `utils.statistics.summaries.summarise_seeds` returns, of one to about six data sets.
    accuracy : str, default="chosen_accuracy"
        Column for the height; the front is always that of the point chosen on validation.
    with_inputs : bool, default=False
        Whether time and energy are those of making and scoring the inputs as well.

    Notes
    -----
    Coloured are the choices on the Pareto front over accuracy, seconds and energy (of retraining
    the one chosen point), see `utils.statistics.advice.unbeaten`: no other choice is at least as
    good in all three and better in one. There, ``c1`` and so on name the configuration. An axis is
    logarithmic where its largest cost is more than five times its smallest.
    """
    datasets = list(dict.fromkeys(summary["dataset"]))
    figure, axes = plt.subplots(
        len(datasets),
        2,
        squeeze=False,
        sharey="row",
        figsize=(WIDTH, 0.9 + (3.4 if len(datasets) == 1 else 2.4) * len(datasets)),
    )
    for row, dataset in zip(axes, datasets, strict=True):
        part = summary[summary["dataset"] == dataset]
        front = unbeaten(part, with_inputs)
        for axis, (column, (name, unit, factor)) in zip(row, _ONE_POINT.items(), strict=True):
            costs = factor * part[f"{column}_with_inputs" if with_inputs else column]
            _draw_choices(axis, part, costs, part[accuracy], front)
            axis.set(xlabel=f"{name} {'with its inputs' if with_inputs else 'alone'} ({unit})")
            _stretch(axis, costs)
        row[0].set(
            title=f"{dataset} (original model: {part['original_accuracy'].iloc[0]:.3f})",
            ylabel="robust accuracy",
        )
    handles = [_handle(metric) for metric in palette_order(summary["metric"])]
    handles.append(
        Line2D(
            [],
            [],
            color=MUTED,
            marker="o",
            linestyle="none",
            label="beaten in accuracy, time and energy",
        )
    )
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3,
        title=f"{_named(sorted(summary['configuration'].unique()))}\ncoloured: on the Pareto front",
    )
    return figure


_ONE_POINT = {
    "chosen_seconds": ("time of this one retraining", "s", 1),
    "chosen_energy_kwh": ("energy of this one retraining", "Wh", 1000),
}


def _draw_choices(
    axis: Axes, part: pd.DataFrame, costs: pd.Series, accuracies: pd.Series, front: np.ndarray
) -> None:
    """Draw a mark a choice, coloured and named where it is on the front."""
    if costs.isna().all():
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center")
    choices = zip(part["configuration"], part["metric"], costs, accuracies, front, strict=True)
    for configuration, metric, cost, accuracy, on_front in choices:
        look = metric_style(metric) | {"linestyle": "none"}
        look |= {"markersize": 8} if on_front else {"color": MUTED}
        axis.plot(cost, accuracy, zorder=3 if on_front else 2, **look)
        if on_front and not np.isnan(cost):
            axis.annotate(
                f"c{configuration}",
                (cost, accuracy),
                xytext=(-5, 4),
                ha="right",
                textcoords="offset points",
                fontsize=9,
            )
    axis.margins(x=0.1, y=0.12)


def _stretch(axis: Axes, costs: pd.Series) -> None:
    """Make an axis of costs logarithmic where they are far apart."""
    if 0 < 5 * costs.min() < costs.max():
        axis.set(xscale="log", xlabel=f"{axis.get_xlabel()[:-1]}, logarithmic)")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())


def _spread(entry: pd.Series, column: str) -> list[list[float]] | float | None:
    """Half-width of the interval over seeds, or the sides of that over images; None if unknown."""
    if not np.isnan(half_width := entry[f"{column}_interval"]):
        return half_width
    low, high = (entry.get(f"{column}_{end}", np.nan) for end in ("low", "high"))
    return None if np.isnan(low) else [[entry[column] - low], [high - entry[column]]]


def _named(configurations: Iterable[int]) -> str:
    """``c1: from scratch, c2: ...``."""
    named = [configuration_title(c, 80).split(" ", 1)[1].split("\n") for c in configurations]
    return ", ".join(f"c{number}: {short}" for number, short in named)


def _handle(metric: str) -> Line2D:
    """Legend entry of a metric's mark."""
    return Line2D([], [], label=metric_name(metric), **metric_style(metric) | {"linestyle": "none"})
