"""APGD, Square and the worst case over the ensemble, against ART: accuracy left, and time.

On the same network, images, budget and steps, the accuracy left must be no higher than theirs by
more than 0.01.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.attacks import art
from tests.benchmarks.harness import Comparison, Peer, Row, Setting, Target, contest
from utils.attacks.apgd import apgd
from utils.attacks.ensemble import Strength, worst_case
from utils.attacks.robustness import right
from utils.attacks.square import square

EPS = 0.1
TARGET = Target("faster, accuracy left no higher than theirs + 0.01", speedup=1)


def apgd_peer(setting: Setting) -> list[Row]:
    """APGD with each loss that both have; one start, as the first step is alike for all others."""
    steps = setting.size(100, 4)
    theirs = {"max_iter": steps, "nb_random_init": 1, "eps": EPS, "eps_step": 2 * EPS}
    rows = []
    for loss, named in (("ce", "cross_entropy"), ("dlr", "difference_logits_ratio")):
        options = theirs | {"loss_type": named, "verbose": False}
        own, called = partial(apgd, loss=loss), "AutoProjectedGradientDescent"
        rows += _alone(setting, f"APGD, {loss}, {steps} steps", own, steps, called, options)
    return rows


def square_peer(setting: Setting) -> list[Row]:
    """Square."""
    queries = setting.size(500, 5)
    options = {"max_iter": queries, "eps": EPS, "verbose": False}
    what = f"Square, {queries} queries"
    return _alone(setting, what, square, queries, "SquareAttack", options)


def _alone(
    setting: Setting,
    what: str,
    own: Callable[..., np.ndarray],
    steps: int,
    attack: str,
    options: dict[str, Any],
) -> list[Row]:
    n, data = setting.size(200, 20), inputs.load(setting)
    model, (x, y) = data.network(), data.images(slice(-n, None))

    def compare(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
        left = [(right(model, x, y) & right(model, each, y)).mean() for each in (ours, theirs)]
        within = np.abs(ours - x).max() <= EPS + 1e-6
        return _compare(*left, bool(within))

    peer = Peer("ART", art(model, x, y, attack, **options), TARGET, compare)
    size = f"{n} inputs, epsilon {EPS} ({data.source})"
    return contest(setting, what, size, partial(own, model, x, y, EPS, steps), [peer], repeats=3)


def ensemble_peer(setting: Setting) -> list[Row]:
    """The worst case, against ART's AutoAttack with as many steps, starts and queries.

    Theirs is APGD with both losses and Square. Ours tries nine targets and Carlini-Wagner too,
    which wins nothing here: its budget is 0.
    """
    n, data = setting.size(200, 20), inputs.load(setting)
    model, (x, y) = data.network(), data.images(slice(-n, None))
    steps, starts, queries = setting.size(100, 4), setting.size(2, 1), setting.size(500, 5)
    climb = {"max_iter": steps, "nb_random_init": starts, "eps": EPS, "eps_step": 2 * EPS}
    attacks = [
        ("AutoProjectedGradientDescent", climb | {"loss_type": loss, "verbose": False})
        for loss in ("cross_entropy", "difference_logits_ratio")
    ]
    attacks += [("SquareAttack", {"max_iter": queries, "eps": EPS, "verbose": False})]
    strength = Strength(steps, starts, queries=queries, searches=1)

    def compare(ours: Any, theirs: np.ndarray) -> Comparison:
        return _compare(ours.right.mean(), (right(model, x, y) & right(model, theirs, y)).mean())

    work = art(model, x, y, "AutoAttack", attacks=attacks, eps=EPS)
    what = f"worst case, {steps} steps, {starts} starts, {queries} queries"
    own = partial(worst_case, model, x, y, EPS, strength, l2=0.0)
    size = f"{n} inputs, epsilon {EPS} ({data.source})"
    peer = Peer("ART, AutoAttack", work, TARGET, compare)
    return contest(setting, what, size, own, [peer], repeats=3)


def _compare(ours: float, theirs: float, within: bool = True) -> Comparison:
    text = f"accuracy left: ours {ours:.3f}, theirs {theirs:.3f}"
    return Comparison(text, equal=within, good=bool(ours <= theirs + 0.01))
