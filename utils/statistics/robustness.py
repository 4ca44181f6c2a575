"""Robustness: how much of the gain a fresh attack leaves, with its interval, and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from utils.core.seeds import rng
from utils.retraining.fresh_results import BY_EPSILON, FULL, ORIGINAL, OUTCOMES, SETTING
from utils.retraining.outcomes import unpack

DRAWS = 1000
"""Samples of a bootstrap."""


def networks_table(table: pd.DataFrame) -> pd.DataFrame:
    """The measurements of one configuration and seed for people, a row a network."""
    hidden = {"dataset", "configuration", "seed", "accuracy_adversarial", *SETTING, *OUTCOMES}
    hidden |= {*BY_EPSILON.values(), "doubts"} - {"accuracy_clean", "accuracy_fresh"}
    shown = table.drop(columns=list(hidden)).set_index("metric").round(3)
    return shown.rename(columns=lambda name: name.removeprefix("accuracy_"))


def budgets_table(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy for each budget, a column a multiple of epsilon, a row a network."""
    columns = {column: f"{multiple:g} x epsilon" for multiple, column in BY_EPSILON.items()}
    return table.set_index("metric")[list(columns)].rename(columns=columns).round(3)


def metrics_table(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in the worst case: a row a configuration, a column a metric, means of seeds."""
    keys = ["dataset", "configuration"]
    means = table.pivot_table(index=keys, columns="metric", values="accuracy_fresh", sort=False)
    return means.round(3)


def announcement(table: pd.DataFrame) -> str:
    """One line for the page of one configuration: the mean of its chosen networks."""
    if _with_networks(table).empty:
        return _NO_NETWORK
    before, after = _before_and_after(table)
    columns = ("accuracy_fixed", "accuracy_fresh")
    fixed, fresh = (f"{before[c]:.3f} -> {after[c]:.3f}" for c in columns)
    doubted = (table["doubts"] != "").sum()
    doubt = f"; NOT TO BE TRUSTED for {doubted} of {len(table)} networks" if doubted else ""
    return f"mean accuracy on fixed inputs {fixed}, worst case of fresh attacks {fresh}{doubt}"


def setting_in_words(table: pd.DataFrame) -> str:
    """How hard the attacks tried, and that a stronger one may find more where they did not fully.

    Tables may have been made with several settings: each has its sentence.
    """
    return " ".join(map(_setting, table[SETTING].drop_duplicates().to_dict("records")))


def _setting(values: dict) -> str:
    counts = {name: int(values[name]) for name in FULL}
    text = (
        f"Budget: epsilon {values['epsilon']:g} (L-infinity), for Carlini-Wagner "
        f"{values['l2']:.3g} (L2). APGD: {counts['steps']} steps, "
        f"{_count(counts['restarts'], 'start')} with cross-entropy and "
        f"{_count(counts['targets'], 'target')}; Square: {counts['queries']:,} queries; "
        f"Carlini-Wagner: {_count(counts['searches'], 'constant')}."
    )
    if all(count >= FULL[name] for name, count in counts.items()):
        return text
    return (
        f"**This is a quick setting: a stronger attack may find more.** {text} The full one has "
        f"{FULL['steps']} steps, {FULL['restarts']} starts, {FULL['targets']} targets, "
        f"{FULL['queries']:,} queries and {FULL['searches']} constants."
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def doubts_in_words(table: pd.DataFrame) -> str:
    """A line for each network whose accuracy is not to be trusted, and why."""
    lines = [
        f"- **{_network(row)}: {row.accuracy_fresh:.3f} is not to be trusted.** {row.doubts}"
        for row in table[table["doubts"] != ""].itertuples()
    ]
    return "\n".join(lines) or "None of the signs of a failed attack was seen."


def _network(row: Any) -> str:
    if row.metric == ORIGINAL:
        return f"{row.dataset}, seed {row.seed}, original model"
    return f"{row.dataset}, seed {row.seed}, configuration {row.configuration}, {row.metric}"


def warning(table: pd.DataFrame, configuration: int, metric: str) -> str:
    """One line if attacking a configuration's and metric's networks has failed, else empty."""
    part = table[(table["configuration"] == configuration) & (table["metric"] == metric)]
    doubted = part[part["doubts"] != ""]
    if doubted.empty:
        return ""
    names = ", ".join(dict.fromkeys(doubted["dataset"]))
    return (
        f"Warning: the accuracy under fresh attacks is not to be trusted ({names}): "
        f"{doubted['doubts'].iloc[0]}"
    )


def gain_left_in_words(table: pd.DataFrame) -> str:
    """A paragraph a data set and configuration: what fresh attacks leave of the gain."""
    if table.empty:
        return "No network was attacked: step 4.2 has not run, or `keep_models` is none."
    parts = table.groupby(["dataset", "configuration"], sort=False)
    return "\n\n".join(
        f"{name}, configuration {number}{_doubt(part)}: {_paragraph(part)}"
        for (name, number), part in parts
    )


def _doubt(part: pd.DataFrame) -> str:
    doubted = (part["doubts"] != "").sum()
    return (
        f" (**not to be trusted**: attacking failed on {doubted} of {len(part)} networks, as step "
        "4.2 says)"
        if doubted
        else ""
    )


_NO_NETWORK = "no retraining gave a network to attack"


def _with_networks(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs with a chosen network; there is none where all trainings failed."""
    run = [table[name] for name in ("dataset", "configuration", "seed")]
    return table[(table["metric"] != ORIGINAL).groupby(run).transform("any")]


def _before_and_after(part: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Means of the original model and of the chosen networks."""
    means = part.groupby(part["metric"] != ORIGINAL).mean(numeric_only=True)
    return means.loc[False], means.loc[True]


def _paragraph(part: pd.DataFrame) -> str:
    part = _with_networks(part)
    if part.empty:
        return f"{_NO_NETWORK}."
    before, after = _before_and_after(part)
    columns = ("accuracy_fixed", "accuracy_fixed_linf", "accuracy_fresh")
    whole, same, fresh = (f"from {before[c]:.3f} to {after[c]:.3f}" for c in columns)
    comparable = not np.isnan(before["accuracy_fixed_linf"])
    part_of_them = f", on those made within the same budget {same}" if comparable else ""
    gains = (
        f"on the fixed inputs retraining takes accuracy {whole}{part_of_them}, in the worst "
        f"case of fresh attacks {fresh} (means of the chosen networks). "
    )
    left = gain_left(part)
    if left.least_gain <= 0:
        where = "those within the budget" if comparable else "the fixed inputs"
        return gains + f"There is no gain beyond chance on {where} that a fresh attack could take."
    means_of = part[part["metric"] != ORIGINAL].groupby("metric", sort=False)["accuracy_fresh"]
    best = means_of.mean()
    where = " within the budget" if comparable else ""
    return gains + (
        f"So {left.share:.0%} of the gain{where} is left (95 % interval {left.low:.0%} to "
        f"{left.high:.0%}, over images): {_verdict(left.low, left.high)} The highest worst "
        f"case is {best.max():.3f}, with {best.idxmax()}."
    )


@dataclass(frozen=True)
class GainLeft:
    """How much of the gain on fixed inputs is left under a fresh attack, as a share of 0..1.

    `low` and `high` are its 95 % interval, `least_gain` the lower end of that of the gain itself:
    where it is not above 0, no share means anything.
    """

    share: float
    low: float
    high: float
    least_gain: float


def gain_left(part: pd.DataFrame, draws: int = DRAWS) -> GainLeft:
    """The gain in the worst case over that on fixed inputs, both with the same budget.

    So Carlini-Wagner, which has another one, does not count.

    Gains are the mean accuracy of the chosen networks minus that of the original model. The
    interval is that of a percentile bootstrap (Efron and Tibshirani 1993) over the images: each
    draw takes as many images as there are, with replacement, and of an image all that was measured
    on it, by all networks. The networks are fixed: the interval covers other test images, not other
    seeds or trainings. Each seed is drawn separately.

    Parameters
    ----------
    part : DataFrame
        Of `fresh_table`, of one data set and configuration. Where no input is within the budget,
        all of the fixed inputs count.
    draws : int
    """
    comparable = any(unpack(text).any() for text in part["within_budget"])
    fresh, fixed = gains = np.zeros((2, draws + 1))  # the first as measured
    runs = list(part.groupby("seed"))
    for seed, run in runs:
        is_original = run["metric"] == ORIGINAL
        gained = [
            np.mean([unpack(t) for t in run.loc[~is_original, column]], axis=0)
            - unpack(run.loc[is_original, column].iloc[0])
            for column in ("right_fresh_linf" if comparable else "right_fresh", "right_fixed")
        ]
        n = len(gained[0])
        counted = unpack(run["within_budget"].iloc[0]) if comparable else np.ones(n, bool)
        values = np.stack([gained[0], gained[1] * counted, counted])
        generator = rng(int(seed), "bootstrap")
        for draw in range(draws + 1):
            images = generator.integers(n, size=n) if draw else np.arange(n)
            one, other, share = values @ np.bincount(images, minlength=n) / n
            gains[:, draw] += one, other / share if share else 0
    gains /= len(runs)
    least_gain = float(np.quantile(fixed[1:], 0.025))
    if fixed[0] <= 0 or least_gain <= 0:
        return GainLeft(np.nan, np.nan, np.nan, min(least_gain, float(fixed[0])))
    shares = np.clip(fresh / np.maximum(fixed, 1e-12), 0, 1)
    low, high = np.quantile(shares[1:], [0.025, 0.975])
    return GainLeft(float(shares[0]), float(low), float(high), least_gain)


def _verdict(low: float, high: float) -> str:
    """What the interval of the share supports."""
    if high < 0.5:
        return (
            "most of the gain rests on what the fixed inputs look like. It does not hold against "
            "an attacker who knows the networks."
        )
    if low >= 0.9:
        return "the gain also holds against an attacker who knows the networks."
    if low >= 0.5:
        return "the greater part holds against an attacker who knows the networks."
    return (
        "these images cannot show whether the greater part holds against an attacker who knows "
        "the networks."
    )
