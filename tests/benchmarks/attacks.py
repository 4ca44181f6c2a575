"""Attacks: ours against foolbox and ART at their best batch sizes, and how well each fools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from utils.attacks.cw import carlini_wagner
from utils.attacks.norm_ball import bim, fgsm
from utils.networks.activations import predict

if TYPE_CHECKING:
    import keras

EPS = 0.1  # enough to fool the network on some images and not on others
FOOLBOX, COMPILED, ART = "foolbox", "foolbox, its model compiled by hand", "ART"
MODULES = {FOOLBOX: "foolbox", COMPILED: "foolbox", ART: "art"}
Maker = Callable[[Foolbox | Art], Attack]


def fgsm_peers(setting: Setting) -> tuple[list[Row], list[str]]:
    """FGSM."""
    target = Target("faster, success equal to 0.01", speedup=1)
    return _ball(setting, "FGSM", fgsm, lambda peer: peer.fgsm(EPS), target)


def bim_peers(setting: Setting) -> tuple[list[Row], list[str]]:
    """BIM with 10 steps."""
    target = Target("at least 1.5 times faster, success equal to 0.01", speedup=1.5)
    return _ball(setting, "BIM, 10 steps", bim, lambda peer: peer.bim(EPS, 10), target)


def cw_short(setting: Setting) -> tuple[list[Row], list[str]]:
    """Carlini-Wagner with few steps; peers get our learning rate, theirs need more steps."""
    searches, steps = setting.size(3, 2), setting.size(50, 4)
    options = {"learning_rate": 0.05, "initial_const": 1.0}
    rows, notes = _cw(setting, searches, steps, options, (FOOLBOX, COMPILED))
    return rows + [_art_in_part(setting, rows[0], searches, steps, options)], notes


def cw_long(setting: Setting) -> tuple[list[Row], list[str]]:
    """Carlini-Wagner with many steps; peers with their own learning rates and constants."""
    searches, steps = setting.size(9, 2), setting.size(1000, 5)
    rows, notes = _cw(setting, searches, steps, {}, (FOOLBOX,))
    return rows + [_art_in_part(setting, rows[0], searches, steps, {})], notes


def _art_in_part(
    setting: Setting, like: Row, searches: int, steps: int, options: dict[str, float]
) -> Row:
    """ART would take minutes to hours: some of its steps are measured, and scaled to all."""
    target = Target("")  # what was not run to the end is shown, but not judged
    if not installed(MODULES[ART]):
        return missing(like.what, like.size, ART, target)
    data, n, few = inputs.load(setting), setting.size(128, 16), setting.size(10, 2)
    x, y = np.array(data.images[-n:]), data.labels[-n:]
    model = data.network()
    ours = Run(like.ours, like.ours_mb)
    if not ours.seconds:  # foolbox, which ours ran against, is not installed
        counts = {"binary_search_steps": searches, "steps": steps}
        ours = peak(lambda: carlini_wagner(model, x, y, **counts))
    attack = _peer(ART, model).cw(binary_search_steps=1, steps=few, **options)
    attack(x, y, n)
    run = peak(lambda: attack(x, y, n))
    whole = Run([run.seconds[0] * searches * steps / few], run.megabytes)
    text = f"not run to the end: scaled from {few} of {searches * steps:,} steps"
    against = f"{ART}, batch size {n}"
    return row(like.what, like.size, against, ours, whole, Comparison(text), target, setting.quick)


def _ball(
    setting: Setting, what: str, own: Callable[..., np.ndarray], make: Maker, target: Target
) -> tuple[list[Row], list[str]]:
    n = setting.size(600, 40)
    contest = Contest(
        what,
        n,
        lambda model, x, y: own(model, x, y, eps=EPS),
        make,
        make,
        (n,) if setting.quick else (64, 256, n),
        equal=True,
    )
    return contest.rows(setting, {FOOLBOX: target, COMPILED: Target(""), ART: target}), []


def _cw(
    setting: Setting, searches: int, steps: int, options: dict, peers: tuple[str, ...]
) -> tuple[list[Row], list[str]]:
    n = setting.size(128, 16)
    target = Target("at least 2 times faster, success no lower, median L2 no higher", speedup=2)
    counts = {"binary_search_steps": searches, "steps": steps}
    few = {"binary_search_steps": 1, "steps": min(steps, 5)}
    contest = Contest(
        f"Carlini-Wagner, {searches} x {steps} steps at most",
        n,
        lambda model, x, y: carlini_wagner(model, x, y, **counts),
        lambda peer: peer.cw(**counts, **options),
        lambda peer: peer.cw(**few, **options),
        (n,) if setting.quick else (16, 64, n),
        equal=False,
    )
    targets = {name: Target("") if name == COMPILED else target for name in peers}
    return contest.rows(setting, targets), []


@dataclass(frozen=True)
class Contest:
    """One attack: ours, and the peers' with a short `trial` to find their best batch size.

    `equal` says that success must be equal; otherwise success and L2 should be no worse.
    """

    what: str
    n: int
    own: Callable[[keras.Model, np.ndarray, np.ndarray], np.ndarray]
    peers: Maker
    trial: Maker
    batch_sizes: tuple[int, ...]
    equal: bool

    def rows(self, setting: Setting, targets: Mapping[str, Target]) -> list[Row]:
        """Race ours and all peers that are there; a row each."""
        data = inputs.load(setting)
        size = f"{self.n} inputs ({data.source})"
        rows = {name: missing(self.what, size, name, targets[name]) for name in targets}
        there = [name for name in targets if installed(MODULES[name])]
        if not there:
            return list(rows.values())
        model = data.network()
        x, y = np.array(data.images[-self.n :]), data.labels[-self.n :]
        contenders: dict[str, Callable[[], np.ndarray]] = {"ours": lambda: self.own(model, x, y)}
        for name in there:
            peer = _peer(name, model)
            trial, attack = self.trial(peer), self.peers(peer)
            tell(f"  batch size of {name}:")
            best = fastest({b: lambda b=b, t=trial: t(x, y, b) for b in self.batch_sizes})
            rows[name].against += f", batch size {best}"
            contenders[name] = lambda attack=attack, best=best: attack(x, y, best)

        def compare(results: dict[str, np.ndarray]) -> dict[str, Comparison]:
            ours = results.pop("ours")
            return {
                name: _compared(model, x, y, ours, theirs, self.equal)
                for name, theirs in results.items()
            }

        runs, comparisons = race(contenders, setting.repeats(5 if self.equal else 3), compare)
        for name in there:
            rows[name] = row(
                self.what,
                size,
                rows[name].against,
                runs["ours"],
                runs[name],
                comparisons[name],
                targets[name],
                setting.quick,
            )
        return list(rows.values())


def _compared(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    equal: bool,
) -> Comparison:
    """Success among the inputs that were classified right, and how far it went."""
    right = predict(model, x).argmax(axis=1) == y
    fooled = [(predict(model, images).argmax(axis=1) != y)[right] for images in (ours, theirs)]
    both = fooled[0] & fooled[1]
    rates = [side.mean() for side in fooled]
    norms = [
        float(np.median(np.linalg.norm((images - x)[right][both].reshape(both.sum(), -1), axis=1)))
        if both.any()
        else np.nan
        for images in (ours, theirs)
    ]
    text = (
        f"success: ours {rates[0]:.3f}, theirs {rates[1]:.3f}; median L2 where both succeed: "
        f"ours {norms[0]:.3f}, theirs {norms[1]:.3f}"
    )
    if equal:
        differ = np.abs(ours - theirs).reshape(len(x), -1).max(axis=1) > 1e-5
        text += f"; images that differ: {differ.sum()} of {len(differ)}"
        within = all(np.abs(images - x).max() <= EPS + 1e-6 for images in (ours, theirs))
        # Rounding may move images that lie on the border. Peers' gradients vanish where the
        # network is sure, so ours may fool it more often.
        return Comparison(text, equal=bool(within and rates[0] >= rates[1] - 0.01))
    return Comparison(text, good=bool(rates[0] >= rates[1] and not norms[0] > norms[1]))


def _peer(name: str, model: keras.Model) -> Foolbox | Art:
    network = logits_network(model)
    return Art(network) if name == ART else Foolbox(network, compiled=name == COMPILED)
