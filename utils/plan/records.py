"""A job's record: the ``.json`` beside its executed copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.core.files import read_json
from utils.plan.freshness import UP_TO_DATE
from utils.plan.parameters import RULES

MAX_RECORD = 2**24
"""Bytes of the largest JSON file that is looked at; records have some thousands."""


def read_small(path: Path) -> dict:
    """A JSON file of any content, as it may come with a stranger's workspace; {} if useless."""
    try:
        small = path.is_file() and path.stat().st_size < MAX_RECORD
        content = read_json(path) if small else {}
    except (OSError, ValueError):
        content = {}
    return content if isinstance(content, dict) else {}


def read_record(path: Path) -> dict | None:
    """A job's record; None for any other file."""
    record = read_small(path)
    known = all(isinstance(record.get(key), str) for key in ("name", "step", "state", "dataset"))
    named = known and (not record["dataset"] or not RULES["dataset"](record["dataset"]))
    return record if named else None


def amount(record: Mapping, key: str, form: str, factor: float = 1) -> str:
    """A measured number in words; nothing if it is not known."""
    value = record.get(key)
    known = isinstance(value, int | float) and 0 < value < 1e12  # also false for NaN
    return form.format(factor * value) if known else ""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: str
    """"done", "up to date", "failed", "not run" or "interrupted"."""
    seconds: float = 0.0
    detail: str = ""

    @property
    def fine(self) -> bool:
        """Whether jobs that need this one can run."""
        return self.state in ("done", UP_TO_DATE)
