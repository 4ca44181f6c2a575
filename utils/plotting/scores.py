"""Figures of the guidance metrics' scores."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import rankdata

from utils.plotting.images import show_image
from utils.plotting.style import ADVERSARIAL, CLEAN, MUTED, WIDTH, palette_order, styled
from utils.statistics.wording import metric_name

_BINS = 40


@styled
def score_distributions(scores: Mapping[str, np.ndarray], n_train: int) -> Figure:
    """Draw how each metric scores training and adversarial inputs.

    Parameters
    ----------
    scores : mapping of str to ndarray of shape (n_train + n_adversarial,)
        Metric id -> scores, training inputs first; higher = retrain first.
    n_train : int
        Number of training inputs.

    Notes
    -----
    Where the outermost 0.5 % of the scores would take more than half of the axis, it ends at the
    0.5 and 99.5 % quantiles, and the panel has the number of inputs beyond (they are counted in
    the outermost bars). Shares are on a logarithmic axis: scores often pile up at one value.
    """
    ids = palette_order(scores)
    columns = min(3, len(ids))
    rows = -(-len(ids) // columns)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(max(WIDTH * columns / 3, 5), 0.6 + 2.4 * rows)
    )
    for axis in axes.flat[len(ids) :]:
        axis.axis("off")
    for axis, metric in zip(axes.flat, ids, strict=False):
        values = np.asarray(scores[metric], dtype=float)
        low, high, beyond = _limits(values)
        edges = np.linspace(low, high, _BINS + 1)
        groups = (
            ("training", values[:n_train], CLEAN),
            ("adversarial", values[n_train:], ADVERSARIAL),
        )
        for name, group, colour in groups:
            counts = np.histogram(np.clip(group, low, high), bins=edges)[0]
            axis.stairs(counts / max(len(group), 1), edges, color=colour, fill=True, alpha=0.3)
            axis.stairs(
                counts / max(len(group), 1),
                edges,
                color=colour,
                linewidth=1.3,
                label=f"{name} inputs",
            )
        notes = [f"all scores equal {values[0]:.4g}"] if values.min() == values.max() else []
        notes += [f"{beyond:,} inputs beyond the axis"] if beyond else []
        axis.set(
            xlim=(low, high), yscale="log", ylim=(None, 1.5), xlabel="\n".join(["score", *notes])
        )
        axis.set_title(metric_name(metric), fontsize=9)
        axis.locator_params(axis="x", nbins=5)
        axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of its inputs")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _limits(values: np.ndarray) -> tuple[float, float, int]:
    """Axis from low to high, and how many values are beyond it."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low - 0.5, high + 0.5, 0
    inner = np.quantile(values, [0.005, 0.995])
    if 0 < inner[1] - inner[0] < (high - low) / 2:
        low, high = map(float, inner)
    return low, high, int(((values < low) | (values > high)).sum())


@styled
def rank_correlation(scores: Mapping[str, np.ndarray]) -> Figure:
    """Draw Spearman's rank correlation of the metrics: do they order inputs alike?

    Parameters
    ----------
    scores : mapping of str to ndarray of shape (n,)
        Metric id -> scores. A metric with equal scores everywhere has no ranks: shown as "–".
    """
    ids = palette_order(scores)
    ranks = np.array([rankdata(scores[metric]) for metric in ids])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.atleast_2d(np.corrcoef(ranks))
    names = [fill(metric_name(metric), 18) for metric in ids]
    side = 1.6 + 0.75 * max(len(ids), 3)
    figure, axis = plt.subplots(figsize=(side + 1.2, side), layout="compressed")
    shown = axis.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1)
    for (row, column), value in np.ndenumerate(correlation):
        text = "–" if np.isnan(value) else f"{round(value, 2) + 0:.2f}"  # + 0: no "-0.00"
        axis.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            color="white" if abs(value) > 0.7 else "black",
        )
    axis.set_xticks(range(len(ids)), names, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(ids)), names)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figure.colorbar(shown, ax=axis, label="Spearman's rank correlation", shrink=0.8)
    return figure


@styled
def first_picks(
    images: np.ndarray,
    scores: Mapping[str, np.ndarray],
    n_train: int,
    k: int = 10,
    orders: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Draw the first inputs that each metric picks for retraining, a row a metric.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c), in [0, 1]
        Training inputs, then adversarial ones, as scored. The latter get a vermillion frame.
    scores : mapping of str to ndarray of shape (n,)
        Metric id -> scores; higher = retrain first.
    n_train : int
        Number of training inputs.
    k : int, default=10
        Inputs a metric.
    orders : mapping of str to ndarray of int, optional
        Metric id -> the order in fact retrained on, first input first. Without it, ties are
        shown in the order of the file.
    """
    ids = palette_order(scores)
    k = min(k, len(images))
    figure, axes = plt.subplots(
        len(ids),
        k,
        squeeze=False,
        figsize=(WIDTH, 0.4 + len(ids) * max(7.4 / max(k, 8), 0.45)),
        layout="compressed",
    )
    for row, metric in zip(axes, ids, strict=True):
        values = np.asarray(scores[metric])
        order = np.argsort(-values, kind="stable") if orders is None else orders[metric]
        for axis, index in zip(row, order[:k], strict=True):
            show_image(axis, images[index])
            adversarial = index >= n_train
            axis.spines[:].set(
                visible=True,
                color=ADVERSARIAL if adversarial else MUTED,
                linewidth=3 if adversarial else 1,
            )
        row[0].set_ylabel(
            fill(metric_name(metric), 18), rotation=0, ha="right", va="center", labelpad=8
        )
    figure.suptitle("retrained on first → (vermillion frame: adversarial input)", fontsize=9)
    return figure
