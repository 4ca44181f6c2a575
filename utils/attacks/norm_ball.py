"""Attacks that climb the loss within a ball around the image: FGSM, BIM and PGD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from utils.attacks.arguments import at_least, checked, checked_result
from utils.attacks.graphs import compile_ascent
from utils.core.seeds import rng
from utils.networks.ends import kept

if TYPE_CHECKING:
    import keras


def fgsm(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    *,
    batch_size: int = 512,
) -> np.ndarray:
    """Fast gradient sign method: one step of `eps` along the sign of the loss's gradient.

    Parameters
    ----------
    model, images, labels
        See `utils.attacks`.
    eps : float, default=0.05
        Largest change of a pixel (L-infinity); pixels range over [0, 1].
    batch_size : int, default=512
        Images a gradient step.

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32

    References
    ----------
    Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015,
    arXiv:1412.6572.
    """
    return _ascend(model, images, labels, "linf", eps, 1, eps, batch_size)


def bim(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """Basic iterative method: small FGSM steps, kept within `eps` of the image (L-infinity).

    Parameters
    ----------
    model, images, labels, eps, batch_size
        As in `fgsm`.
    steps : int, default=10
        Gradient steps.
    step_size : float, default=None
        Length of a step; None for ``2 * eps / steps``, twice what would just reach the border, so
        that the path may turn (with 10 steps 0.2 of `eps`, foolbox's default).

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32

    References
    ----------
    Kurakin, Goodfellow, Bengio, "Adversarial Examples in the Physical World", ICLR 2017 workshop,
    arXiv:1607.02533.
    """
    return _ascend(model, images, labels, "linf", eps, steps, step_size, batch_size)


def pgd(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    seed: int | Sequence[int] = 0,
    batch_size: int = 512,
) -> np.ndarray:
    """Projected gradient descent: `bim` from a random point within `eps` of the image.

    Parameters
    ----------
    model, images, labels, eps, steps, step_size, batch_size
        As in `bim`.
    seed : int or sequence of int, default=0
        Of the start, each 0 or more; an image's start depends on the seed and on its position in
        `images`. Of a sequence the first is the run's seed; others tell calls apart.

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32

    References
    ----------
    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
    arXiv:1706.06083.
    """
    generator = rng(seed, "start of pgd")
    return _ascend(model, images, labels, "linf", eps, steps, step_size, batch_size, generator)


def bim_l1(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """Basic iterative method within `eps` of the image in the L1 norm.

    Each step goes along the gradient, scaled to L1 length `step_size`; what leaves the ball is
    scaled back. This is foolbox's ``L1BasicIterativeAttack``, which the study's notebooks ran as
    "BIM". `eps` bounds the *sum* of all pixels' changes, so 0.05 is a far smaller budget here
    than for `bim`. Parameters and result as in `bim`.

    References
    ----------
    Rauber, Brendel, Bethge, "Foolbox", 2017, arXiv:1707.04131.
    """
    return _ascend(model, images, labels, "l1", eps, steps, step_size, batch_size)


def bim_l2(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 10,
    *,
    step_size: float | None = None,
    batch_size: int = 512,
) -> np.ndarray:
    """Basic iterative method within `eps` of the image in the L2 norm.

    As `bim_l1`, with Euclidean lengths: foolbox's ``L2BasicIterativeAttack``, which the study's
    notebooks ran as "CW". Parameters and result as in `bim`, reference as in `bim_l1`.
    """
    return _ascend(model, images, labels, "l2", eps, steps, step_size, batch_size)


def _ascend(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    norm: str,
    eps: float,
    steps: int,
    step_size: float | None,
    batch_size: int,
    generator: np.random.Generator | None = None,
) -> np.ndarray:
    """Climb the loss in `steps` steps within the `eps` ball; a `generator` picks the start."""
    images, labels = checked(model, images, labels, batch_size)
    at_least("eps", eps, 0)
    at_least("steps", steps, 1)
    step_size = 2 * eps / steps if step_size is None else step_size
    at_least("step_size", step_size, 0)
    climb = kept(model, f"ascend {norm}", lambda: compile_ascent(model, norm))
    result = np.empty_like(images)
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        batch = begin = images[part]
        if generator is not None:
            noise = generator.random(batch.shape, dtype=np.float32) * 2 - 1
            begin = np.clip(batch + np.float32(eps) * noise, 0, 1)
        result[part] = climb(batch, labels[part], begin, eps, step_size, steps).numpy()
    return checked_result(result)
