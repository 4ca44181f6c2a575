"""Signs that attacking has failed, so that a network only looks robust.

Each is measured, and one that fires says that the accuracy left is not to be trusted: an attack
that does better may exist.

References
----------
Carlini et al., "On Evaluating Adversarial Robustness", 2019, arXiv:1902.06705.

Pintor et al., "Indicators of Attack Failure: Debugging and Improving Optimization of Adversarial
Examples", NeurIPS 2022, arXiv:2106.09947.

Croce and Hein, AutoAttack's flags, https://github.com/fra31/auto-attack/blob/master/flags_doc.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from utils.attacks.apgd import apgd
from utils.attacks.ensemble import WorstCase
from utils.attacks.graphs import split
from utils.attacks.robustness import right
from utils.networks.activations import NoNumbers, predict
from utils.networks.ends import kept, logits_of

if TYPE_CHECKING:
    import keras

FEW = 0.01
"""Share of the images without a gradient that is not yet a sign: a dead unit is no defence."""
MANY = 0.05
"""Of accuracy, what should not be left with every change allowed, nor be found by more steps."""
SEARCHED = 0.02
"""Share of the images that Square may find beyond what the gradients found."""
SOME = 64
"""Images that are looked at, where not all need to be."""


def doubts(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    found: WorstCase,
    steps: int = 20,
    seed: int = 0,
) -> list[str]:
    """Signs that the attacks failed and that the accuracy left is too high; a sentence each.

    Parameters
    ----------
    model, images, labels, eps
        As for `utils.attacks.ensemble.worst_case`.
    found : WorstCase
        What it returned.
    steps : int, default=20
        Gradient steps of the attacks, as they were made.
    seed : int, default=0
    """
    signs: list[str] = []
    try:
        signs.extend(_signs(model, images, labels, eps, found, steps, seed))  # one after the other
    except NoNumbers:
        signs.append("Attacked further, the network gives no numbers: nothing more is known.")
    return signs


def _signs(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float,
    found: WorstCase,
    steps: int,
    seed: int,
) -> Iterator[str]:
    def withstand(rows: np.ndarray, budget: float, steps: int) -> np.ndarray:
        attacked = apgd(model, images[rows], labels[rows], budget, steps, seed=seed)
        return right(model, attacked, labels[rows])

    logits = logits_of(model)(images[:SOME]).numpy()
    if logits.min() >= 0 and logits.max() <= 1 and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        yield "The logits are probabilities already: a second soft-max hides the gradient."
    first, again = (predict(model, images[:SOME]) for _ in range(2))
    if not np.allclose(first, again, rtol=1e-3, atol=1e-6):
        yield "The network gives other numbers for the same images from call to call."
    flat = _without_gradient(model, images, labels)
    if flat > FEW:
        yield f"The gradient is 0 on {flat:.0%} of the images: attacks have nothing to follow."
    searched = np.mean(found.fell_to == "square")
    if searched > SEARCHED:
        yield f"Square, which needs no gradient, fools {searched:.1%} that gradients did not find."
    rows = _some(np.flatnonzero(found.fell_to != "clean"))
    stands = np.ones(len(rows), bool)
    for budget in (0.5, 1.0):
        if stands.any():
            stands[stands] = withstand(rows[stands], budget, steps)
    if len(rows) and stands.mean() > MANY:
        yield (
            f"With any change allowed (epsilon 0.5 and 1), {stands.mean():.0%} of {len(rows)} "
            "images are still right: the attack does not find what exists."
        )
    rows, before = _some(np.flatnonzero(found.right)), found.right.mean()
    more = 1 - withstand(rows, eps, 4 * steps).mean() if len(rows) else 0
    if more * before > MANY:
        yield (
            f"Four times the steps find much more: {more:.0%} of {len(rows)} images that were left."
        )


def _some(rows: np.ndarray) -> np.ndarray:
    """At most `SOME` of the rows, spread evenly."""
    return rows[:: max(1, -(-len(rows) // SOME))]


def _without_gradient(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int = 512
) -> float:
    """Share of the images at which the loss that the attacks climb has no gradient."""
    flat = kept(model, "flat", lambda: _compile_flat(model))
    parts = [slice(i, i + batch_size) for i in range(0, len(images), batch_size)]
    return float(np.concatenate([flat(images[p], labels[p]).numpy() for p in parts]).mean())


def _compile_flat(model: keras.Model) -> Callable:
    import tensorflow as tf

    logits = logits_of(model)
    pixels = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)

    @tf.function(input_signature=[pixels, tf.TensorSpec((None,), tf.int64)])
    def flat(images, labels):
        with tf.GradientTape() as tape:
            tape.watch(images)
            own, others = split(logits(images), labels)
            loss = tf.reduce_logsumexp(others, axis=1) - own
        gradient = tape.gradient(loss, images, unconnected_gradients="zero")
        return tf.reduce_all(tf.equal(gradient, 0), axis=list(range(1, len(images.shape))))

    return flat
