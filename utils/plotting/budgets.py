"""Figures of what is left of accuracy as the attacker's budget grows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.plotting.style import (
    MUTED,
    REFERENCE,
    WIDTH,
    configuration_panels,
    metric_style,
    palette_order,
    styled,
)
from utils.retraining.fresh_results import BY_EPSILON
from utils.statistics.wording import metric_name


@styled
def accuracy_by_budget(table: pd.DataFrame) -> Figure:
    """Draw accuracy against the attack's budget, a line a network.

    Parameters
    ----------
    table : DataFrame
        What `utils.retraining.fresh_attacks` measures: a panel a data set (rows) and configuration
        (columns), means over seeds. Budgets are multiples of epsilon.
    """
    multiples = np.array(sorted(BY_EPSILON))
    columns = [BY_EPSILON[multiple] for multiple in multiples]
    figure = plt.figure(figsize=(WIDTH, 0.8 + 3 * table["dataset"].nunique()))
    axes, parts = configuration_panels(figure, table)
    for axis, part in parts:
        means = part.groupby("metric")[columns].mean()
        for metric in palette_order(set(means.index) - {"original"}):
            axis.plot(
                multiples, means.loc[metric], label=metric_name(metric), **metric_style(metric)
            )
        axis.plot(
            multiples, means.loc["original"], color=REFERENCE, linestyle=":", label="original model"
        )
        axis.axvline(1, color=MUTED, linewidth=2, zorder=0)
        axis.set_xscale("symlog", base=2, linthresh=0.25, linscale=0.5)  # evenly
        axis.set_xticks(multiples, [f"{multiple:g}" for multiple in multiples])
        axis.minorticks_off()
        axis.set_ylim(-0.03, 1.03)
    for axis in axes[-1]:
        axis.set_xlabel("budget, in epsilon")
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
