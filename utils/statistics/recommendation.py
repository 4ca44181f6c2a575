"""The recommendation in words."""

from __future__ import annotations

import pandas as pd

from utils.metrics.registry import BASELINES
from utils.retraining.configurations import CONFIGURATIONS
from utils.retraining.selection import RULE
from utils.statistics.advice import recommend, rivals, takes_all
from utils.statistics.certainty import how_sure
from utils.statistics.ranking import Ranking
from utils.statistics.wording import (
    BASELINE_ORDERS,
    and_list,
    configuration_name,
    difference_in_words,
    energy,
    metric_name,
    plus_minus,
    seconds,
)

FIRST_AT_RANDOM = "with the adversarial ones first, at random"
"""The order of ``adversarial_first``, in words."""


def recommendation_in_words(
    choice: dict, ranking: Ranking, against: pd.DataFrame, effects: pd.DataFrame
) -> str:
    """The recommendation for a reader in a hurry: what to do, what it beats, and how sure that is.

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
    what = [
        f"Best trade-off on {where}: {configuration}, on {_inputs(choice, several)}. "
        f"This one retraining takes {took}{' a data set' if several else ''}.",
        _before_and_after(choice, several),
    ]
    if choice["beats"]["no_retraining"]["difference"] < 0.0005:
        what.insert(
            0,
            f"On {where} retraining gains nothing: the best choice has no higher robust accuracy "
            "than the original model. If the attacks hardly fool it (see step 1.1), take a larger "
            "epsilon or other attacks.",
        )
    sure = [
        f"How sure: {how_sure(choice, ranking, against, effects)}",
        f"It takes {RULE} ({_margin(choice)}). The test inputs only evaluate it. "
        "With the point chosen on the test inputs, as the study does, this order's best is "
        f"{choice['best_accuracy']:.3f}"
        + ("." if several else f" at {choice['best_n_inputs']:,.0f} inputs."),
    ]
    if choice["left_out"]:
        names = [f"{metric_name(m)} in configuration {c}" for c, m in choice["left_out"]]
        sure.append(
            f"Left out, because not run on every data set with every seed: {and_list(names)}."
        )
    beside = [_compared(choice, several), _by_study(choice, several)]
    return "\n\n".join(" ".join(filter(None, part)) for part in (what, beside, sure))


def _before_and_after(choice: dict, several: bool) -> str:
    """Robust accuracy and its parts, then the study's."""
    after = plus_minus(choice["accuracy"], choice["accuracy_interval"])
    if choice["n_seeds"] == 1:
        low, high = choice["accuracy_low"], choice["accuracy_high"]
        after += f" (95 % interval over images {low:.3f} to {high:.3f})"
    changes = {part: f"from {a:.3f} to {b:.3f}" for part, (a, b) in choice["parts"].items()}
    return (
        f"It changes {'mean ' if several else ''}robust accuracy from "
        f"{choice['original_accuracy']:.3f} to {after}. That is the mean of the accuracy on clean "
        f"images, {changes['clean']}, and of that under a fresh attack, {changes['fresh']}. "
        "The study's accuracy, on clean and fixed adversarial images together, goes "
        f"{changes['study']}."
    )


def _by_study(choice: dict, several: bool) -> str:
    """What the study's quantity would have chosen, where that is something else."""
    rival = choice["by_study"]
    if rival is None:
        return ""
    inputs = "" if several else f", {rival['n_inputs']:,.0f} inputs"
    return (
        f"By the study's accuracy the choice would be configuration {rival['configuration']} with "
        f"{metric_name(rival['metric'])}{inputs}; its robust accuracy is {rival['accuracy']:.3f}, "
        f"{difference_in_words(-choice['beats']['by_study']['difference'])} the recommended one."
    )


def announcement(runs: pd.DataFrame) -> str:
    """One line for what is recommended among some curves: the main number of their page.

    Parameters
    ----------
    runs : DataFrame
        What `summarise_runs` returns, of the robust quantity. The sentence names what was
        compared: the metrics of one configuration, or all configurations.
    """
    choice = recommend(runs)
    accuracies = f"robust accuracy {choice['original_accuracy']:.3f} -> {choice['accuracy']:.3f}"
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


def _inputs(choice: dict, several: bool) -> str:
    """Which inputs to retrain on."""
    how = CONFIGURATIONS.get(choice["configuration"])
    amount = f"{choice['n_prefix']:,.0f} inputs"
    if several:
        one = how.ordered[0] if how and len(how.ordered) == 1 else ""
        kind = {"train": "training ", "adv_train": "adversarial "}.get(one, "")
        amount = f"{choice['prefix_share']:.0%} of the {kind}inputs"
    if choice["metric"] == "random":
        text = f"{amount} in random order"
    elif choice["metric"] == "adversarial_first":
        text = f"{amount} {FIRST_AT_RANDOM}"
    else:
        text = f"the {amount} that {metric_name(choice['metric'])} puts first"
    if several:
        return text + (", and all training inputs" if how and how.always else "")
    return f"{text} ({_made_of(choice)})"


def _made_of(choice: dict) -> str:
    """How many training and adversarial inputs a recommended retraining takes."""
    n, adversarial = round(choice["n_inputs"]), round(choice["n_adversarial"])
    every = round(choice["all_inputs"]["n_adversarial"])
    train, every_train = n - adversarial, round(choice["all_inputs"]["n_inputs"]) - every
    kept = n - round(choice["n_prefix"])
    how = CONFIGURATIONS.get(choice["configuration"])
    if how and how.attacks:
        beyond = f"; the other {kept:,} training inputs are trained on as they are" if kept else ""
        whole = "all" if choice["n_prefix"] == every_train else "of"
        return f"{whole} {every_train:,} training inputs{beyond}"
    found = [
        f"all {whole:,} {what} inputs" if part == whole else f"{part:,} of {whole:,} {what} inputs"
        for part, whole, what in (
            (adversarial, every, "adversarial"),
            (train, every_train, "training"),
        )
        if whole
    ]
    return " and ".join(found)


def _compared(choice: dict, several: bool) -> str:
    """What the recommended choice beats, and by how much."""
    everything, beats = choice["all_inputs"], choice["beats"]
    number = "all" if several else f"all {everything['n_inputs']:,.0f}"
    names = {
        **BASELINE_ORDERS,
        "all_inputs": f"{number} inputs ({seconds(everything['seconds'])})",
        "no_retraining": "no retraining",
    }
    if not several:
        for name, how in (("random", "in random order"), ("adversarial_first", FIRST_AT_RANDOM)):
            if name in beats:
                names[name] = f"{beats[name]['n_prefix']:,.0f} inputs {how}"
    text = and_list(
        f"{difference_in_words(beats[key]['difference'], beats[key]['interval'])} {names[key]}"
        for key in rivals(choice)
    )
    if takes_all(choice):
        text += ". It takes all inputs that are ordered, so no order saves any"
    if choice["metric"] in BASELINES:
        text += "; on validation it is within one standard error of the highest"
    return f"In robust accuracy it is {text}."
