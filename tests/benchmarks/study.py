"""What the whole study costs: retraining, which nearly all of its time goes into, on one core."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.harness import Row, Run, Setting, Target, row, timed
from utils.core.seeds import rng
from utils.data.registry import DATASETS
from utils.metrics.registry import METRICS
from utils.plan.parameters import settings
from utils.retraining.orders import prefix_sizes

STUDY = {
    "gtsrb": (39_209, 31_367, 48, 43), "intel": (17_034, 11_227, 48, 6),
    "cifar": (60_000, 42_000, 32, 10), "mnist": (70_000, 49_000, 28, 10),
    "fashion": (70_000, 49_000, 28, 10),
}  # fmt: skip
"""Images, training images among them, their side, and classes."""

SEEDS, WORKERS = 5, 100


def study(setting: Setting) -> tuple[list[Row], list[str]]:
    """Seconds of an input and epoch, and of an evaluated input; from these, hours of the curves.

    The images are random: what they show costs nothing.
    """
    from utils.networks import architectures, runtime
    from utils.networks.training import Trainer

    runtime.start(threads=1)
    rows, curves = [], []
    for name, (n_all, n_train, side, n_classes) in STUDY.items():
        p = settings(name, "study", {})
        n = setting.size(2000, 200)
        x = rng(0, name).random((n, side, side, 1), np.float32)
        y = np.arange(n) % n_classes
        shape = (side, side, 1)
        architecture = architectures.architecture_for(name, shape, n_classes)
        model = architectures.build(architecture, shape, n_classes)
        trainer = Trainer(model)

        def fit(trainer=trainer, x=x, y=y, p=p) -> None:
            options = {"epochs": 1, "batch_size": p["batch_size"], "seed": [0, 0]}
            for _ in trainer.fit(x, y, np.arange(len(y)), **options):
                pass

        fit()
        trainer.predict(x, y)
        fits = [timed(fit) / n for _ in range(setting.repeats(3))]
        looks = [timed(lambda t=trainer, x=x, y=y: t.predict(x, y)) / n for _ in fits]
        epochs, points, extra = p["retraining_epochs"], p["points"], p["n_adversarial"]
        evaluated = points * (n_all - n_train + 2 * extra)
        hours = []
        for n_inputs in (n_train + extra, n_train + extra, extra):
            trained = epochs * sum(prefix_sizes(n_inputs, points))
            hours.append((trained * np.median(fits) + evaluated * np.median(looks)) / 3600)
        curves += hours * len(METRICS)
        text = (
            f"{1000 * np.median(fits):.2f} ms an input and epoch, {1000 * np.median(looks):.2f} ms "
            f"an evaluated one; a curve of configurations 1 and 2 {hours[0]:.1f} hours, "
            f"of 3 {hours[2]:.1f}"
        )
        about = f"{DATASETS[name].id}, {points} points, {epochs} epochs"
        what = "retraining curve of the study, extrapolated"
        made = row(what, about, "itself", Run(fits), None, None, Target(""), setting.quick)
        made.results = text
        rows.append(made)
    total = SEEDS * sum(curves)
    return rows, [
        f"**The study, {SEEDS} seeds**: {SEEDS * len(curves):,} curves, {total:,.0f} hours of one "
        f"core ({total / 24:,.0f} days); on {WORKERS} workers of one core, each metric in a job of "
        f"its own, at least {total / WORKERS:.1f} hours, and the longest curve takes "
        f"{max(curves):.1f}."
    ]
