"""Retraining: one curve against how it is usually written, and what those of a study cost."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.harness import Comparison, Peer, Row, Setting, Target, contest, timed
from utils.attacks.adversarials import make_adversarials
from utils.core.seeds import rng
from utils.data.arrays import Splits
from utils.metrics.registry import METRICS
from utils.networks import runtime
from utils.networks.architectures import ARCHITECTURES, architecture_for, build
from utils.networks.training import Trainer, to_tensors, train
from utils.plan.parameters import settings
from utils.retraining.configurations import configuration_of
from utils.retraining.curves import retrain
from utils.retraining.evaluation import FreshAttack
from utils.retraining.hardening import InnerAttack
from utils.retraining.inputs import RetrainingData
from utils.retraining.orders import order_inputs, prefix_sizes

if TYPE_CHECKING:
    import keras

CONFIGURATION = 2

STUDY = {
    "gtsrb": (39_209, 31_367, 48, 43),
    "intel": (17_034, 11_227, 48, 6),
    "cifar": (60_000, 42_000, 32, 10),
    "mnist": (70_000, 49_000, 28, 10),
    "fashion": (70_000, 49_000, 28, 10),
}
"""Images, training images among them, their side, and classes."""

SEEDS, WORKERS = 5, 100


def digits(setting: Setting) -> list[Row]:
    """The default data set, where a batch is small and overheads count."""
    runtime.start(threads=inputs.CORES)
    splits = inputs.whole("digits", (8, 8, 1), n=setting.size(0, 150))
    model = build(ARCHITECTURES["digits"], (8, 8, 1), 10)
    train(model, *splits[:4], epochs=setting.size(15, 2))
    points, epochs = setting.size(10, 2), setting.size(10, 1)
    return _curve(setting, "digits", model, "digits", splits, points, epochs, 2.5)


def mnist(setting: Setting) -> list[Row]:
    """Larger images and a larger network, where computing counts."""
    data, n = inputs.load(setting), setting.size(5_000, 150)
    model, splits = data.network(), data.splits(n * 7 // 10, n * 2 // 10, n // 10)
    points, epochs = setting.size(5, 2), setting.size(3, 1)
    return _curve(setting, data.source, model, "mnist", splits, points, epochs, 1.15)


def retraining_data(model: keras.Model, splits: Splits) -> tuple[RetrainingData, np.ndarray]:
    """`splits` with adversarial inputs of each, as many as test images; a random order."""
    arrays, made = splits._asdict(), None
    for stream, part in enumerate(("train", "val", "test")):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        n = min(len(y), len(splits.y_test))
        made = make_adversarials(model, x, y, ["fgsm", "bim"], n, stream=stream)
        arrays |= {f"x_adv_{part}": made.images, f"y_adv_{part}": made.labels}
    data = RetrainingData(**arrays, attack_adv_test=made.attack)
    n = len(data.y_train) + len(data.y_adv_train)
    return data, order_inputs(rng(0, "order of the curve").random(n), seed=0)


def _curve(
    setting: Setting,
    source: str,
    model: keras.Model,
    architecture: str,
    splits: Splits,
    points: int,
    epochs: int,
    speedup: float,
) -> list[Row]:
    data, order = retraining_data(model, splits)

    def ours() -> np.ndarray:
        # The others do not attack each network anew.
        fresh = FreshAttack(steps=1, images=1)
        table = retrain(
            model, CONFIGURATION, order, data, points=points, epochs=epochs, fresh=fresh
        )
        return table["accuracy"].to_numpy()

    def fit_each(validate: bool) -> np.ndarray:
        """Accuracy on test and adversarial test inputs at each point.

        With `validate`, `fit` evaluates the validation inputs after each epoch, as is usual, and
        batches are Keras's 32. Otherwise it is made as fast as ours: one look at each point, in
        the batches of ours.
        """
        x, y = configuration_of(CONFIGURATION).inputs(data)
        tested = [(data.x_test, data.y_test), (data.x_adv_test, data.y_adv_test)]
        seen, batch = {"validation_data": (data.x_val, data.y_val)}, {}
        if not validate:
            tested += [(data.x_val, data.y_val), (data.x_adv_val, data.y_adv_val)]
            seen, batch = {}, {"batch_size": 512}
        accuracies = []
        for size in [0, *prefix_sizes(len(y), points)]:
            shape, n_classes = x.shape[1:], model.output_shape[-1]
            new = build(ARCHITECTURES[architecture], shape, n_classes)  # compiles, too
            new.set_weights(model.get_weights())
            if size:
                first = order[:size]
                new.fit(x[first], y[first], epochs=epochs, batch_size=64, verbose=0, **seen)
            shares = [new.evaluate(*each, verbose=0, **batch)[1] for each in tested]
            sizes = [len(labels) for _, labels in tested[:2]]
            accuracies.append(np.average(shares[:2], weights=sizes))
        return np.array(accuracies)

    def compare(ours: np.ndarray, theirs: np.ndarray) -> Comparison:
        # Epochs shuffle otherwise: point 0, the original model, must be equal, the rest alike.
        text = (
            f"accuracy of the original model {ours[0]:.4f} and {theirs[0]:.4f}; mean over the "
            f"points: ours {ours[1:].mean():.3f}, theirs {theirs[1:].mean():.3f}"
        )
        equal = abs(ours[0] - theirs[0]) <= 1 / len(data.y_test)
        alike = setting.quick or abs(ours[1:].mean() - theirs[1:].mean()) <= 0.03
        return Comparison(text, equal=bool(equal and alike))

    usual = "a new model, compile and fit with validation at each point"
    lean = "the same without validation in between, in batches like ours"
    target = Target(f"at least {speedup} times faster", speedup=speedup)
    peers = [Peer(usual, partial(fit_each, True), target, compare)]
    peers += [Peer(lean, partial(fit_each, False))]
    size = f"{points} points x {epochs} epochs, {len(order):,} retraining inputs ({source})"
    slow = float("inf")  # a first run compiles, and never counts
    return contest(setting, "one retraining curve", size, ours, peers, repeats=2, slow=slow)


def hardening(setting: Setting) -> list[Row]:
    """An epoch in which every batch is attacked anew, against an ordinary one."""
    runtime.start(threads=1)
    rows = []
    for dataset, side, n in (("digits", 8, 1258), ("mnist", 28, 3150)):
        n, shape = setting.size(n, 100), (side, side, 1)
        x, y = rng(0, dataset).random((n, *shape), np.float32), np.arange(n) % 10
        trainer = Trainer(build(ARCHITECTURES[dataset], shape, 10))
        tensors, order = to_tensors(x, y), np.arange(n)

        def epoch(attack: InnerAttack | None, trainer=trainer, tensors=tensors, order=order):
            return [*trainer.fit(*tensors, order, epochs=1, batch_size=64, seed=[0], attack=attack)]

        target = Target("at most 2.2 times its time", slowdown=2.2)
        peer = Peer("an ordinary epoch", partial(epoch, None), target)
        what, size = "epoch of adversarial fine-tuning", f"{n:,} inputs, network of {dataset}"
        attacked = partial(epoch, InnerAttack(0.05))
        rows += contest(setting, what, size, attacked, [peer], repeats=7)
    return rows


def study(setting: Setting) -> list[Row | str]:
    """Seconds of an input and epoch, and of an evaluated input; from these, hours of the curves.

    Nearly all time of a study is retraining. The images are random: what they show costs nothing.
    """
    runtime.start(threads=1)
    rows, curves = [], []
    for name, (n_all, n_train, side, n_classes) in STUDY.items():
        p = settings(name, "study", {})
        epochs, points, extra = p["retraining_epochs"], p["points"], p["n_adversarial"]
        fits, looks = _paces(setting, name, side, n_classes, p["batch_size"])
        evaluated = points * (n_all - n_train + 2 * extra)
        hours = []
        for n_inputs in (n_train + extra, n_train + extra, extra):
            trained = epochs * sum(prefix_sizes(n_inputs, points))
            hours.append((trained * median(fits) + evaluated * median(looks)) / 3600)
        curves += hours * len(METRICS)
        text = (
            f"{1000 * median(fits):.2f} ms an input and epoch, {1000 * median(looks):.2f} ms "
            f"an evaluated one; a curve of configurations 1 and 2 {hours[0]:.1f} hours, "
            f"of 3 {hours[2]:.1f}"
        )
        size = f"{name}, {points} points, {epochs} epochs"
        what = "retraining curve of the study, extrapolated"
        rows.append(Row(what, size, "itself", text, fits))
    total = SEEDS * sum(curves)
    note = (
        f"**The study, {SEEDS} seeds**: {SEEDS * len(curves):,} curves, {total:,.0f} hours of one "
        f"core ({total / 24:,.0f} days); on {WORKERS} workers of one core, each metric in a job of "
        f"its own, at least {total / WORKERS:.1f} hours, and the longest curve takes "
        f"{max(curves):.1f}."
    )
    return [*rows, note]


def _paces(
    setting: Setting, dataset: str, side: int, n_classes: int, batch_size: int
) -> list[list[float]]:
    """Seconds an input of some epochs, and of some evaluations."""
    n, shape = setting.size(2000, 200), (side, side, 1)
    x, y = rng(0, dataset).random((n, *shape), np.float32), np.arange(n) % n_classes
    architecture = architecture_for(dataset, shape, n_classes)
    trainer = Trainer(build(architecture, shape, n_classes))
    epoch = {"epochs": 1, "batch_size": batch_size, "seed": [0, 0]}
    works = lambda: list(trainer.fit(x, y, np.arange(n), **epoch)), lambda: trainer.predict(x, y)
    for work in works:
        work()
    return [[timed(work) / n for _ in range(setting.size(3, 1))] for work in works]
