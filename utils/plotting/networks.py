"""Figures of one network: its training, and what it confuses."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.plotting.fonts import FEW, class_ticks
from utils.plotting.style import BLUE, CLEAN, METRIC_STYLES, WIDTH, styled


@styled
def training_history(history: pd.DataFrame) -> Figure:
    """Draw loss and accuracy against the epoch, on training and validation images.

    Parameters
    ----------
    history : DataFrame
        Columns ``epoch, loss, accuracy`` and, where measured, ``val_loss, val_accuracy``.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2))
    looks = {
        "": ("training", BLUE, "o", "-"),
        "val_": ("validation", METRIC_STYLES["nc"][0], "s", "--"),
    }
    labels = {"loss": "loss (mean cross-entropy)", "accuracy": "accuracy (share correct)"}
    for axis, (column, label) in zip(axes, labels.items(), strict=True):
        for prefix, (name, colour, marker, line) in looks.items():
            if prefix + column in history:
                axis.plot(
                    history["epoch"],
                    history[prefix + column],
                    color=colour,
                    label=name,
                    marker=marker,
                    linestyle=line,
                    markersize=4,
                )
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


@styled
def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw which class is taken for which: a row a true class, shaded by its share.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,), dtype=int64
    class_names : sequence of str
        Up to 12 classes the counts are written into the cells.
    """
    n = len(class_names)
    counts = np.zeros((n, n), dtype=int)
    np.add.at(counts, (np.asarray(y_true), np.asarray(y_pred)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.4 * n, 4, WIDTH - 0.5))
    figure, axis = plt.subplots(figsize=(side + 0.5, side), layout="compressed")
    # the square root keeps rare confusions visible beside a strong diagonal
    shown = axis.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    figure.colorbar(
        shown,
        ax=axis,
        label="share of the true class",
        shrink=0.8,
        ticks=[0, 0.05, 0.2, 0.5, 1],
        format="{x:g}",
    )
    if n <= FEW:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axis.text(
                    column,
                    row,
                    f"{count}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if shares[row, column] > 0.3 else "black",
                )
    class_ticks(axis, class_names, "x", room=(side - 1.5) / n)
    class_ticks(axis, class_names, "y")
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.grid(visible=False)
    axis.spines[:].set(visible=True, color=CLEAN)
    return figure
