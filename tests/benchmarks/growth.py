"""How cost grows with the number of inputs, and what a study on a million would cost.

Each subject is measured in a process of its own: ``... SUBJECT OUT QUICK`` prints what it took.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.growth_report import Growth, draw, notes, table_row
from tests.benchmarks.harness import Row, Setting, peak, tell, timed
from utils.core.paths import ROOT

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "DSA": ((6_250, 12_500, 25_000, 50_000), (100, 200, 400, 800)),
    "LSA": ((6_250, 12_500, 25_000, 50_000), (100, 200, 400, 800)),
    "FGSM": ((1_000, 2_000, 4_000, 8_000, 16_000), (50, 100, 200, 400)),
    "BIM": ((500, 1_000, 2_000, 4_000), (10, 20, 40, 80)),
    "Carlini-Wagner": ((64, 128, 256, 512), (2, 4, 8, 16)),
    "retraining curve": ((1_000, 2_000, 4_000, 8_000), (100, 200, 300, 400)),
}
"""Subject -> numbers of inputs, in full and quick; the last are the largest."""

Measurements = list[tuple[int, float, float]]
"""Number of inputs, seconds, peak memory in MB."""

CURVE = {"points": 3, "epochs": 2}


def growth(setting: Setting) -> tuple[list[Row], list[str]]:
    """Measure every subject at every size; draw, fit, extrapolate."""
    source = inputs.load(setting).source
    found = []
    for subject in SIZES:
        # Tiny sizes stay in this process: their memory means nothing, and starting takes longest.
        run = measure if setting.quick else _in_own_process
        found.append(Growth(subject, *map(np.array, zip(*run(subject, setting), strict=True))))
    draw(found, setting.out)
    rows = [table_row(each, source) for each in found]
    return rows, [] if setting.quick else notes(found, CURVE)


def _in_own_process(subject: str, setting: Setting) -> Measurements:
    command = [sys.executable, "-m", __name__, subject, str(setting.out), str(int(setting.quick))]
    last = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for last in process.stdout:
            if not last.startswith("["):
                tell(last.rstrip())
    if process.returncode:
        raise RuntimeError(f"growth of {subject}: exit {process.returncode}")
    return json.loads(last)


def measure(subject: str, setting: Setting) -> Measurements:
    """Seconds and peak memory (MB) above the inputs' at each size."""
    work = _WORK[subject](setting)
    sizes, found = SIZES[subject][setting.quick], []
    work(sizes[0])()  # imports, compilation
    for n in sizes:
        task = work(n)
        run = peak(task)
        again = [] if run.seconds[0] > 20 else [timed(task) for _ in range(2)]
        found.append((n, median(again or run.seconds), run.megabytes))
        tell(f"  {subject}, {n:,} inputs: {found[-1][1]:.3g} s, {found[-1][2]:.0f} MB")
    return found


Work = Callable[[int], Callable[[], object]]
"""From a number of inputs to what is to be measured."""


def _surprise(setting: Setting, name: str) -> Work:
    from utils.metrics import surprise

    data = inputs.load(setting)
    clean, adversarial = data.clean, data.adversarial

    def work(n: int) -> Callable[[], object]:
        m = n + n // 10  # as in a study: the training inputs and a tenth of adversarial ones
        x = np.concatenate([clean[0][:n], adversarial[0][n:m]])
        classes = np.concatenate([clean[1][:n], adversarial[1][n:m]]).argmax(axis=1)
        return lambda: getattr(surprise, name)(x[:n], classes[:n], x, classes)

    return work


def _attack(setting: Setting, name: str) -> Work:
    from utils import attacks

    data = inputs.load(setting)
    model = data.network()

    def work(n: int) -> Callable[[], object]:
        x, y = np.array(data.images[-n:]), data.labels[-n:]
        return lambda: getattr(attacks, name)(model, x, y)

    return work


def _curve(setting: Setting) -> Work:
    from tests.benchmarks.retraining import retraining_data
    from utils.core.seeds import rng
    from utils.data.arrays import Splits
    from utils.networks.training import Trainer
    from utils.retraining.curves import retrain
    from utils.retraining.orders import order_inputs

    data = inputs.load(setting)
    model = data.network()
    trainer = Trainer(model)
    few = setting.size(500, 20)  # validation and test inputs; adversarial ones

    def work(n: int) -> Callable[[], object]:
        ends = np.cumsum([0, max(n - few, 10), few, few])
        splits = Splits(
            *(
                np.array(array[first:last])
                for first, last in pairwise(ends)
                for array in (data.images, data.labels)
            )
        )
        arrays = retraining_data(model, splits)
        total = len(arrays.y_train) + len(arrays.y_adv_train)
        order = order_inputs(rng(0, "order of the curve").random(total), seed=0)
        return lambda: retrain(model, 2, order, arrays, trainer=trainer, **CURVE)

    return work


_WORK: dict[str, Callable[[Setting], Work]] = {
    "DSA": lambda setting: _surprise(setting, "dsa"),
    "LSA": lambda setting: _surprise(setting, "lsa"),
    "FGSM": lambda setting: _attack(setting, "fgsm"),
    "BIM": lambda setting: _attack(setting, "bim"),
    "Carlini-Wagner": lambda setting: _attack(setting, "carlini_wagner"),
    "retraining curve": _curve,
}


if __name__ == "__main__":
    name, out, quick = sys.argv[1:]
    print(json.dumps(measure(name, Setting(Path(out), quick == "1"))))
