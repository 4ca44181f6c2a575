"""Figures of what one setting changes."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.plotting.style import (
    MUTED,
    REFERENCE,
    WIDTH,
    metric_style,
    named_lines,
    palette_order,
    styled,
)
from utils.statistics.summaries import mean_interval
from utils.statistics.wording import configuration_title, metric_name


@styled
def setting_effects(runs: pd.DataFrame, to_random: bool = False) -> Figure:
    """Draw robust accuracy against a setting: a row a parameter, a column a configuration.

    Parameters
    ----------
    runs : DataFrame
        What `utils.statistics.sensitivity.summarise_variants` returns, for one data set. Values are
        equally spaced, whatever their size; a grey band marks that of the run itself. With several
        seeds, marks are means and bars the 95 % t-intervals.
    to_random : bool, default=False
        Instead of the accuracy at the point chosen on validation, draw the mean accuracy along
        the curve (area) minus that of the random order of the same run: higher is better than
        random.
    """
    configurations = sorted(runs["configuration"].unique())
    parameters = list(dict.fromkeys(runs["parameter"]))
    figure, axes = plt.subplots(
        len(parameters),
        len(configurations),
        squeeze=False,
        sharex="row",
        sharey=False if to_random else "row",  # or configuration 1 would flatten the others
        figsize=(WIDTH, 0.9 + 2.1 * len(parameters)),
    )
    for row, parameter in zip(axes, parameters, strict=True):
        varied = runs[runs["parameter"] == parameter]
        for axis, configuration in zip(row, configurations, strict=True):
            _panel(axis, varied[varied["configuration"] == configuration], to_random)
            axis.set_xlabel(parameter)
    for axis, configuration in zip(axes[0], configurations, strict=True):
        axis.set_title(configuration_title(configuration))
    names = {False: "robust accuracy (chosen)", True: "area, difference to random order"}
    figure.supylabel(names[to_random], fontsize=10)
    handles = named_lines(axes[0])  # not every configuration has every metric
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _panel(axis: Axes, runs: pd.DataFrame, to_random: bool) -> None:
    """One parameter and configuration."""
    values = list(dict.fromkeys(runs["value"]))
    base = values.index(runs.loc[runs["is_base"], "value"].iloc[0])
    axis.axvspan(base - 0.3, base + 0.3, color=MUTED, alpha=0.35, linewidth=0)
    column = "area" if to_random else "chosen_accuracy"
    table = runs.drop_duplicates(["value", "metric", "seed"]).pivot(
        index=["value", "seed"], columns="metric", values=column
    )
    if to_random:
        table = table.sub(table["random"], axis=0).drop(columns="random")
        axis.axhline(0, label="random", **_line("random"))
    metrics = palette_order(table.columns)
    for metric, shift in zip(metrics, np.linspace(-0.12, 0.12, len(metrics)), strict=True):
        found = [mean_interval(table.loc[value, metric]) for value in values]
        means, half_widths = map(np.array, zip(*found, strict=True))
        bars = None if np.isnan(half_widths).all() else half_widths
        axis.errorbar(
            np.arange(len(values)) + shift,
            means,
            yerr=bars,
            capsize=2,
            elinewidth=0.8,
            label=metric_name(metric),
            **metric_style(metric),
        )
    if not to_random:
        before = runs.groupby("value")["original_accuracy"].mean()[values]
        axis.plot(before.to_numpy(), ":", color=REFERENCE, linewidth=1.3, label="original model")
    axis.set_xticks(range(len(values)), [fill(value, 18) for value in values])


def _line(metric: str) -> dict[str, Any]:
    style = metric_style(metric)
    return {name: style[name] for name in ("color", "linestyle")}
