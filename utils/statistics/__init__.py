"""From the results table to numbers that answer the question: summaries, tests, advice.

Every function takes the results table of ``utils.results`` (one row a data set, configuration,
metric, seed and data point) or what another function here returns, and needs nothing else.
"""

from utils.statistics.advice import pareto_front, recommend, unbeaten
from utils.statistics.answers import (
    Evidence,
    answers,
    answers_text,
    as_record,
    size_table,
    weigh,
)
from utils.statistics.selection import chosen_in_words, chosen_point, chosen_points
from utils.statistics.sensitivity import (
    sensitivity_in_words,
    sensitivity_table,
    summarise_variants,
)
from utils.statistics.significance import (
    ALPHA,
    Pairs,
    Ranking,
    compare_pairs,
    configuration_blocks,
    critical_difference,
    effects,
    holm,
    metric_blocks,
    needed_for_pairs,
    needed_for_ranking,
    pair_tests,
    rank_test,
    rank_tests,
    vargha_delaney,
)
from utils.statistics.summaries import (
    KEYS,
    against_random,
    mean_interval,
    summarise,
    summarise_runs,
)
from utils.statistics.tables import (
    effects_table,
    pairs_table,
    parts_table,
    reach_table,
    runs_in_words,
    spread_table,
)
from utils.statistics.wording import chance_in_words, metric_name

__all__ = [
    "ALPHA",
    "KEYS",
    "Evidence",
    "Pairs",
    "Ranking",
    "against_random",
    "answers",
    "answers_text",
    "as_record",
    "chance_in_words",
    "chosen_in_words",
    "chosen_point",
    "chosen_points",
    "compare_pairs",
    "configuration_blocks",
    "critical_difference",
    "effects",
    "effects_table",
    "holm",
    "mean_interval",
    "metric_blocks",
    "metric_name",
    "needed_for_pairs",
    "needed_for_ranking",
    "pair_tests",
    "pairs_table",
    "pareto_front",
    "parts_table",
    "rank_test",
    "rank_tests",
    "reach_table",
    "recommend",
    "runs_in_words",
    "sensitivity_in_words",
    "sensitivity_table",
    "size_table",
    "spread_table",
    "summarise",
    "summarise_runs",
    "summarise_variants",
    "unbeaten",
    "vargha_delaney",
    "weigh",
]
