"""What a retraining's inputs cost before it begins: making the adversarial ones, and scoring.

The costs are alike for all points of a curve, as inputs are put in order all at once. They are
measured by steps 1.1 and 2.1, like that of a retraining without compilation.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.core.paths import Workspace
from utils.data.arrays import missing
from utils.metrics.registry import METRICS
from utils.retraining.configurations import configuration_of
from utils.retraining.results import INPUT_COST


def input_costs(
    workspace: Workspace, dataset: str, seed: int, configuration: int, metrics: Iterable[str]
) -> pd.DataFrame:
    """What the inputs of a configuration cost, ordered by each of some metrics.

    Adversarial inputs are those of the training split, of all attacks; a configuration that takes
    none has nothing to pay for them. The forward pass is that of the parts which are ordered, and
    of the training inputs where the metric compares with them. Scores of training and adversarial
    inputs are computed together, so a configuration that orders one of the two pays for both.

    Parameters
    ----------
    workspace : Workspace
    dataset, seed
        Name the files.
    configuration : int
    metrics : iterable of str
        Ids from `METRICS`.

    Returns
    -------
    DataFrame
        A row a metric, columns `INPUT_COST`; NaN where it was not measured.

    Raises
    ------
    MissingFile
        If a file of step 1.1 or 2.1 does not exist.
    """
    how = configuration_of(configuration)
    made = _read(workspace.adversarial(dataset, seed) / "attacks.csv", "1.1")
    made = made[made["split"] == "train"]
    scored = _read(workspace.metrics(dataset, seed) / "metrics.csv", "2.1").set_index("metric")
    rows = {}
    for metric in metrics:
        costs, parts = {}, METRICS[metric].forward_parts(how.ordered)
        for unit in ("seconds", "energy_kwh"):
            columns = [unit, *(f"forward_{part}_{unit}" for part in parts)]
            scoring = scored.reindex(index=[metric], columns=columns)
            making = made.reindex(columns=[unit]) if how.takes("adv_train") else pd.DataFrame([0.0])
            costs[f"adversarial_{unit}"] = making.to_numpy(float).sum()
            costs[f"scoring_{unit}"] = scoring.to_numpy(float).sum()
        rows[metric] = costs
    return pd.DataFrame.from_dict(rows, orient="index", columns=INPUT_COST)


def with_input_costs(results: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Rows of the results table with the `input_costs` of their metric; at point 0 they are 0."""
    own = costs.loc[results["metric"]].set_axis(results.index)
    return results.assign(**own.where(results["point"] > 0, 0.0))


def _read(path: Path, step: str) -> pd.DataFrame:
    if not path.is_file():
        raise missing(path, step)
    return pd.read_csv(path)
