"""What went wrong in retraining, said plainly: no numbers, or robust against one step alone."""

from __future__ import annotations

import pandas as pd

from utils.retraining.configurations import CONFIGURATIONS
from utils.statistics.wording import and_list, metric_name

WIDER = 0.2
"""So much more than that of the original model is a gap of one step to several that is alarming."""


def failures_in_words(results: pd.DataFrame) -> str:
    """What to know before the curves are read, as Markdown; empty if nothing went wrong.

    Parameters
    ----------
    results : DataFrame
        The results table.
    """
    found = [_without_numbers(results), _overfitted(results)]
    return "\n\n".join(filter(None, found))


def _without_numbers(results: pd.DataFrame) -> str:
    """Points whose training or network gave no numbers."""
    retrained = results[results["point"] > 0]
    failed = retrained[retrained["problem"].fillna("") != ""]
    if failed.empty:
        return ""
    reasons = and_list(
        f"{reason} ({', '.join(dict.fromkeys(map(_place, part.to_dict('records'))))})"
        for reason, part in failed.groupby("problem", sort=False)
    )
    return (
        f"**{_of(failed, retrained)} gave no usable network:** {reasons}. Such a point is chosen "
        "only where no other is left. A lower `learning_rate` may help."
    )


def _place(row: dict) -> str:
    return (
        f"{row['dataset']}, configuration {row['configuration']}, {metric_name(row['metric'])}, "
        f"seed {row['seed']}, point {row['point']}"
    )


def overfitted(results: pd.DataFrame) -> pd.DataFrame:
    """Retrained points that withstand one gradient step but not several: catastrophic overfitting.

    It comes of training against attacks of one step (Wong, Rice and Kolter, ICLR 2020), so only
    configurations that attack count. There is no agreed threshold. Here, on validation images, less
    than half of the accuracy under one step is left under several, and the gap between the two
    is wider than that of the original model by more than `WIDER`.
    """
    attacking = [number for number, how in CONFIGURATIONS.items() if how.attacks]
    part = results[results["configuration"].isin(attacking)]
    one, several = part["val_accuracy_one_step"], part["val_accuracy_fresh"]
    curve = [part[name] for name in ("dataset", "configuration", "metric", "seed")]
    before = (one - several).where(part["point"] == 0).groupby(curve).transform("max")
    return part[(part["point"] > 0) & (several < one / 2) & (one - several > before + WIDER)]


def _overfitted(results: pd.DataFrame) -> str:
    found = overfitted(results)
    if found.empty:
        return ""
    numbers = sorted(found["configuration"].unique())
    same = results[results["configuration"].isin(numbers) & (results["point"] > 0)]
    worst = found.loc[(found["val_accuracy_one_step"] - found["val_accuracy_fresh"]).idxmax()]
    return (
        f"**Catastrophic overfitting:** {_of(found, same).lower()} of configuration "
        f"{and_list(map(str, numbers))} withstand one gradient step but not several (at worst "
        f"{worst['val_accuracy_one_step']:.3f} against {worst['val_accuracy_fresh']:.3f} on "
        "validation images). Their robustness is an illusion of the one-step attack that they "
        "trained against. Take `inner_steps=2` or `inner_noise=2`."
    )


def _of(part: pd.DataFrame, whole: pd.DataFrame) -> str:
    return f"{len(part):,} of {len(whole):,} retrained points"
