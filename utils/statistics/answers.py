"""The study's questions, answered one by one from the results.

The answer for the user is by the robust quantity. The study concluded about its own quantity, so
whether these results agree with it is judged by that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from scipy import stats

from utils.metrics.registry import BASELINES
from utils.retraining.selection import PAIR, complete
from utils.statistics.advice import unbeaten
from utils.statistics.analysis import Evidence
from utils.statistics.blocks import DIGITS, configuration_blocks
from utils.statistics.ranking import Ranking
from utils.statistics.significance import ALPHA
from utils.statistics.wording import (
    BASELINE_ORDERS,
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

    Parameters
    ----------
    evidence : Evidence
        Of the robust quantity, with that of the study's.

    Returns
    -------
    list of dict
        ``question``, ``answer`` (by robust accuracy), ``by_study`` (by the study's accuracy),
        ``rests_on`` (figure or table of the comparison), ``study`` (what the study concludes) and
        ``verdict`` (whether these results agree, by the study's accuracy).
    """
    assert evidence.study is not None
    return [
        {
            "question": question,
            "answer": answer(evidence)[0],
            "by_study": answer(evidence.study)[1],
            "rests_on": rests_on,
            "study": concludes,
            "verdict": answer(evidence.study)[2],
        }
        for question, answer, rests_on, concludes in _QUESTIONS
    ]


def _metric(evidence: Evidence) -> tuple[str, str, str]:
    """Which metric: by the area under the curve, in the recommended configuration."""
    configuration = evidence.choice["configuration"]
    ranking = evidence.metrics[configuration]
    runs = complete(evidence.runs)
    runs = runs[runs["configuration"] == configuration]
    areas = runs.groupby("metric")["area"].mean().sort_values(ascending=False)
    best = areas.index[0]
    others = [
        f"{words}: {areas[baseline]:.3f}"
        for baseline, words in BASELINE_ORDERS.items()
        if baseline in areas and baseline != best
    ]
    where = f"in configuration {configuration}, {metric_name(best)} has the highest mean"
    highest = f"along the curve, {areas.iloc[0]:.3f}"
    highest += f" ({'; '.join(others)})" if others else ""
    answer = [f"I{where[1:]} robust accuracy {highest}.", _lead(evidence)]
    tested = evidence.of(configuration).dropna(subset="p_holm")
    if len(evidence.of(configuration)) and tested.empty:
        answer.append(_too_few(evidence.of(configuration), "a test against random order"))
    for baseline, words in BASELINE_ORDERS.items():
        answer += _against(evidence.of(configuration, baseline), words)
    if ranking.tested:
        answer.append(_ranking_in_words(ranking, metric_name))
    uncertain = [metric for metric in areas.index if metric in UNCERTAINTY]
    if not uncertain or len(areas) == len(uncertain):
        verdict = "cannot tell: it takes uncertainty metrics and others"
    elif best in UNCERTAINTY:
        sure = (tested.loc[tested["first"] == best, "p_holm"] < ALPHA).any()
        verdict = _verdict("agrees", sure)
    else:
        pairs = ranking.pairs
        sure = not pairs.empty and (pairs.loc[best, uncertain] < ALPHA).all()
        verdict = _verdict("does not agree", sure)
    return " ".join(filter(None, answer)), f"{where} {highest}", verdict


def _lead(evidence: Evidence) -> str:
    """What of the best metric's lead over random order is left against the other baseline.

    In the recommended configuration; or, as not every one has both kinds of inputs to order, in the
    most accurate one on validation of those that have.
    """
    runs, recommended = complete(evidence.runs), evidence.choice["configuration"]
    ran = runs.groupby("configuration")["metric"].agg(lambda names: set(BASELINES) < set(names))
    means = runs.groupby("configuration")["chosen_val_accuracy"].mean()[ran]
    if means.empty:
        return ""
    configuration = recommended if ran[recommended] else means.idxmax()
    areas = runs[runs["configuration"] == configuration].groupby("metric")["area"].mean()
    guided = areas.drop(list(BASELINES))
    lead, left = (guided.max() - areas[baseline] for baseline in BASELINES)
    name = f"{metric_name(guided.idxmax())} in configuration {configuration}"
    if lead < 0.0005:
        return f"The best guidance metric, {name}, does not lead over random order."
    rest = f"{left:.3f} is" if left >= 0.0005 else "nothing is"
    return (
        f"Of the lead of {name} over random order, {lead:.3f}, {rest} left against "
        f"{BASELINE_ORDERS['adversarial_first']}."
    )


def _against(tests: pd.DataFrame, baseline: str) -> list[str]:
    """What the tests against a baseline find, in sentences; none where none was made."""
    tested = tests.dropna(subset="p_holm")
    if tested.empty:
        return []
    clear = tested[tested["p_holm"] < ALPHA]
    return [
        f"{side} than {baseline} beyond chance: {and_list(map(metric_name, names))}."
        for side, names in (
            ("Better", clear.loc[clear["difference"] > 0, "first"]),
            ("Worse", clear.loc[clear["difference"] < 0, "first"]),
        )
        if len(names)
    ] or [f"No metric differs from {baseline} beyond chance (n = {tested['n'].iloc[0]})."]


def _configuration(evidence: Evidence) -> tuple[str, str, str]:
    """Which configuration: by the accuracy at the chosen point, mean over the metrics."""
    means = configuration_blocks(evidence.runs).mean().sort_values(ascending=False)
    ranking, pairs = evidence.configurations, evidence.pairs.configurations
    if len(means) < 2 or means.isna().any():
        answer = "There are no two configurations that were run on the same metrics."
        verdict = "cannot tell: configuration 2 and another must have been run on the same metrics"
        return answer, answer[0].lower() + answer[1:-1], verdict
    best = means.index[0]
    numbers = ", ".join(f"{c}: {value:.3f}" for c, value in means.items())
    tied = (means.round(DIGITS) == means.max().round(DIGITS)).sum() > 1
    first = "no configuration" if tied else configuration_name(best)
    short = f"{first} is first at the chosen point ({numbers})"
    answer = (
        f"{first[0].upper()}{first[1:]} has the highest robust accuracy at the chosen point, mean "
        f"over the metrics that all of them ran ({numbers})."
    )
    own = pairs[(pairs["first"] == best) | (pairs["second"] == best)]
    if own["p_holm"].isna().any():
        answer += " " + _too_few(pairs, "a test of each two")
    else:
        tests = [
            f"{row['second'] if row['first'] == best else row['first']}: {p_value(row['p_holm'])}"
            for _, row in own.iterrows()
        ]
        answer += (
            f" Wilcoxon with Holm against configuration {and_list(tests)} "
            f"({own['blocks'].iloc[0]})."
        )
    if ranking.tested:
        answer += " " + _ranking_in_words(ranking, lambda c: f"configuration {c}")
    verdict = "cannot tell: configuration 2 and another must have been run on the same metrics"
    if tied:
        verdict = "cannot tell: several are equally accurate"
    elif 2 in means.index:
        word = "agrees" if best == 2 else "does not agree"
        rivals = own if best == 2 else own[(own["first"] == 2) | (own["second"] == 2)]
        verdict = _verdict(word, bool((rivals["p_holm"] < ALPHA).all()))
    return answer, short, verdict


def _cost(evidence: Evidence) -> tuple[str, str, str]:
    """At what cost: the recommended retraining beside all inputs, and the Pareto front."""
    choice, everything = evidence.choice, evidence.choice["all_inputs"]
    means = complete(evidence.runs).groupby(["dataset", *PAIR], sort=False).mean(numeric_only=True)
    means = means.groupby(level=PAIR, sort=False).mean()
    front = [index for index, kept in zip(means.index, unbeaten(means), strict=True) if kept]
    studied = [pair for pair in means.index if pair[0] == 2 and pair[1] in UNCERTAINTY]
    on_front = [pair for pair in studied if pair in front]
    searched = means.loc[(choice["configuration"], choice["metric"]), "total_seconds"]
    each = " a data set" if len(choice["datasets"]) > 1 else ""
    best = [f"{metric_name(m)} in configuration {c}" for c, m in front]
    whole, whole_energy = choice["seconds_with_inputs"], choice["energy_kwh_with_inputs"]
    inputs = f"; with making and scoring its inputs {seconds(whole)}{energy(whole_energy)}"
    answer = (
        f"The recommended retraining takes {seconds(choice['seconds'])}"
        f"{energy(choice['energy_kwh'])}{each} ({choice['cpu_seconds']:.1f} s of processor time)"
        f"{'' if pd.isna(whole) else inputs}. It uses {choice['share']:.0%} of the inputs and "
        f"gives a robust accuracy of {choice['accuracy']:.3f}. All inputs "
        f"take {seconds(everything['seconds'])}{energy(everything['energy_kwh'])} and give "
        f"{everything['accuracy']:.3f}. Trying every point of the curve to find the best takes "
        f"{seconds(searched)}. Not beaten in robust accuracy, time and energy together: "
        f"{and_list(best)}."
    )
    if not studied:
        verdict = "cannot tell: configuration 2 with an uncertainty metric was not run"
    else:
        verdict = (
            "agrees: configuration 2 with an uncertainty metric is among them"
            if on_front
            else "does not agree: configuration 2 with an uncertainty metric is not among them"
        )
    few = best if len(best) < 4 else [*best[:2], f"{len(best) - 2} others"]
    return answer, f"not beaten in accuracy, time and energy together: {and_list(few)}", verdict


def _size(evidence: Evidence) -> tuple[str, str, str]:
    """Does size matter: the gain of each data set's own best choice against its inputs."""
    table = size_table(evidence)
    n = len(table)
    verdict = "cannot tell"
    if n < SIZES_NEEDED:
        answer = (
            f"Unknown: there {'is' if n == 1 else 'are'} {n} data set{'' if n == 1 else 's'}, and "
            f"an answer takes {SIZES_NEEDED}."
        )
        return answer, "", verdict
    if table["inputs"].nunique() < 2 or table["gain"].nunique() < 2:
        answer = "The data sets do not differ in size, or all gain the same."
        return answer, answer[0].lower() + answer[1:-1], verdict
    tau, p = stats.kendalltau(table["inputs"], table["gain"])
    facts = f"(Kendall's tau = {tau:.2f}, {p_value(p)})"
    short = f"over {n} data sets, gain and size show no trend beyond chance {facts}"
    answer = f"{short[0].upper()}{short[1:]}."
    verdict = "cannot tell: any trend may be chance"
    if p < ALPHA:
        short = (
            f"over {n} data sets, it gains more on {'larger' if tau > 0 else 'smaller'} "
            f"ones {facts}"
        )
        answer = (
            f"{short[0].upper()}{short[1:]}. They differ in more than size, so size need not be "
            "the cause."
        )
        verdict = "agrees, beyond chance"
    return answer, short, verdict


_QUESTIONS = (
    (
        "Which guidance metric?",
        _metric,
        "section 4",
        "uncertainty metrics (DeepGini, softmax entropy)",
    ),
    (
        "Which configuration?",
        _configuration,
        "section 5",
        "configuration 2: from the original weights, on training and adversarial inputs",
    ),
    (
        "At what resource cost?",
        _cost,
        "sections 2 and 3",
        "configuration 2 with uncertainty metrics, as it needs few inputs",
    ),
    ("Does the size of the data set matter?", _size, "section 6", "it does, strongly"),
)


def size_table(evidence: Evidence) -> pd.DataFrame:
    """A row a data set: all its retraining inputs, its own best choice, and what that gains."""
    sizes = evidence.runs.groupby("dataset")["final_n_inputs"].max()
    rows = [
        {
            "inputs": round(sizes[choice["datasets"][0]]),
            "configuration": choice["configuration"],
            "metric": choice["metric"],
            "chosen inputs": round(choice["n_inputs"]),
            "adversarial ones": round(choice["n_adversarial"]),
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


def _too_few(tests: pd.DataFrame, what: str) -> str:
    """Why no test is made."""
    most = tests.loc[tests["n"].idxmax()]
    return (
        f"Not tested: there {'is' if most['n'] == 1 else 'are'} {most['blocks']}, and {what} takes "
        f"{most['needed']} data sets, or seeds of one data set alone."
    )


def _verdict(word: str, sure: bool) -> str:
    return f"{word}, beyond chance" if sure else f"{word} in direction, not shown beyond chance"


def answers_text(evidence: Evidence) -> str:
    """The questions and answers as Markdown, a paragraph each."""

    def beside(by_study: str) -> str:
        return f" By the study's accuracy, {by_study}." if by_study else ""

    return "\n\n".join(
        f"**{a['question']}** {a['answer']}{beside(a['by_study'])} *Rests on {a['rests_on']}. "
        f"The study: {a['study']}. By its own quantity, these results: {a['verdict']}.*"
        for a in answers(evidence)
    )
