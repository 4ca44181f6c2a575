"""How sure the recommendation is: how large chance is, and what the tests show."""

from __future__ import annotations

import numpy as np
import pandas as pd

from utils.metrics.registry import BASELINES
from utils.retraining.outcomes import parts
from utils.retraining.selection import choose, standard_error
from utils.statistics.advice import points_of, rivals, with_share
from utils.statistics.ranking import Ranking
from utils.statistics.significance import ALPHA
from utils.statistics.wording import (
    BASELINE_ORDERS,
    and_list,
    difference_in_words,
    metric_name,
    p_value,
    plus_minus,
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
        sizes = {tuple(map(len, parts(text))) for text in outcomes}
        n = and_list(f"{size[0]:,}" for size in sorted(sizes))
        anew = (
            "all" if all(size[0] == size[-1] for size in sizes) else f"{max(sizes)[-1]:,} of them"
        )
        others = table.drop(index=best)["error"]
        pairs = (
            f". For the difference between its chosen point and another's, on the same inputs, "
            f"it is {_range(others)}"
            if len(others)
            else ""
        )
        sentences.append(
            f"On the {n} validation images of {dataset}, {anew} attacked anew, the "
            f"standard error of the highest robust accuracy is {single:.3f} "
            f"({metric_name(best[1])} in configuration {best[0]}, "
            f"{table['val_accuracy'].max():.3f}){pairs}."
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


def how_sure(choice: dict, ranking: Ranking, against: pd.DataFrame, effects: pd.DataFrame) -> str:
    """What the tests show about the recommended metric; see `utils.statistics.recommendation`."""
    name, n = metric_name(choice["metric"]), ranking.n
    own = against[against["first"] == choice["metric"]]
    needed = int(against["needed"].max()) if len(against) else 0
    blocks = own["blocks"].iloc[0] if len(own) else ranking.blocks
    takes = f" A test against random order takes {needed} {_more(choice)}." if needed else ""
    several = len(choice["datasets"]) > 1
    if choice["n_seeds"] == 1 and not several:
        low, high = choice["final_range"]
        spread = (
            f" Retrained on all inputs, the same for every metric, robust accuracy is still "
            f"anywhere from {low:.3f} to {high:.3f}: differences of that size are chance."
            if high - low >= 0.0005
            else " Small differences may be chance."
        )
        return f"this is one run with one seed. {_on_the_same_images(choice)}{spread}{takes}"
    sentences = []
    by_dataset = effects[effects["first"] == choice["metric"]]
    if several and len(by_dataset):
        seeds = by_dataset["n"].min()
        spread = (
            f"± the 95 % t-interval over {seeds} seeds" if seeds > 1 else "one seed, no interval"
        )
        sentences.append(
            f"the mean robust accuracy along the curve of {name} minus that of random order is "
            f"{_by_dataset(by_dataset)} ({spread})."
        )
    if len(own) and not np.isnan(own["p_holm"].iloc[0]):
        found = own.iloc[0]
        size = difference_in_words(found["difference"], found["interval"])
        beyond = "beyond chance" if found["p_holm"] < ALPHA else "not beyond chance"
        sentences.append(
            f"{'Over' if sentences else 'over'} {found['blocks']}, the mean robust accuracy along "
            f"the curve of {name} is {size} that of random order, {beyond} (Wilcoxon with Holm "
            f"over all such tests, {p_value(found['p_holm'])}; better in {found['wins']} of "
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
        sentences.append(f"{'Over' if sentences else 'over'} {blocks}, no test is made.{takes}")
    if choice["n_seeds"] == 1:
        sentences.append(_on_the_same_images(choice))
    if choice["metric"] in ranking.ranks.index and ranking.tested:
        alike = [metric for metric in ranking.alike(choice["metric"]) if metric not in BASELINES]
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


def _on_the_same_images(choice: dict) -> str:
    """What McNemar's test and standard errors say of the recommended network, with one seed."""
    short = {**BASELINE_ORDERS, "all_inputs": "all inputs", "by_study": "the study's choice"}
    keys = [*rivals(choice), *(["by_study"] if choice["by_study"] else [])]
    beats = {short.get(key, "no retraining"): choice["beats"][key] for key in keys}
    errors = and_list(f"to {name} {entry['error']:.3f}" for name, entry in beats.items())
    clear = [
        f"{'better' if test['difference'] > 0 else 'worse'} than {name} {where} "
        f"({p_value(test['p'])})"
        for name, entry in beats.items()
        for where, test in entry["mcnemar"].items()
        if test["p"] < ALPHA
    ]
    verdict = (
        f"it is {and_list(clear)} beyond chance" if clear else "no difference is beyond chance"
    )
    return (
        f"Standard errors of the differences on the same test images: {errors}. By "
        f"McNemar's exact test with Holm's correction, {verdict}."
    )


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
