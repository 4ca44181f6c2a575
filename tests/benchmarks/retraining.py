"""One retraining curve: ours against a new model, ``compile`` and ``fit`` at each point."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.harness import Comparison, Row, Setting, Target, race, row
from utils.attacks.adversarials import make_adversarials
from utils.core.seeds import rng
from utils.data.arrays import Splits
from utils.data.registry import read_raw, read_splits, split
from utils.networks import architectures, runtime
from utils.networks.training import train
from utils.retraining.configurations import retraining_inputs
from utils.retraining.curves import retrain
from utils.retraining.inputs import RetrainingData
from utils.retraining.orders import order_inputs, prefix_sizes

if TYPE_CHECKING:
    import keras

CONFIGURATION = 2


def digits(setting: Setting) -> tuple[list[Row], list[str]]:
    """The default data set, where a batch is small and overheads count."""
    runtime.start(threads=inputs.CORES)
    raw = read_raw("digits")
    n = setting.size(0, 150)
    splits, _ = read_splits(raw, split("digits", raw, n_images=n), (8, 8, 1))
    architecture = architectures.ARCHITECTURES["digits"]
    model = architectures.build(architecture, (8, 8, 1), 10)
    train(model, *splits[:4], epochs=setting.size(15, 2))
    target = Target("at least 2.5 times faster", speedup=2.5)
    points, epochs = setting.size(10, 2), setting.size(10, 1)
    return _curve(setting, "digits", model, architecture, splits, points, epochs, target)


def mnist(setting: Setting) -> tuple[list[Row], list[str]]:
    """Larger images and a larger network, where computing counts."""
    data = inputs.load(setting)
    model = data.network()
    n = setting.size(5_000, 150)
    ends = [0, n * 7 // 10, n * 9 // 10, n]
    splits = Splits(
        *(
            np.array(array[first:last])
            for first, last in pairwise(ends)
            for array in (data.images, data.labels)
        )
    )
    target = Target("at least 1.15 times faster", speedup=1.15)
    points, epochs = setting.size(5, 2), setting.size(3, 1)
    architecture = architectures.ARCHITECTURES["mnist"]
    return _curve(setting, data.source, model, architecture, splits, points, epochs, target)


def retraining_data(model: keras.Model, splits: Splits) -> RetrainingData:
    """`splits` with adversarial inputs of each, as many as there are test images."""
    arrays, made = splits._asdict(), None
    for stream, part in enumerate(("train", "val", "test")):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        n = min(len(y), len(splits.y_test))
        made = make_adversarials(model, x, y, ["fgsm", "bim"], n, stream=stream)
        arrays |= {f"x_adv_{part}": made.images, f"y_adv_{part}": made.labels}
    return RetrainingData(**arrays, attack_adv_test=made.attack)


def fit_each(
    model: keras.Model,
    architecture: str,
    order: np.ndarray,
    data: RetrainingData,
    points: int,
    epochs: int,
    validate: bool,
) -> np.ndarray:
    """Accuracy on test and adversarial test inputs at each point, the way it is usually written.

    With `validate`, `fit` looks at the validation inputs after each epoch, as it usually does, and
    Keras's batches of 32 are used to evaluate. Otherwise it is made as fast as ours: one look at
    each point, in the batches of ours.
    """
    x, y = retraining_inputs(data, CONFIGURATION)
    accuracies = []
    for size in [0, *prefix_sizes(len(y), points)]:
        new = architectures.build(architecture, x.shape[1:], model.output_shape[-1])  # compiles
        new.set_weights(model.get_weights())
        if size:
            first = order[:size]
            seen = {"validation_data": (data.x_val, data.y_val)} if validate else {}
            new.fit(x[first], y[first], epochs=epochs, batch_size=64, verbose=0, **seen)
        batch = {} if validate else {"batch_size": 512}
        looked_at = [(data.x_test, data.y_test), (data.x_adv_test, data.y_adv_test)]
        if not validate:
            looked_at += [(data.x_val, data.y_val), (data.x_adv_val, data.y_adv_val)]
        shares = [new.evaluate(*each, verbose=0, **batch)[1] for each in looked_at]
        sizes = [len(labels) for _, labels in looked_at[:2]]
        accuracies.append(np.average(shares[:2], weights=sizes))
    return np.array(accuracies)


def _curve(
    setting: Setting,
    source: str,
    model: keras.Model,
    architecture: str,
    splits: Splits,
    points: int,
    epochs: int,
    target: Target,
) -> tuple[list[Row], list[str]]:
    data = retraining_data(model, splits)
    n = len(data.y_train) + len(data.y_adv_train)
    order = order_inputs(rng(0, "order of the curve").random(n), seed=0)

    def ours() -> np.ndarray:
        table = retrain(model, CONFIGURATION, order, data, points=points, epochs=epochs)
        return table["accuracy"].to_numpy()

    def compare(results: dict[str, np.ndarray]) -> Comparison:
        # Epochs shuffle otherwise: point 0, the original model, must be equal, the rest alike.
        one, other = results["ours"], results["fit"]
        text = (
            f"accuracy of the original model {one[0]:.4f} and {other[0]:.4f}; mean over the "
            f"points: ours {one[1:].mean():.3f}, theirs {other[1:].mean():.3f}"
        )
        equal = abs(one[0] - other[0]) <= 1 / len(data.y_test)
        alike = setting.quick or abs(one[1:].mean() - other[1:].mean()) <= 0.03
        return Comparison(text, equal=bool(equal and alike))

    runs, comparison = race(
        {
            "ours": ours,
            "fit": lambda: fit_each(model, architecture, order, data, points, epochs, True),
            "lean": lambda: fit_each(model, architecture, order, data, points, epochs, False),
        },
        setting.repeats(2),
        compare,
        slow=float("inf"),
    )
    size = f"{points} points x {epochs} epochs, {n:,} retraining inputs ({source})"
    against = "a new model, compile and fit with validation at each point"
    judged = row(
        "one retraining curve",
        size,
        against,
        runs["ours"],
        runs["fit"],
        comparison,
        target,
        setting.quick,
    )
    against = "the same without validation in between, in batches like ours"
    lean = row("one retraining curve", size, against, runs["ours"], runs["lean"], None, Target(""))
    return [judged, lean], []
