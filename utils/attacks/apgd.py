"""Auto-PGD: projected gradient descent that finds its own step size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from utils.attacks.arguments import at_least, checked, checked_result
from utils.attacks.graphs import slack, split
from utils.core.seeds import rng
from utils.networks.ends import kept, logits_of

if TYPE_CHECKING:
    import keras

LOSSES = ("ce", "dlr", "margin")


def apgd(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    eps: float = 0.05,
    steps: int = 100,
    *,
    loss: str = "ce",
    targets: np.ndarray | None = None,
    seed: int | Sequence[int] = 0,
    batch_size: int = 512,
) -> np.ndarray:
    """Climb a loss within `eps` (L-infinity) with momentum and a step size that halves by itself.

    The step starts at ``2 * eps``. At some checkpoints it is halved, image by image, and the climb
    goes on from the best point so far, if the loss rose in too few steps, or no new best was found
    since the last checkpoint although the step is the same.

    Parameters
    ----------
    model, images, labels
        See `utils.attacks`.
    eps : float, default=0.05
        Largest change of a pixel; pixels range over [0, 1].
    steps : int, default=100
        Gradient steps.
    loss : {"ce", "dlr", "margin"}
        Cross-entropy; the difference of logits ratio, which does not depend on the logits' scale;
        or the margin between the best other class and the label, for fewer than four classes.
    targets : ndarray of shape (n,), optional
        For "dlr": the class to reach for each image, by default any other. It takes four classes,
        without a target three.
    seed : int or sequence of int, default=0
        Of the random start, as in `pgd`.
    batch_size : int, default=512

    Returns
    -------
    ndarray of shape (n, height, width, channels), dtype=float32
        The first point found that fools the model, else the one of the highest loss.

    References
    ----------
    Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks", ICML 2020, arXiv:2003.01690.
    """
    images, labels = checked(model, images, labels, batch_size)
    at_least("eps", eps, 0)
    at_least("steps", steps, 1)
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    targeted, classes = targets is not None, model.outputs[0].shape[-1]
    least = {"ce": 2, "margin": 2, "dlr": 4 if targeted else 3}[loss]
    if classes < least:
        raise ValueError(f"loss {loss!r}: expected at least {least} classes, got {classes}")
    goals = labels if targets is None else np.asarray(targets, np.int64)
    key = f"apgd {loss} {targeted}"
    begin, advance = kept(model, key, lambda: _compile(model, loss, targeted))
    generator = rng(seed, "start of apgd")
    result = np.empty_like(images)
    for first in range(0, len(images), batch_size):
        part = slice(first, first + batch_size)
        batch = (images[part], labels[part], goals[part])
        noise = generator.uniform(-eps, eps, batch[0].shape).astype(np.float32)
        climb = begin(*batch, eps, np.clip(batch[0] + noise, 0, 1))
        rows = np.arange(first, first + len(noise))
        for size in _periods(steps):
            climb = advance(*batch, eps, size, climb)
            result[rows], climbs = climb.found.numpy(), ~climb.fooled.numpy()
            if not climbs.all():  # who has fallen is left alone
                rows, batch = rows[climbs], tuple(each[climbs] for each in batch)
                climb = _Climb(*(each.numpy()[climbs] for each in climb))
            if not len(rows):
                break
    return checked_result(result)


def _periods(steps: int) -> list[int]:
    """Steps from one checkpoint to the next."""
    at = [0.0, 0.22]
    while at[-1] < 1:
        at.append(at[-1] + max(at[-1] - at[-2] - 0.03, 0.06))
    last = np.minimum(np.ceil(np.round(np.array(at) * steps, 9)), steps)
    return [int(size) for size in np.diff(last) if size]


class _Climb(NamedTuple):
    """Where the climb of each image of a batch stands; tensors, a row an image."""

    found: Any
    """The image to give back: the first that fools, else the best point."""
    fooled: Any
    point: Any
    before: Any
    gradient: Any
    height: Any
    """The loss."""
    top: Any
    top_gradient: Any
    top_height: Any
    size: Any
    """Of a step."""
    halved: Any
    """Whether it was halved at the last checkpoint."""
    last_height: Any
    """Best loss at the last checkpoint."""


def _compile(model: keras.Model, loss: str, targeted: bool) -> tuple[Callable, Callable]:
    """The start of a climb, and its steps up to a checkpoint, for batches of any size."""
    import tensorflow as tf

    logits = logits_of(model)
    pixels = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    classes, number = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.float32)
    values, flags = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((None,), tf.bool)
    of = {"fooled": flags, "halved": flags}
    of |= dict.fromkeys(("height", "top_height", "size", "last_height"), values)
    state = _Climb(**{name: of.get(name, pixels) for name in _Climb._fields})
    axes = list(range(1, len(pixels.shape)))

    def wide(vector: Any) -> Any:
        return tf.reshape(vector, [-1] + [1] * len(axes))

    def value(output: Any, labels: Any, goals: Any) -> Any:
        own, others = split(output, labels)
        best = tf.reduce_max(others, axis=1)
        if loss == "ce":
            return tf.reduce_logsumexp(others, axis=1) - own  # rises with the cross-entropy
        if loss == "margin":
            return best - own
        ordered = tf.math.top_k(output, 4 if targeted else 3)[0]
        if targeted:
            goal, _ = split(output, goals)
            below = (ordered[:, 2] + ordered[:, 3]) / 2
            return (goal - own) / tf.maximum(ordered[:, 0] - below, 1e-12)  # a sum may lose it
        return (best - own) / tf.maximum(ordered[:, 0] - ordered[:, 2], 1e-12)

    def look(point: Any, labels: Any, goals: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(point)
            output = logits(point)
            height = value(output, labels, goals)
        own, others = split(output, labels)
        fooled = own - tf.reduce_max(others, axis=1) < -slack(output)
        gradient = tape.gradient(height, point, unconnected_gradients="zero")
        return height, gradient, fooled

    def project(point: Any, images: Any, eps: Any) -> Any:
        return tf.clip_by_value(tf.clip_by_value(point, images - eps, images + eps), 0.0, 1.0)

    @tf.function(input_signature=[pixels, classes, classes, number, pixels])
    def begin(images, labels, goals, eps, point):
        height, gradient, fooled = look(point, labels, goals)
        path = (point, fooled, point, point, gradient, height, point, gradient, height)
        size = tf.fill(tf.shape(labels), 2 * eps)
        return _Climb(*path, size, tf.zeros_like(fooled), height)

    @tf.function(
        input_signature=[pixels, classes, classes, number, tf.TensorSpec((), tf.int32), state]
    )
    def advance(images, labels, goals, eps, steps, climb):
        now, rises = climb, tf.zeros_like(climb.height)
        for _ in tf.range(steps):
            ahead = project(now.point + wide(now.size) * tf.sign(now.gradient), images, eps)
            moved = now.point + 0.75 * (ahead - now.point) + 0.25 * (now.point - now.before)
            begins = tf.reduce_all(tf.equal(now.point, now.before), axes, keepdims=True)
            point = project(tf.where(begins, ahead, moved), images, eps)
            height, gradient, fools = look(point, labels, goals)
            rises += tf.cast(height > now.height, tf.float32)
            better = height > now.top_height
            top = tf.where(wide(better), point, now.top)
            best = tf.where(wide(fools), point, top)
            now = now._replace(
                found=tf.where(wide(now.fooled), now.found, best),
                fooled=now.fooled | fools,
                point=point,
                before=now.point,
                gradient=gradient,
                height=height,
                top=top,
                top_gradient=tf.where(wide(better), gradient, now.top_gradient),
                top_height=tf.where(better, height, now.top_height),
            )
        few = rises < 0.75 * tf.cast(steps, tf.float32)
        halved = few | (~climb.halved & (now.top_height <= climb.last_height))
        return now._replace(
            point=tf.where(wide(halved), now.top, now.point),
            before=tf.where(wide(halved), now.top, now.before),  # no momentum from elsewhere
            gradient=tf.where(wide(halved), now.top_gradient, now.gradient),
            height=tf.where(halved, now.top_height, now.height),
            size=tf.where(halved, now.size / 2, now.size),
            halved=halved,
            last_height=now.top_height,
        )

    return begin, advance
