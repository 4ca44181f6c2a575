"""The results as files: everything as JSON, one table for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.benchmarks.harness import Row, Setting, ratio
from utils.core.files import atomic, read_json, write_json
from utils.machine.provenance import processor

PACKAGES = "tensorflow keras numpy scipy dnn-tip foolbox adversarial-robustness-toolbox".split()
HEADER = (
    *("what", "size", "against", "results", "ours", "theirs", "ratio (lowest to highest)", "runs"),
    *("peak memory", "target", "met"),
)

Outcomes = Mapping[str, Sequence[Row | str]]
"""Rows and notes of each benchmark."""


def write(setting: Setting, outcomes: Outcomes, failed: Sequence[str]) -> None:
    """Write ``benchmarks.json`` and ``benchmarks.md``."""
    facts = machine()
    found = [(name, each) for name, outcome in outcomes.items() for each in outcome]
    rows = [(name, each) for name, each in found if isinstance(each, Row)]
    notes = {name: [each for each in outcomes[name] if isinstance(each, str)] for name in outcomes}
    content = {"machine": facts, "quick": setting.quick, "failed": list(failed)}
    content["rows"] = [{"benchmark": name, **row.as_dict()} for name, row in rows]
    write_json(setting.out / "benchmarks.json", content | {"notes": notes})
    texts = [note for each in notes.values() for note in each]
    with atomic(setting.out / "benchmarks.md") as path:
        text = markdown([row for _, row in rows], texts, failed, setting.quick, facts)
        path.write_text(text, encoding="utf-8")


def measured_before(setting: Setting) -> dict[str, list[Row | str]]:
    """What `write` left for each benchmark, if on this machine, with these versions and sizes."""
    path: Path = setting.out / "benchmarks.json"
    if not path.is_file():
        return {}
    content, facts = read_json(path), machine()
    before = content["machine"] | {"date": facts["date"]}
    if content["quick"] != setting.quick or before != facts:
        return {}
    outcomes: dict[str, list[Row | str]] = {name: [] for name in content["notes"]}
    for row in content["rows"]:
        kept = {name: row[name] for name in Row.__dataclass_fields__}
        outcomes[row["benchmark"]].append(Row(**kept))
    return {name: rows + content["notes"][name] for name, rows in outcomes.items()}


def markdown(
    rows: Sequence[Row], notes: Sequence[str], failed: Sequence[str], quick: bool, facts: dict
) -> str:
    """The table, with a line about the machine; ratios are medians of pairs of runs."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = ["# Benchmarks", ""]
    if quick:
        lines += ["Tiny sizes (`--quick`): shows that all runs; the numbers mean nothing.", ""]
    lines += ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    lines += ["", *(f"{note}\n" for note in notes), *(f"Failed: {name}.\n" for name in failed)]
    lines.append(
        f"{facts['cores']} cores ({facts['processor']}), {facts['memory_gb']:.0f} GB, "
        f"Python {facts['python']}, {packages}; {facts['date']}."
    )
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """The texts of one row of the table."""
    ratios = ""
    if row.theirs:
        middle, low, high = (f"{value:.3g}" for value in ratio(row.ours, row.theirs, row.shown))
        words = "times faster" if row.shown == "speedup" else "times its time"
        ratios = f"{middle} {words} ({low} to {high})"
    counts = dict.fromkeys(str(len(seconds)) for seconds in (row.ours, row.theirs) if seconds)
    memory = " / ".join(f"{mb:,.0f}" for mb in (row.ours_mb, row.theirs_mb) if mb is not None)
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    texts = [row.what, row.size, row.against, row.results, _seconds(row.ours), _seconds(row.theirs)]
    texts += [ratios, " / ".join(counts), memory and f"{memory} MB", row.target]
    texts.append("**results differ**" if row.equal is False else met)
    return [text.replace("|", "\\|").replace("\n", " ") for text in texts]


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_gb": psutil.virtual_memory().total / 1e9,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _seconds(seconds: list[float]) -> str:
    if not seconds:
        return ""
    value = median(seconds)
    return f"{value:.0f} s" if value >= 100 else f"{value:.3g} s"
