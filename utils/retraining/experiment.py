"""One configuration: a retraining curve for each guidance metric, and the table they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from utils.core.paths import Workspace
from utils.metrics.scores import load_scores
from utils.networks.training import Trainer
from utils.retraining.costs import input_costs, with_input_costs
from utils.retraining.curves import retrain
from utils.retraining.evaluation import FreshAttack
from utils.retraining.hardening import InnerAttack
from utils.retraining.inputs import RetrainingData, original_accuracy
from utils.retraining.orders import order_for
from utils.retraining.results import write_results
from utils.retraining.store import provenance_of

if TYPE_CHECKING:
    import keras


def load_orders(
    workspace: Workspace,
    dataset: str,
    seed: int,
    configuration: int,
    metrics: Iterable[str],
    n_train: int,
) -> dict[str, np.ndarray]:
    """By metric: the order of a configuration's retraining inputs, from the scores on disk."""
    scores = load_scores(workspace.metrics(dataset, seed), metrics)
    return {m: order_for(configuration, values, n_train, seed) for m, values in scores.items()}


def retrain_all(
    model: keras.Model,
    configuration: int,
    orders: Mapping[str, np.ndarray],
    data: RetrainingData,
    workspace: Workspace,
    *,
    dataset: str,
    seed: int,
    threads: int,
    part: str = "",
    keep_models: str = "best",
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Run or go on with every curve, and write the results table and how it was made.

    Parameters
    ----------
    model, configuration, data, keep_models, progress
        See `utils.retraining.curves.retrain`.
    orders : mapping of str to ndarray of int
        Metric id -> order of the retraining inputs.
    workspace : Workspace
    dataset, seed
        Name the files.
    threads : int
        Recorded beside the table.
    part : str, default=""
        Name of a table that holds some of the metrics alone.
    **settings
        Others of `retrain`, such as ``points``, ``epochs`` and ``fresh``.

    Returns
    -------
    DataFrame
        The table written to ``workspace.results(dataset, seed, configuration, part)``.
    """
    trainer = Trainer(model, data.x_train)  # compiled once for all metrics
    settings = {"dataset": dataset, "seed": seed, **settings}
    files = {metric: workspace.curve(dataset, seed, configuration, metric) for metric in orders}
    clean_accuracy = original_accuracy(workspace, dataset, seed)
    costs = input_costs(workspace, dataset, seed, configuration, orders)
    curves = [
        retrain(
            model,
            configuration,
            order,
            data,
            metric=metric,
            curve_file=files[metric],
            keep_models=keep_models,
            models_dir=workspace.models(dataset, seed),
            trainer=trainer,
            clean_accuracy=clean_accuracy,
            progress=progress,
            **settings,
        )
        for metric, order in orders.items()
    ]
    about = {
        name: asdict(v) if isinstance(v, FreshAttack | InnerAttack) else v
        for name, v in settings.items()
    }
    return write_results(
        workspace.results(dataset, seed, configuration, part),
        with_input_costs(pd.concat(curves, ignore_index=True), costs),
        provenance_of(files.values()),
        about | {"configuration": configuration, "threads": threads},
    )
