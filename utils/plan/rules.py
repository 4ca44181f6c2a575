"""The values that a user may give: types, ranges, choices; and the error for any other."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from utils.attacks.registry import ATTACKS
from utils.data.raw.images import RESIZES
from utils.machine.energy import check_country
from utils.metrics.registry import METRICS
from utils.networks.conventions import COLOR_ORDERS, PIXEL_RANGES
from utils.retraining.configurations import BEYOND_PREFIX, CONFIGURATIONS


class ParameterError(ValueError):
    """A value the user gave can't be used; the message is one line with the reason."""


def as_text(value: object) -> str:
    """A value as a user writes it: lists are separated by spaces."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def is_text(value: str) -> bool:
    """Whether `value` can be written to a file: names of files may hold bytes that are no text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """``", did you mean 'x'?"`` where a choice is close to `word`, else an empty string."""
    close = difflib.get_close_matches(str(word), [str(c) for c in choices], n=1, cutoff=0.7)
    return f", did you mean {close[0]!r}?" if close else ""


def _between(low: float, high: float = math.inf) -> Callable[[float], str]:
    upper = f" and at most {high:.12g}" if math.isfinite(high) else ""
    return lambda value: "" if low <= value <= high else f"at least {low:g}{upper}"


def _above(low: float, high: float = math.inf) -> Callable[[float], str]:
    upper = f" and at most {high:g}" if math.isfinite(high) else ""
    return lambda value: "" if low < value <= high else f"more than {low:g}{upper}"


def _one_of(choices: Iterable) -> Callable[[object], str]:
    choices = list(choices)

    def rule(value: Any) -> str:
        if value in choices:
            return ""
        return f"one of {', '.join(map(str, choices))}{did_you_mean(value, choices)}"

    return rule


def _each(rule: Callable[[Any], str], kind: type = str) -> Callable[[list], str]:
    def check_list(values: list) -> str:
        if not values:
            return "at least one value"
        if len(set(map(str, values))) < len(values):
            return "each value once"
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                return f"{kind.__name__} values only"
            if wrong := rule(value):
                return wrong
        return ""

    return check_list


def _name(value: str) -> str:
    taken = ("raw", "variants", "figures")  # folders of a workspace that hold something else
    ok = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}", value) and value not in taken
    return "" if ok else "a name of letters, digits, '-' and '_' (not 'raw', 'variants', 'figures')"


def variant_name(value: str) -> str:
    """What is wrong with the name of a variant, or an empty string."""
    ok = re.fullmatch(r"[a-z_]+-[A-Za-z0-9._-]{1,50}", value)
    return "" if ok else "a parameter, '-' and a value of letters, digits, '.', '_' and '-'"


def _country(value: str) -> str:
    try:
        check_country(value)
    except ValueError:
        return "a three-letter ISO 3166 country code in capitals such as ESP"
    return ""


def _share_below_one(value: float) -> str:
    return "" if 0 <= value < 1 else "at least 0 and below 1"


def _shares(values: list) -> str:
    numbers = all(type(v) is int and 0 <= v <= 100 for v in values)
    if not values or (numbers and len(values) == 3 and sum(values) == 100 and values[0] > 0):
        return ""
    return "three whole numbers that sum to 100, such as shares=70,20,10"


def _names(values: list) -> str:
    return "" if all(str(value).strip() for value in values) else "names of folders or files"


def _anything(value: object) -> str:
    return ""


KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
}


_SEED = _between(0, 2**32 - 1)


RULES: dict[str, Callable[..., str]] = {
    "dataset": _name,
    "datasets": _each(_name),
    "raw": _anything,
    "leave_out": _names,
    "label_column": _anything,
    "white": _between(0),
    "n_images": _between(0),
    "image_size": lambda value: "" if value == 0 else _between(4, 1024)(value),
    "color": _one_of(["auto", "gray", "rgb"]),
    "resize": _one_of(RESIZES),
    "class_order": lambda value: "" if value else "number, text or names separated by commas",
    "shares": _shares,
    "split_by": _one_of(["image", "track"]),
    "split_seed": _SEED,
    "max_broken": _between(0),
    "seed": _SEED,
    "seeds": _each(_SEED, int),
    "own_model": _anything,
    "pixel_range": _one_of(["auto", *PIXEL_RANGES]),
    "color_order": _one_of(["auto", *COLOR_ORDERS]),
    "accept_weak": _anything,
    "epochs": _between(1, 10_000),
    "retraining_epochs": _between(1, 10_000),
    "hardening_epochs": _between(0, 10_000),
    "batch_size": _between(1, 100_000),
    "learning_rate": _above(0, 1),
    "attacks": _each(_one_of(ATTACKS)),
    "n_adversarial": _between(0),
    "epsilon": _above(0, 1),
    "attack_steps": _between(1, 10_000),
    "cw_steps": _between(1, 100_000),
    "cw_binary_search_steps": _between(1, 50),
    "cw_confidence": _between(0, 1000),
    "fresh_steps": _between(1, 10_000),
    "fresh_restarts": _between(1, 1000),
    "fresh_targets": _between(1, 1000),
    "fresh_queries": _between(1, 1_000_000),
    "fresh_searches": _between(1, 50),
    "fresh_images": _between(0),
    "fresh_l2": _between(0),
    "metrics": _each(_one_of(METRICS)),
    "layer": _anything,
    "nc_threshold": _share_below_one,
    "dsa_exclude_self": _anything,
    "configuration": _one_of(CONFIGURATIONS),
    "configurations": _each(_one_of(CONFIGURATIONS), int),
    "part": _one_of(["", *METRICS]),
    "variants": _each(variant_name),
    "points": _between(1, 10_000),
    "point_images": _between(1),
    "point_steps": _between(1, 10_000),
    "inner_steps": _between(1, 10_000),
    "inner_noise": _between(0, 10),
    "clean_share": _share_below_one,
    "beyond_prefix": _one_of(BEYOND_PREFIX),
    "keep_models": _one_of(["none", "best", "all"]),
    "country": _country,
    "threads": _between(1, 1024),
    "workspace": _anything,
}
"""What each template parameter may hold; a test keeps it equal to the templates' own lines."""


def check(name: str, value: Any, kind: type[Any]) -> Any:
    """Return `value` as `kind`, or raise a ParameterError with what was expected.

    Parameters
    ----------
    name : str
        A key of `RULES`.
    value : object
    kind : {bool, int, float, str, list}
        The type the templates declare; an int is taken for a float.
    """
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ParameterError(f"{name}: got {value!r}, expected {KINDS[kind]}")
    if kind is float and not math.isfinite(value):
        raise ParameterError(f"{name}: got {value!r}, expected a finite number")
    if kind is str and not is_text(value):
        raise ParameterError(f"{name}: got {value!r}, expected text that can be written as UTF-8")
    if wrong := RULES[name](value):
        shown = as_text(value) if isinstance(value, list) else value
        raise ParameterError(f"{name}: got {shown!r}, expected {wrong}")
    return value
