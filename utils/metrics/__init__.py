"""The guidance metrics: from activation traces or class probabilities to one score for each input.

Imports core, data and machine. `METRICS` is what others ask for; all else is imported from its
module.
"""

from utils.metrics.registry import METRICS

__all__ = ["METRICS"]
