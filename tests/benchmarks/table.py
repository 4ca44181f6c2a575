"""The results as files: everything as JSON, one table for people."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from tests.benchmarks.harness import Row, ratio
from utils.core.files import atomic, read_json, write_json
from utils.machine.provenance import processor

PACKAGES = (
    "tensorflow", "keras", "numpy", "scipy", "dnn-tip", "foolbox", "adversarial-robustness-toolbox"
)  # fmt: skip
HEADER = (
    "what", "size", "against", "results", "ours", "theirs", "ratio (lowest to highest)", "runs",
    "peak memory", "target", "met",
)  # fmt: skip


def write(out: Path, outcomes: Mapping[str, dict], failed: Sequence[str], quick: bool) -> None:
    """Write ``benchmarks.json`` and ``benchmarks.md`` of the rows and notes of each benchmark."""
    facts = machine()
    rows = {name: [Row(**fields) for fields in o["rows"]] for name, o in outcomes.items()}
    notes = {name: outcome["notes"] for name, outcome in outcomes.items()}
    write_json(
        out / "benchmarks.json",
        {
            "machine": facts,
            "quick": quick,
            "failed": list(failed),
            "rows": [{"benchmark": n, **row.as_dict()} for n in rows for row in rows[n]],
            "notes": notes,
        },
    )
    flat = (list(chain.from_iterable(each.values())) for each in (rows, notes))
    text = markdown(*flat, failed, quick, facts)
    with atomic(out / "benchmarks.md") as path:
        path.write_text(text, encoding="utf-8")


def measured_before(out: Path, quick: bool) -> dict[str, dict]:
    """What `write` left for each benchmark, if on this machine, with these versions and sizes."""
    if not (out / "benchmarks.json").is_file():
        return {}
    content, facts = read_json(out / "benchmarks.json"), machine()
    if content["quick"] != quick or content["machine"] | {"date": facts["date"]} != facts:
        return {}
    outcomes = {name: {"rows": [], "notes": notes} for name, notes in content["notes"].items()}
    for row in content["rows"]:
        fields = {name: row[name] for name in Row.__dataclass_fields__}
        unknown = {name: math.nan for name in ("ours_mb", "theirs_mb") if row[name] is None}
        outcomes[row["benchmark"]]["rows"].append(fields | unknown)
    return outcomes


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
    texts = [row.what, row.size, row.against, row.results]
    texts += [_seconds(row.ours), _seconds(row.theirs), _ratio(row)]
    counts = [str(len(seconds)) for seconds in (row.ours, row.theirs) if seconds]
    texts.append(" / ".join(dict.fromkeys(counts)))
    memory = [f"{mb:,.0f}" for mb in (row.ours_mb, row.theirs_mb) if mb == mb]  # not NaN
    texts.append(" / ".join(memory) + " MB" if memory else "")
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    texts += [row.target, "**results differ**" if row.equal is False else met]
    return [text.replace("|", "\\|").replace("\n", " ") for text in texts]


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cores": os.cpu_count(),
        "processor": processor(),
        "memory_gb": psutil.virtual_memory().total / 1e9,
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _seconds(seconds: list[float]) -> str:
    if not seconds:
        return ""
    value = median(seconds)
    return f"{value:.0f} s" if value >= 100 else f"{value:.3g} s"


def _ratio(row: Row) -> str:
    if not (row.ours and row.theirs):
        return ""
    middle, low, high = (f"{value:.3g}" for value in ratio(row.ours, row.theirs, row.shown))
    words = "times faster" if row.shown == "speedup" else "times its time"
    return f"{middle} {words} ({low} to {high})"
