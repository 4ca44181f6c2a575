"""The TensorFlow graphs of the attacks: several gradient steps a call, one trace a model.

Inputs are batches of any size. Nothing is summed over images, so they do not affect each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from utils.networks.ends import logits_of

if TYPE_CHECKING:
    import keras

BOX = 1.05  # range of the tanh in Carlini-Wagner, in units of the images' range


def compile_ascent(model: keras.Model, norm: str) -> Callable[..., Any]:
    """Steps up the loss within a ball of one norm: ``linf``, ``l1`` or ``l2``."""
    import tensorflow as tf

    logits = logits_of(model)
    pixels = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    number = tf.TensorSpec((), tf.float32)
    axes = list(range(1, len(pixels.shape)))

    def length(values):
        if norm == "l1":
            return tf.reduce_sum(tf.abs(values), axes, keepdims=True)
        return tf.sqrt(tf.reduce_sum(tf.square(values), axes, keepdims=True))

    def direction(gradient):
        if norm == "linf":
            return tf.sign(gradient)
        # Scaled first: the squares of small gradients would underflow.
        largest = tf.reduce_max(tf.abs(gradient), axes, keepdims=True)
        gradient = tf.math.divide_no_nan(gradient, largest)
        return tf.math.divide_no_nan(gradient, length(gradient))

    def project(change, eps):
        if norm == "linf":
            return tf.clip_by_value(change, -eps, eps)
        return change * tf.minimum(1.0, tf.math.divide_no_nan(eps, length(change)))

    @tf.function(
        input_signature=[
            pixels,
            tf.TensorSpec((None,), tf.int64),
            pixels,
            number,
            number,
            tf.TensorSpec((), tf.int32),
        ]
    )
    def climb(images, labels, point, eps, step_size, steps):
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(point)
                own, others = split(logits(point), labels)
                # The log-odds against the label. Cross-entropy is softplus of it, so the gradient
                # has the same direction, but does not vanish where the model is sure.
                loss = tf.reduce_logsumexp(others, axis=1) - own
            change = point + step_size * direction(tape.gradient(loss, point)) - images
            point = tf.clip_by_value(images + project(change, eps), 0.0, 1.0)
        return point

    return climb


def compile_carlini_wagner(model: keras.Model) -> Callable[..., Any]:
    """Some Adam steps of Carlini-Wagner for each image of a batch, and the best result so far."""
    import tensorflow as tf

    logits = logits_of(model)
    pixels = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    axes = list(range(1, len(pixels.shape)))
    values, counts = tf.TensorSpec((None,), tf.float32), tf.TensorSpec((None,), tf.int64)
    number = tf.TensorSpec((), tf.float32)

    def per_image(vector):
        return tf.reshape(vector, [-1] + [1] * len(axes))

    @tf.function(
        input_signature=[
            pixels,
            counts,
            values,
            pixels,
            pixels,
            pixels,
            counts,
            counts,
            pixels,
            values,
            number,
            number,
        ]
    )
    def descend(
        images,
        labels,
        const,
        point,
        mean,
        square,
        taken,
        size,
        best,
        best_norm,
        confidence,
        learning_rate,
    ):
        found = tf.zeros_like(labels, tf.bool)
        least = tf.fill(tf.shape(labels), tf.constant(float("inf")))
        for step in tf.range(tf.reduce_max(size)):
            with tf.GradientTape() as tape:
                tape.watch(point)
                free = (BOX * tf.tanh(point) + 1) / 2
                # Clipped, but with the gradient of what is not: black and white may turn back.
                changed = free + tf.stop_gradient(tf.clip_by_value(free, 0.0, 1.0) - free)
                output = logits(changed)
                own, others = split(output, labels)
                margin = own - tf.reduce_max(others, axis=1) + confidence
                norm = tf.reduce_sum(tf.square(changed - images), axes)
                loss = norm + const * tf.nn.relu(margin)
            gradient = tape.gradient(loss, point)
            active = step < size
            hit = active & (margin < -slack(output))
            better = hit & (norm < best_norm)
            best = tf.where(per_image(better), changed, best)
            best_norm = tf.where(better, norm, best_norm)
            found |= hit
            least = tf.where(active, tf.minimum(least, loss), least)
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * tf.square(gradient)
            t = tf.cast(taken + step + 1, tf.float32)
            unbiased = per_image(tf.sqrt(1 - 0.999**t) / (1 - 0.9**t))
            change = learning_rate * unbiased * mean / (tf.sqrt(square) + 1e-8)
            point = tf.where(per_image(active), point - change, point)
        return point, mean, square, best, best_norm, found, least

    return descend


def split(logits: Any, labels: Any) -> tuple[Any, Any]:
    """The label's logit, and all logits with the label's at minus infinity."""
    import tensorflow as tf

    mask = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False, dtype=tf.bool)
    own = tf.reduce_sum(tf.where(mask, logits, 0.0), axis=1)
    return own, tf.where(mask, float("-inf"), logits)


def slack(logits: Any) -> Any:
    """A margin below this may be rounding: a success must still be one when predicted again."""
    import tensorflow as tf

    return 1e-5 * (1 + tf.reduce_max(tf.abs(logits), axis=1))


def compile_fooled(model: keras.Model) -> Callable[..., Any]:
    """Which images already fool the model, by `confidence`."""
    import tensorflow as tf

    logits = logits_of(model)
    pixels = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)

    @tf.function(
        input_signature=[pixels, tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.float32)]
    )
    def fooled(images, labels, confidence):
        output = logits(images)
        own, others = split(output, labels)
        return own - tf.reduce_max(others, axis=1) + confidence < -slack(output)

    return fooled
