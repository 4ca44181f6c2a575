"""Ordering, prefixes, the three configurations, and one retraining curve with all its points."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils import copying, ends, energy, graph, models, outcomes, resources, seeds, training
from utils.copying import agree
from utils.curve import Curve, signature_of
from utils.outcomes import pack
from utils.provenance import facts
from utils.resources import Meter, Usage
from utils.results import results_table
from utils.seeds import rng
from utils.training import Trainer, architecture_of, fresh_weights, to_tensors, train
from utils.workspace import Workspace, read_json

if TYPE_CHECKING:
    import keras

__all__ = [
    "CONFIGURATIONS",
    "RetrainingData",
    "Trainer",
    "fresh_weights",
    "load_data",
    "order_for",
    "order_inputs",
    "original_accuracy",
    "prefix_sizes",
    "retrain",
    "retraining_inputs",
    "train",
]

CONFIGURATIONS: dict[int, str] = {
    1: "from scratch, on training and adversarial inputs",
    2: "from the original model, on training and adversarial inputs",
    3: "from the original model, on adversarial inputs only",
}

_CODE = (
    sys.modules[__name__], training, models, copying, ends, graph, outcomes, seeds, resources,
    energy,
)  # fmt: skip
"""Modules whose code decides a curve's results."""


@dataclass(frozen=True, eq=False)
class RetrainingData:
    """The arrays of a retraining job: images float32 (n, h, w, c) in [0, 1], labels int64 (n,).

    `attack_adv_test` holds the id of the attack that made each adversarial test input.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_adv_train: np.ndarray
    y_adv_train: np.ndarray
    x_adv_val: np.ndarray
    y_adv_val: np.ndarray
    x_adv_test: np.ndarray
    y_adv_test: np.ndarray
    attack_adv_test: np.ndarray

    def __post_init__(self) -> None:
        shape = self.x_train.shape[1:]
        for part in ("train", "val", "test", "adv_train", "adv_val", "adv_test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if x.shape[1:] != shape or y.shape != (len(x),) or not len(x):
                raise ValueError(
                    f"{part}: expected at least one image of shape {shape} and as many labels, "
                    f"got x {x.shape}, y {y.shape}"
                )
        if self.attack_adv_test.shape != self.y_adv_test.shape:
            raise ValueError(
                f"attack_adv_test: expected shape {self.y_adv_test.shape}, "
                f"got {self.attack_adv_test.shape}"
            )


def load_data(workspace: Workspace, dataset: str, seed: int) -> RetrainingData:
    """Read the arrays that the earlier steps wrote.

    Raises
    ------
    FileNotFoundError
        If one is missing, with the step that makes it.
    """
    arrays = {}
    for field in fields(RetrainingData):
        adversarial = "adv" in field.name
        step = "1.1 (adversarials)" if adversarial else "0.0 (preprocessing)"
        folder = workspace.adversarial(dataset, seed) if adversarial else workspace.data(dataset)
        path = folder / f"{field.name}.npy"
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; run step {step} first")
        arrays[field.name] = np.load(path, allow_pickle=False)
    return RetrainingData(**arrays)


def original_accuracy(workspace: Workspace, dataset: str, seed: int) -> float:
    """Accuracy of the original model on the clean test images, as step 0.1 measured it.

    Raises
    ------
    FileNotFoundError
        If it is missing.
    """
    path = workspace.original_accuracy(dataset, seed)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run step 0.1 (original model) first")
    return float(read_json(path)["accuracy"]["test"])


def retraining_inputs(data: RetrainingData, configuration: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that a configuration retrains on, in the order of a metric's scores."""
    _check_configuration(configuration)
    if configuration == 3:
        return data.x_adv_train, data.y_adv_train
    return (
        np.concatenate([data.x_train, data.x_adv_train]),
        np.concatenate([data.y_train, data.y_adv_train]),
    )


def order_inputs(scores: np.ndarray, seed: int) -> np.ndarray:
    """Indices of the inputs, highest score first; ties are in random order.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Finite; higher = retrain first.
    seed : int
        Decides the order among equal scores, so that no metric profits from the order of a file.

    Returns
    -------
    ndarray of shape (n,), dtype=int64
        A permutation of 0 .. n - 1.

    Raises
    ------
    ValueError
        If the scores have another shape or are not finite.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1:
        raise ValueError(f"scores: expected shape (n,), got {scores.shape}")
    bad = np.count_nonzero(~np.isfinite(scores))
    if bad:
        raise ValueError(f"scores: expected finite numbers, got {bad} that are NaN or infinite")
    ties = rng(seed, "ties").permutation(len(scores))
    return np.lexsort((ties, -scores)).astype(np.int64)


def order_for(configuration: int, scores: np.ndarray, n_train: int, seed: int) -> np.ndarray:
    """Order of a configuration's retraining inputs, from a metric's scores of all inputs.

    Parameters
    ----------
    configuration : {1, 2, 3}
    scores : ndarray of shape (n_train + n_adversarial,)
        Training inputs first.
    n_train : int
        Number of training inputs.
    seed : int
        See `order_inputs`.

    Returns
    -------
    ndarray of int64
        Indices into what `retraining_inputs` returns.
    """
    _check_configuration(configuration)
    if len(scores) <= n_train:
        raise ValueError(
            f"scores: expected one for each of {n_train} training inputs and each adversarial "
            f"input, got {len(scores)}"
        )
    return order_inputs(scores[n_train:] if configuration == 3 else scores, seed)


def prefix_sizes(n: int, points: int) -> list[int]:
    """Numbers of inputs of the data points: equal steps, rounded; the last is all `n`.

    Examples
    --------
    >>> prefix_sizes(10, 4)
    [3, 5, 8, 10]
    """
    if not 1 <= points <= n:
        raise ValueError(f"points: expected 1 to {n} (the number of inputs), got {points}")
    return [(2 * n * point + points) // (2 * points) for point in range(1, points + 1)]


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
        The results table; see `utils.results`. Costs are those of the fit alone, without
        compilation and evaluation; they are 0 for point 0, or NaN where 0 would mean nothing.

    Raises
    ------
    ValueError
        If arguments do not fit each other, or point 0 is not as good as the original model is
        known to be: then a copy of it computes something else.
    """
    x, y = retraining_inputs(data, configuration)
    order = _checked_order(order, len(y))
    sizes = [0, *prefix_sizes(len(y), points)]
    _check_labels(model, data)
    meter = Meter(country)
    original = model.get_weights()
    start = fresh_weights(model, seed) if configuration == 1 else original
    name = {"dataset": dataset, "configuration": configuration, "metric": metric, "seed": seed}
    settings = {**name, "points": points, "epochs": epochs, "batch_size": batch_size}
    settings |= {"learning_rate": learning_rate, "architecture": architecture_of(model)}
    settings |= {"threads": models.threads()}
    signature = signature_of(settings, [*original, *start, order, *vars(data).values()], _CODE)
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
        cost = dict.fromkeys(("wall_seconds", "cpu_seconds", "cpu_percent", "energy_kwh"), 0.0)
        usage = Usage(**cost, energy_method=meter.energy_method)
        trainer.reset(start if point else original, seed, learning_rate)
        if point:
            options = {"epochs": epochs, "batch_size": batch_size, "seed": [seed, point]}
            with meter.measure() as usage:
                for _ in trainer.fit(x, y, order[:size], **options):
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


def _check_configuration(configuration: int) -> None:
    if configuration not in CONFIGURATIONS:
        raise ValueError(f"configuration: expected 1, 2 or 3, got {configuration!r}")


def _checked_order(order: np.ndarray, n: int) -> np.ndarray:
    order = np.asarray(order)
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(
            f"order: expected a permutation of 0 .. {n - 1} (see order_for), got shape "
            f"{order.shape} and dtype {order.dtype}"
        )
    return order.astype(np.int64)


def _check_labels(model: keras.Model, data: RetrainingData) -> None:
    n_classes = model.output_shape[-1]
    for name, labels in vars(data).items():
        if name.startswith("y_") and not (0 <= labels.min() and labels.max() < n_classes):
            raise ValueError(
                f"{name}: expected labels 0 .. {n_classes - 1}, the model's classes, got "
                f"{labels.min()} .. {labels.max()}"
            )
