"""Adversarial training: the inputs of each batch are attacked anew, as the network is just then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.attacks.graphs import compile_ascent

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class InnerAttack:
    """How inputs are attacked while a network is trained on them.

    Each starts at a random point around the image, and takes one or several steps up the loss. The
    network computes as in use, so dropout does not blur the gradient and batch normalization keeps
    its statistics.

    Parameters
    ----------
    epsilon : float
        Largest change of a pixel; pixels range over [0, 1].
    steps : int, default=1
        Gradient steps. One is FGSM from a random start [1]_ with a step of 1.25 epsilon; more are
        PGD [2]_ with steps of 2 epsilon / `steps`.
    noise : float, default=1
        Range of the random start in multiples of epsilon. Above 1 it is N-FGSM [3]_: a step of
        epsilon from the noisy image, and the sum is not cut back to epsilon. Nor is that of several
        steps, so with these it is no N-FGSM and changes a pixel by up to (`noise` + 2) epsilon.
    clean_share : float, default=0
        Share of each batch that is trained on as it is; at least one input is attacked.

    References
    ----------
    .. [1] Wong, Rice and Kolter, "Fast is better than free: Revisiting adversarial training",
       ICLR 2020, arXiv:2001.03994.
    .. [2] Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
       arXiv:1706.06083.
    .. [3] de Jorge et al., "Make Some Noise: Reliable and Efficient Single-Step Adversarial
       Training", NeurIPS 2022, arXiv:2202.01181.
    """

    epsilon: float
    steps: int = 1
    noise: float = 1.0
    clean_share: float = 0.0

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ValueError(f"epsilon: expected more than 0, got {self.epsilon}")
        if self.steps < 1:
            raise ValueError(f"inner_steps: expected at least 1, got {self.steps}")
        if not self.noise >= 0:
            raise ValueError(f"inner_noise: expected at least 0, got {self.noise}")
        if not 0 <= self.clean_share < 1:
            raise ValueError(f"clean_share: expected 0 to less than 1, got {self.clean_share}")

    def compile(self, model: keras.Model) -> Callable[[Any, Any, Any], Any]:
        """``attack(images, labels, seed) -> images`` for a compiled training step of `model`.

        `seed` is an integer tensor of shape (2,); it decides the random starts.
        """
        import tensorflow as tf

        climb = compile_ascent(model, "linf")
        step = 2 * self.epsilon / self.steps if self.steps > 1 else 1.25 * self.epsilon
        ball, start = self.epsilon, self.noise * self.epsilon
        if self.noise > 1:
            step, ball = min(step, self.epsilon), start + self.steps * self.epsilon  # never reached

        def attack(images: Any, labels: Any, seed: Any) -> Any:
            noise = tf.random.stateless_uniform(tf.shape(images), seed, -start, start)
            begin = tf.clip_by_value(images + noise, 0.0, 1.0)
            return climb(images, labels, begin, ball, step, self.steps)

        return attack

    def attacked(self, n: int, batch_size: int) -> np.ndarray:
        """Which of `n` shuffled inputs are attacked, so that each batch has its clean share.

        Returns
        -------
        ndarray of shape (n,), dtype=bool
        """
        place = np.arange(n) % batch_size
        sizes = np.minimum(batch_size, n - np.arange(n) + place)  # the last batch may be smaller
        return place >= np.minimum(np.round(self.clean_share * sizes), sizes - 1)
