"""What takes a forward pass: neuron coverage, and all six metrics over a large data set."""

from __future__ import annotations

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.harness import Comparison, Row, Run, Setting, Target, race, row
from tests.benchmarks.metrics import all_finite
from utils.metrics.coverage import neuron_coverage
from utils.metrics.registry import METRICS, score_all
from utils.networks.activations import activations


def coverage(setting: Setting) -> tuple[list[Row], list[str]]:
    """One forward pass in batches against a call of ``predict`` for each input."""
    data = inputs.load(setting)
    model = data.network()
    import keras

    n, few = setting.size(3_000, 100), setting.size(300, 20)
    x = np.array(data.images[-n:])
    hidden = keras.Model(model.inputs, [model.layers[-1].input, model.outputs[0]])

    def each() -> np.ndarray:
        shares = []
        for image in x[:few]:
            trace = hidden.predict(image[None], verbose=0)[0][0]
            scaled = (trace - trace.min()) / (trace.max() - trace.min())
            shares.append(np.mean(scaled > 0.2))
        return np.array(shares)

    def batches() -> np.ndarray:
        return neuron_coverage(hidden.predict(x, batch_size=1024, verbose=0)[0])

    def compare(results: dict[str, np.ndarray]) -> Comparison:
        difference = np.abs(results["ours"][:few] - results["predict"])
        # A neuron at the threshold may fall to either side: batches round otherwise.
        step = 1 / hidden.outputs[0].shape[-1]
        equal = difference.max() <= step * 1.01 and np.mean(difference > 0) <= 0.01
        return Comparison(f"largest difference {difference.max():.1e}", equal=bool(equal))

    runs, comparison = race(
        {
            "ours": lambda: neuron_coverage(activations(model, x)[0]),
            "predict": each,
            "predict in batches": batches,
        },
        setting.repeats(3),
        compare,
    )
    theirs = runs["predict"]
    scaled = Run([seconds * n / few for seconds in theirs.seconds], theirs.megabytes)
    target = Target("at least 200 times faster", speedup=200)
    against = (
        f"a call of model.predict an input (measured on {few} inputs: "
        f"{np.median(theirs.seconds) / few:.4f} s each)"
    )
    size = f"{n:,} inputs ({data.source})"
    judged = row(
        "NC, with the forward pass",
        size,
        against,
        runs["ours"],
        scaled,
        comparison,
        target,
        setting.quick,
    )
    against = "one call of model.predict, batch size 1024"
    in_batches = row(
        "NC, with the forward pass",
        size,
        against,
        runs["ours"],
        runs["predict in batches"],
        None,
        Target(""),
    )
    return [judged, in_batches], []


def six_metrics(setting: Setting) -> tuple[list[Row], list[str]]:
    """All six metrics with the forward pass against the forward pass alone."""
    data = inputs.load(setting)
    model = data.network()
    n, n_train = setting.size(56_000, 900), setting.size(49_000, 800)
    from utils.attacks.norm_ball import fgsm

    train = np.array(data.images[:n_train])
    adversarial = fgsm(model, data.images[n_train:n], data.labels[n_train:n])
    table = []

    def forward() -> list[np.ndarray]:
        return [*activations(model, train), *activations(model, adversarial)]

    def score() -> np.ndarray:
        scores, seconds = score_all(METRICS, *forward())
        table.append(seconds.set_index("metric")["seconds"])
        return np.concatenate(list(scores.values()))

    runs, comparison = race(
        {"ours": score, "forward pass": forward}, setting.repeats(3), all_finite
    )
    each = {metric: np.median([seconds[metric] for seconds in table]) for metric in METRICS}
    alone = np.median([seconds.sum() for seconds in table])
    shares = ", ".join(f"{metric} {seconds:.2g}" for metric, seconds in each.items())
    text = f"{comparison.text}; without the forward pass {alone:.3g} s ({shares})"
    target = Target("at most 3 times its time", slowdown=3)
    size = f"{n:,} inputs, {n_train:,} of them training ({data.source})"
    judged = row(
        "all six metrics, with the forward pass",
        size,
        "the forward pass alone",
        runs["ours"],
        runs["forward pass"],
        Comparison(text, comparison.equal),
        target,
        setting.quick,
    )
    return [judged], []
