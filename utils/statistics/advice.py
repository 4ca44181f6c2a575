"""What the numbers advise: the Pareto front and the best trade-off, computed and put in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.statistics.significance import ALPHA, Ranking
from utils.statistics.summaries import ROUNDING, TOLERANCE, mean_interval


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
        Rows of `summarise` for one data set. Accuracy is that of the point chosen on validation;
        seconds and energy are those of that one retraining; energy does not count where it was
        not measured.

    Returns
    -------
    ndarray of shape (n,), dtype=bool
    """
    costs = ["chosen_seconds", "chosen_energy_kwh"]
    known = [cost for cost in costs if table[cost].notna().all()]
    return pareto_front(table, maximise=["chosen_accuracy"], minimise=known)


def recommend(runs: pd.DataFrame) -> dict[str, object]:
    """Name the best trade-off over one or several data sets, from the results alone.

    Of the (configuration, metric) pairs whose mean accuracy on validation + adversarial validation
    inputs is within 0.01 of the highest one, the pair that needs the fewest inputs at that point
    (as a share of all inputs of a data set); of equals, the more accurate one on validation. The
    test inputs have no say: they only judge what was chosen. Neither have seconds: the same number
    of inputs is the same work, and its time differs by chance alone.

    Parameters
    ----------
    runs : DataFrame
        What `summarise_runs` returns. Data sets count alike; a pair that was not run on all of
        them in each of its seeds is left out.

    Returns
    -------
    dict
        ``datasets, n_seeds, configuration, metric``; of the chosen point, as means over data sets
        and seeds, ``n_inputs, share`` (of all inputs), ``accuracy, accuracy_interval`` (95 %, over
        the seeds), ``seconds, cpu_seconds, energy_kwh`` (of this one retraining), ``clean_lost``;
        ``study_accuracy, study_n_inputs``: the best point on the test inputs instead;
        ``original_accuracy``; ``highest``: configuration and metric most accurate on validation;
        ``n_candidates``: pairs within 0.01 of it; ``all_inputs``: ``n_inputs, accuracy, seconds,
        energy_kwh`` of retraining on all, in the same order; ``final_range``: lowest and highest
        accuracy of this configuration's metrics there, where all of them have the same inputs;
        ``beats``: for ``random`` (with its own ``n_inputs``), ``all_inputs`` and
        ``no_retraining``, the ``difference`` in accuracy and its ``interval``; without random if
        it was not run.

    Raises
    ------
    ValueError
        If there is no pair to choose.
    """
    datasets = list(dict.fromkeys(runs["dataset"]))
    pool = runs.groupby(["dataset", "seed"])["final_n_inputs"].transform("max")
    table = runs.assign(share=runs["chosen_n_inputs"] / pool).drop(columns="dataset")
    grouped = table.groupby(["configuration", "metric", "seed"])
    per_seed = grouped.mean(skipna=False)[grouped.size() == len(datasets)]
    means = per_seed.groupby(level=[0, 1]).mean(skipna=False)
    if means.empty:
        raise ValueError("runs: expected a configuration and metric run on every data set")
    highest = means["chosen_val_accuracy"].max()
    near = means[means["chosen_val_accuracy"] >= highest - TOLERANCE - ROUNDING]
    order = ["share", "chosen_val_accuracy"]
    pair = near.sort_values(order, ascending=[True, False], kind="stable").index[0]
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
        "highest": list(means["chosen_val_accuracy"].idxmax()),
        "n_candidates": len(near),
        "all_inputs": {c: row[f"final_{c}"] for c in ("n_inputs", "accuracy", *costs)},
        "final_range": [finals.min(), finals.max()],
        "beats": beats,
    }


def in_words(choice: dict, ranking: Ranking, against: pd.DataFrame) -> str:
    """The recommendation in one paragraph for a reader in a hurry.

    Parameters
    ----------
    choice : dict
        Of `recommend`.
    ranking : Ranking
        Of the metrics in the recommended configuration.
    against : DataFrame
        Of `metrics_against_random`, of that configuration.
    """
    several = len(choice["datasets"]) > 1
    where = f"{len(choice['datasets'])} data sets" if several else choice["datasets"][0]
    configuration = configuration_name(choice["configuration"])
    took = f"{seconds(choice['seconds'])}{energy(choice['energy_kwh'])}"
    sentences = []
    if choice["beats"]["no_retraining"]["difference"] < 0.0005:
        sentences.append(
            f"On {where} retraining gains nothing: the best choice is no more accurate than the "
            "original model. If the attacks hardly fool it (see step 1.1), a larger epsilon or "
            "other attacks would say more."
        )
    sentences += [
        f"Best trade-off on {where}: {configuration}, on {_inputs(choice, several)}. "
        f"That one retraining takes {took}{' a data set' if several else ''} and brings "
        f"{'mean ' if several else ''}accuracy on test and adversarial test inputs from "
        f"{choice['original_accuracy']:.3f} to "
        f"{plus_minus(choice['accuracy'], choice['accuracy_interval'])}.",
        _compared(choice, several),
        f"How sure: {how_sure(choice, ranking, against)}",
        "The number of inputs was chosen on validation inputs, so the test inputs only judge; "
        "chosen on the test inputs, as the study does, this order's best is "
        f"{choice['study_accuracy']:.3f}"
        + ("." if several else f" at {choice['study_n_inputs']:,.0f} inputs."),
    ]
    return " ".join(sentences)


def _inputs(choice: dict, several: bool) -> str:
    """Which inputs to retrain on."""
    share = choice["share"]
    amount = f"{share:.0%} of the inputs" if several else f"{choice['n_inputs']:,.0f} inputs"
    if choice["metric"] == "random":
        return f"{amount} in random order"
    return f"the {amount} that {metric_name(choice['metric'])} puts first"


def _compared(choice: dict, several: bool) -> str:
    """What the recommended choice beats, and by how much."""
    everything, beats = choice["all_inputs"], choice["beats"]
    takes_all = everything["n_inputs"] - choice["n_inputs"] < 0.5
    names = {
        "random": "random order",
        "all_inputs": f"all inputs ({seconds(everything['seconds'])})",
        "no_retraining": "no retraining",
    }
    if not several:
        names["all_inputs"] = (
            f"all {everything['n_inputs']:,.0f} inputs ({seconds(everything['seconds'])})"
        )
        if "random" in beats:
            names["random"] = f"{beats['random']['n_inputs']:,.0f} inputs in random order"
    if takes_all:  # the same inputs are the same in any order
        names.pop("all_inputs")
        if "random" in beats and beats["random"]["n_inputs"] >= everything["n_inputs"] - 0.5:
            names.pop("random")
    parts = [
        f"{_difference(**{k: beats[key][k] for k in ('difference', 'interval')})} {name}"
        for key, name in names.items()
        if key in beats
    ]
    text = ", ".join(parts[:-1]) + (" and " if parts[1:] else "") + parts[-1]
    if takes_all:
        text += "; these are all the inputs there are, so no order saves any"
    if choice["metric"] == "random":
        text += f"; no guidance metric is more than {TOLERANCE} better than this on validation"
    return f"This is {text}."


def _difference(difference: float, interval: float) -> str:
    """Put a difference of accuracies in words, as the rounded number shows it."""
    if abs(difference) < 0.0005:
        return "equal to"
    size = plus_minus(abs(difference), interval)
    return f"{size} {'above' if difference > 0 else 'below'}"


def how_sure(choice: dict, ranking: Ranking, against: pd.DataFrame) -> str:
    """What the tests allow to say of the recommended metric; see `in_words`."""
    name, n = metric_name(choice["metric"]), ranking.n
    own = against[against["first"] == choice["metric"]]
    needed = int(against["needed"].max()) if len(against) else 0
    if n == 1:
        low, high = choice["final_range"]
        spread = (
            f" Retrained on all inputs, the same for every metric, accuracy still lies anywhere "
            f"from {low:.3f} to {high:.3f}: differences of that size are chance."
            if high - low >= 0.0005
            else " Small differences may be chance."
        )
        more = f" A test against random takes {needed} {_more(choice)}." if needed else ""
        return f"this is one run with one seed.{spread}{more}"
    sentences = []
    if len(own) and not np.isnan(own["p_holm"].iloc[0]):
        found = own.iloc[0]
        size = _difference(found["difference"], found["interval"])
        beyond = "beyond chance" if found["p_holm"] < ALPHA else "not beyond chance"
        sentences.append(
            f"over {found['blocks']}, the mean accuracy along the curve of {name} is {size} "
            f"that of random order, {beyond} (Wilcoxon with Holm, "
            f"{p_value(found['p_holm'])}; better in {found['wins']} of "
            f"{found['n']}, A12 = {found['a12']:.2f})."
        )
        if "seeds of" in found["blocks"]:  # runs share images: no claim beyond them
            sentences.append("That speaks of what was run, not of other data sets.")
    else:
        sentences.append(f"these are {ranking.blocks}.")
        if needed:
            sentences.append(f"A test against random takes {needed} {_more(choice)}.")
    if choice["metric"] in ranking.ranks.index and ranking.tested:
        alike = [metric for metric in ranking.alike(choice["metric"]) if metric != "random"]
        if not ranking.pairs.empty and not alike:
            sentences.append("It differs from every other metric (Nemenyi).")
        elif ranking.pairs.empty:
            sentences.append(
                f"Friedman's test finds no difference among the orders ({p_value(ranking.p)}, "
                f"n = {n})."
            )
        else:
            others = listed(map(metric_name, alike))
            sentences.append(f"Metrics not to be told from it: {others} (Nemenyi).")
    return " ".join(sentences)


def _more(choice: dict) -> str:
    """What to have more of for a test."""
    return "seeds or data sets" if len(choice["datasets"]) == 1 else "runs or data sets"


def plus_minus(value: float, half_width: float, digits: int = 3, signed: bool = False) -> str:
    """``0.913 ± 0.012``; without the interval where it is not known."""
    spread = "" if np.isnan(half_width) else f" ± {half_width:.{digits}f}"
    return f"{value:{'+' if signed else ''}.{digits}f}{spread}"


def p_value(p: float) -> str:
    """``p = 0.031``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def seconds(value: float) -> str:
    """``3.2 s``, or ``1,234 s``."""
    return f"{value:,.1f} s" if value < 100 else f"{value:,.0f} s"


def energy(kwh: float) -> str:
    """``and 0.012 Wh``; nothing where it was not measured."""
    return "" if np.isnan(kwh) else f" and {1000 * kwh:.3g} Wh"


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def metric_name(metric: str) -> str:
    """Display name of a guidance metric; an unknown one keeps its id."""
    from utils.metrics import METRICS  # late: most of this module needs none of it

    return METRICS[metric].name if metric in METRICS else metric


def configuration_name(configuration: int) -> str:
    """Number of a configuration and what it does."""
    from utils.retraining import CONFIGURATIONS  # late, as above

    what = CONFIGURATIONS.get(configuration)
    return f"configuration {configuration}{f' ({what})' if what else ''}"
