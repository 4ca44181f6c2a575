"""Figures of the data and of the original model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.plotting.style import BLUE, CLEAN, METRIC_STYLES, WIDTH, styled

_FEW = 12  # classes up to which a confusion matrix shows its counts


@styled
def class_counts(counts: Mapping[str, Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Draw the number of images of each class, a panel a split.

    Parameters
    ----------
    counts : mapping of str to (classes,) int
        Split name -> images of each class.
    class_names : sequence of str
    """
    figure, axes = plt.subplots(
        len(counts), 1, sharex=True, squeeze=False, figsize=(WIDTH, 0.8 + 1.5 * len(counts))
    )
    for axis, (split, numbers) in zip(axes[:, 0], counts.items(), strict=True):
        axis.bar(range(len(class_names)), numbers, color=BLUE)
        axis.set(title=f"{split}: {np.sum(numbers):,} images", ylabel="images")
        axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axis.grid(axis="x", visible=False)
    _class_ticks(axes[-1, 0], class_names, "x", room=(WIDTH - 1) / len(class_names))
    axes[-1, 0].set(xlabel="class", xlim=(-0.6, len(class_names) - 0.4))
    return figure


@styled
def image_grid(images: np.ndarray, titles: Sequence[str] | None = None, columns: int = 8) -> Figure:
    """Draw images side by side.

    Parameters
    ----------
    images : ndarray of shape (n, h, w, c), c = 1 or 3, in [0, 1]
    titles : sequence of n str, optional
        Text above each image.
    columns : int, default=8
    """
    columns = min(columns, max(len(images), 1))
    rows = max(-(-len(images) // columns), 1)
    size = min(WIDTH / columns, 1.6)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(size * columns, (size + 0.2) * rows)
    )
    for index, axis in enumerate(axes.flat):
        if index < len(images):
            show_image(axis, images[index])
            axis.set_title("" if titles is None else titles[index], fontsize=8, loc="center")
        else:
            axis.axis("off")
    return figure


def show_image(axis: Axes, image: np.ndarray) -> None:
    """Show one image of shape (h, w, c), in [0, 1], without ticks or frame."""
    axis.imshow(np.clip(image[..., 0] if image.shape[-1] == 1 else image, 0, 1), vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


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
    if n <= _FEW:
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
    _class_ticks(axis, class_names, "x", room=(side - 1.5) / n)
    _class_ticks(axis, class_names, "y")
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.grid(visible=False)
    axis.spines[:].set(visible=True, color=CLEAN)
    return figure


def _class_ticks(axis: Axes, class_names: Sequence[str], which: str, room: float = np.inf) -> None:
    """Label the classes, cut at 28 letters, smaller if many, turned if over `room` inches wide."""
    names = [n if len(n) <= 28 else n[:27] + "…" for n in map(str, class_names)]
    many = len(names) > _FEW
    turned = max(map(len, names)) * 0.09 > room
    ticks = axis.set_xticks if which == "x" else axis.set_yticks
    ticks(range(len(names)), names, fontsize=7 if many else 9, rotation=90 if turned else 0)
