"""Orders, configurations, retraining curves, the chosen points, and fresh attacks on them.

Imports core, machine, data, networks, attacks and metrics. `retrain` is what others call; all else
is imported from its module.
"""

from utils.retraining.curves import retrain

__all__ = ["retrain"]
