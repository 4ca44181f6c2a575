"""A job's record: the ``.json`` beside its executed copy. Written and read here alone.

It holds what the job is (`identity`), its state, what decided its outputs (`utils.plan.freshness`),
and, of a job that ran, when, on what machine, at what cost and with what result. It may come with
a stranger's workspace, so nothing of it is used before all of it has been checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.core.files import read_small, write_json
from utils.plan.rules import RULES

if TYPE_CHECKING:
    from utils.plan.jobs import Job


class State(StrEnum):
    """The state of a job. The texts are what files and pages hold."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NOT_RUN = "not run"
    """A job that it needs did not finish."""
    INTERRUPTED = "interrupted"
    UP_TO_DATE = "up to date"
    """Nothing had to run. Never in a record, which stays that of the last execution."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: State
    seconds: float = 0.0
    detail: str = ""

    @property
    def fine(self) -> bool:
        """Whether jobs that need this one can run."""
        return self.state in (State.DONE, State.UP_TO_DATE)


def identity(job: Job) -> dict[str, Any]:
    """What a record holds of the job itself."""
    return {
        "name": job.name,
        "step": job.step.id,
        "dataset": job.dataset,
        "seed": job.seed,
        "configuration": job.parameters.get("configuration"),
    }


def write_record(job: Job, state: State, content: Mapping[str, Any] | None = None) -> dict:
    """Write the record of `job`, whole or not at all, and return it.

    `content` may be an earlier record: the job and its state replace what that holds of them.
    """
    record = {**(content or {}), **identity(job), "state": state}
    write_json(job.file(".json"), record)
    return record


def read_record(path: Path) -> dict[str, Any] | None:
    """The record in a file, checked; None for any other file, and for a damaged record.

    Returns
    -------
    dict
        At least ``name``, ``step``, ``dataset``, ``state`` (a `State`), ``run`` (the id of the
        run), ``seed``, ``configuration``, ``says`` (its main number), ``error`` (None, or the
        texts ``error`` and ``section`` and the number ``cell``), ``resources`` (a mapping of any
        content), and the mappings ``parameters``, ``code``, ``inputs`` and ``outputs``, of which
        the last two hold a mapping with a ``sha256`` for each file.
    """
    return _checked(read_small(path))


def parse_record(text: bytes) -> dict[str, Any] | None:
    """A record that was read elsewhere, such as on a worker; checked like that of `read_record`."""
    try:
        return _checked(json.loads(text))
    except (ValueError, RecursionError):
        return None


_PARTS = ("parameters", "code", "inputs", "outputs", "resources")


def _checked(content: object) -> dict[str, Any] | None:
    """`content` with defaults for what a record may lack; None if it is no record."""
    if not isinstance(content, dict):
        return None
    lacking = {"run": "", "seed": None, "configuration": None, "says": "", "error": None}
    record = {**lacking, **{part: {} for part in _PARTS}, **content}
    texts = ("name", "step", "dataset", "state", "run", "says")
    numbers = ("seed", "configuration")
    error = {"cell": None, "section": "", "error": ""}
    try:
        whole = (
            all(isinstance(record[key], str) for key in texts)
            and all(_is_number(record[key]) for key in numbers)
            and all(isinstance(record[key], dict) for key in _PARTS)
            and not (record["dataset"] and RULES["dataset"](record["dataset"]))
        )
        if not whole:
            return None
        record["state"] = State(record["state"])
        for entry in [*record["inputs"].values(), *record["outputs"].values()]:
            if not isinstance(entry["sha256"], str):
                return None
        if record["error"] is not None:
            error = record["error"] = {**error, **record["error"]}
        known = _is_number(error["cell"])
        known = known and all(isinstance(error[key], str) for key in ("section", "error"))
    except (KeyError, TypeError, ValueError):
        return None
    return record if known else None


def _is_number(value: object) -> bool:
    """Whether `value` is a whole number, or None."""
    return value is None or type(value) is int


def state_of(job: Job, run_id: str = "") -> State | None:
    """The state in a job's record; None if there is none (of that run)."""
    record = read_record(job.file(".json"))
    return record["state"] if record and run_id in ("", record["run"]) else None


def describe_error(record: Mapping) -> str:
    """What went wrong, in one line: cell, section, error; empty if nothing did."""
    if not (error := record["error"]):
        return ""
    where = f"cell {error['cell']}" if error["cell"] else ""
    where += f" ({error['section']})" if error["section"] else ""
    return " ".join(": ".join(filter(None, (where, error["error"]))).split())
