"""One retraining curve: a network retrained and tested at every data point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.core.code import NO_NUMBERS, fingerprint
from utils.machine.meter import Meter, Usage
from utils.machine.provenance import facts
from utils.networks import runtime
from utils.networks.copying import agree
from utils.networks.training import Trainer, architecture_of, fresh_weights, to_tensors
from utils.retraining.configurations import BEYOND_PREFIX, configuration_of
from utils.retraining.evaluation import FreshAttack, evaluate
from utils.retraining.hardening import InnerAttack
from utils.retraining.inputs import RetrainingData
from utils.retraining.orders import checked_order, prefix_sizes
from utils.retraining.results import INPUT_COST, results_table
from utils.retraining.store import Curve, signature_of

if TYPE_CHECKING:
    import keras


def retrain(
    model: keras.Model,
    configuration: int,
    order: np.ndarray,
    data: RetrainingData,
    *,
    points: int = 10,
    epochs: int = 10,
    hardening_epochs: int = 0,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    fresh: FreshAttack | None = None,
    inner: InnerAttack | None = None,
    beyond_prefix: str = "leave_out",
    dataset: str = "",
    metric: str = "",
    curve_file: str | Path | None = None,
    keep_models: str = "none",
    models_dir: str | Path | None = None,
    country: str = "ESP",
    trainer: Trainer | None = None,
    clean_accuracy: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Retrain and test at every data point of one curve.

    Parameters
    ----------
    model : keras.Model
        The original model; not changed.
    configuration : int
        See `utils.retraining.configurations`. Each point starts alike: from the same fresh
        weights, made from `seed`, or from the model's own; always with a fresh optimizer.
    order : ndarray of int
        Permutation of the inputs that are ordered, first = first to retrain on; see `order_for`.
    data : RetrainingData
        Validation and test inputs are only evaluated on.
    points : int, default=10
        Data points after point 0, the original model; see `prefix_sizes`.
    epochs : int, default=10
        Passes over the inputs.
    hardening_epochs : int, default=0
        The same where inputs are attacked; 0: half of `epochs`, as each takes about twice the time.
    batch_size, learning_rate
        Of each retraining, with RMSprop. Where inputs are attacked the rate falls from epoch to
        epoch, see `falling`.
    seed : int, default=0
        Decides fresh weights, shuffling, dropout and starts of attacks, alike for all metrics.
    fresh : FreshAttack, optional
        How each point's network is attacked anew, to judge it.
    inner : InnerAttack, optional
        How a configuration that attacks its inputs does so.
    beyond_prefix : {"leave_out", "keep"}, default="leave_out"
        Where inputs are attacked: whether those beyond the prefix are trained on as they are.
    dataset, metric : str
        Names for the table.
    curve_file : path, optional
        Finished points are kept there. A later call with the same settings, data and code goes on
        from them; anything else in that file is overwritten.
    keep_models : {'none', 'best', 'all'}, default='none'
        Retrained models to keep in `models_dir` as ``c<configuration>_<metric>_p<point>.keras``;
        others of this curve are removed there. 'best': highest validation accuracy, with the
        fewest inputs among equals; the test set has no say.
    country : str, default="ESP"
        ISO 3166 alpha-3 code, for the energy.
    trainer : Trainer, optional
        One made from the same architecture; spares its compilation when several curves are run.
    clean_accuracy : float, optional
        Accuracy of the original model on the clean test images, as it was measured before.
    progress : callable, optional
        Called with a short line of text after each point.

    Returns
    -------
    DataFrame
        The results table; see `utils.retraining.results`. Costs are those of the fit alone, without
        compilation and evaluation; they are 0 for point 0, or NaN where 0 would mean nothing. Those
        of the inputs are NaN, as they are not known here.

    Raises
    ------
    ValueError
        If arguments do not fit each other, or point 0 is not as good as the original model is
        known to be: then a copy of it computes something else.
    """
    how = configuration_of(configuration)
    fresh = fresh or FreshAttack()
    x, y = how.inputs(data)
    numbers = {"train": len(data.y_train), "adv_train": len(data.y_adv_train)}
    n, adversarial = how.n_ordered(numbers), how.adversarial(numbers)
    order = checked_order(order, n)
    sizes = [0, *prefix_sizes(n, points)]
    if how.attacks:
        epochs = hardening_epochs or max(1, epochs // 2)
    attack = (inner or InnerAttack(fresh.epsilon)) if how.attacks else None
    if beyond_prefix not in BEYOND_PREFIX:
        raise ValueError(f"beyond_prefix: expected one of {BEYOND_PREFIX}, got {beyond_prefix!r}")
    _check_labels(model, data)
    meter = Meter(country)
    original = model.get_weights()
    start = fresh_weights(model, seed) if how.fresh_weights else original
    name = {"dataset": dataset, "configuration": configuration, "metric": metric, "seed": seed}
    settings = {**name, "points": points, "epochs": epochs, "batch_size": batch_size}
    settings |= {"learning_rate": learning_rate, "architecture": architecture_of(model)}
    settings |= {"threads": runtime.threads(), "fresh": asdict(fresh)}
    if attack:
        settings |= {"inner": asdict(attack), "beyond_prefix": beyond_prefix}
    code = fingerprint("from utils.retraining.curves import retrain\nretrain", NO_NUMBERS)
    signature = signature_of(settings, [*original, *start, order, *vars(data).values()], code)
    prefix = f"c{configuration}_{metric}"
    store = Curve(curve_file, signature, keep_models, models_dir, prefix)
    label, report = metric or "retraining", progress or (lambda text: None)
    if store.rows:
        report(f"{label}: {len(store.rows)} of {points + 1} points done before")
    if 0 in store.rows:
        _check_start(store.rows[0], clean_accuracy, len(data.y_test))
    if len(store.rows) <= points:
        trainer = trainer or Trainer(model, data.x_test)
        if trainer.architecture != settings["architecture"]:
            raise ValueError("trainer: expected one made from a model of the same architecture")
        x, y = to_tensors(x, y)  # to the device once, not at every point
    for point, size in enumerate(sizes):
        if point in store.rows:
            continue
        assert trainer is not None  # points are missing, so there is one
        cost = dict.fromkeys(("wall_seconds", "cpu_seconds", "cpu_percent", "energy_kwh"), 0.0)
        usage = Usage(**cost, energy_method=meter.energy_method)
        trainer.prepare(attack)
        trainer.reset(start if point else original, seed, learning_rate)
        used = _used(order, size, len(y), attack is not None and beyond_prefix == "keep")
        problem = ""
        if point:
            with meter.measure() as usage:
                fit = trainer.fit(
                    x,
                    y,
                    used,
                    epochs=epochs,
                    batch_size=batch_size,
                    seed=[seed, point],
                    attack=attack,
                    n_attacked=size,
                    learning_rates=falling(learning_rate, epochs) if attack else None,
                )
                for epoch, (loss, _) in enumerate(fit, start=1):
                    if not np.isfinite(loss):
                        problem = f"training gave no numbers any more in epoch {epoch}"
                        break
        costs = asdict(usage)
        row = {**name, "point": point, "n_inputs": len(used) if point else 0, "n_prefix": size}
        row["n_adversarial"] = int(adversarial[used].sum()) if point else 0
        row |= evaluate(trainer, data, fresh, seed, one_step=how.attacks)
        row["problem"] = problem or row["problem"]
        row |= {"fit_seconds": costs.pop("wall_seconds"), **costs, "provenance": facts()["id"]}
        row |= dict.fromkeys(INPUT_COST, np.nan)
        if not point:
            _check_start(row, clean_accuracy, len(data.y_test))
        store.add(row, trainer.model, data.x_test)
        report(
            f"{label}: point {point} of {points}, {row['n_inputs']} inputs, accuracy "
            f"{row['accuracy_clean']:.3f}, under a fresh attack {row['accuracy_fresh']:.3f}"
            + (f"; {row['problem']}" if row["problem"] else "")
        )
    return results_table(store.rows.values())


def _used(order: np.ndarray, size: int, n: int, all_ordered: bool) -> np.ndarray:
    """Indices of what a point retrains on: its prefix, then what every point takes."""
    return np.concatenate([order if all_ordered else order[:size], np.arange(len(order), n)])


def falling(learning_rate: float, epochs: int) -> list[float]:
    """Learning rates of the epochs, which fall evenly to 0: a decay as Jeddi et al. advise.

    References
    ----------
    Jeddi, Shafiee, Wong, "A Simple Fine-tuning Is All You Need: Towards Robust Deep Learning Via
    Adversarial Fine-tuning", 2020, arXiv:2012.13628.
    """
    return [learning_rate * (1 - epoch / epochs) for epoch in range(epochs)]


def _check_start(row: dict, expected: float | None, n: int) -> None:
    """Point 0 must be as good as the original model is known to be."""
    found = row["accuracy_clean"]
    if expected is not None and not agree(found, expected, n):
        raise ValueError(
            f"original model: right about {expected:.3f} of the clean test images when it was "
            f"made, about {found:.3f} at point 0, as a copy; run step 0.1 again"
        )


def _check_labels(model: keras.Model, data: RetrainingData) -> None:
    n_classes = model.output_shape[-1]
    for name, labels in vars(data).items():
        if name.startswith("y_") and not (0 <= labels.min() and labels.max() < n_classes):
            raise ValueError(
                f"{name}: expected labels 0 .. {n_classes - 1}, the model's classes, got "
                f"{labels.min()} .. {labels.max()}"
            )
