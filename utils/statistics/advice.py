"""What the numbers advise: the Pareto front and the best trade-off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from utils.retraining.selection import CURVE, PAIR, choose, complete
from utils.statistics.summaries import mean_interval


def pareto_front(
    table: pd.DataFrame, maximise: Sequence[str] = (), minimise: Sequence[str] = ()
) -> np.ndarray:
    """Rows that no other row beats.

    A row is beaten if another is at least as good in every column and better in one. Equal rows
    do not beat each other.

    Parameters
    ----------
    table : DataFrame of n rows
    maximise, minimise : sequence of str
        Columns where more, or less, is better.

    Returns
    -------
    ndarray of shape (n,), dtype=bool
        A row with a NaN in one of the columns is never on the front. Cost: n² comparisons.

    Raises
    ------
    ValueError
        If no column is given.
    """
    if not len(maximise) + len(minimise):
        raise ValueError("pareto_front: expected columns to maximise or minimise, got none")
    good = np.hstack([table[[*maximise]].to_numpy(float), -table[[*minimise]].to_numpy(float)])
    valid = ~np.isnan(good).any(axis=1)
    at_least, better = good[:, None] >= good, good[:, None] > good
    beaten = (at_least.all(axis=2) & better.any(axis=2)).any(axis=0)
    return valid & ~beaten


def unbeaten(table: pd.DataFrame) -> np.ndarray:
    """Rows on the Pareto front over accuracy, seconds and energy, of one data set.

    Parameters
    ----------
    table : DataFrame
        Rows of `summarise_seeds` for one data set. Accuracy is that of the point chosen on
        validation; seconds and energy are those of that one retraining; energy does not count where
        it was not measured.

    Returns
    -------
    ndarray of shape (n,), dtype=bool
    """
    costs = ["chosen_seconds", "chosen_energy_kwh"]
    known = [cost for cost in costs if table[cost].notna().all()]
    return pareto_front(table, maximise=["chosen_accuracy"], minimise=known)


def with_front(summary: pd.DataFrame) -> pd.DataFrame:
    """`summary` of several data sets with ``on_pareto_front``: `unbeaten` in its own data set."""
    front = pd.Series(False, index=summary.index)
    for _, part in summary.groupby("dataset"):
        front[part.index] = unbeaten(part)
    return summary.assign(on_pareto_front=front)


def with_share(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of `summarise_runs` with ``share``: the chosen point's part of all inputs there are."""
    pool = runs.groupby(["dataset", "seed"])["final_n_inputs"].transform("max")
    return runs.assign(share=runs["chosen_n_inputs"] / pool)


def points_of(runs: pd.DataFrame) -> pd.DataFrame:
    """The chosen points of runs `with_share`, for `choose`."""
    names = {"chosen_val_accuracy": "val_accuracy", "chosen_val_right": "val_right"}
    return runs[[*CURVE, "share", *names]].rename(columns=names)


def recommend(runs: pd.DataFrame) -> dict[str, Any]:
    """Name the best trade-off over one or several data sets, from the results alone.

    It is the pair of configuration and metric that `utils.retraining.selection.choose` puts first:
    the fewest inputs within one standard error of the most accurate on validation. The test
    inputs have no say: they only judge what was chosen.

    Parameters
    ----------
    runs : DataFrame
        What `summarise_runs` returns. Data sets count alike; a pair that was not run on all of
        them with every seed is left out.

    Returns
    -------
    dict
        ``datasets, n_seeds, configuration, metric``; of the chosen point, as means over data sets
        and seeds, ``n_inputs, share`` (of all inputs), ``accuracy, accuracy_interval`` (95 %, over
        the seeds), ``seconds, cpu_seconds, energy_kwh`` (of this one retraining), ``clean_lost``;
        ``study_accuracy, study_n_inputs``: the best point on the test inputs instead;
        ``original_accuracy``; ``highest``: configuration and metric most accurate on validation;
        ``n_candidates``: pairs within one standard error of it; ``below`` and ``error``: how far
        the recommended one is below it, and the standard error of that; ``left_out``: pairs that
        lack a run; ``all_inputs``: ``n_inputs, accuracy, seconds, energy_kwh`` of retraining on
        all, in the same order; ``final_range``: lowest and highest accuracy of this
        configuration's metrics there, where all of them have the same inputs; ``beats``: for
        ``random`` (with its own ``n_inputs``), ``all_inputs`` and ``no_retraining``, the
        ``difference`` in accuracy and its ``interval``; without random if it was not run.

    Raises
    ------
    ValueError
        If there is no pair to choose.
    """
    datasets = list(dict.fromkeys(runs["dataset"]))
    runs = with_share(runs)
    table = choose(points_of(runs))
    pair = table.index[0]
    full = complete(runs)
    numbers = full.select_dtypes("number").columns.difference(["configuration", "seed"])
    per_seed = full.groupby([*PAIR, "seed"])[list(numbers)].mean(skipna=False)
    means = per_seed.groupby(level=[0, 1]).mean(skipna=False)
    every = runs[PAIR].drop_duplicates().itertuples(index=False, name=None)
    own, row = per_seed.loc[pair], means.loc[pair]
    accuracy = own["chosen_accuracy"]
    others = {"all_inputs": own["final_accuracy"], "no_retraining": own["original_accuracy"]}
    if (random := (pair[0], "random")) in means.index and pair != random:
        others = {"random": per_seed.loc[random, "chosen_accuracy"], **others}
    beats = {
        name: dict(zip(("difference", "interval"), mean_interval(accuracy - other), strict=True))
        for name, other in others.items()
    }
    if "random" in beats:
        beats["random"]["n_inputs"] = means.loc[random, "chosen_n_inputs"]
    finals = means.loc[pair[0], "final_accuracy"]
    costs = ("seconds", "cpu_seconds", "energy_kwh")
    return {
        "datasets": datasets,
        "n_seeds": len(own),
        "configuration": int(pair[0]),
        "metric": pair[1],
        "n_inputs": row["chosen_n_inputs"],
        "share": row["share"],
        "accuracy": row["chosen_accuracy"],
        "accuracy_interval": mean_interval(accuracy)[1],
        **{cost: row[f"chosen_{cost}"] for cost in costs},
        "clean_lost": row["clean_lost"],
        "study_accuracy": row["best_accuracy"],
        "study_n_inputs": row["best_n_inputs"],
        "original_accuracy": row["original_accuracy"],
        "highest": list(table["val_accuracy"].idxmax()),
        "n_candidates": int(table["near"].sum()),
        "below": table["below"].iloc[0],
        "error": table["error"].iloc[0],
        "left_out": [list(other) for other in every if other not in means.index],
        "all_inputs": {c: row[f"final_{c}"] for c in ("n_inputs", "accuracy", *costs)},
        "final_range": [finals.min(), finals.max()],
        "beats": beats,
    }
