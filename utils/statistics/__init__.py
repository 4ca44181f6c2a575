"""From the results table to numbers that answer the question: summaries, Pareto front, advice.

Every function takes the results table of ``utils.results`` (one row a data set, configuration,
metric, seed and data point) or what another function here returns, and needs nothing else.
"""

from utils.statistics.advice import metric_name, pareto_front, recommend
from utils.statistics.summaries import (
    KEYS,
    TOLERANCE,
    against_random,
    mean_interval,
    summarise,
    summarise_runs,
)

__all__ = [
    "KEYS",
    "TOLERANCE",
    "against_random",
    "mean_interval",
    "metric_name",
    "pareto_front",
    "recommend",
    "summarise",
    "summarise_runs",
]
