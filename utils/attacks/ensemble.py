"""The worst case over an ensemble of strong attacks, and accuracy against the budget.

One attack can miss what another finds, and a network can hide its gradient without being robust.
So each image is attacked by several, of which one needs no gradient, until it falls.

References
----------
Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
Parameter-free Attacks" (AutoAttack), ICML 2020, arXiv:2003.01690.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.attacks.apgd import apgd
from utils.attacks.arguments import checked
from utils.attacks.cw import carlini_wagner
from utils.attacks.robustness import right
from utils.attacks.square import square
from utils.networks.activations import NoNumbers, predict

if TYPE_CHECKING:
    import keras

ENSEMBLE = {
    "apgd_ce": "APGD, cross-entropy",
    "apgd_targeted": "APGD, targeted",
    "square": "Square",
    "cw": "Carlini-Wagner",
}
"""Id of each attack -> its name, in their order: those that are fast and find most come first."""
MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of epsilon, for accuracy against epsilon."""

Attack = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(images, labels) -> adversarial images``."""


@dataclass(frozen=True)
class Strength:
    """How hard each attack tries, by default as AutoAttack's paper has it.

    Parameters
    ----------
    steps : int, default=100
        Gradient steps of APGD, and of Carlini-Wagner for one constant.
    restarts : int, default=5
        Of APGD with cross-entropy, each from another random start.
    targets : int, default=9
        Classes that targeted APGD tries for each image, the likeliest first.
    queries : int, default=5000
        Outputs that Square asks for, an image.
    searches : int, default=9
        Constants of Carlini-Wagner, as in its paper.
    """

    steps: int = 100
    restarts: int = 5
    targets: int = 9
    queries: int = 5000
    searches: int = 9


@dataclass(frozen=True, eq=False)
class WorstCase:
    """What is left of a network's accuracy.

    Attributes
    ----------
    right : ndarray of shape (n,), dtype=bool
        Images that are classified right as they are, and after every attack.
    fell_to : ndarray of shape (n,), dtype=str
        Id of the attack that each of the others fell to; "clean" where none was needed, "" for
        those that are right.
    seconds : dict of str to float
        By attack.
    """

    right: np.ndarray
    fell_to: np.ndarray
    seconds: dict[str, float]

    def left(self) -> dict[str, float]:
        """Accuracy left after each attack, in their order."""
        fallen = np.cumsum([(self.fell_to == name).sum() for name in ("clean", *ENSEMBLE)])
        n = len(self.right)
        return dict(zip(ENSEMBLE, ((n - fallen[1:]) / n).tolist(), strict=True))


def l2_budget(eps: float, shape: tuple[int, ...]) -> float:
    """A budget in L2 to go with one of `eps` in L-infinity: a quarter of its longest change.

    The pairs of budgets that are in common use have about this ratio: 2 and 0.3 on MNIST, 0.5 and
    8 / 255 on CIFAR-10 (Croce and Hein).
    """
    return float(eps * np.sqrt(np.prod(shape)) / 4)


def worst_case(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    strength: Strength | None = None,
    *,
    l2: float | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> WorstCase:
    """Attack each image until it falls: with APGD twice, Square, and Carlini-Wagner.

    Parameters
    ----------
    model, images, labels
        See `utils.attacks`.
    eps : float, default=0.05
        Largest change of a pixel; pixels range over [0, 1].
    strength : Strength, optional
        By default the full one.
    l2 : float, optional
        Longest change (L2) by which Carlini-Wagner, which bounds no pixel, may win; by default
        `l2_budget`.
    seed : int, default=0
        Of random starts and squares.
    progress : callable, optional
        Called with a short line of text after each attack.
    """
    images, labels = checked(model, images, labels, 1)
    left = right(model, images, labels)
    fell_to = np.where(left, "", "clean").astype("<U32")
    seconds: dict[str, float] = {}
    longest = l2_budget(eps, images.shape[1:]) if l2 is None else l2
    for name, attack in _attacks(model, eps, strength or Strength(), longest, seed):
        rows = np.flatnonzero(left)
        began = time.perf_counter()
        if len(rows):
            attacked = attack(images[rows], labels[rows])
            left[rows] = right(model, attacked, labels[rows])
        fell_to[rows[~left[rows]]] = name
        seconds[name] = time.perf_counter() - began
        progress(f"{ENSEMBLE[name]}: {left.mean():.3f} left")
    return WorstCase(left, fell_to, seconds)


def _attacks(
    model: keras.Model, eps: float, strength: Strength, l2: float, seed: int
) -> Iterator[tuple[str, Attack]]:
    """The attacks of `ENSEMBLE`."""
    steps, n_classes = strength.steps, model.outputs[0].shape[-1]

    def climb(
        images: np.ndarray,
        labels: np.ndarray,
        turns: int,
        first: int = 0,
        goals: np.ndarray | None = None,
        **options: Any,
    ) -> np.ndarray:
        """APGD in turns, each on the images that those before left: the last result for each.

        Turns start at other points, from number `first` on, and go for a column of `goals` each.
        """
        result, rows = images.copy(), np.arange(len(labels))
        for turn in range(turns):
            targets = None if goals is None else goals[rows, turn]
            task = (model, images[rows], labels[rows], eps, steps)
            result[rows] = apgd(*task, targets=targets, seed=(seed, first + turn), **options)
            rows = rows[right(model, result[rows], labels[rows])]
            if not len(rows):
                break
        return result

    def repeated(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return climb(images, labels, strength.restarts)

    def targeted(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        first = strength.restarts  # other starts than those before
        if n_classes < 4:  # the targeted loss takes as many
            return climb(images, labels, strength.restarts, first, loss="margin")
        likely = predict(model, images)
        likely[np.arange(len(labels)), labels] = -np.inf
        goals = np.argsort(-likely, axis=1, kind="stable")
        turns = min(strength.targets, n_classes - 1)
        return climb(images, labels, turns, first, goals, loss="dlr")

    def smallest(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        found = carlini_wagner(model, images, labels, steps, strength.searches)
        far = np.linalg.norm((found - images).reshape(len(images), -1), axis=1) > l2
        return np.where(far.reshape(-1, *[1] * (images.ndim - 1)), images, found)

    def searched(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return square(model, images, labels, eps, strength.queries, seed=seed)

    yield from zip(ENSEMBLE, (repeated, targeted, searched, smallest), strict=True)


def accuracy_by_epsilon(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    found: WorstCase,
    steps: int = 20,
    multiples: Iterable[float] = MULTIPLES,
    seed: int = 0,
) -> dict[float, float]:
    """Accuracy for several budgets: the worst case at `eps`, elsewhere under APGD alone.

    An image that has fallen counts as fallen for each larger budget, and one that withstands `eps`
    for each smaller one. So the accuracy never rises with the budget.

    Parameters
    ----------
    model, images, labels, eps
        As for `worst_case`.
    found : WorstCase
        What it returned.
    steps : int, default=20
        Gradient steps of APGD, with cross-entropy.
    multiples : iterable of float
        Of `eps`. 0 is the accuracy on the images as they are.
    seed : int, default=0

    Returns
    -------
    dict of float to float
        By multiple, from small to large; NaN where the network gives no numbers.
    """
    left, curve = found.fell_to != "clean", {}
    for multiple in sorted(multiples):
        if multiple >= 1:
            left &= found.right
        rows = np.flatnonzero(left & ~found.right if multiple < 1 else left)
        if multiple not in (0, 1) and len(rows):
            budget = min(multiple * eps, 1.0)
            try:
                attacked = apgd(model, images[rows], labels[rows], budget, steps, seed=seed)
            except NoNumbers:
                curve[multiple] = np.nan
                continue
            left[rows] = right(model, attacked, labels[rows])
        curve[multiple] = float(left.mean())
    return curve
