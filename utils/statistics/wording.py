"""How numbers and names are written."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def plus_minus(value: float, half_width: float, digits: int = 3, signed: bool = False) -> str:
    """``0.913 ± 0.012``; without the interval where it is not known."""
    spread = "" if np.isnan(half_width) else f" ± {half_width:.{digits}f}"
    return f"{value:{'+' if signed else ''}.{digits}f}{spread}"


def p_value(p: float) -> str:
    """``p = 0.031``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def seconds(value: float) -> str:
    """``3.2 s``, or ``1,234 s``."""
    return f"{value:,.1f} s" if value < 100 else f"{value:,.0f} s"


def energy(kwh: float) -> str:
    """``and 0.012 Wh``; nothing where it was not measured."""
    return "" if np.isnan(kwh) else f" and {1000 * kwh:.3g} Wh"


def share_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """``0.913 [0.890, 0.931]``; without the interval where it is not known."""
    found = f"{value:.{digits}f}"
    return found if np.isnan(low) else f"{found} [{low:.{digits}f}, {high:.{digits}f}]"


def and_list(words: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def difference_in_words(difference: float, half_width: float = np.nan) -> str:
    """``0.012 ± 0.003 above``, or ``equal to``: of accuracies, as the rounded number shows it."""
    if abs(difference) < 0.0005:
        return "equal to"
    size = plus_minus(abs(difference), half_width)
    return f"{size} {'above' if difference > 0 else 'below'}"


BASELINE_ORDERS = {
    "random": "random order",
    "adversarial_first": "adversarial inputs first, at random",
}
"""Orders that no score decides, in words."""


def metric_name(metric: str) -> str:
    """Display name of a guidance metric; an unknown one keeps its id."""
    from utils.metrics.registry import METRICS  # late: most of this module needs none of it

    return METRICS[metric].name if metric in METRICS else metric


def configuration_title(configuration: int, width: int = 20) -> str:
    """Number of a configuration and two or three words for it, in lines of so many letters."""
    from textwrap import fill

    from utils.retraining.configurations import CONFIGURATIONS  # late, as above

    what = CONFIGURATIONS.get(configuration)
    words = f"\n{fill(what.short, width, break_on_hyphens=False)}" if what else ""
    return f"configuration {configuration}{words}"


def configuration_name(configuration: int) -> str:
    """Number of a configuration and what it does."""
    from utils.retraining.configurations import CONFIGURATIONS  # late, as above

    what = CONFIGURATIONS.get(configuration)
    return f"configuration {configuration}{f' ({what.name})' if what else ''}"
