"""Attacks: ours against foolbox and ART, and how well each fools.

Peers are given the same network as they document it, a Keras model that gives logits, and all
images as one batch: the fastest of those that were tried (64, 256 and 600 images; 16, 64 and 128
for Carlini-Wagner).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.harness import Comparison, Peer, Row, Setting, Target, Work, contest
from utils.attacks.cw import carlini_wagner
from utils.attacks.norm_ball import bim, fgsm
from utils.networks.activations import predict

if TYPE_CHECKING:
    import keras

EPS = 0.1  # enough to fool the network on some images and not on others


def fgsm_peers(setting: Setting) -> list[Row]:
    """FGSM."""
    target = Target("faster, success equal to 0.01", speedup=1)
    theirs = {"attack": "LinfFastGradientAttack"}, {"attack": "FastGradientMethod"}
    return _ball(setting, "FGSM", fgsm, *theirs, target)


def bim_peers(setting: Setting) -> list[Row]:
    """BIM with 10 steps."""
    target = Target("at least 1.5 times faster, success equal to 0.01", speedup=1.5)
    in_foolbox = {"attack": "LinfBasicIterativeAttack", "rel_stepsize": 0.2, "steps": 10}
    in_art = {"attack": "BasicIterativeMethod", "eps_step": EPS / 5, "max_iter": 10}
    return _ball(setting, "BIM, 10 steps", bim, in_foolbox, in_art | {"verbose": False}, target)


def cw_short(setting: Setting) -> list[Row]:
    """Carlini-Wagner with few steps; peers get our learning rate, theirs need more steps."""
    theirs = ({name: 0.05, "initial_const": 1.0} for name in ("stepsize", "learning_rate"))
    return _cw(setting, setting.size(3, 2), setting.size(50, 4), *theirs, compiled=True)


def cw_long(setting: Setting) -> list[Row]:
    """Carlini-Wagner with many steps; peers with their own learning rates and constants."""
    return _cw(setting, setting.size(9, 2), setting.size(1000, 5), {}, {}, repeats=1)


def _ball(
    setting: Setting,
    what: str,
    own: Callable[..., np.ndarray],
    in_foolbox: dict[str, Any],
    in_art: dict[str, Any],
    target: Target,
) -> list[Row]:
    """FGSM or BIM in a ball of the maximum norm: success must be equal."""
    n, data = setting.size(600, 40), inputs.load(setting)
    model, (x, y) = data.network(), data.images(slice(-n, None))

    def compare(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
        text, rates, _ = _success(model, x, y, ours, theirs)
        differ = np.abs(ours - theirs).reshape(n, -1).max(axis=1) > 1e-5
        text += f"; images that differ: {differ.sum()} of {n}"
        within = all(np.abs(images - x).max() <= EPS + 1e-6 for images in (ours, theirs))
        # Rounding may move images that are on the border. Peers' gradients vanish where the
        # network is sure, so ours may fool it more often.
        return Comparison(text, equal=bool(within and rates[0] >= rates[1] - 0.01))

    make = partial(foolbox, model, x, y, bound={"epsilon": EPS}, **in_foolbox)
    peers = [
        Peer("foolbox", make(), target, compare),
        Peer("foolbox, its model compiled by hand", make(compiled=True), compare=compare),
        Peer("ART", art(model, x, y, eps=EPS, **in_art), target, compare),
    ]
    size = f"{n} inputs in one batch ({data.source})"
    return contest(setting, what, size, lambda: own(model, x, y, eps=EPS), peers)


def _cw(
    setting: Setting,
    searches: int,
    steps: int,
    in_foolbox: dict[str, float],
    in_art: dict[str, float],
    compiled: bool = False,
    repeats: int = 3,
) -> list[Row]:
    """Carlini-Wagner: success and L2 should be no worse."""
    n, few, data = setting.size(128, 16), setting.size(10, 2), inputs.load(setting)
    model, (x, y) = data.network(), data.images(slice(-n, None))

    def compare(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
        text, rates, norms = _success(model, x, y, ours, theirs)
        return Comparison(text, good=rates[0] >= rates[1] and not norms[0] > norms[1])

    target = Target("at least 2 times faster, success no lower, median L2 no higher", speedup=2)
    counts = {"binary_search_steps": searches, "steps": steps}
    make = partial(foolbox, model, x, y, "L2CarliniWagnerAttack", **counts, **in_foolbox)
    peers = [Peer("foolbox", make(), target, compare)]
    if compiled:
        peers += [Peer("foolbox, its model compiled by hand", make(compiled=True), compare=compare)]
    # ART would take minutes to hours: some of its steps are measured, and not judged.
    partly = Comparison(f"not run to the end: scaled from {few} of {searches * steps:,} steps")
    options = {"binary_search_steps": 1, "max_iter": few, "verbose": False, **in_art}
    work, part = art(model, x, y, "CarliniL2Method", **options), few / (searches * steps)
    peers += [Peer("ART", work, compare=lambda *_: partly, part=part)]
    what, size = f"Carlini-Wagner, {searches} x {steps} steps at most", f"{n} inputs in one batch"
    own = partial(carlini_wagner, model, x, y, **counts)
    return contest(setting, what, f"{size} ({data.source})", own, peers, repeats)


def _success(
    model: keras.Model, x: np.ndarray, y: np.ndarray, *both: np.ndarray
) -> tuple[str, list[float], list[float]]:
    """Success of `both` among the inputs that were classified right, and how far they went."""
    right = predict(model, x).argmax(axis=1) == y
    fooled = [(predict(model, images).argmax(axis=1) != y)[right] for images in both]
    rates = [float(side.mean()) for side in fooled]
    common = np.logical_and(*fooled)
    squares = [np.sum((images - x)[right][common] ** 2, axis=(1, 2, 3)) for images in both]
    norms = [float(np.median(np.sqrt(each))) if len(each) else np.nan for each in squares]
    text = (
        f"success: ours {rates[0]:.3f}, theirs {rates[1]:.3f}; median L2 where both succeed: "
        f"ours {norms[0]:.3f}, theirs {norms[1]:.3f}"
    )
    return text, rates, norms


def foolbox(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    attack: str,
    compiled: bool = False,
    bound: dict[str, float] | None = None,
    **options: Any,
) -> Work | None:
    """An attack of foolbox; `compiled` hands it a graph function, which it does not make itself."""
    if not find_spec("foolbox"):
        return None
    import foolbox
    import tensorflow as tf

    network = _logits_network(model)
    if compiled:
        network = tf.function(network, input_signature=[tf.TensorSpec(x.shape, tf.float32)])
    target = foolbox.TensorFlowModel(network, bounds=(0, 1))
    generate = getattr(foolbox.attacks, attack)(**options)
    criterion = foolbox.criteria.Misclassification(tf.constant(y))
    # One step first: what TensorFlow builds once is not the attack's memory.
    foolbox.attacks.LinfFastGradientAttack().run(target, tf.constant(x), criterion, epsilon=EPS)

    def run() -> np.ndarray:
        changed = generate.run(target, tf.constant(x), criterion, **bound or {}).numpy()
        # Where Carlini-Wagner finds nothing it gives a black image, which is no success.
        return np.where(changed.any(axis=(1, 2, 3), keepdims=True), changed, x)

    return run


def art(
    model: keras.Model, x: np.ndarray, y: np.ndarray, attack: str, **options: Any
) -> Work | None:
    """An attack of the Adversarial Robustness Toolbox; its AutoAttack takes ids and options."""
    if not find_spec("art"):
        return None
    import keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of optional packages that it does not find
        from art.attacks import evasion
        from art.estimators.classification import TensorFlowV2Classifier

    def make(name: str, options: dict[str, Any]) -> Any:
        parts = [make(*part) for part in options.get("attacks", ())]
        more = {"attacks": parts} if parts else {}
        return getattr(evasion, name)(classifier, batch_size=len(x), **options | more)

    classifier = TensorFlowV2Classifier(
        model=_logits_network(model),
        nb_classes=model.output_shape[-1],
        input_shape=x.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )
    evasion.FastGradientMethod(classifier, batch_size=len(x)).generate(x, y)  # as above
    generator = make(attack, options)
    return lambda: generator.generate(x, y)


def _logits_network(model: keras.Model) -> keras.Model:
    """A copy of `model` that ends in logits instead of a soft-max."""
    config = model.get_config()
    config["layers"][-1]["config"]["activation"] = "linear"
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    return copy
