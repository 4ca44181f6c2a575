"""What the numbers advise: the Pareto front and the best trade-off, computed and put in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.statistics.summaries import ROUNDING, TOLERANCE


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


def recommend(summary: pd.DataFrame) -> tuple[dict[str, object], str]:
    """Name the best trade-off of one data set, from the results alone.

    Of the (configuration, metric) pairs whose best validation accuracy is within 0.01 of the
    highest one, the pair that needs the fewest inputs at that point; of equals, the more accurate
    one on validation. The test inputs have no say: they only judge what was chosen. Neither have
    seconds: the same number of inputs is the same work, and its time differs by chance alone.

    Parameters
    ----------
    summary : DataFrame
        Rows of `summarise` for one data set.

    Returns
    -------
    choice : dict
        ``dataset, configuration, metric, n_inputs, seconds, energy_kwh, accuracy,
        accuracy_interval, n_seeds, n_candidates`` (pairs within 0.01), and ``over_random`` (same
        configuration; NaN if not run), ``over_all_inputs`` (same configuration and metric),
        ``over_original``: accuracy minus that of the alternative.
    text : str
        One paragraph that says the same in plain language.

    Raises
    ------
    ValueError
        If the table is empty or holds several data sets.
    """
    datasets = list(summary["dataset"].unique())
    if len(datasets) != 1:
        raise ValueError(
            f"summary: expected rows of one data set, got {datasets}; call once a data set"
        )
    highest = summary.loc[summary["chosen_val_accuracy"].idxmax()]
    near = summary[
        summary["chosen_val_accuracy"] >= highest["chosen_val_accuracy"] - TOLERANCE - ROUNDING
    ]
    order = ["chosen_n_inputs", "chosen_val_accuracy"]
    row = near.sort_values(order, ascending=[True, False], kind="stable").iloc[0]
    random = summary[
        (summary["configuration"] == row["configuration"]) & (summary["metric"] == "random")
    ]
    accuracy = float(row["chosen_accuracy"])
    choice = {
        "dataset": row["dataset"],
        "configuration": int(row["configuration"]),
        "metric": row["metric"],
        "n_inputs": round(row["chosen_n_inputs"]),
        "seconds": float(row["chosen_seconds"]),
        "energy_kwh": float(row["chosen_energy_kwh"]),
        "accuracy": accuracy,
        "accuracy_interval": float(row["chosen_accuracy_interval"]),
        "n_seeds": int(row["n_seeds"]),
        "n_candidates": len(near),
        "over_random": accuracy - random["chosen_accuracy"].mean(),  # NaN where it was not run
        "over_all_inputs": accuracy - float(row["final_accuracy"]),
        "over_original": accuracy - float(row["original_accuracy"]),
    }
    finals = summary[summary["configuration"] == row["configuration"]]
    return choice, _in_words(choice, row, highest, random, finals)


def _in_words(
    choice: dict[str, object],
    row: pd.Series,
    highest: pd.Series,
    random: pd.DataFrame,
    finals: pd.DataFrame,
) -> str:
    """Write the paragraph of `recommend`."""
    interval = choice["accuracy_interval"]
    spread = "" if np.isnan(interval) else f" ± {interval:.3f}"
    sentences = []
    if choice["over_original"] < 0.0005:
        sentences.append(
            f"On {choice['dataset']} retraining gains nothing: the best choice is no more accurate "
            "than the original model. If the attacks hardly fool it (see step 1.1), a larger "
            "epsilon or other attacks would say more."
        )
    sentences += [
        f"Best trade-off on {choice['dataset']}: configuration {choice['configuration']} with "
        f"{metric_name(choice['metric'])}, retrained on {choice['n_inputs']:,} inputs in "
        f"{choice['seconds']:.1f} s, reaches an accuracy of {choice['accuracy']:.3f}{spread} on "
        f"the test and adversarial test inputs, which had no say in the choice: it was made on "
        f"validation and adversarial validation inputs."
    ]
    if highest.name == row.name:
        sentences.append("No other choice is more accurate there.")
    else:
        sentences.append(
            f"It needs the fewest inputs of the {choice['n_candidates']} choices within "
            f"{TOLERANCE} of the most accurate one there (configuration "
            f"{highest['configuration']} with {metric_name(highest['metric'])}, "
            f"{round(highest['chosen_n_inputs']):,} inputs, {highest['chosen_seconds']:.1f} s, "
            f"{highest['chosen_accuracy']:.3f} on the test inputs)."
        )
    alternatives = [("no retraining", choice["over_original"])]
    takes_all = round(row["final_n_inputs"]) == choice["n_inputs"]
    if takes_all:
        sentences.append("These are all the inputs there are: here no order saves any.")
    else:
        all_inputs = f"all {round(row['final_n_inputs']):,} inputs in the same order"
        alternatives.insert(0, (all_inputs, choice["over_all_inputs"]))
    if choice["metric"] == "random":
        sentences.append(
            f"No guidance metric is more than {TOLERANCE} more accurate than this random order on "
            f"the validation inputs."
        )
    elif len(random):
        n_random = round(random["chosen_n_inputs"].iloc[0])
        if not (takes_all and n_random == choice["n_inputs"]):  # else they are the same inputs
            alternatives.insert(0, (f"{n_random:,} inputs in random order", choice["over_random"]))
    compared = [f"{_compared(difference)} {name}" for name, difference in alternatives]
    first = ", ".join(compared[:-1])
    sentences.append(f"Its accuracy is {first}{' and ' if first else ''}{compared[-1]}.")
    low, high = finals["final_accuracy"].min(), finals["final_accuracy"].max()
    if high - low >= 0.0005:
        sentences.append(
            f"Retrained on all inputs, the same ones for every metric, accuracy still lies "
            f"anywhere from {low:.3f} to {high:.3f}: differences of that size are chance."
        )
    if choice["n_seeds"] == 1:
        sentences.append(
            "This is one run with one seed: small differences may be chance, and only repeated "
            "seeds can tell."
        )
    else:
        sentences.append(f"Numbers are means over {choice['n_seeds']} seeds.")
    return " ".join(sentences)


def _compared(difference: float) -> str:
    """Put a difference of accuracies in words, as the rounded number shows it."""
    if abs(difference) < 0.0005:
        return "equal to that of"
    return f"{abs(difference):.3f} {'above' if difference > 0 else 'below'} that of"


def metric_name(metric: str) -> str:
    """Display name of a guidance metric; an unknown one keeps its id."""
    from utils.metrics import METRICS  # late: most of this module needs none of it

    return METRICS[metric].name if metric in METRICS else metric
