"""The analysis of a results table: every curve measured, every test made, the recommendation.

It is made of the robust quantity, which the recommendation follows; and of the study's, which the
study's own conclusions are about. See `utils.retraining.selection.QUANTITIES`.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from utils.retraining.selection import measured
from utils.statistics.advice import recommend
from utils.statistics.blocks import configuration_blocks, metric_blocks
from utils.statistics.pairs import Pairs, compare_pairs
from utils.statistics.ranking import Ranking, rank_tests
from utils.statistics.recommendation import recommendation_in_words
from utils.statistics.summaries import summarise_runs


@dataclass(frozen=True)
class Evidence:
    """Every curve measured, every test made, and the recommendation, all of one quantity.

    Attributes
    ----------
    quantity : str
        A key of `QUANTITIES`.
    runs : DataFrame
        Of `summarise_runs`.
    metrics : dict of int to Ranking
        By configuration: the metrics compared on the area under the curve over inputs.
    configurations : Ranking
        Compared on the accuracy at the chosen point, mean over the metrics.
    pairs : Pairs
        Each metric with the baselines on the same area, and each two configurations.
    choice : dict
        Of `recommend`, over all data sets.
    by_dataset : list of dict
        Of `recommend`, for each data set alone.
    study : Evidence or None
        Of the robust quantity: the same of the study's.
    """

    quantity: str
    runs: pd.DataFrame
    metrics: dict[Hashable, Ranking]
    configurations: Ranking
    pairs: Pairs
    choice: dict[str, Any]
    by_dataset: list[dict[str, Any]]
    study: Evidence | None = None

    def of(self, configuration: int, baseline: str = "random") -> pd.DataFrame:
        """The tests against a baseline in one configuration."""
        tests = self.pairs.metrics
        return tests[(tests["configuration"] == configuration) & (tests["second"] == baseline)]

    @property
    def rankings(self) -> dict[str, Ranking]:
        """All rankings that were tested: mean ranks of fewer blocks would look like an answer."""
        named: dict[str, Ranking] = {f"configuration {c}": r for c, r in self.metrics.items()}
        named["configurations"] = self.configurations
        return {name: ranking for name, ranking in named.items() if ranking.tested}

    @property
    def text(self) -> str:
        """The recommendation in a few paragraphs."""
        configuration = self.choice["configuration"]
        effects = self.pairs.metric_effects
        own = effects[(effects["configuration"] == configuration) & (effects["second"] == "random")]
        return recommendation_in_words(
            self.choice, self.metrics[configuration], self.of(configuration), own
        )


def analyse(results: pd.DataFrame) -> Evidence:
    """Measure, test and choose; the test inputs judge, validation inputs choose.

    Parameters
    ----------
    results : DataFrame
        The results table, of all data sets, configurations, metrics and seeds to compare.

    Returns
    -------
    Evidence
        Of the robust quantity, with that of the study's.
    """
    return _analyse(results, "robust", _analyse(results, "study"))


def _analyse(results: pd.DataFrame, quantity: str, study: Evidence | None = None) -> Evidence:
    runs = summarise_runs(measured(results, quantity))
    numbers = sorted(int(c) for c in runs["configuration"].unique())
    tables: dict = {c: metric_blocks(runs, c) for c in numbers}
    rankings = rank_tests({**tables, "configurations": configuration_blocks(runs)})
    between = rankings.pop("configurations")
    return Evidence(
        quantity,
        runs,
        rankings,
        between,
        compare_pairs(runs),
        recommend(runs, study.runs if study else None),
        [
            recommend(part, study.runs[study.runs["dataset"] == dataset] if study else None)
            for dataset, part in runs.groupby("dataset", sort=False)
        ],
        study,
    )
