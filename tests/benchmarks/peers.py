"""foolbox and ART, given the same network as they document it: a Keras model that gives logits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

Attack = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""``(images, labels, batch_size) -> adversarial images``."""


def logits_network(model: keras.Model) -> keras.Model:
    """A copy of `model` that ends in logits instead of a soft-max."""
    import keras

    config = model.get_config()
    config["layers"][-1]["config"]["activation"] = "linear"
    copy = keras.Sequential.from_config(config)
    copy.set_weights(model.get_weights())
    return copy


class Foolbox:
    """Attacks of foolbox; `compiled` hands it a graph function, which it does not do itself."""

    def __init__(self, network: keras.Model, compiled: bool = False) -> None:
        import foolbox
        import tensorflow as tf

        spec = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
        graph = tf.function(network, input_signature=[spec])
        self._model = foolbox.TensorFlowModel(graph if compiled else network, bounds=(0, 1))
        self._attacks, self._foolbox = foolbox.attacks, foolbox

    def fgsm(self, eps: float) -> Attack:
        return self._batched(self._attacks.LinfFastGradientAttack(), epsilon=eps)

    def bim(self, eps: float, steps: int) -> Attack:
        attack = self._attacks.LinfBasicIterativeAttack(rel_stepsize=2 / steps, steps=steps)
        return self._batched(attack, epsilon=eps)

    def cw(self, **options: Any) -> Attack:
        names = {"learning_rate": "stepsize"}
        options = {names.get(name, name): value for name, value in options.items()}
        return self._batched(self._attacks.L2CarliniWagnerAttack(**options))

    def _batched(self, attack: Any, **options: Any) -> Attack:
        import tensorflow as tf

        def run(images: np.ndarray, labels: np.ndarray, batch_size: int) -> np.ndarray:
            parts = []
            for first in range(0, len(images), batch_size):
                part = slice(first, first + batch_size)
                x, y = tf.constant(images[part]), tf.constant(labels[part])
                criterion = self._foolbox.criteria.Misclassification(y)
                parts.append(attack.run(self._model, x, criterion, **options).numpy())
            changed = np.concatenate(parts)
            # Where Carlini-Wagner finds nothing it gives a black image, which is no success.
            black = ~changed.any(axis=tuple(range(1, changed.ndim)))
            return np.where(black[:, None, None, None], images, changed)

        return run


class Art:
    """Attacks of the Adversarial Robustness Toolbox."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network

    @cached_property
    def _classifier(self) -> Any:
        import keras

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of optional packages that it does not find
            from art.estimators.classification import TensorFlowV2Classifier

        return TensorFlowV2Classifier(
            model=self._network,
            nb_classes=self._network.output_shape[-1],
            input_shape=self._network.input_shape[1:],
            loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            clip_values=(0, 1),
        )

    def fgsm(self, eps: float) -> Attack:
        return self._attack("FastGradientMethod", eps=eps)

    def bim(self, eps: float, steps: int) -> Attack:
        options = {"eps": eps, "eps_step": 2 * eps / steps, "max_iter": steps}
        return self._attack("BasicIterativeMethod", **options, verbose=False)

    def cw(self, **options: Any) -> Attack:
        names = {"steps": "max_iter"}
        options = {names.get(name, name): value for name, value in options.items()}
        return self._attack("CarliniL2Method", **options, verbose=False)

    def _attack(self, name: str, **options: Any) -> Attack:
        classifier = self._classifier
        from art.attacks import evasion

        def run(images: np.ndarray, labels: np.ndarray, batch_size: int) -> np.ndarray:
            attack = getattr(evasion, name)(classifier, batch_size=batch_size, **options)
            return attack.generate(images, labels)

        return run
