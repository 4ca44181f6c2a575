"""Surprise adequacy: ours against dnn-tip, a bare matrix product and SciPy."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
from scipy.stats import gaussian_kde

from tests.benchmarks import inputs
from tests.benchmarks.harness import (
    Comparison,
    Row,
    Setting,
    Target,
    fastest,
    installed,
    missing,
    race,
    row,
)
from utils.metrics.surprise import dsa, lsa

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training traces and classes, traces and classes."""


def traces(setting: Setting, n_train: int, n: int) -> tuple[Arrays, str]:
    """Traces of images that the training ones do not contain, half of them FGSM's.

    Returns
    -------
    arrays : Arrays
    size : str
        In words, with where the images are from.
    """
    data = inputs.load(setting)
    clean, adversarial = data.clean, data.adversarial
    begin, half = len(clean[0]) - n, len(clean[0]) - n // 2
    x = np.concatenate([clean[0][begin:half], adversarial[0][half:]])
    classes = np.concatenate([clean[1][begin:half], adversarial[1][half:]]).argmax(axis=1)
    train, train_classes = clean[0][:n_train].copy(), clean[1][:n_train].argmax(axis=1)
    size = f"{n_train:,} training x {n:,} traces x {x.shape[1]} neurons ({data.source})"
    return (train, train_classes, x, classes), size


def _sizes(setting: Setting) -> tuple[int, int]:
    return setting.size(20_000, 800), setting.size(2_000, 100)


def dsa_peer(setting: Setting) -> tuple[list[Row], list[str]]:
    """Ours against dnn-tip's, exact (no subsampling), at its default and its best badge size."""
    target = Target("at least 100 times faster, equal to 1e-5", speedup=100)
    arrays, size = traces(setting, *_sizes(setting))
    if not installed("dnn_tip"):
        return [missing("DSA", size, "dnn-tip", target)], []
    from dnn_tip.surprise import DSA

    def peer(badge_size: int, n: int | None = None) -> np.ndarray:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            return DSA(arrays[0], arrays[1], badge_size=badge_size)(arrays[2][:n], arrays[3][:n])

    badges = (10,) if setting.quick else (5, 10, 20, 40)  # 40 take 2.6 GB already
    default = 10
    best = fastest({badge: lambda badge=badge: peer(badge, 400) for badge in badges})

    def compare(results: dict[str, np.ndarray]) -> Comparison:
        worst = float(max(np.max(np.abs(results["ours"] / results[name] - 1)) for name in peers))
        return Comparison(f"largest relative difference {worst:.1e}", equal=worst <= 1e-5)

    peers = {f"dnn-tip, badge size {default} (its default)": lambda: peer(default)}
    if best != default:
        peers[f"dnn-tip, badge size {best} (its best here)"] = lambda: peer(best)
    runs, comparison = race({"ours": lambda: dsa(*arrays), **peers}, setting.repeats(), compare)
    return [
        row("DSA", size, name, runs["ours"], runs[name], comparison, target, setting.quick)
        for name in peers
    ], []


def dsa_product(setting: Setting) -> tuple[list[Row], list[str]]:
    """Ours against what no method with a matrix product can beat: that product."""
    target = Target("at most 2 times its time", slowdown=2)
    arrays, size = traces(setting, *_sizes(setting))
    train, x = arrays[0], arrays[2]
    runs, _ = race(
        {"ours": lambda: dsa(*arrays), "product": lambda: train @ x.T}, setting.repeats(15)
    )
    against = "the bare float32 product of both matrices"
    comparison = Comparison("nothing to compare")
    judged = row(
        "DSA", size, against, runs["ours"], runs["product"], comparison, target, setting.quick
    )
    return [judged], []


def dsa_large(setting: Setting) -> tuple[list[Row], list[str]]:
    """Ours at the size of a large study: as it is used, and at its worst."""
    gibibyte = 2**30 / 1e6
    target = Target("under 60 s, under 1 GiB", seconds=60, megabytes=gibibyte)
    n_train, n = setting.size(50_000, 800), setting.size(56_000, 900)
    data = inputs.load(setting)
    train, train_classes = data.clean[0][:n_train], data.clean[1][:n_train].argmax(axis=1)
    adversarial = data.adversarial[0], data.adversarial[1].argmax(axis=1)
    rows = []
    for what, own in (
        ("training inputs and adversarial ones", n_train),
        ("adversarial inputs only", 0),
    ):
        parts = [(train[:own], train_classes[:own]), tuple(a[own:n] for a in adversarial)]
        x, classes = (np.concatenate(pair) for pair in zip(*parts, strict=True))
        runs, comparison = race(
            {"ours": lambda x=x, classes=classes: dsa(train, train_classes, x, classes)},
            setting.repeats(3),
            all_finite,
        )
        size = f"{n_train:,} x {n:,} x {x.shape[1]}: {what} ({data.source})"
        rows.append(
            row("DSA", size, "itself", runs["ours"], None, comparison, target, setting.quick)
        )
    return rows, []


def all_finite(results: dict[str, np.ndarray]) -> Comparison:
    """Where there is nothing to compare ours with."""
    finite = np.isfinite(results["ours"])
    return Comparison(f"finite: {finite.sum():,} of {len(finite):,}", equal=bool(finite.all()))


def lsa_scipy(setting: Setting) -> tuple[list[Row], list[str]]:
    """Ours against SciPy's KDE: a call an input, as SADL does, and a call a class."""
    arrays, size = traces(setting, *_sizes(setting))
    varying = _varying(*arrays[:2])
    notes = [_who_is_finite(arrays)]
    used = (arrays[0][:, varying], arrays[1], arrays[2][:, varying], arrays[3])
    size += f", {np.count_nonzero(varying)} of them vary in every class"
    contenders = {
        "ours": lambda: lsa(*used, variance_threshold=0),
        "a call an input": lambda: scipy_lsa(*used, each=True),
        "a call a class": lambda: scipy_lsa(*used, each=False),
    }

    def compare(results: dict[str, np.ndarray]) -> dict[str, Comparison]:
        ours, comparisons = results.pop("ours"), {}
        for name, theirs in results.items():
            finite = np.isfinite(theirs)
            worst = float(np.max(np.abs(ours - theirs)[finite] / np.abs(theirs[finite])))
            text = (
                f"largest relative difference {worst:.1e}; finite: ours "
                f"{np.isfinite(ours).sum():,}, theirs {finite.sum():,} of {len(ours):,}"
            )
            comparisons[name] = Comparison(text, equal=worst <= 1e-5)
        return comparisons

    runs, comparisons = race(contenders, setting.repeats(), compare)
    targets = {
        "a call an input": Target("at least 4 times faster", speedup=4),
        "a call a class": Target("no slower", slowdown=1),
    }
    rows = [
        row(
            "LSA",
            size,
            f"scipy gaussian_kde, {name}",
            runs["ours"],
            runs[name],
            comparisons[name],
            target,
            setting.quick,
        )
        for name, target in targets.items()
    ]
    return rows, notes


def scipy_lsa(
    train: np.ndarray, train_classes: np.ndarray, x: np.ndarray, classes: np.ndarray, each: bool
) -> np.ndarray:
    """LSA with SciPy; NaN where it refuses to build the class's density."""
    scores = np.full(len(x), math.nan)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        try:
            kde = gaussian_kde(train[train_classes == label].T)
        except (np.linalg.LinAlgError, ValueError):  # singular; too few traces
            continue
        with np.errstate(divide="ignore"):
            if each:
                scores[rows] = [-kde.logpdf(x[i])[0] for i in rows]
            else:
                scores[rows] = -kde.logpdf(x[rows].T)
    return scores


def _varying(train: np.ndarray, train_classes: np.ndarray) -> np.ndarray:
    """Neurons that vary in every class, so that both can build every density."""
    variances = [train[train_classes == label].var(axis=0) for label in np.unique(train_classes)]
    return np.min(variances, axis=0) >= 1e-5


def _who_is_finite(arrays: Arrays) -> str:
    """With the neurons that vary over all training traces, as LSA is defined."""
    kept = arrays[0].var(axis=0) >= 1e-5
    train, train_classes, x, classes = arrays
    theirs = scipy_lsa(train[:, kept], train_classes, x[:, kept], classes, each=False)
    ours = lsa(*arrays)
    lost = np.isfinite(ours) & ~np.isfinite(theirs)
    return (
        f"LSA with the {np.count_nonzero(kept)} neurons that vary at all: of {len(x):,} scores "
        f"ours gives {np.isfinite(ours).sum():,} finite ones, SciPy {np.isfinite(theirs).sum():,} "
        f"(it refuses classes with a singular covariance); {lost.sum():,} only ours."
    )
