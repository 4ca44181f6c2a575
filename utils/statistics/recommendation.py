"""The recommendation in words, and how sure it is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from utils.retraining.outcomes import unpack
from utils.retraining.selection import RULE, choose, standard_error
from utils.statistics.advice import points_of, recommend, with_share
from utils.statistics.ranking import Ranking
from utils.statistics.significance import ALPHA
from utils.statistics.wording import (
    and_list,
    configuration_name,
    energy,
    metric_name,
    p_value,
    plus_minus,
    seconds,
)


def recommendation_in_words(
    choice: dict, ranking: Ranking, against: pd.DataFrame, effects: pd.DataFrame
) -> str:
    """The recommendation in one paragraph for a reader in a hurry.

    Parameters
    ----------
    choice : dict
        Of `recommend`.
    ranking : Ranking
        Of the metrics in the recommended configuration.
    against, effects : DataFrame
        Of `compare_pairs`: the metrics of that configuration with random, over all data sets and
        in each.
    """
    several = len(choice["datasets"]) > 1
    where = f"{len(choice['datasets'])} data sets" if several else choice["datasets"][0]
    configuration = configuration_name(choice["configuration"])
    took = f"{seconds(choice['seconds'])}{energy(choice['energy_kwh'])}"
    sentences = []
    if choice["beats"]["no_retraining"]["difference"] < 0.0005:
        sentences.append(
            f"On {where} retraining gains nothing: the best choice is no more accurate than the "
            "original model. If the attacks hardly fool it (see step 1.1), take a larger epsilon "
            "or other attacks."
        )
    sentences += [
        f"Best trade-off on {where}: {configuration}, on {_inputs(choice, several)}. "
        f"This one retraining takes {took}{' a data set' if several else ''}. It changes "
        f"{'mean ' if several else ''}accuracy on test and adversarial test inputs from "
        f"{choice['original_accuracy']:.3f} to "
        f"{plus_minus(choice['accuracy'], choice['accuracy_interval'])}.",
        _compared(choice, several),
        f"How sure: {how_sure(choice, ranking, against, effects)}",
        f"It takes {RULE} ({_margin(choice)}). The test inputs only evaluate it. "
        "With the point chosen on the test inputs, as the study does, this order's best is "
        f"{choice['study_accuracy']:.3f}"
        + ("." if several else f" at {choice['study_n_inputs']:,.0f} inputs."),
    ]
    if choice["left_out"]:
        names = [f"{metric_name(m)} in configuration {c}" for c, m in choice["left_out"]]
        sentences.append(
            f"Left out, because not run on every data set with every seed: {and_list(names)}."
        )
    return " ".join(sentences)


def announcement(runs: pd.DataFrame) -> str:
    """One line for what is recommended among some curves: the main number of their page.

    Parameters
    ----------
    runs : DataFrame
        What `summarise_runs` returns. The sentence names what was compared: the metrics of one
        configuration, or all configurations.
    """
    choice = recommend(runs)
    accuracies = f"accuracy {choice['original_accuracy']:.3f} -> {choice['accuracy']:.3f}"
    inputs = f"{choice['metric']}, {choice['n_inputs']:,.0f} inputs"
    if runs["metric"].nunique() == runs["configuration"].nunique() == 1:
        return f"{accuracies} with {inputs}"
    if runs["configuration"].nunique() == 1:
        return f"{accuracies}, recommended among its metrics: {inputs}"
    return (
        f"{', '.join(choice['datasets'])}: {accuracies}, recommended overall: "
        f"c{choice['configuration']}, {inputs}"
    )


def _margin(choice: dict) -> str:
    """How far the recommended pair is below the highest on validation."""
    configuration, metric = choice["highest"]
    if [choice["configuration"], choice["metric"]] == choice["highest"]:
        others = choice["n_candidates"] - 1
        return f"it is the highest itself; {others or 'no'} other{'s' * (others > 1)} within that"
    return (
        f"{choice['below']:.3f} below {metric_name(metric)} in configuration {configuration}, with "
        f"a standard error of {choice['error']:.3f}"
    )


def chance_in_words(runs: pd.DataFrame) -> str:
    """How large chance is on the validation inputs that choose, a sentence a data set.

    Parameters
    ----------
    runs : DataFrame
        What `summarise_runs` returns.
    """
    sentences = []
    for dataset, part in with_share(runs).groupby("dataset", sort=False):
        table = choose(points_of(part))
        best = table.index[table["below"].argmin()]
        own = part[(part["configuration"] == best[0]) & (part["metric"] == best[1])]
        outcomes = own["chosen_val_right"]
        single = np.mean([standard_error(text) for text in outcomes])
        n = and_list(sorted({f"{len(unpack(text)):,}" for text in outcomes}))
        others = table.drop(index=best)["error"]
        pairs = (
            f". For the difference between its chosen point and another's, on the same inputs, "
            f"it is {_range(others)}"
            if len(others)
            else ""
        )
        sentences.append(
            f"On the {n} validation and adversarial validation inputs of {dataset}, the standard "
            f"error of the highest accuracy is {single:.3f} ({metric_name(best[1])} in "
            f"configuration {best[0]}, {table['val_accuracy'].max():.3f}){pairs}."
        )
    unknown = (
        " One seed cannot show how much training adds to it."
        if runs["seed"].nunique() == 1
        else " The error of the difference includes the spread of the seeds."
    )
    return f"**How large chance is.** {' '.join(sentences)}{unknown}"


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.3f}", f"{values.max():.3f}"
    return low if low == high else f"{low} to {high}"


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
        text += ". These are all inputs there are, so no order saves any"
    if choice["metric"] == "random":
        text += "; on validation it is within one standard error of the highest"
    return f"This is {text}."


def _difference(difference: float, interval: float) -> str:
    """Put a difference of accuracies in words, as the rounded number shows it."""
    if abs(difference) < 0.0005:
        return "equal to"
    size = plus_minus(abs(difference), interval)
    return f"{size} {'above' if difference > 0 else 'below'}"


def how_sure(choice: dict, ranking: Ranking, against: pd.DataFrame, effects: pd.DataFrame) -> str:
    """What the tests show about the recommended metric; see `recommendation_in_words`."""
    name, n = metric_name(choice["metric"]), ranking.n
    own = against[against["first"] == choice["metric"]]
    needed = int(against["needed"].max()) if len(against) else 0
    takes = f" A test against random takes {needed} {_more(choice)}." if needed else ""
    several = len(choice["datasets"]) > 1
    if n == 1 and not several:
        low, high = choice["final_range"]
        spread = (
            f" Retrained on all inputs, the same for every metric, accuracy is still anywhere "
            f"from {low:.3f} to {high:.3f}: differences of that size are chance."
            if high - low >= 0.0005
            else " Small differences may be chance."
        )
        return f"this is one run with one seed.{spread}{takes}"
    sentences = []
    by_dataset = effects[effects["first"] == choice["metric"]]
    if several and len(by_dataset):
        seeds = by_dataset["n"].min()
        spread = (
            f"± the 95 % t-interval over {seeds} seeds" if seeds > 1 else "one seed, no interval"
        )
        sentences.append(
            f"the mean accuracy along the curve of {name} minus that of random order is "
            f"{_by_dataset(by_dataset)} ({spread})."
        )
    if len(own) and not np.isnan(own["p_holm"].iloc[0]):
        found = own.iloc[0]
        size = _difference(found["difference"], found["interval"])
        beyond = "beyond chance" if found["p_holm"] < ALPHA else "not beyond chance"
        sentences.append(
            f"{'Over' if sentences else 'over'} {found['blocks']}, the mean accuracy along the "
            f"curve of {name} is {size} that of random order, {beyond} (Wilcoxon with Holm over "
            f"all such tests, {p_value(found['p_holm'])}; better in {found['wins']} of "
            f"{found['n']}, A12 = {found['a12']:.2f})."
        )
        if "seeds of" in found["blocks"]:  # they share images: no claim beyond them
            sentences.append("That is about seeds of this data set, not of other data sets.")
    elif choice["metric"] == "random" and len(tested := against.dropna(subset="p_holm")):
        better = tested[(tested["p_holm"] < ALPHA) & (tested["difference"] > 0)]
        names = and_list(map(metric_name, better["first"])) if len(better) else "no metric"
        sentences.append(
            f"over {ranking.blocks}, {names} orders better beyond chance (Wilcoxon with Holm)."
        )
    else:
        sentences.append(
            f"{'Over' if sentences else 'over'} {ranking.blocks}, no test is made.{takes}"
        )
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
            others = and_list(map(metric_name, alike))
            sentences.append(f"The test cannot separate it from {others} (Nemenyi).")
    return " ".join(sentences)


def _by_dataset(effects: pd.DataFrame, most: int = 8) -> str:
    """``+0.012 ± 0.003 on mnist and ...``; where there are many, how many are above 0."""
    if len(effects) > most:
        above = int((effects["difference"] > 0).sum())
        return f"above 0 on {above} of {len(effects)} data sets"
    return and_list(
        [
            f"{plus_minus(row.difference, row.interval, signed=True)} on {row.dataset}"
            for row in effects.itertuples()
        ]
    )


def _more(choice: dict) -> str:
    """What a test needs more of."""
    return "seeds, or as many data sets" if len(choice["datasets"]) == 1 else "data sets"
