"""The guidance metrics: from activation traces or class probabilities to a score an input.

Imports core. `METRICS` is what others ask for; all else is imported from its module.
"""

from utils.metrics.registry import METRICS

__all__ = ["METRICS"]
