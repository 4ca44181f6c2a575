"""Attacks: ours against foolbox and ART at their best batch sizes, and how well each fools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.harness import (
    Comparison,
    Row,
    Run,
    Setting,
    Target,
    fastest,
    installed,
    missing,
    peak,
    race,
    row,
    tell,
)
from tests.benchmarks.peers import Art, Attack, Foolbox, logits_network
from utils.activations import predict
from utils.attacks import bim, carlini_wagner, fgsm

if TYPE_CHECKING:
    import keras

EPS = 0.05
FOOLBOX, COMPILED, ART = "foolbox", "foolbox, its model compiled by hand", "ART"
MODULES = {FOOLBOX: "foolbox", COMPILED: "foolbox", ART: "art"}
Maker = Callable[[Foolbox | Art], Attack]


def fgsm_peers(setting: Setting) -> tuple[list[Row], list[str]]:
    """FGSM."""
    target = Target("faster, equal success", speedup=1)
    return _ball(setting, "FGSM", fgsm, lambda peer: peer.fgsm(EPS), target)


def bim_peers(setting: Setting) -> tuple[list[Row], list[str]]:
    """BIM with 10 steps."""
    target = Target("at least 1.5 times faster, equal success", speedup=1.5)
    return _ball(setting, "BIM, 10 steps", bim, lambda peer: peer.bim(EPS, 10), target)


def cw_short(setting: Setting) -> tuple[list[Row], list[str]]:
    """Carlini-Wagner with few steps; peers get our learning rate, theirs need more steps."""
    searches, steps = setting.size(3, 2), setting.size(50, 4)
    options = {"learning_rate": 0.05, "initial_const": 1.0}
    return _cw(setting, searches, steps, options, (FOOLBOX, COMPILED, ART))


def cw_long(setting: Setting) -> tuple[list[Row], list[str]]:
    """Carlini-Wagner with many steps; peers with their own learning rates and constants."""
    searches, steps = setting.size(9, 2), setting.size(1000, 5)
    rows, notes = _cw(setting, searches, steps, {}, (FOOLBOX,))
    return rows + [_art_in_part(setting, rows[0], searches, steps)], notes


def _art_in_part(setting: Setting, like: Row, searches: int, steps: int) -> Row:
    """ART would take hours: some of its steps are measured, and scaled to all."""
    target = Target("at least 2 times faster", speedup=2)
    if not installed(MODULES[ART]):
        return missing(like.what, like.size, ART, target)
    data, n, few = inputs.load(setting), setting.size(128, 16), setting.size(20, 2)
    x, y = np.array(data.images[-n:]), data.labels[-n:]
    model = data.network()
    ours = Run(like.ours, like.ours_mb)
    if not ours.seconds:  # foolbox, which ours ran against, is not installed
        counts = {"binary_search_steps": searches, "steps": steps}
        ours = peak(lambda: carlini_wagner(model, x, y, **counts))
    attack = _peer(ART, model).cw(binary_search_steps=1, steps=few)
    attack(x, y, n)
    run = peak(lambda: attack(x, y, n))
    whole = Run([run.seconds[0] * searches * steps / few], run.megabytes)
    text = f"not run to the end: scaled from {few} of {searches * steps:,} steps"
    against = f"{ART}, batch size {n}"
    return row(like.what, like.size, against, ours, whole, Comparison(text), target,
               setting.quick)  # fmt: skip


def _ball(
    setting: Setting,
    what: str,
    own: Callable[..., np.ndarray],
    make: Maker,
    target: Target,
) -> tuple[list[Row], list[str]]:
    n, sizes = setting.size(600, 40), setting.size(0, 40)
    targets = {FOOLBOX: target, COMPILED: Target(""), ART: target}
    return _against_peers(
        setting,
        f"{what}",
        n,
        lambda model, x, y: own(model, x, y, eps=EPS),
        {name: make for name in targets},
        {name: make for name in targets},
        (sizes,) if setting.quick else (64, 256, n),
        targets,
        equal=True,
    )


def _cw(
    setting: Setting, searches: int, steps: int, options: dict, peers: tuple[str, ...]
) -> tuple[list[Row], list[str]]:
    n = setting.size(128, 16)
    text = "at least 2 times faster, success no lower, median L2 no higher"
    target = Target(text, speedup=2)
    counts = {"binary_search_steps": searches, "steps": steps}
    few = {"binary_search_steps": 1, "steps": min(steps, 5)}
    return _against_peers(
        setting,
        f"Carlini-Wagner, {searches} x {steps} steps at most",
        n,
        lambda model, x, y: carlini_wagner(model, x, y, **counts),
        dict.fromkeys(peers, lambda peer: peer.cw(**counts, **options)),
        dict.fromkeys(peers, lambda peer: peer.cw(**few, **options)),
        (n,) if setting.quick else (16, 64, n),
        {name: Target("") if name == COMPILED else target for name in peers},
        equal=False,
    )


def _against_peers(
    setting: Setting,
    what: str,
    n: int,
    own: Callable[..., np.ndarray],
    make: Mapping[str, Maker],
    make_short: Mapping[str, Maker],
    batch_sizes: tuple[int, ...],
    targets: Mapping[str, Target],
    equal: bool,
) -> tuple[list[Row], list[str]]:
    """Race ours and all peers that are there; a short run finds each peer's best batch size."""
    data = inputs.load(setting)
    model = data.network()
    x, y = np.array(data.images[-n:]), data.labels[-n:]
    size = f"{n} inputs ({data.source})"
    contenders: dict[str, Callable[[], np.ndarray]] = {"ours": lambda: own(model, x, y)}
    names = {}
    for name in targets:
        if not installed(MODULES[name]):
            continue
        peer = _peer(name, model)
        trial, attack = make_short[name](peer), make[name](peer)
        tell(f"  batch size of {name}:")
        best = fastest({b: lambda b=b, trial=trial: trial(x, y, b) for b in batch_sizes})
        names[name] = f"{name}, batch size {best}"
        contenders[name] = lambda attack=attack, best=best: attack(x, y, best)

    def compare(results: dict[str, np.ndarray]) -> dict[str, Comparison]:
        facts = {name: _success(model, x, y, images) for name, images in results.items()}
        return {
            name: _compared(facts["ours"], facts[name], results["ours"], results[name], equal)
            for name in results if name != "ours"
        }  # fmt: skip

    runs, comparisons = race(contenders, setting.repeats(5 if equal else 3), compare)
    rows = [
        row(what, size, names[name], runs["ours"], runs[name], comparisons[name], target,
            setting.quick)
        if name in names else missing(what, size, name, target)
        for name, target in targets.items()
    ]  # fmt: skip
    return rows, []


def _peer(name: str, model: keras.Model) -> Foolbox | Art:
    network = logits_network(model)
    return Art(network) if name == ART else Foolbox(network, compiled=name == COMPILED)


def _success(
    model: keras.Model, x: np.ndarray, y: np.ndarray, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For the inputs that were classified right: whether they no longer are, and the L2 change."""
    right = predict(model, x).argmax(axis=1) == y
    fooled = predict(model, images).argmax(axis=1) != y
    change = np.linalg.norm((images - x).reshape(len(x), -1), axis=1)
    return fooled[right], change[right]


def _compared(
    ours: tuple, theirs: tuple, our_images: np.ndarray, their_images: np.ndarray, equal: bool
) -> Comparison:
    both = ours[0] & theirs[0]
    rates = ours[0].mean(), theirs[0].mean()
    norms = [float(np.median(side[1][both])) if both.any() else np.nan for side in (ours, theirs)]
    text = (
        f"success: ours {rates[0]:.3f}, theirs {rates[1]:.3f}; median L2 where both succeed: "
        f"ours {norms[0]:.3f}, theirs {norms[1]:.3f}"
    )
    if equal:
        differ = np.abs(our_images - their_images).reshape(len(our_images), -1).max(axis=1) > 1e-5
        text += f"; images that differ: {differ.sum()} of {len(differ)}"
        # Rounding may move an image that lies on the border: one in a hundred at most.
        return Comparison(text, equal=bool(abs(rates[0] - rates[1]) <= 0.01))
    good = rates[0] >= rates[1] and not norms[0] > norms[1]
    return Comparison(text, good=bool(good))
