"""Figures of adversarial inputs and of what they do to the networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils.plotting.fonts import class_labels
from utils.plotting.images import show_image
from utils.plotting.style import (
    ADVERSARIAL,
    BLUE,
    MUTED,
    REFERENCE,
    WIDTH,
    configuration_panels,
    palette_order,
    styled,
)
from utils.statistics.wording import metric_name

_BINS = 26


@styled
def adversarial_examples(
    clean: np.ndarray,
    adversarial: np.ndarray,
    labels: np.ndarray,
    clean_predictions: np.ndarray,
    adversarial_predictions: np.ndarray,
    attacks: np.ndarray,
    class_names: Sequence[str],
    per_attack: int = 2,
) -> Figure:
    """Draw clean image, perturbation and adversarial input side by side, a row an attack.

    Parameters
    ----------
    clean, adversarial : ndarray of shape (n, h, w, c), in [0, 1]
        Image i and the adversarial input made from it.
    labels, clean_predictions, adversarial_predictions : ndarray of shape (n,), dtype=int64
        True class, and the original model's predictions.
    attacks : ndarray of shape (n,), dtype=str
        Name of the attack of each input.
    class_names : sequence of str
    per_attack : int, default=2
        The first so many inputs of each attack are shown.

    Notes
    -----
    Red adds to a pixel, blue takes away (mean of the channels); the scale of each perturbation,
    its largest change, is above it.
    """
    names = list(dict.fromkeys(map(str, attacks)))
    figure, axes = plt.subplots(
        len(names),
        3 * per_attack,
        squeeze=False,
        figsize=(WIDTH, 0.4 + 1.75 * len(names)),
        gridspec_kw={"wspace": 0.05},
    )
    named = class_labels(figure, class_names)
    for axis in axes.flat:
        axis.axis("off")
    for row, attack in zip(axes, names, strict=True):
        for k, i in enumerate(np.flatnonzero(np.asarray(attacks) == attack)[:per_attack]):
            left, middle, right = row[3 * k : 3 * k + 3]
            change = (adversarial[i].astype(float) - clean[i]).mean(axis=-1)
            scale = max(float(np.abs(change).max()), 1e-6)
            show_image(left, clean[i])
            middle.imshow(change, cmap="RdBu_r", vmin=-scale, vmax=scale)
            show_image(right, adversarial[i])
            fooled = adversarial_predictions[i] != labels[i]
            before, after = clean_predictions[i], adversarial_predictions[i]
            left.set_title(_caption("clean", named[before]), **_CAPTION)
            middle.set_title(f"perturbation\n±{scale:.2g}", **_CAPTION)
            right.set_title(
                _caption("adversarial", named[after]),
                **_CAPTION,
                color=ADVERSARIAL if fooled else "black",
            )
        row[0].text(
            -0.08,
            0.5,
            attack,
            transform=row[0].transAxes,
            rotation=90,
            ha="right",
            va="center",
            fontsize=10,
        )
    figure.suptitle("→ class predicted by the original model (vermillion: wrong)", fontsize=9)
    return figure


_CAPTION = {"fontsize": 8, "loc": "center"}


def _caption(kind: str, name: str) -> str:
    """Kind of image over the predicted class, cut to what fits above an image."""
    return f"{kind}\n→ {name if len(name) <= 14 else name[:13] + '…'}"


@styled
def attack_accuracy(summary: pd.DataFrame) -> Figure:
    """Draw what each attack does to the original model's accuracy.

    Parameters
    ----------
    summary : DataFrame
        What `utils.attacks.adversarials.attack_summary` returns, one row an attack: ``attack`` or
        ``name``, ``accuracy_clean, accuracy_adversarial, success_rate``. With a column ``split``, a
        panel a split.
    """
    parts = list(summary.groupby("split", sort=False)) if "split" in summary else [("", summary)]
    figure, axes = plt.subplots(
        1,
        len(parts),
        sharey=True,
        squeeze=False,
        figsize=(WIDTH, 1.3 + 0.6 * summary["attack"].nunique()),
    )
    looks = {
        "accuracy_clean": ("accuracy, clean images", MUTED),
        "accuracy_adversarial": ("accuracy, adversarial inputs", ADVERSARIAL),
        "success_rate": ("success rate of the attack", BLUE),
    }
    for axis, (split, part) in zip(axes[0], parts, strict=True):
        rows = np.arange(len(part))
        for number, (column, (label, colour)) in enumerate(looks.items()):
            bars = axis.barh(
                rows + 0.27 * (number - 1), part[column], 0.25, color=colour, label=label
            )
            axis.bar_label(bars, fmt="{:.2f}", fontsize=8, padding=2)
        axis.set(title=split, xlim=(0, 1.12), xlabel="share of inputs", xticks=np.linspace(0, 1, 6))
        axis.set_yticks(rows, part["name" if "name" in part else "attack"])
        axis.grid(axis="y", visible=False)
    axes[0, 0].invert_yaxis()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled
def fresh_accuracy(table: pd.DataFrame) -> Figure:
    """Draw accuracy on the fixed adversarial inputs beside the worst case of fresh attacks.

    Parameters
    ----------
    table : DataFrame
        What `utils.retraining.fresh_attacks` measures: a panel a data set (rows) and configuration
        (columns), means over seeds. The dotted line is the original model's worst case.
    """
    metrics = ["original", *palette_order(set(table["metric"]) - {"original"})]
    looks = {
        "accuracy_fixed": ("fixed inputs, all attacks", MUTED),
        "accuracy_fixed_linf": ("fixed inputs within the same budget", BLUE),
        "accuracy_fresh": ("fresh attacks, worst case", ADVERSARIAL),
    }
    names = [fill(metric_name(m), 20) for m in metrics]
    names[0] = "original model"
    height = 1.1 + 0.52 * len(metrics) * table["dataset"].nunique()
    figure = plt.figure(figsize=(WIDTH, height))
    axes, parts = configuration_panels(figure, table)
    for axis, part in parts:
        rows = np.arange(len(metrics))
        means = part.groupby("metric")[list(looks)].mean().reindex(metrics)
        for number, (column, (label, colour)) in enumerate(looks.items()):
            place = rows + 0.27 * (number - 1)
            bars = axis.barh(place, means[column], 0.25, color=colour, label=label)
            axis.bar_label(bars, fmt="{:.2f}", fontsize=8, padding=2)
        axis.axvline(
            means.loc["original", "accuracy_fresh"],
            color=REFERENCE,
            linestyle=":",
            label="original model, worst case",
        )
        axis.set(xlim=(0, 1.15), xticks=np.linspace(0, 1, 6))
        axis.set_yticks(rows, names)
        axis.grid(axis="y", visible=False)
    for axis in axes[-1]:
        axis.set_xlabel("accuracy")
    axes[0, 0].invert_yaxis()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


@styled
def attack_norms(
    norms: Mapping[str, np.ndarray],
    budgets: Mapping[str, float | None],
    norm_ids: Mapping[str, str],
) -> Figure:
    """Draw how large the perturbations are, each attack in its own norm, beside its budget.

    Parameters
    ----------
    norms : mapping of str to ndarray of shape (n,)
        Attack -> norm of each perturbation.
    budgets : mapping of str to float
        Attack -> largest norm allowed; none given for an attack without a budget.
    norm_ids : mapping of str to {"Linf", "L2", "L1"}
        Attack -> the norm it is measured in.
    """
    columns = 2 if len(norms) == 4 else min(3, len(norms))
    rows = -(-len(norms) // columns)
    figure, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=(WIDTH if columns > 1 else 5, 0.4 + 2.4 * rows)
    )
    for axis in axes.flat[len(norms) :]:
        axis.axis("off")
    for axis, (attack, values) in zip(axes.flat, norms.items(), strict=False):
        budget = budgets.get(attack)
        largest = max(np.max(values, initial=0), budget or 0) or 1.0
        # the budget is an edge, and bars hold their right edge: meeting it is not exceeding it
        width = budget / max(round(_BINS * budget / largest), 1) if budget else largest / _BINS
        edges = width * np.arange(np.ceil(largest / width - 1e-3) + 1)
        counts, _ = np.histogram(np.maximum(np.asarray(values) - 1e-3 * width, 0), edges)
        axis.stairs(counts, edges, fill=True, color=ADVERSARIAL)
        if budget is not None:
            axis.axvline(budget, color="black", linestyle="--")
            axis.annotate(
                f"budget {budget:g}",
                (budget, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-4, 3),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
        axis.set(
            title=attack,
            xlim=(0, 1.15 * edges[-1]),
            ylim=(0, None),
            ylabel="inputs",
            xlabel=f"{norm_ids[attack].replace('Linf', 'L∞')} norm",
        )
        axis.locator_params(nbins=5)
    return figure
