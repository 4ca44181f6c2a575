"""The analysis of a results table: every curve measured, every test made, the recommendation."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from utils.statistics.advice import recommend
from utils.statistics.blocks import configuration_blocks, metric_blocks
from utils.statistics.pairs import Pairs, compare_pairs
from utils.statistics.ranking import Ranking, rank_tests
from utils.statistics.recommendation import recommendation_in_words
from utils.statistics.summaries import summarise_runs


@dataclass(frozen=True)
class Evidence:
    """Every curve measured, every test made, and the recommendation.

    Attributes
    ----------
    runs : DataFrame
        Of `summarise_runs`.
    metrics : dict of int to Ranking
        By configuration: the metrics compared on the area under the curve over inputs.
    configurations : Ranking
        Compared on the accuracy at the chosen point, mean over the metrics.
    pairs : Pairs
        Each metric with random on the same area, and each two configurations.
    choice : dict
        Of `recommend`, over all data sets.
    by_dataset : list of dict
        Of `recommend`, for each data set alone.
    """

    runs: pd.DataFrame
    metrics: dict[Hashable, Ranking]
    configurations: Ranking
    pairs: Pairs
    choice: dict[str, Any]
    by_dataset: list[dict[str, Any]]

    def of(self, configuration: int) -> pd.DataFrame:
        """The tests against random of one configuration."""
        tests = self.pairs.metrics
        return tests[tests["configuration"] == configuration]

    @property
    def rankings(self) -> dict[str, Ranking]:
        """All rankings that were tested: mean ranks of fewer blocks would look like an answer."""
        named: dict[str, Ranking] = {f"configuration {c}": r for c, r in self.metrics.items()}
        named["configurations"] = self.configurations
        return {name: ranking for name, ranking in named.items() if ranking.tested}

    @property
    def text(self) -> str:
        """The recommendation in one paragraph."""
        configuration = self.choice["configuration"]
        effects = self.pairs.metric_effects
        own = effects[effects["configuration"] == configuration]
        return recommendation_in_words(
            self.choice, self.metrics[configuration], self.of(configuration), own
        )


def analyse(results: pd.DataFrame) -> Evidence:
    """Measure, test and choose; the test inputs judge, validation inputs choose.

    Parameters
    ----------
    results : DataFrame
        The results table, of all data sets, configurations, metrics and seeds to compare.
    """
    runs = summarise_runs(results)
    numbers = sorted(int(c) for c in runs["configuration"].unique())
    tables: dict = {c: metric_blocks(runs, c) for c in numbers}
    rankings = rank_tests({**tables, "configurations": configuration_blocks(runs)})
    between = rankings.pop("configurations")
    return Evidence(
        runs,
        rankings,
        between,
        compare_pairs(runs),
        recommend(runs),
        [recommend(part) for _, part in runs.groupby("dataset", sort=False)],
    )
