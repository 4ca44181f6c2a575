"""The study's questions, answered one by one from the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from scipy import stats

from utils.retraining.selection import PAIR, complete
from utils.statistics.advice import unbeaten
from utils.statistics.analysis import Evidence
from utils.statistics.blocks import DIGITS, configuration_blocks
from utils.statistics.ranking import Ranking
from utils.statistics.significance import ALPHA
from utils.statistics.wording import (
    and_list,
    configuration_name,
    energy,
    metric_name,
    p_value,
    seconds,
)

UNCERTAINTY = ("deepgini", "softmax_entropy")
"""The metrics that the study recommends, with configuration 2."""
SIZES_NEEDED = 5
"""Data sets that Kendall's exact test needs: 2 / n! < 0.05, for two of n! orders are extreme."""


def answers(evidence: Evidence) -> list[dict[str, str]]:
    """The study's questions with their answers.

    Returns
    -------
    list of dict
        ``question``, ``answer``, ``rests_on`` (figure or table of the comparison), ``study``
        (what the study concludes) and ``verdict`` (whether these results agree).
    """
    return [_metric(evidence), _configuration(evidence), _cost(evidence), _size(evidence)]


def _metric(evidence: Evidence) -> dict[str, str]:
    """Which metric: by the area under the curve, in the recommended configuration."""
    configuration = evidence.choice["configuration"]
    ranking, against = evidence.metrics[configuration], evidence.of(configuration)
    runs = complete(evidence.runs)
    runs = runs[runs["configuration"] == configuration]
    areas = runs.groupby("metric")["area"].mean().sort_values(ascending=False)
    best = areas.index[0]
    uncertain = [metric for metric in areas.index if metric in UNCERTAINTY]
    answer = [
        f"In configuration {configuration}, {metric_name(best)} has the highest mean accuracy "
        f"along the curve, {areas.iloc[0]:.3f}"
    ]
    if "random" in areas and best != "random":
        answer[0] += f" (random order: {areas['random']:.3f})"
    answer[0] += "."
    tested = against.dropna(subset="p_holm")
    if len(against) and tested.empty:
        needed = int(against["needed"].max())
        answer.append(_too_few(ranking, needed, "the test against random"))
    elif len(tested):
        clear = tested[tested["p_holm"] < ALPHA]
        answer += [
            f"{side} than random order beyond chance: {and_list(map(metric_name, names))}."
            for side, names in (
                ("Better", clear.loc[clear["difference"] > 0, "first"]),
                ("Worse", clear.loc[clear["difference"] < 0, "first"]),
            )
            if len(names)
        ] or [f"No metric differs from random order beyond chance (n = {tested['n'].iloc[0]})."]
    if ranking.tested:
        answer.append(_ranking_in_words(ranking, metric_name))
    if not uncertain or len(areas) == len(uncertain):
        verdict = "cannot tell: it takes uncertainty metrics and others"
    elif best in UNCERTAINTY:
        sure = (tested.loc[tested["first"] == best, "p_holm"] < ALPHA).any()
        verdict = _verdict("agrees", sure)
    else:
        pairs = ranking.pairs
        sure = not pairs.empty and (pairs.loc[best, uncertain] < ALPHA).all()
        verdict = _verdict("does not agree", sure)
    return {
        "question": "Which guidance metric?",
        "answer": " ".join(answer),
        "rests_on": "section 4",
        "study": "uncertainty metrics (DeepGini, softmax entropy)",
        "verdict": verdict,
    }


def _configuration(evidence: Evidence) -> dict[str, str]:
    """Which configuration: by the accuracy at the chosen point, mean over the metrics."""
    means = configuration_blocks(evidence.runs).mean().sort_values(ascending=False)
    ranking, pairs = evidence.configurations, evidence.pairs.configurations
    verdict = "cannot tell: configuration 2 and another must have been run on the same metrics"
    if len(means) < 2 or means.isna().any():
        answer = "There are no two configurations that were run on the same metrics."
    else:
        best = means.index[0]
        numbers = ", ".join(f"{c}: {value:.3f}" for c, value in means.items())
        tied = (means.round(DIGITS) == means.max().round(DIGITS)).sum() > 1
        first = "No configuration" if tied else configuration_name(best).capitalize()
        answer = (
            f"{first} is the most accurate at the chosen point, mean over the metrics ({numbers})."
        )
        own = pairs[(pairs["first"] == best) | (pairs["second"] == best)]
        if own["p_holm"].isna().any():
            needed = int(pairs["needed"].max())
            answer += " " + _too_few(ranking, needed, "a test of each two")
        else:
            tests = [
                f"{row['second'] if row['first'] == best else row['first']}: "
                f"{p_value(row['p_holm'])}"
                for _, row in own.iterrows()
            ]
            answer += (
                f" Wilcoxon with Holm against configuration {and_list(tests)} "
                f"({own['blocks'].iloc[0]})."
            )
        if ranking.tested:
            answer += " " + _ranking_in_words(ranking, lambda c: f"configuration {c}")
        if tied:
            verdict = "cannot tell: several are equally accurate"
        elif 2 in means.index:
            word = "agrees" if best == 2 else "does not agree"
            rivals = own if best == 2 else own[(own["first"] == 2) | (own["second"] == 2)]
            verdict = _verdict(word, bool((rivals["p_holm"] < ALPHA).all()))
    return {
        "question": "Which configuration?",
        "answer": answer,
        "rests_on": "section 5",
        "study": "configuration 2: from the original weights, on training and adversarial inputs",
        "verdict": verdict,
    }


def _cost(evidence: Evidence) -> dict[str, str]:
    """At what cost: the recommended retraining beside all inputs, and the Pareto front."""
    choice, everything = evidence.choice, evidence.choice["all_inputs"]
    means = complete(evidence.runs).groupby(["dataset", *PAIR], sort=False).mean(numeric_only=True)
    means = means.groupby(level=PAIR, sort=False).mean()
    front = [index for index, kept in zip(means.index, unbeaten(means), strict=True) if kept]
    studied = [pair for pair in means.index if pair[0] == 2 and pair[1] in UNCERTAINTY]
    on_front = [pair for pair in studied if pair in front]
    searched = means.loc[(choice["configuration"], choice["metric"]), "total_seconds"]
    each = " a data set" if len(choice["datasets"]) > 1 else ""
    answer = (
        f"The recommended retraining takes {seconds(choice['seconds'])}"
        f"{energy(choice['energy_kwh'])}{each} ({choice['cpu_seconds']:.1f} s of processor time) "
        f"on {choice['share']:.0%} of the inputs and gives {choice['accuracy']:.3f}. All inputs "
        f"take {seconds(everything['seconds'])}{energy(everything['energy_kwh'])} and give "
        f"{everything['accuracy']:.3f}. Trying every point of the curve to find the best takes "
        f"{seconds(searched)}. Not beaten in accuracy, time and energy together: "
        f"{and_list([f'{metric_name(m)} in configuration {c}' for c, m in front])}."
    )
    if not studied:
        verdict = "cannot tell: configuration 2 with an uncertainty metric was not run"
    else:
        verdict = (
            "agrees: configuration 2 with an uncertainty metric is among them"
            if on_front
            else "does not agree: configuration 2 with an uncertainty metric is not among them"
        )
    return {
        "question": "At what resource cost?",
        "answer": answer,
        "rests_on": "sections 2 and 3",
        "study": "configuration 2 with uncertainty metrics, as it needs few inputs",
        "verdict": verdict,
    }


def _size(evidence: Evidence) -> dict[str, str]:
    """Does size matter: the gain of each data set's own best choice against its inputs."""
    table = size_table(evidence)
    n = len(table)
    verdict = "cannot tell"
    if n < SIZES_NEEDED:
        answer = (
            f"Unknown: there {'is' if n == 1 else 'are'} {n} data set{'' if n == 1 else 's'}, and "
            f"an answer takes {SIZES_NEEDED}."
        )
    elif table["inputs"].nunique() < 2 or table["gain"].nunique() < 2:
        answer = "The data sets do not differ in size, or all gain the same."
    else:
        tau, p = stats.kendalltau(table["inputs"], table["gain"])
        facts = f"(Kendall's tau = {tau:.2f}, {p_value(p)})"
        answer = f"Over {n} data sets, gain and size show no trend beyond chance {facts}."
        verdict = "cannot tell: any trend may be chance"
        if p < ALPHA:
            answer = (
                f"Over {n} data sets, accuracy gains more on {'larger' if tau > 0 else 'smaller'} "
                f"ones {facts}. They differ in more than size, so size need not be the cause."
            )
            verdict = "agrees, beyond chance"
    return {
        "question": "Does the size of the data set matter?",
        "answer": answer,
        "rests_on": "section 6",
        "study": "it does, strongly",
        "verdict": verdict,
    }


def size_table(evidence: Evidence) -> pd.DataFrame:
    """A row a data set: all its retraining inputs, its own best choice, and what that gains."""
    sizes = evidence.runs.groupby("dataset")["final_n_inputs"].max()
    rows = [
        {
            "inputs": round(sizes[choice["datasets"][0]]),
            "configuration": choice["configuration"],
            "metric": choice["metric"],
            "chosen inputs": round(choice["n_inputs"]),
            "before": choice["original_accuracy"],
            "after": choice["accuracy"],
            "gain": choice["beats"]["no_retraining"]["difference"],
        }
        for choice in evidence.by_dataset
    ]
    names = pd.Index([c["datasets"][0] for c in evidence.by_dataset], name="data set")
    return pd.DataFrame(rows, index=names).sort_values("inputs", kind="stable")


def _ranking_in_words(ranking: Ranking, name: Callable[[Any], str]) -> str:
    """Friedman's and Nemenyi's verdict, in a sentence."""
    facts = f"Friedman, {p_value(ranking.p)}, {ranking.blocks}"
    if ranking.pairs.empty:
        return f"Ranked against each other, they do not differ beyond chance ({facts})."
    best = ranking.ranks.index[0]
    alike = ranking.alike(best)
    others = (
        f"which the test cannot separate from {and_list(map(name, alike))}"
        if alike
        else "ahead of all others"
    )
    return (
        f"Ranked against each other, they differ ({facts}). First is {name(best)}, {others} "
        "(Nemenyi, which compares all pairs at once and so finds less than a test of each)."
    )


def _too_few(ranking: Ranking, needed: int, what: str) -> str:
    """Why no test is made."""
    return (
        f"Not tested: there {'is' if ranking.n == 1 else 'are'} "
        f"{ranking.blocks}, and {what} takes {needed} data sets, or seeds of one data set alone."
    )


def _verdict(word: str, sure: bool) -> str:
    return f"{word}, beyond chance" if sure else f"{word} in direction, not shown beyond chance"


def answers_text(evidence: Evidence) -> str:
    """The questions and answers as Markdown, a paragraph each."""
    return "\n\n".join(
        f"**{a['question']}** {a['answer']} *Rests on {a['rests_on']}. The study: {a['study']}. "
        f"These results: {a['verdict']}.*"
        for a in answers(evidence)
    )
