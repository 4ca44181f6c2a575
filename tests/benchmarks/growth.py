"""How cost grows with the number of inputs, and what a study on a million would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.harness import Row, Setting, Work, own_process, race
from tests.benchmarks.retraining import retraining_data
from utils.attacks import bim, carlini_wagner, fgsm
from utils.metrics.surprise import dsa, lsa
from utils.networks.training import Trainer
from utils.plotting.style import METRIC_STYLES, WIDTH, save_figure, styled
from utils.retraining.curves import retrain

CURVE = {"points": 3, "epochs": 2}
MILLION, ADVERSARIAL = 1_000_000, 100_000


@dataclass(frozen=True)
class Growth:
    """Cost of one subject by number of inputs."""

    subject: str
    n: np.ndarray
    seconds: np.ndarray
    megabytes: np.ndarray

    @property
    def theory(self) -> int:
        """The exponent for large n with a fixed number of classes."""
        return 2 if self.subject in ("DSA", "LSA") else 1

    @cached_property
    def exponent(self) -> float:
        """Of n in the seconds: the slope in logarithms."""
        return float(np.polyfit(np.log(self.n), np.log(self.seconds), 1)[0])

    def seconds_at(self, n: int, exponent: float) -> float:
        """Extrapolated from the largest size."""
        return float(self.seconds[-1] * (n / self.n[-1]) ** exponent)

    def megabytes_at(self, n: int) -> float:
        """On a straight line through the measurements, never below the largest."""
        slope, start = np.polyfit(self.n, self.megabytes, 1)
        return float(max(start + slope * n, self.megabytes.max()))


def growth(setting: Setting) -> list[Row | str]:
    """Measure every subject at every size; draw, fit, extrapolate."""
    source, found = inputs.load(setting).source, []
    for subject in SUBJECTS:
        if setting.quick:  # their memory means nothing, and starting a process takes longest
            found.append(measure(subject, setting))
        else:
            with own_process() as process:
                found.append(process.submit(measure, subject, setting).result())
    figure = _figure(found)
    save_figure(figure, Path(setting.out), "growth")
    plt.close(figure)
    rows: list[Row | str] = []
    for each in found:
        pairs = zip(each.n, each.seconds, strict=True)
        text = ", ".join(f"{n:,}: {s:.3g} s" for n, s in pairs)
        text += f"; grows as n^{each.exponent:.2f}"
        size = f"{each.n[0]:,} to {each.n[-1]:,} inputs ({source})"
        rows.append(Row(f"growth of {each.subject}", size, "itself", text))
        rows[-1].ours, rows[-1].ours_mb = [float(each.seconds[-1])], float(each.megabytes[-1])
    return rows if setting.quick else rows + _notes({each.subject: each for each in found})


def measure(subject: str, setting: Setting) -> Growth:
    """Seconds and peak memory (MB) above the inputs' at each size."""
    make, *sizes = SUBJECTS[subject]
    n, work = np.array(sizes[setting.quick]), make(setting)
    tasks = {f"{subject}, {each:,} inputs": work(each) for each in sizes[setting.quick]}
    next(iter(tasks.values()))()  # imports, compilation
    runs = race(tasks, 2, slow=20)[0].values()
    seconds, megabytes = ([median(run.seconds) for run in runs], [run.megabytes for run in runs])
    return Growth(subject, n, np.array(seconds), np.array(megabytes))


def _surprise(metric: Callable[..., np.ndarray], setting: Setting) -> Callable[[int], Work]:
    data = inputs.load(setting)

    def work(n: int) -> Work:
        m = n + n // 10  # as in a study: the training inputs and a tenth of adversarial ones
        pairs = zip(data.clean, data.adversarial, strict=True)
        x, classes = (np.concatenate([one[:n], other[n:m]]) for one, other in pairs)
        return lambda: metric(x[:n], classes[:n], x, classes)

    return work


def _attack(attack: Callable[..., np.ndarray], setting: Setting) -> Callable[[int], Work]:
    data = inputs.load(setting)
    model = data.network()
    return lambda n: partial(attack, model, *data.images(slice(-n, None)))


def _curve(setting: Setting) -> Callable[[int], Work]:
    data = inputs.load(setting)
    model = data.network()
    trainer = Trainer(model)
    few = setting.size(500, 20)  # validation and test inputs; adversarial ones

    def work(n: int) -> Work:
        arrays, order = retraining_data(model, data.splits(max(n - few, 10), few, few))
        return lambda: retrain(model, 2, order, arrays, trainer=trainer, **CURVE)

    return work


TRACES = (6_250, 12_500, 25_000, 50_000), (100, 200, 400, 800)
SUBJECTS = {
    "DSA": (partial(_surprise, dsa), *TRACES),
    "LSA": (partial(_surprise, lsa), *TRACES),
    "FGSM": (partial(_attack, fgsm), (1000, 2000, 4000, 8000, 16_000), (50, 100, 200, 400)),
    "BIM": (partial(_attack, bim), (500, 1000, 2000, 4000), (10, 20, 40, 80)),
    "Carlini-Wagner": (partial(_attack, carlini_wagner), (64, 128, 256, 512), (2, 4, 8, 16)),
    "retraining curve": (_curve, (1000, 2000, 4000, 8000), (100, 200, 300, 400)),
}
"""Subject -> what makes the work for a number of inputs; these numbers, in full and quick."""


@styled
def _figure(found: list[Growth]) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    for each, (colour, marker) in zip(found, METRIC_STYLES.values(), strict=False):
        look = {"color": colour, "marker": marker}
        label = f"{each.subject}, $n^{{{each.exponent:.2f}}}$"
        axes[0].plot(each.n, each.seconds, label=label, **look)
        axes[1].plot(each.n, np.maximum(each.megabytes, 1), **look)
    axes[0].set(title="Time", ylabel="seconds")
    axes[1].set(title="Peak memory beside the inputs", ylabel="MB")
    for axis in axes:
        axis.set(xscale="log", yscale="log", xlabel="number of inputs n")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _notes(found: dict[str, Growth]) -> list[str]:
    """What a study on a million training inputs would cost, with what is assumed."""
    lines = [
        f"**Extrapolated to {MILLION:,} training inputs** of 28 x 28 pixels in 10 classes and "
        f"the network of mnist, on this machine: {ADVERSARIAL:,} adversarial inputs for each of "
        f"training, validation and test, a third by each attack; {MILLION + ADVERSARIAL:,} "
        "inputs to score; 10 points of 10 epochs, six metrics, three configurations."
    ]
    for name in ("DSA", "LSA", "FGSM", "BIM", "Carlini-Wagner"):
        each, n = found[name], MILLION if name in ("DSA", "LSA") else ADVERSARIAL
        fitted, implied = (_time(each.seconds_at(n, e)) for e in (each.exponent, each.theory))
        lines.append(
            f"{name} on {n:,} inputs: {fitted} with the fitted exponent {each.exponent:.2f}, "
            f"{implied} with {each.theory}, which the definition implies; "
            f"{each.megabytes_at(n) / 1000:.1f} GB beside the inputs."
        )
    each = found["retraining curve"]
    # Point k of p trains on k / p of the inputs: a curve takes (p + 1) / 2 times all of them.
    passes = each.n[-1] * (CURVE["points"] + 1) / 2 * CURVE["epochs"]
    second = each.seconds[-1] / passes
    both, alone = (second * n * 11 / 2 * 10 for n in (MILLION + ADVERSARIAL, ADVERSARIAL))
    lines.append(
        f"Retraining: {1e3 * second:.3g} ms an input and epoch, so {_time(both)} a curve of "
        f"configurations 1 and 2, {_time(alone)} of configuration 3, "
        f"{_time(6 * (2 * both + alone))} for all 18 curves; "
        f"{each.megabytes_at(MILLION + ADVERSARIAL) / 1000:.1f} GB beside the inputs."
    )
    return lines


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2g} s"
