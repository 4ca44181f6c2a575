"""Figures of what the tests say: ranks with the critical difference, differences to random."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.plotting.style import MUTED, REFERENCE, WIDTH, in_order, metric_style, styled
from utils.statistics import Ranking, metric_blocks, metric_name, metrics_against_random


@styled
def critical_differences(rankings: Mapping[str, Ranking]) -> Figure:
    """Draw mean ranks, a panel a ranking, as Demsar does (JMLR 2006).

    Parameters
    ----------
    rankings : mapping of str to Ranking
        Title -> what `utils.statistics.rank_test` found; treatments are metrics or configurations.

    Notes
    -----
    Rank 1, the best, is at the left. A thick bar joins treatments that Nemenyi's test cannot tell
    apart, and all of them where Friedman's test finds no difference; the bar above the axis is as
    long as the critical difference. Without a test there are ranks only.
    """
    rows = [(len(r.ranks) + 1) // 2 + 2.8 for r in rankings.values()]
    figure, axes = plt.subplots(
        len(rows), 1, squeeze=False, figsize=(WIDTH, 0.3 + 0.3 * sum(rows)),
        gridspec_kw={"height_ratios": rows},
    )  # fmt: skip
    for axis, (title, ranking) in zip(axes[:, 0], rankings.items(), strict=True):
        _draw_ranks(axis, ranking)
        tested = (
            f"Friedman: p {'< 0.001' if ranking.p < 0.001 else f'= {ranking.p:.3f}'}"
            if ranking.tested
            else f"no test: it needs {max(ranking.needed, 3)} blocks and three to compare"
        )
        axis.set_title(f"{title} – {ranking.blocks} – {tested}")
    return figure


def _draw_ranks(axis: Axes, ranking: Ranking) -> None:
    """One diagram; y counts lines of text downwards from the axis of ranks at 0."""
    k, half = len(ranking.ranks), (len(ranking.ranks) + 1) // 2
    axis.axis("off")
    axis.set(xlim=(1 - 0.55 * (k - 1) - 0.1, k + 0.55 * (k - 1) + 0.1), ylim=(half + 1, -1.3))
    axis.plot([1, k], [0, 0], color=REFERENCE, linewidth=1)
    for rank in range(1, k + 1):
        axis.plot([rank, rank], [0, -0.15], color=REFERENCE, linewidth=1)
        axis.text(rank, -0.25, str(rank), ha="center", va="bottom", fontsize=9)
    bars = _groups(ranking)
    for place, (treatment, rank) in enumerate(ranking.ranks.items()):
        left = place < half
        line = 1.4 + (place if left else k - 1 - place)
        edge = 1 - 0.05 * (k - 1) if left else k + 0.05 * (k - 1)
        metric = isinstance(treatment, str)
        colour = metric_style(treatment)["color"] if metric else REFERENCE
        axis.plot([rank, rank, edge], [0, line, line], color=colour, linewidth=1.3)
        name = metric_name(treatment) if metric else f"configuration {treatment}"
        axis.text(
            edge,
            line,
            f" {name} ({rank:.2f}) ",
            va="center",
            fontsize=9,
            ha="right" if left else "left",
        )
    for number, (first, last) in enumerate(bars):
        height = 0.25 + 0.3 * number
        axis.plot(
            [first - 0.03, last + 0.03],
            [height, height],
            color=REFERENCE,
            linewidth=3,
            solid_capstyle="butt",
            label="_group",
        )
    if ranking.tested:
        axis.plot([1, 1 + ranking.distance], [-1, -1], "|-", color=REFERENCE, linewidth=1.2)
        axis.text(
            1 + ranking.distance,
            -1,
            f"  critical difference {ranking.distance:.2f}",
            va="center",
            fontsize=9,
        )


def _groups(ranking: Ranking) -> list[tuple[float, float]]:
    """First and last rank of each largest group that the tests cannot tell apart."""
    if not ranking.tested:
        return []
    names, ranks = list(ranking.ranks.index), ranking.ranks.to_numpy()
    ends = []
    for i, name in enumerate(names):
        alike = [names.index(other) for other in ranking.alike(name)]
        ends.append(max([i, *alike]))
    return [
        (ranks[i], ranks[end]) for i, end in enumerate(ends)
        if end > i and (i == 0 or ends[i - 1] < end)
    ]  # fmt: skip


@styled
def differences_to_random(runs: pd.DataFrame, quantity: str = "area") -> Figure:
    """Draw each metric minus random, a panel a configuration.

    Parameters
    ----------
    runs : DataFrame
        What `utils.statistics.summarise_runs` returns, with random among the metrics.
    quantity : str, default="area"
        Column to compare.

    Notes
    -----
    The large mark is the mean over the blocks of the test, with its 95 % t-interval where there
    are several; small dots are the single runs. Right of the line is better than random. A star
    marks Holm's p < 0.05.
    """
    tests = metrics_against_random(runs, quantity)
    configurations = sorted(runs["configuration"].unique())
    metrics = in_order(tests["first"])
    figure, axes = plt.subplots(
        1, len(configurations), squeeze=False, sharex=True, sharey=True,
        figsize=(WIDTH, 1.1 + 0.42 * max(len(metrics), 1)),
    )  # fmt: skip
    for axis, configuration in zip(axes[0], configurations, strict=True):
        axis.axvline(0, color=REFERENCE, linestyle="--", linewidth=1.2)
        table = metric_blocks(runs, configuration, quantity)
        for _, test in tests[tests["configuration"] == configuration].iterrows():
            place, look = metrics.index(test["first"]), metric_style(test["first"])
            single = (table[test["first"]] - table["random"]).dropna()
            axis.plot(single, np.full(len(single), place), "o", markersize=3, color=MUTED)
            half_width = None if np.isnan(test["interval"]) else test["interval"]
            axis.errorbar(
                test["difference"],
                place,
                xerr=half_width,
                capsize=3,
                zorder=3,
                **look | {"linestyle": "none", "markersize": 7},
            )
            if test["p_holm"] < 0.05:
                axis.annotate(
                    "*",
                    (test["difference"], place),
                    xytext=(0, 3),
                    ha="center",
                    textcoords="offset points",
                    fontsize=13,
                )
        axis.set(title=f"configuration {configuration}")
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=4)
        if tests.empty:
            axis.text(0.5, 0.5, "random was not run", transform=axis.transAxes, ha="center")
    axes[0, 0].set_yticks(range(len(metrics)), [metric_name(metric) for metric in metrics])
    axes[0, 0].set_ylim(max(len(metrics), 1) - 0.5, -0.5)
    names = {"area": "mean accuracy along the curve", "chosen_accuracy": "accuracy (chosen)"}
    figure.supxlabel(f"{names.get(quantity, quantity)}, difference to random order", fontsize=10)
    return figure
