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
from utils.retraining.configurations import FRESH_WEIGHTS, retraining_inputs
from utils.retraining.inputs import RetrainingData
from utils.retraining.orders import checked_order, prefix_sizes
from utils.retraining.outcomes import pack
from utils.retraining.results import results_table
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
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
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
    configuration : {1, 2, 3}
        See `CONFIGURATIONS`. Each point starts alike: 1 from the same fresh weights, made from
        `seed`; 2 and 3 from the model's own; always with a fresh optimizer.
    order : ndarray of int
        Permutation of the retraining inputs, first = first to retrain on; see `order_for`.
    data : RetrainingData
        Validation and test inputs are only evaluated on.
    points : int, default=10
        Data points after point 0, the original model; see `prefix_sizes`.
    epochs, batch_size, learning_rate
        Of each retraining, with RMSprop.
    seed : int, default=0
        Decides fresh weights, shuffling and dropout, alike for all metrics.
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
        compilation and evaluation; they are 0 for point 0, or NaN where 0 would mean nothing.

    Raises
    ------
    ValueError
        If arguments do not fit each other, or point 0 is not as good as the original model is
        known to be: then a copy of it computes something else.
    """
    x, y = retraining_inputs(data, configuration)
    order = checked_order(order, len(y))
    sizes = [0, *prefix_sizes(len(y), points)]
    _check_labels(model, data)
    meter = Meter(country)
    original = model.get_weights()
    start = fresh_weights(model, seed) if configuration in FRESH_WEIGHTS else original
    name = {"dataset": dataset, "configuration": configuration, "metric": metric, "seed": seed}
    settings = {**name, "points": points, "epochs": epochs, "batch_size": batch_size}
    settings |= {"learning_rate": learning_rate, "architecture": architecture_of(model)}
    settings |= {"threads": runtime.threads()}
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
        trainer.reset(start if point else original, seed, learning_rate)
        if point:
            with meter.measure() as usage:
                for _ in trainer.fit(
                    x, y, order[:size], epochs=epochs, batch_size=batch_size, seed=[seed, point]
                ):
                    pass
        costs = asdict(usage)
        row = {**name, "point": point, "n_inputs": size, **evaluate(trainer, data)}
        row |= {"fit_seconds": costs.pop("wall_seconds"), **costs, "provenance": facts()["id"]}
        if not point:
            _check_start(row, clean_accuracy, len(data.y_test))
        store.add(row, trainer.model, data.x_test)
        report(f"{label}: point {point} of {points}, {size} inputs, accuracy {row['accuracy']:.3f}")
    return results_table(store.rows.values())


def evaluate(trainer: Trainer, data: RetrainingData) -> dict[str, float | str]:
    """Quality and validation columns of a row, from one forward pass over each input."""
    from sklearn.metrics import precision_recall_fscore_support

    val = [trainer.predict(data.x_val, data.y_val), trainer.predict(data.x_adv_val, data.y_adv_val)]
    val_losses, val_classes = (np.concatenate(parts) for parts in zip(*val, strict=True))
    y_val = np.concatenate([data.y_val, data.y_adv_val])
    clean_losses, clean_classes = trainer.predict(data.x_test, data.y_test)
    adv_losses, adv_classes = trainer.predict(data.x_adv_test, data.y_adv_test)
    labels = np.concatenate([data.y_test, data.y_adv_test])
    classes = np.concatenate([clean_classes, adv_classes])
    precision, recall, _, _ = precision_recall_fscore_support(
        labels, classes, labels=np.unique(labels), average="macro", zero_division=0
    )
    adversarial = adv_classes == data.y_adv_test
    row = {
        "loss": np.concatenate([clean_losses, adv_losses]).mean(),
        "accuracy": np.mean(classes == labels),
        "precision": precision,
        "recall": recall,
        "accuracy_clean": np.mean(clean_classes == data.y_test),
        "accuracy_adversarial": adversarial.mean(),
    }
    for attack in np.unique(data.attack_adv_test):
        row[f"accuracy_{attack}"] = adversarial[data.attack_adv_test == attack].mean()
    val_right = val_classes == y_val
    row |= {"val_loss": val_losses.mean(), "val_accuracy": val_right.mean()}
    return {column: float(value) for column, value in row.items()} | {"val_right": pack(val_right)}


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
