"""One style, one function a figure.

Every function takes plain arrays or tables and returns a `matplotlib.figure.Figure`, made by
pyplot: a notebook cell ends with ``plt.show()``. A metric has the same colour and marker in
every figure, and axes carry units.
"""

from utils.plotting.adversarial import (
    adversarial_examples,
    attack_accuracy,
    attack_norms,
    fresh_attacks,
)
from utils.plotting.curves import all_curves, resource_curves, retraining_curves
from utils.plotting.data import class_counts, confusion_matrix, image_grid, training_history
from utils.plotting.evidence import critical_differences, differences_to_random
from utils.plotting.scores import first_picks, rank_correlation, score_distributions
from utils.plotting.sensitivity import sensitivity
from utils.plotting.style import METRIC_STYLES, STYLE, metric_style, save
from utils.plotting.tradeoffs import comparison, pareto

__all__ = [
    "METRIC_STYLES",
    "STYLE",
    "adversarial_examples",
    "all_curves",
    "attack_accuracy",
    "attack_norms",
    "class_counts",
    "comparison",
    "confusion_matrix",
    "critical_differences",
    "differences_to_random",
    "first_picks",
    "fresh_attacks",
    "image_grid",
    "metric_style",
    "pareto",
    "rank_correlation",
    "resource_curves",
    "retraining_curves",
    "save",
    "score_distributions",
    "sensitivity",
    "training_history",
]
