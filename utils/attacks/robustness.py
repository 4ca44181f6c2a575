"""Which images a network classifies right whatever an attack does to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from utils.attacks.norm_ball import pgd
from utils.data.arrays import SPLITS
from utils.networks.activations import predict

if TYPE_CHECKING:
    import keras


def right(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which images a network classifies right as they are; bool (n,)."""
    return predict(model, images).argmax(axis=1) == labels


def withstands(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    epsilon: float = 0.05,
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Which images a network classifies right, as they are and after every fresh attack.

    Parameters
    ----------
    model, images, labels
        See `utils.attacks`.
    epsilon, steps
        Budget and gradient steps of `utils.attacks.norm_ball.pgd`.
    restarts : int, default=1
        Attacks, each from another random start; the worst counts.
    seed : int, default=0
        Decides the starts, alike for all networks.

    Returns
    -------
    ndarray of shape (n,), dtype=bool
    """
    found = right(model, images, labels)
    for restart in range(restarts):
        stream = len(SPLITS) + restart  # those before are step 1.1's
        attacked = pgd(model, images, labels, epsilon, steps, seed=(seed, stream))
        found &= right(model, attacked, labels)
    return found
