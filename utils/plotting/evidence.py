"""Figures of what the tests find: ranks with the critical difference, differences to random."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.plotting.style import MUTED, REFERENCE, WIDTH, metric_style, palette_order, styled
from utils.statistics.blocks import metric_blocks
from utils.statistics.pairs import Pairs
from utils.statistics.ranking import Ranking
from utils.statistics.significance import ALPHA
from utils.statistics.wording import configuration_title, metric_name, p_value


@styled
def critical_differences(rankings: Mapping[str, Ranking]) -> Figure:
    """Draw mean ranks, a panel a ranking, as Demsar does (JMLR 2006).

    Parameters
    ----------
    rankings : mapping of str to Ranking
        Title -> what `utils.statistics.ranking.rank_tests` found; treatments are metrics or
        configurations.

    Notes
    -----
    Rank 1, the best, is at the left. A thick bar joins treatments that Nemenyi's test cannot tell
    apart, and all of them where Friedman's test finds no difference; the bar above the axis is as
    long as the critical difference. Without a test there are ranks only.
    """
    rows = [(len(r.ranks) + 1) // 2 + 2.8 for r in rankings.values()]
    figure, axes = plt.subplots(
        len(rows),
        1,
        squeeze=False,
        figsize=(WIDTH, 0.3 + 0.3 * sum(rows)),
        gridspec_kw={"height_ratios": rows},
    )
    for axis, (title, ranking) in zip(axes[:, 0], rankings.items(), strict=True):
        _draw_ranks(axis, ranking)
        tested = (
            f"Friedman, Holm: {p_value(ranking.p)}"
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
        (ranks[i], ranks[end])
        for i, end in enumerate(ends)
        if end > i and (i == 0 or ends[i - 1] < end)
    ]


@styled
def differences_to_random(runs: pd.DataFrame, pairs: Pairs) -> Figure:
    """Draw each metric minus random: a row a data set, a column a configuration.

    Parameters
    ----------
    runs : DataFrame
        What `utils.statistics.summaries.summarise_runs` returns, with random among the metrics.
    pairs : Pairs
        What `utils.statistics.pairs.compare_pairs` found in them; those with random are drawn.

    Notes
    -----
    The large mark is the mean over the seeds with its 95 % t-interval, small dots are the seeds.
    Where there are several data sets, a last row has the mean over them with its interval, and
    their means as dots. Right of the line is better than random. A star marks Holm's p < 0.05, in
    the row of what is tested.
    """
    configurations = sorted(runs["configuration"].unique())
    tests, effects = (
        found[found["second"] == "random"] for found in (pairs.metrics, pairs.metric_effects)
    )
    metrics = palette_order(tests["first"])
    rows = list(dict.fromkeys(runs["dataset"]))
    rows += ["all data sets"] if len(rows) > 1 else []
    figure, axes = plt.subplots(
        len(rows),
        len(configurations),
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(WIDTH, 1.0 + (0.35 + 0.3 * max(len(metrics), 1)) * len(rows)),
    )
    for (i, row), (j, configuration) in product(enumerate(rows), enumerate(configurations)):
        axis = axes[i, j]
        axis.axvline(0, color=REFERENCE, linestyle="--", linewidth=1.2)
        table = metric_blocks(runs, configuration)
        whole = i == len(rows) - 1  # the row of what is tested
        part = table.groupby(level="dataset").mean() if row not in table.index else table.loc[[row]]
        found = tests if whole else effects
        found = found[found["configuration"] == configuration]
        for _, one in (found if whole else found[found["dataset"] == row]).iterrows():
            single = (part[one["first"]] - part["random"]).dropna()
            _draw_difference(axis, one, metrics.index(one["first"]), single)
        axis.set(title=configuration_title(configuration, 16) if i == 0 else "")
        axis.grid(axis="y", visible=False)
        axis.locator_params(axis="x", nbins=4 if len(configurations) < 4 else 2)
        if tests.empty:
            axis.text(0.5, 0.5, "random was not run", transform=axis.transAxes, ha="center")
    axes[0, 0].set_yticks(range(len(metrics)), [metric_name(metric) for metric in metrics])
    axes[0, 0].set_ylim(max(len(metrics), 1) - 0.5, -0.5)
    for axis, row in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(row, fontweight="bold")
    what = "mean robust accuracy along the curve, difference to random order"
    figure.supxlabel(what, fontsize=10)
    return figure


def _draw_difference(axis: Axes, one: pd.Series, place: int, single: pd.Series) -> None:
    """One metric: its mean with the interval, what it is the mean of, and a star if tested so."""
    half_width = None if np.isnan(one["interval"]) else one["interval"]
    axis.plot(single, np.full(len(single), place), "o", markersize=3, color=MUTED)
    look = metric_style(one["first"]) | {"linestyle": "none", "markersize": 7}
    axis.errorbar(one["difference"], place, xerr=half_width, capsize=3, zorder=3, **look)
    if one.get("p_holm", 1) < ALPHA:
        axis.annotate(
            "*",
            (one["difference"], place),
            xytext=(0, 3),
            ha="center",
            textcoords="offset points",
            fontsize=13,
        )
