"""What the numbers advise: the Pareto front and the best trade-off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from utils.metrics.registry import BASELINES
from utils.retraining.selection import CURVE, PAIR, choose, complete
from utils.statistics.images import accuracy_interval, compare_networks
from utils.statistics.summaries import mean_interval

_WITH_INPUTS = ("seconds_with_inputs", "energy_kwh_with_inputs")


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


def unbeaten(table: pd.DataFrame, with_inputs: bool = False) -> np.ndarray:
    """Rows on the Pareto front over accuracy, seconds and energy, of one data set.

    Parameters
    ----------
    table : DataFrame
        Rows of `summarise_seeds` for one data set. Accuracy is that of the point chosen on
        validation; seconds and energy are those of that one retraining; energy does not count where
        it was not measured.
    with_inputs : bool, default=False
        Whether seconds and energy are those of making and scoring its inputs as well.

    Returns
    -------
    ndarray of shape (n,), dtype=bool
    """
    end = "_with_inputs" if with_inputs else ""
    costs = [f"chosen_seconds{end}", f"chosen_energy_kwh{end}"]
    known = [cost for cost in costs if table[cost].notna().all()]
    return pareto_front(table, maximise=["chosen_accuracy"], minimise=known)


def with_front(summary: pd.DataFrame) -> pd.DataFrame:
    """`summary` of several data sets with ``on_pareto_front``: `unbeaten` in its own data set."""
    front = pd.Series(False, index=summary.index)
    for _, part in summary.groupby("dataset"):
        front[part.index] = unbeaten(part)
    return summary.assign(on_pareto_front=front)


def with_share(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of `summarise_runs` with ``share``: the chosen point's part of all inputs there are.

    ``prefix_share`` is the part of those that the metric orders which it puts first.
    """
    pool = runs.groupby(["dataset", "seed"])["final_n_inputs"].transform("max")
    prefix_share = runs["chosen_n_prefix"] / runs["final_n_prefix"]
    return runs.assign(share=runs["chosen_n_inputs"] / pool, prefix_share=prefix_share)


def points_of(runs: pd.DataFrame) -> pd.DataFrame:
    """The chosen points of runs `with_share`, for `choose`."""
    names = {"chosen_val_accuracy": "val_accuracy", "chosen_val_right": "val_right"}
    return runs[[*CURVE, "share", *names]].rename(columns=names)


def recommend(runs: pd.DataFrame, study: pd.DataFrame | None = None) -> dict[str, Any]:
    """Name the best trade-off over one or several data sets, from the results alone.

    It is the pair of configuration and metric that `utils.retraining.selection.choose` puts first:
    the fewest inputs within one standard error of the most accurate on validation. The test
    inputs have no say: they only judge what was chosen.

    Parameters
    ----------
    runs : DataFrame
        What `summarise_runs` returns. Data sets count alike; a pair that was not run on all of
        them with every seed is left out.
    study : DataFrame, optional
        The same of the study's quantity: what it would have chosen is held against the choice.

    Returns
    -------
    dict
        ``datasets, n_seeds, configuration, metric``; of the chosen point, as means over data sets
        and seeds, ``n_inputs, n_prefix, n_adversarial, share, prefix_share`` (see `with_share`),
        ``accuracy, accuracy_interval`` (95 %, over the seeds), ``seconds, cpu_seconds, energy_kwh``
        (of this one retraining), ``seconds_with_inputs, energy_kwh_with_inputs`` (and of making and
        scoring its inputs), ``clean_lost``; ``accuracy_low, accuracy_high``, for one seed, of the
        95 % interval over images; ``parts``: before and after on parts of the test inputs, and of
        the other quantity; ``best_accuracy, best_n_inputs``: the best point on the test inputs
        instead; ``original_accuracy``; ``highest``: configuration and metric most accurate on
        validation; ``n_candidates``: pairs within one standard error of it; ``below`` and
        ``error``: how far the recommended one is below it, and the standard error of that;
        ``left_out``: pairs that lack a run; ``all_inputs``: ``n_inputs, n_prefix, n_adversarial,
        accuracy, seconds, energy_kwh`` of retraining on all, in the same order; ``final_range``:
        lowest and highest accuracy of this configuration's metrics there, where all of them have
        the same inputs; ``by_study``: what the study's quantity would have chosen, ``configuration,
        metric, n_inputs, n_prefix, accuracy`` (the robust one), or None where it is the same or not
        asked for; ``beats``: for the baselines (with their own ``n_prefix``), ``by_study``,
        ``all_inputs`` and ``no_retraining``, the ``difference`` in accuracy and its ``interval``
        and, for one seed, what `compare_networks` says; without a baseline that was not run.

    Raises
    ------
    ValueError
        If there is no pair to choose.
    """
    datasets = list(dict.fromkeys(runs["dataset"]))
    runs = with_share(runs)
    table = choose(points_of(runs))
    pair = table.index[0]
    full = complete(runs).sort_values(["dataset", "seed"], kind="stable")
    numbers = full.select_dtypes("number").columns.difference(["configuration", "seed"])
    per_seed = full.groupby([*PAIR, "seed"])[list(numbers)].mean(skipna=False)
    means = per_seed.groupby(level=[0, 1]).mean(skipna=False)
    every = runs[PAIR].drop_duplicates().itertuples(index=False, name=None)
    own, row = per_seed.loc[pair], means.loc[pair]
    curves = dict(iter(full.groupby(PAIR)))
    mine = curves[pair]
    others = {}  # by name: accuracies by seed, outcomes by run
    for baseline in BASELINES:
        if (index := (pair[0], baseline)) in means.index and pair != index:
            accuracies = per_seed.loc[index, "chosen_accuracy"]
            others[baseline] = accuracies, curves[index]["chosen_right"]
    others["all_inputs"] = own["final_accuracy"], mine["final_right"]
    others["no_retraining"] = own["original_accuracy"], mine["original_right"]
    by_study = None
    if study is not None:
        rival = _chosen_by(study)
        points = rival.pop("points")  # of each run: their means may be equal by chance
        if (rival["configuration"], rival["metric"], points) != (*pair, list(mine["chosen_point"])):
            others["by_study"] = rival.pop("accuracies"), rival.pop("outcomes")
            by_study = rival
    beats = {
        name: dict(
            zip(
                ("difference", "interval"),
                mean_interval(own["chosen_accuracy"] - accuracies),
                strict=True,
            )
        )
        for name, (accuracies, _) in others.items()
    }
    ends = (np.nan, np.nan)
    if len(own) == 1:
        ends = accuracy_interval(mine["chosen_right"])
        outcomes = {name: list(found) for name, (_, found) in others.items()}
        for name, found in compare_networks(list(mine["chosen_right"]), outcomes).items():
            beats[name] |= found
    for baseline in BASELINES:
        if baseline in beats:
            beats[baseline]["n_prefix"] = means.loc[(pair[0], baseline), "chosen_n_prefix"]
    finals = means.loc[pair[0], "final_accuracy"]
    costs = ("seconds", "cpu_seconds", "energy_kwh")
    parts = [c for c in numbers if c.startswith("chosen_accuracy_")]
    return {
        "datasets": datasets,
        "n_seeds": len(own),
        "configuration": int(pair[0]),
        "metric": pair[1],
        "n_inputs": row["chosen_n_inputs"],
        "n_prefix": row["chosen_n_prefix"],
        "n_adversarial": row["chosen_n_adversarial"],
        "share": row["share"],
        "prefix_share": row["prefix_share"],
        "accuracy": row["chosen_accuracy"],
        "accuracy_interval": mean_interval(own["chosen_accuracy"])[1],
        "accuracy_low": ends[0],
        "accuracy_high": ends[1],
        **{cost: row[f"chosen_{cost}"] for cost in (*costs, *_WITH_INPUTS)},
        "clean_lost": row["clean_lost"],
        "parts": {
            part.removeprefix("chosen_accuracy_"): [
                row[part.replace("chosen", "original")],
                row[part],
            ]
            for part in parts
        },
        "best_accuracy": row["best_accuracy"],
        "best_n_inputs": row["best_n_inputs"],
        "original_accuracy": row["original_accuracy"],
        "highest": list(table["val_accuracy"].idxmax()),
        "n_candidates": int(table["near"].sum()),
        "below": table["below"].iloc[0],
        "error": table["error"].iloc[0],
        "left_out": [list(other) for other in every if other not in means.index],
        "all_inputs": {
            c: row[f"final_{c}"]
            for c in ("n_inputs", "n_prefix", "n_adversarial", "accuracy", *costs)
        },
        "final_range": [finals.min(), finals.max()],
        "by_study": by_study,
        "beats": beats,
    }


def _chosen_by(study: pd.DataFrame) -> dict[str, Any]:
    """What the study's quantity chooses, and how robust that is."""
    pair = choose(points_of(with_share(study))).index[0]
    found = study[(study["configuration"] == pair[0]) & (study["metric"] == pair[1])]
    found = found.sort_values(["dataset", "seed"], kind="stable")
    accuracies = found.groupby("seed")["chosen_accuracy_robust"].mean()
    return {
        "configuration": int(pair[0]),
        "metric": pair[1],
        **{n: found.groupby("seed")[f"chosen_{n}"].mean().mean() for n in ("n_inputs", "n_prefix")},
        "accuracy": accuracies.mean(),
        "points": list(found["chosen_point"]),
        "accuracies": accuracies,
        "outcomes": found["chosen_right_robust"],
    }


def takes_all(choice: dict[str, Any]) -> bool:
    """Whether `recommend` named all inputs that its configuration orders."""
    return choice["all_inputs"]["n_prefix"] - choice["n_prefix"] < 0.5


def rivals(choice: dict[str, Any]) -> list[str]:
    """Keys of ``beats`` that say something: the same inputs in another order are no rival."""
    everything, beats = choice["all_inputs"]["n_prefix"], choice["beats"]
    whole = takes_all(choice)
    found = [
        name
        for name in BASELINES
        if name in beats and not (whole and beats[name]["n_prefix"] >= everything - 0.5)
    ]
    return [*found, *([] if whole else ["all_inputs"]), "no_retraining"]
