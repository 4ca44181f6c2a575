"""What ``recommendation.json`` holds: the recommendation, the answers and every test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from utils.retraining.selection import QUANTITIES
from utils.statistics.advice import with_front
from utils.statistics.analysis import Evidence
from utils.statistics.answers import answers
from utils.statistics.summaries import summarise_seeds


def as_json(evidence: Evidence) -> dict[str, Any]:
    """All of the evidence as `json` can write it; numbers that are not known become None.

    ``accuracy`` is that of the robust quantity, but in ``study``.
    """
    return _plain(
        {
            "text": evidence.text,
            "questions": answers(evidence),
            **_numbers(evidence),
            "study": _numbers(evidence.study) if evidence.study else None,
        }
    )


def by_quantity(evidence: Evidence) -> pd.DataFrame:
    """A row a quantity, data set, configuration and metric: what `summarise_seeds` returns."""
    each = [evidence, evidence.study] if evidence.study else [evidence]
    tables = [with_front(summarise_seeds(one.runs)).assign(quantity=one.quantity) for one in each]
    table = pd.concat(tables, ignore_index=True)
    return table[["quantity", *table.columns.drop("quantity")]]


def _numbers(evidence: Evidence) -> dict[str, Any]:
    """The recommendation and the tests of one quantity."""
    rankings = {f"metrics, configuration {c}": r for c, r in evidence.metrics.items()}
    rankings["configurations"] = evidence.configurations
    return {
        "quantity": f"{evidence.quantity}: {QUANTITIES[evidence.quantity]}",
        "recommendation": evidence.choice,
        "choices": evidence.by_dataset,
        "tests": {
            "rankings": {
                name: {
                    "mean_ranks": r.ranks.to_dict(),
                    "blocks": r.blocks,
                    "n": r.n,
                    "needed": r.needed,
                    "friedman": r.statistic,
                    "p": r.p,
                    "critical_difference": r.distance,
                    "nemenyi": r.pairs.to_dict(),
                }
                for name, r in rankings.items()
            },
            "family": evidence.pairs.family,
            "against_baselines": evidence.pairs.metrics.to_dict("records"),
            "configurations": evidence.pairs.configurations.to_dict("records"),
            "against_baselines_by_dataset": evidence.pairs.metric_effects.to_dict("records"),
            "configurations_by_dataset": evidence.pairs.configuration_effects.to_dict("records"),
        },
    }


def _plain(value: Any) -> Any:
    """Keys as text, NumPy's numbers as Python's, NaN as None."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
