"""The one style of all figures: colours, markers, fonts, how a figure is made and saved."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.core.files import atomic
from utils.metrics.registry import BASELINES
from utils.plotting.fonts import FAMILIES, make_drawable

WIDTH = 9.0
"""Width of a figure in inches: 900 pixels at the 100 dpi of the inline PNG."""

STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "figure.max_open_warning": 0,  # the notebook closes what it has shown
    "figure.constrained_layout.use": True,
    "savefig.dpi": 120,
    "font.family": FAMILIES,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
    "text.parse_math": False,  # a class may be called $x$
    "svg.fonttype": "none",  # text stays text: searchable, editable
    "svg.hashsalt": "figures",  # ids, and hence files, are the same each time
    "pdf.fonttype": 42,
}

# Okabe and Ito's palette, safe for colour-blind readers; markers carry the same information.
# Vermillion is kept for adversarial inputs.
METRIC_STYLES: dict[str, tuple[str, str]] = {
    "nc": ("#E69F00", "o"),
    "lsa": ("#56B4E9", "s"),
    "dsa": ("#009E73", "^"),
    "deepgini": ("#0072B2", "D"),
    "softmax_entropy": ("#CC79A7", "v"),
    "random": ("#7f7f7f", "x"),
    "adversarial_first": ("#4d4d4d", "+"),
}
ADVERSARIAL, CLEAN, REFERENCE, BLUE, MUTED = "#D55E00", "#4d4d4d", "#000000", "#0072B2", "#c4c4c4"
_FURTHER_COLOURS, _FURTHER_MARKERS = ("#000000", "#D55E00", "#F0E442"), ("P", "X", "*", "h", "p")


def metric_style(metric: str) -> dict[str, Any]:
    """Colour, marker and line style of a guidance metric, the same in every figure.

    A metric that is not of the study gets what its id determines, so it keeps its look, too.
    """
    number = zlib.crc32(metric.encode())
    further = _FURTHER_COLOURS[number % 3], _FURTHER_MARKERS[number % 5]
    colour, marker = METRIC_STYLES.get(metric, further)
    return {"color": colour, "marker": marker, "linestyle": "--" if metric in BASELINES else "-"}


def configuration_panels(
    figure: Figure, table: pd.DataFrame
) -> tuple[np.ndarray, list[tuple[Axes, pd.DataFrame]]]:
    """Give a figure a panel for each data set (rows) and configuration (columns), with equal axes.

    Returns
    -------
    axes : ndarray of Axes
        By row and column.
    parts : list of (Axes, DataFrame)
        Each panel with its rows of `table`.
    """
    datasets = list(dict.fromkeys(table["dataset"]))
    configurations = sorted(table["configuration"].unique())
    shape = (len(datasets), len(configurations))
    axes = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True)
    parts = []
    for axis, (dataset, number) in zip(axes.flat, product(datasets, configurations), strict=True):
        axis.set_title(f"{dataset}, configuration {number}")
        chosen = (table["dataset"] == dataset) & (table["configuration"] == number)
        parts.append((axis, table[chosen]))
    return axes, parts


def palette_order(metrics: Iterable[str]) -> list[str]:
    """Put metric ids in the fixed order of the palette, then the alphabet, each once."""
    known = list(METRIC_STYLES)
    return sorted(set(metrics), key=lambda m: (known.index(m) if m in known else len(known), m))


def named_lines(axes: Iterable[Axes]) -> dict[str, Any]:
    """Name -> what is drawn under it on any of the axes: for one legend of several panels."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, names = axis.get_legend_handles_labels()
        found |= {n: h for n, h in zip(names, handles, strict=True) if n not in found}
    return found


@contextmanager
def own_style() -> Iterator[None]:
    """A context in which figures are drawn in `STYLE`, whatever is in a user's matplotlibrc."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Run a drawing function in `own_style`, leaving matplotlib's global settings as they were.

    Letters that no font here has are replaced, see `utils.plotting.fonts`.
    """

    @wraps(function)
    def draw(*args: Any, **kwargs: Any) -> Figure:
        with own_style():
            before = set(plt.get_fignums())
            try:
                figure = function(*args, **kwargs)
                make_drawable(figure)
                figure.draw_without_rendering()  # ticks are made late: make them in this style
            except BaseException:
                for number in set(plt.get_fignums()) - before:  # no half-drawn figure is shown
                    plt.close(number)
                raise
            return figure

    return draw


def save_figure(figure: Figure, folder: str | Path, name: str) -> list[Path]:
    """Save a figure for the web, for papers and for a quick look.

    Parameters
    ----------
    figure : Figure
    folder : str or Path
        Made if it is not there.
    name : str
        File name without suffix, such as ``"digits_c2_accuracy"``.

    Returns
    -------
    list of Path
        The .svg, .pdf and .png written. Each appears whole or not at all, and the same figure
        gives the same bytes.
    """
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
    paths = [Path(folder) / f"{name}.{suffix}" for suffix in undated]
    with own_style():
        for path, metadata in zip(paths, undated.values(), strict=True):
            with atomic(path) as temporary:
                figure.savefig(temporary, metadata=metadata, bbox_inches="tight", pad_inches=0.05)
    return paths


class Figures:
    """The figures of a page, shown and saved. Those of an earlier run are removed first.

    Parameters
    ----------
    folder : str or Path
    page : str
        Start of the files' names, such as ``"digits_c2"``.

    Attributes
    ----------
    files : list of Path
        Files written so far.
    """

    def __init__(self, folder: str | Path, page: str) -> None:
        self.folder, self.page = Path(folder), page
        self.files: list[Path] = []
        for old in self.folder.glob(f"{page}_*"):
            old.unlink()

    def show(self, figure: Figure, name: str) -> None:
        """Save a figure as ``<page>_<name>``, see `save_figure`, and show it."""
        self.files += save_figure(figure, self.folder, f"{self.page}_{name}")
        plt.show()
