"""The training loop: one compiled network and optimizer, reused for every training from a start."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from utils.core.seeds import rng
from utils.networks.copying import copy_of, same_random_state
from utils.networks.ends import gives_probabilities
from utils.networks.graph import layers_within
from utils.networks.precision import in_float32

if TYPE_CHECKING:
    import keras

_EVALUATION_BATCH = 512


class Attack(Protocol):
    """Changes inputs while a network is trained on them."""

    def compile(self, model: keras.Model) -> Callable[[Any, Any, Any], Any]:
        """``attack(images, labels, seed) -> images``, to be called in a compiled function."""

    def attacked(self, n: int, batch_size: int) -> np.ndarray:
        """Which of `n` shuffled inputs it may change, dtype=bool."""


def architecture_of(model: keras.Model) -> dict:
    """The layers of a model and their settings as plain JSON content.

    Seeds are left out and layers numbered: Keras's own names count the models built before.
    """
    config = json.loads(json.dumps(model.get_config(), default=str))
    names = {layer["config"]["name"]: f"layer {i}" for i, layer in enumerate(config["layers"])}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: 0 if key == "seed" else plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return names.get(value, value) if isinstance(value, str) else value

    return plain({**config, "name": ""})


def fresh_weights(model: keras.Model, seed: int) -> list[np.ndarray]:
    """New initial weights for the architecture of `model`.

    Each initializer gets a seed of its own, drawn from `seed`: the weights depend on nothing else,
    neither on Keras's global seed nor on the models built before. What training does not change
    stays: layers that are frozen (``trainable=False``), and what is no trained weight, such as the
    mean and variance of `Normalization`. The moving statistics of batch normalization start anew,
    as training restores them.

    Parameters
    ----------
    model : keras.Model
        Not changed.
    seed : int
        The run's seed.

    Returns
    -------
    list of ndarray
        In the order of ``model.get_weights()``.
    """
    seeds = (int(rng(seed, "fresh weights", i).integers(2**31)) for i in count())
    config = copy.deepcopy(model.get_config())
    _set_seeds(config, seeds)
    with same_random_state():
        fresh = type(model).from_config(config).get_weights()
    anew = _trained(model)
    old = zip(model.weights, model.get_weights(), strict=True)
    return [
        new if id(variable) in anew else kept
        for (variable, kept), new in zip(old, fresh, strict=True)
    ]


def _trained(model: keras.Model) -> set[int]:
    """Ids of the weights that training changes, or restores as it does moving statistics."""
    import keras

    found = set(map(id, model.trainable_weights))
    for layer in layers_within(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            found |= set(map(id, layer.weights))
    return found


def _fixed_state(model: keras.Model) -> dict[int, np.ndarray]:
    """Weights, by their place, from which layers have computed what they compute with."""
    layers = [layer for layer in layers_within(model) if hasattr(layer, "finalize_state")]
    ids = {id(variable) for layer in layers for variable in layer.weights}
    return {i: v.numpy() for i, v in enumerate(model.weights) if id(v) in ids}


def _set_seeds(config: Any, seeds: Iterator[int]) -> None:
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if key == "seed":
            config[key] = next(seeds)
        elif isinstance(value, dict | list):
            _set_seeds(value, seeds)


class Trainer:
    """Trains a copy of a model, again and again from given weights, without compiling again.

    An epoch is one call of one compiled function: batches are gathered and run inside it, whatever
    the number of inputs. The results are those of ``model.fit`` for the same batches.

    Parameters
    ----------
    model : keras.Model
        A classifier; it is copied and never changed.
    images : ndarray of shape (n, height, width, channels), optional
        Images on which the copy must give what the model gives; without, random ones.

    Attributes
    ----------
    model : keras.Model
        The copy, with the weights of the last training; it computes in float32.
    optimizer : keras.optimizers.RMSprop
    """

    def __init__(self, model: keras.Model, images: np.ndarray | None = None) -> None:
        import keras
        import tensorflow as tf

        self.architecture = architecture_of(model)
        self.model = in_float32(copy_of(model, images), images)
        self._fixed = _fixed_state(self.model)
        self.optimizer = keras.optimizers.RMSprop()
        self.optimizer.build(self.model.trainable_variables)
        self._optimizer_start = [variable.numpy() for variable in self.optimizer.variables]
        weights = {id(variable) for variable in self.model.weights}
        # Besides its weights, a model's only variables are the states of its random generators.
        self._generators = [v for v in self.model.variables if id(v) not in weights]
        self._epochs: dict[Attack | None, Callable[..., Any]] = {}
        self._compile(keras, tf)
        self.prepare()

    def prepare(self, attack: Attack | None = None) -> None:
        """Compile an epoch by running it on one input: that is slow, and not to be measured.

        Weights, optimizer and random generators are as before.
        """
        import tensorflow as tf

        if attack in self._epochs:
            return
        self._epochs[attack] = self._make_epoch(attack.compile(self.model) if attack else None)
        image = tf.zeros((1, *self.model.input_shape[1:]))
        label = tf.zeros(1, tf.int64)
        variables = [*self.model.variables, *self.optimizer.variables]
        before = [variable.numpy() for variable in variables]
        self._epochs[attack](image, label, label, 1, [attack is not None], 0)
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        self._forward(image, label)

    def _compile(self, keras: Any, tf: Any) -> None:
        images = tf.TensorSpec((None, *self.model.input_shape[1:]), tf.float32)
        integers, number = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.int64)
        from_logits = not gives_probabilities(self.model)

        def cross_entropy(y, outputs):
            # In a compiled function Keras takes the logits before a soft-max: no overflow, no clip.
            return keras.losses.sparse_categorical_crossentropy(y, outputs, from_logits=from_logits)

        flags = tf.TensorSpec((None,), tf.bool)

        def make_epoch(change):
            @tf.function(input_signature=[images, integers, integers, number, flags, number])
            def epoch(x, y, order, batch_size, attacked, seed):
                loss, correct = tf.constant(0.0), tf.constant(0, tf.int64)
                for first in tf.range(0, tf.size(order, tf.int64), batch_size):
                    index = order[first : first + batch_size]
                    inputs, labels = tf.gather(x, index), tf.gather(y, index)
                    if change:
                        hit = tf.where(attacked[first : first + batch_size])
                        parts = tf.gather_nd(inputs, hit), tf.gather_nd(labels, hit)
                        changed = change(*parts, tf.stack([seed, first]))
                        inputs = tf.tensor_scatter_nd_update(inputs, hit, changed)
                    with tf.GradientTape() as tape:
                        outputs = self.model(inputs, training=True)
                        losses = cross_entropy(labels, outputs)
                        objective = tf.reduce_mean(losses) + sum(self.model.losses)
                    gradients = tape.gradient(objective, self.model.trainable_variables)
                    self.optimizer.apply(gradients, self.model.trainable_variables)
                    loss += tf.reduce_sum(losses)
                    correct += tf.math.count_nonzero(tf.argmax(outputs, axis=-1) == labels)
                return loss, correct

            return epoch

        @tf.function(input_signature=[images, integers])
        def forward(x, y):
            outputs = self.model(x, training=False)
            numbers = tf.reduce_all(tf.math.is_finite(outputs), axis=-1)
            classes = tf.where(numbers, tf.argmax(outputs, axis=-1), -1)  # of NaN it were class 0
            return cross_entropy(y, outputs), classes

        self._make_epoch, self._forward = make_epoch, forward

    def reset(
        self, weights: Sequence[np.ndarray], seed: int = 0, learning_rate: float = 1e-3
    ) -> None:
        """Go back to a start: these weights, an unused optimizer, random generators from `seed`.

        Raises
        ------
        ValueError
            If the weights ask for other state of layers such as `Normalization` than the model's,
            which is part of what was compiled.
        """
        for place, value in self._fixed.items():
            if not np.array_equal(value, weights[place]):
                raise ValueError(
                    f"weights: expected the model's own {self.model.weights[place].path}, which "
                    "no training changes; make a trainer for this model"
                )
        self.model.set_weights(weights)
        for variable, value in zip(self.optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(value)
        self.optimizer.learning_rate.assign(learning_rate)
        for number, state in enumerate(self._generators):
            numbers = rng(seed, "random state", number)
            state.assign(numbers.integers(2**32, size=tuple(state.shape), dtype=np.uint32))

    def fit(
        self,
        x: Any,
        y: Any,
        order: np.ndarray,
        *,
        epochs: int,
        batch_size: int,
        seed: Sequence[int],
        attack: Attack | None = None,
        n_attacked: int | None = None,
        learning_rates: Sequence[float] | None = None,
    ) -> Iterator[tuple[float, float]]:
        """Train on the inputs ``x[order]``, one epoch each time the iterator is advanced.

        Parameters
        ----------
        x, y : tensor or ndarray
            Inputs and labels; tensors are not copied.
        order : ndarray of int
            The inputs to train on; each epoch shuffles them anew.
        epochs, batch_size : int
            The last batch of an epoch may be smaller.
        seed : sequence of int
            The run's seed and counters. Decides, with the number of the epoch, how that epoch
            shuffles.
        attack : Attack, optional
            Changes inputs just before the network is trained on them; see `prepare`.
        n_attacked : int, optional
            How many inputs it may change, the first ones of `order`; by default all.
        learning_rates : sequence of float, optional
            One for each epoch; by default that of the last `reset` stays.

        Yields
        ------
        (float, float)
            Mean loss and accuracy while training.
        """
        if epochs < 1 or batch_size < 1:
            raise ValueError(
                f"epochs, batch_size: expected at least 1 each, got {epochs}, {batch_size}"
            )
        x, y = to_tensors(x, y)
        order = np.asarray(order, np.int64)
        self.prepare(attack)
        first = np.zeros(len(y), bool)
        first[order[:n_attacked]] = True
        for epoch in range(epochs):
            shuffled = rng(seed, "shuffle", epoch).permutation(order)
            attacked, noise = np.zeros(len(order), bool), 0
            if attack:
                attacked = first[shuffled] & attack.attacked(len(order), batch_size)
                noise = int(rng(seed, "inner attack", epoch).integers(2**31))
            if learning_rates is not None:
                self.optimizer.learning_rate.assign(learning_rates[epoch])
            loss, correct = self._epochs[attack](x, y, shuffled, batch_size, attacked, noise)
            yield float(loss) / len(order), int(correct) / len(order)

    def predict(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cross-entropy loss and predicted class of each input, with the present weights.

        The class is -1, which is never right, where the outputs are not finite: training failed.
        """
        parts = []
        for first in range(0, len(y), _EVALUATION_BATCH):
            batch = slice(first, first + _EVALUATION_BATCH)
            parts.append([part.numpy() for part in self._forward(*to_tensors(x[batch], y[batch]))])
        losses, classes = zip(*parts, strict=True)
        return np.concatenate(losses).astype(np.float64), np.concatenate(classes)


def to_tensors(x: Any, y: Any) -> tuple[Any, Any]:
    """Images as float32 and labels as int64 tensors; tensors of these types pass unchanged."""
    import tensorflow as tf

    return tf.convert_to_tensor(x, tf.float32), tf.cast(y, tf.int64)


def train(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    x_val: np.ndarray,
    y_val: np.ndarray,
    epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train `model` in place from its present weights, with a fresh RMSprop optimizer.

    Parameters
    ----------
    model : keras.Model
        Changed: has the weights after the last epoch.
    x, y : ndarray of shape (n, height, width, channels) and (n,)
        Training images and labels.
    x_val, y_val : ndarray
        Validation images and labels; looked at after each epoch, never trained on.
    epochs, batch_size : int
    learning_rate : float
    seed : int, default=0
        Decides how epochs shuffle and what dropout drops.
    progress : callable, optional
        Called with a short line of text after each epoch.

    Returns
    -------
    DataFrame
        One row an epoch: epoch (from 1), loss and accuracy while training, val_loss, val_accuracy.
    """
    trainer = Trainer(model, x_val)
    trainer.reset(model.get_weights(), seed, learning_rate)
    order, rows = np.arange(len(y)), []
    fit = trainer.fit(x, y, order, epochs=epochs, batch_size=batch_size, seed=[seed, 0])
    for epoch, (loss, accuracy) in enumerate(fit, start=1):
        losses, classes = trainer.predict(x_val, y_val)
        val_loss, val_accuracy = float(losses.mean()), float(np.mean(classes == y_val))
        rows.append((epoch, loss, accuracy, val_loss, val_accuracy))
        if progress:
            progress(f"epoch {epoch} of {epochs}: validation accuracy {val_accuracy:.3f}")
    model.set_weights(trainer.model.get_weights())
    return pd.DataFrame(rows, columns=["epoch", "loss", "accuracy", "val_loss", "val_accuracy"])
