"""Figures of the images of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.plotting.fonts import class_ticks
from utils.plotting.style import BLUE, WIDTH, styled


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
    class_ticks(axes[-1, 0], class_names, "x", room=(WIDTH - 1) / len(class_names))
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
