"""Square: a black-box attack, which asks for the network's outputs alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.attacks.arguments import at_least, checked, checked_result
from utils.attacks.graphs import slack, split
from utils.core.seeds import rng
from utils.networks.ends import kept, logits_of

if TYPE_CHECKING:
    import keras

_HALVINGS = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000])
"""Of 10,000 queries, those after which the squares get half as large."""


def square(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    queries: int = 5000,
    *,
    share: float = 0.8,
    seed: int | Sequence[int] = 0,
    batch_size: int = 512,
) -> np.ndarray:
    """Random search within `eps` (L-infinity): change a random square, keep it if that helps.

    It starts from vertical stripes of ``-eps`` and ``+eps``. Each query sets one square of an image
    to the border of the ball, with a random sign for each channel. It is kept if the margin between
    the label's logit and the best other one falls. Where gradients are masked, it finds more than
    the attacks that follow them.

    Parameters
    ----------
    model, images, labels
        See `utils.attacks`.
    eps : float, default=0.05
        Largest change of a pixel; pixels range over [0, 1].
    queries : int, default=5000
        Outputs asked for, an image.
    share : float, default=0.8
        Of the image, how much the first squares cover.
    seed : int or sequence of int, default=0
        Of stripes and squares, as in `pgd`.
    batch_size : int, default=512

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32

    References
    ----------
    Andriushchenko, Croce, Flammarion, Hein, "Square Attack: a query-efficient black-box adversarial
    attack via random search", ECCV 2020, arXiv:1912.00049.
    """
    images, labels = checked(model, images, labels, batch_size)
    at_least("eps", eps, 0)
    at_least("queries", queries, 1)
    search = kept(model, "square", lambda: _compile(model))
    generator = rng(seed, "squares")
    sides = _sides(queries, images.shape[1:3], share)
    result = np.empty_like(images)
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        result[part] = search(
            images[part], labels[part], eps, sides, generator.integers(2**31, size=2)
        ).numpy()
    return checked_result(result)


def _sides(queries: int, shape: tuple[int, int], share: float) -> np.ndarray:
    """Side of the square of each query but the first, in pixels."""
    at = np.arange(1, queries) * 10_000 // queries
    area = share / 2.0 ** np.searchsorted(_HALVINGS, at) * shape[0] * shape[1]
    return np.clip(np.round(np.sqrt(area)), 1, min(shape)).astype(np.int32)


def _compile(model: keras.Model) -> Callable[..., Any]:
    """The search on a batch of any size."""
    import tensorflow as tf

    logits = logits_of(model)
    height, width, channels = model.inputs[0].shape[1:]
    pixels = tf.TensorSpec((None, height, width, channels), tf.float32)
    classes, number = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.float32)
    integers = tf.TensorSpec((None,), tf.int32)

    def sign(shape: Any, seed: Any) -> Any:
        return tf.cast(2 * tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32) - 1, tf.float32)

    def inside(low: Any, side: Any, n: int) -> Any:
        place = tf.range(n)[None]
        return (place >= low[:, None]) & (place < low[:, None] + side)

    @tf.function(input_signature=[pixels, classes, number, integers, tf.TensorSpec((2,), tf.int64)])
    def search(images, labels, eps, sides, seed):
        def look(point):
            output = logits(point)
            own, others = split(output, labels)
            return own - tf.reduce_max(others, axis=1) + slack(output)

        n = tf.shape(images)[0]
        point = tf.clip_by_value(images + eps * sign((n, 1, width, channels), seed), 0.0, 1.0)
        margin = look(point)
        for i in tf.range(tf.size(sides)):
            side, now = sides[i], seed + tf.cast(tf.stack([i + 1, 0]), tf.int64)
            where = tf.random.stateless_uniform((2, n), now + [0, 1])
            room = tf.cast(tf.stack([height - side + 1, width - side + 1]), tf.float32)
            low = tf.cast(tf.floor(where * room[:, None]), tf.int32)
            mask = inside(low[0], side, height)[:, :, None] & inside(low[1], side, width)[:, None]
            border = tf.clip_by_value(images + eps * sign((n, 1, 1, channels), now), 0.0, 1.0)
            tried = tf.where(mask[..., None], border, point)
            new = look(tried)
            better = (new < margin) & (margin > 0)  # who is fooled is left alone
            point = tf.where(better[:, None, None, None], tried, point)
            margin = tf.where(better, new, margin)
        return point

    return search
