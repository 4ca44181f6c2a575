"""Metrics: ours against dnn-tip, a bare matrix product, SciPy, ``predict`` and a forward pass."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from importlib.util import find_spec

import numpy as np
from scipy.stats import gaussian_kde

from tests.benchmarks import inputs
from tests.benchmarks.harness import Comparison, Peer, Row, Setting, Target, contest, race, row
from utils.attacks.norm_ball import fgsm
from utils.metrics.coverage import neuron_coverage
from utils.metrics.registry import METRICS, score_all
from utils.metrics.surprise import dsa, lsa
from utils.networks.activations import activations

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Training traces and classes, traces and classes."""


def traces(setting: Setting) -> tuple[Arrays, str]:
    """Traces of images that the training ones do not contain, half of them FGSM's; the size."""
    n_train, n, data = setting.size(20_000, 800), setting.size(2_000, 100), inputs.load(setting)
    half = n // 2
    train, train_classes = (np.array(array[:n_train]) for array in data.clean)
    pairs = zip(data.clean, data.adversarial, strict=True)
    x, classes = (np.concatenate([one[-n:-half], other[-half:]]) for one, other in pairs)
    size = f"{n_train:,} training x {n:,} traces x {x.shape[1]} neurons ({data.source})"
    return (train, train_classes, x, classes), size


def alike(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    """Equal to a relative 1e-5 where theirs is finite."""
    finite = np.isfinite(theirs)
    worst = float(np.max(np.abs(ours / theirs - 1)[finite]))
    text = f"largest relative difference {worst:.1e}"
    if not finite.all():
        text += f"; finite: ours {np.isfinite(ours).sum():,}, theirs {finite.sum():,}"
    return Comparison(text, equal=worst <= 1e-5)


def all_finite(ours: np.ndarray, _: object = None) -> Comparison:
    """Where there is nothing to compare ours with."""
    finite = np.isfinite(ours)
    return Comparison(f"finite: {finite.sum():,} of {len(finite):,}", equal=bool(finite.all()))


def dsa_peer(setting: Setting) -> list[Row]:
    """Ours against dnn-tip's, exact (no subsampling), at two badge sizes.

    Of 5, 10, 20 and 40, which takes 2.6 GB, 40 was the fastest in short trials.
    """
    (train, train_classes, x, classes), size = traces(setting)

    def peer(badge_size: int) -> np.ndarray:
        from dnn_tip.surprise import DSA

        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            return DSA(train, train_classes, badge_size=badge_size)(x, classes)

    target = Target("at least 100 times faster, equal to 1e-5", speedup=100)
    peers = []
    for badge, which in {10: "its default", 40: "its best here"}.items():
        work = partial(peer, badge) if find_spec("dnn_tip") else None
        peers.append(Peer(f"dnn-tip, badge size {badge} ({which})", work, target, alike))
    return contest(setting, "DSA", size, lambda: dsa(train, train_classes, x, classes), peers)


def dsa_product(setting: Setting) -> list[Row]:
    """Ours against what no method with a matrix product can beat: that product."""
    arrays, size = traces(setting)
    against, none = "the bare float32 product of both matrices", Comparison("nothing to compare")
    target = Target("at most 2 times its time", slowdown=2)
    peer = Peer(against, lambda: arrays[0] @ arrays[2].T, target, lambda *_: none)
    return contest(setting, "DSA", size, lambda: dsa(*arrays), [peer], repeats=15)


def dsa_large(setting: Setting) -> list[Row]:
    """Ours at the size of a large study: as it is used, and at its worst."""
    n_train, n, data = setting.size(50_000, 800), setting.size(56_000, 900), inputs.load(setting)
    target = Target("under 60 s, under 1 GiB", seconds=60, megabytes=2**30 / 1e6)
    train = [np.array(array[:n_train]) for array in data.clean]
    rows = []
    for own, what in {
        n_train: "training inputs and adversarial ones",
        0: "adversarial inputs only",
    }.items():
        pairs = zip(data.clean, data.adversarial, strict=True)
        scored = [np.concatenate([one[:own], other[own:n]]) for one, other in pairs]
        runs, found = race(
            {"ours": partial(dsa, *train, *scored)},
            setting.size(3, 1),
            lambda results: all_finite(results["ours"]),
        )
        size = f"{n_train:,} x {n:,} x {scored[0].shape[1]}: {what} ({data.source})"
        rows.append(row("DSA", size, "itself", runs["ours"], None, found, target, setting.quick))
    return rows


def lsa_scipy(setting: Setting) -> list[Row | str]:
    """Ours against SciPy's KDE: a call an input, as SADL does, and a call a class."""
    (train, train_classes, x, classes), size = traces(setting)
    # The neurons that vary in every class, so that both can build every density.
    variances = [train[train_classes == label].var(axis=0) for label in np.unique(train_classes)]
    each = np.min(variances, axis=0) >= 1e-5
    used = train[:, each], train_classes, x[:, each], classes
    size += f", {np.count_nonzero(each)} of them vary in every class"
    targets = {
        "an input": Target("at least 4 times faster", speedup=4),
        "a class": Target("no slower", slowdown=1),
    }
    peers = [
        Peer(f"scipy gaussian_kde, a call {name}", partial(scipy_lsa, *used, name), target, alike)
        for name, target in targets.items()
    ]
    rows = contest(setting, "LSA", size, lambda: lsa(*used, variance_threshold=0), peers)
    # The neurons that vary at all, as LSA is defined.
    kept = train.var(axis=0) >= 1e-5
    theirs = scipy_lsa(train[:, kept], train_classes, x[:, kept], classes, "a class")
    finite = [np.isfinite(scores) for scores in (lsa(train, train_classes, x, classes), theirs)]
    note = (
        f"LSA with the {np.count_nonzero(kept)} neurons that vary at all: of {len(x):,} scores "
        f"ours gives {finite[0].sum():,} finite ones, SciPy {finite[1].sum():,} (it refuses "
        f"classes with a singular covariance); {(finite[0] & ~finite[1]).sum():,} only ours."
    )
    return [*rows, note]


def scipy_lsa(
    train: np.ndarray, train_classes: np.ndarray, x: np.ndarray, classes: np.ndarray, call: str
) -> np.ndarray:
    """LSA with SciPy, a `call` for each input or class; NaN where it refuses to build a density."""
    scores = np.full(len(x), np.nan)
    for label in np.unique(classes):
        rows = np.flatnonzero(classes == label)
        with contextlib.suppress(np.linalg.LinAlgError, ValueError):  # singular; too few traces
            kde = gaussian_kde(train[train_classes == label].T)
            for part in [rows] if call == "a class" else rows[:, None]:
                with np.errstate(divide="ignore"):
                    scores[part] = -kde.logpdf(x[part].T)
    return scores


def coverage(setting: Setting) -> list[Row]:
    """One forward pass in batches against a call of ``predict`` for each input."""
    n, few, data = setting.size(3_000, 100), setting.size(300, 20), inputs.load(setting)
    model, (x, _) = data.network(), data.images(slice(-n, None))
    hidden = type(model)(model.layers[:-1])

    def each() -> np.ndarray:
        shares = []
        for image in x[:few]:
            trace = hidden.predict(image[None], verbose=0)[0]
            scaled = (trace - trace.min()) / (trace.max() - trace.min())
            shares.append(np.mean(scaled > 0.2))
        return np.array(shares)

    def compare(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
        difference = np.abs(ours[:few] - theirs)
        # A neuron at the threshold may fall to either side: batches round otherwise.
        step = 1 / hidden.output_shape[-1]
        equal = difference.max() <= step * 1.01 and np.mean(difference > 0) <= 0.01
        return Comparison(f"largest difference {difference.max():.1e}", equal=bool(equal))

    target = Target("at least 200 times faster", speedup=200)
    rows = contest(
        setting,
        "NC, with the forward pass",
        f"{n:,} inputs ({data.source})",
        lambda: neuron_coverage(activations(model, x)[0]),
        [
            Peer("a call of model.predict an input", each, target, compare, part=few / n),
            Peer(
                "one call of model.predict, batch size 1024",
                lambda: neuron_coverage(hidden.predict(x, batch_size=1024, verbose=0)),
            ),
        ],
        repeats=3,
    )
    a_call = np.median(rows[0].theirs) / n
    rows[0].against += f" (measured on {few} inputs: {a_call:.4f} s each)"
    return rows


def six_metrics(setting: Setting) -> list[Row]:
    """All six metrics with the forward pass against the forward pass alone."""
    n, n_train, data = setting.size(56_000, 900), setting.size(49_000, 800), inputs.load(setting)
    model, (train, _) = data.network(), data.images(slice(n_train))
    adversarial = fgsm(model, *data.images(slice(n_train, n)))
    taken = []

    def forward() -> list[np.ndarray]:
        return [*activations(model, train), *activations(model, adversarial)]

    def score() -> np.ndarray:
        scores, seconds = score_all(METRICS, *forward())
        taken.append(seconds.set_index("metric")["seconds"])
        return np.concatenate(list(scores.values()))

    target = Target("at most 3 times its time", slowdown=3)
    peer = Peer("the forward pass alone", forward, target, all_finite)
    size = f"{n:,} inputs, {n_train:,} of them training ({data.source})"
    what = "all six metrics, with the forward pass"
    [judged] = contest(setting, what, size, score, [peer], repeats=3)
    shares = ", ".join(f"{m} {np.median([each[m] for each in taken]):.2g}" for m in METRICS)
    alone = np.median([each.sum() for each in taken])
    judged.results += f"; without the forward pass {alone:.3g} s ({shares})"
    return [judged]
