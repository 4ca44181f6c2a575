"""The index page: every job of a workspace, the failed first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from utils.core.files import atomic, read_small
from utils.core.paths import Workspace
from utils.core.text import readable
from utils.networks.accuracy import GUESSING
from utils.plan.records import State, read_record
from utils.plan.steps import COMPARISON, TRAINING
from utils.reports.pages import TEMPLATES, amount, style
from utils.retraining.configurations import CONFIGURATIONS

OUTDATED = "out of date"
"""State of a job that was done, before another one wrote what it read anew."""

THUMBNAILS = ("accuracy_robust", "accuracy")
"""Figures of each configuration that the index shows."""


def write_index(workspace: Workspace) -> Path:
    """Write ``reports/index.html`` over all runs of a workspace, the failed first."""
    from jinja2 import Environment, FileSystemLoader

    root = workspace.reports_root
    jobs = _rows(workspace, root)
    variants = [
        row for path in sorted(root.glob("variants/*")) for row in _rows(Workspace(path), root)
    ]
    names = sorted({job["dataset"] for job in jobs if job["dataset"]})
    sections: list[dict[str, Any]] = [
        {
            "name": name,
            "jobs": sorted(
                (j for j in jobs if j["dataset"] == name), key=lambda j: (j["step"], j["name"])
            ),
            "thumbnails": _thumbnails(workspace, name),
        }
        for name in names
    ]
    if overall := [job for job in jobs if not job["dataset"]]:
        sections.append(
            {"name": "all data sets", "jobs": overall, "thumbnails": _thumbnails(workspace, "")}
        )
    failures = [job for job in jobs + variants if job["state"] == State.FAILED]
    answer = read_small(root / "recommendation.json").get("text")
    picture = _picture(workspace.figures() / "comparison_curves.png", root)
    page = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template(
        "index.html.j2"
    )
    with atomic(root / "index.html") as path:
        path.write_text(
            page.render(
                style=style(),
                datasets=sections,
                variants=variants,
                failures=failures,
                answer=_lines(answer, 5000) if isinstance(answer, str) else "",
                warnings=_warnings(jobs),
                picture=picture,
                written=datetime.now().strftime("%Y-%m-%d %H:%M"),
            ),
            encoding="utf-8",
        )
    return root / "index.html"


def _rows(workspace: Workspace, root: Path) -> list[dict[str, str]]:
    """A row for each job of a workspace; links are seen from `root`."""
    reports = workspace.reports_root
    paths = sorted(reports.rglob("[!.]*.json"))
    found = {p: read_record(p) for p in paths if reports / "variants" not in p.parents}
    records = {path: record for path, record in found.items() if record}
    outdated = _outdated(records.values())
    return [
        _row(path, record, root) | ({"state": OUTDATED} if record["name"] in outdated else {})
        for path, record in records.items()
    ]


def _outdated(records: Iterable[Mapping]) -> set[str]:
    """Names of done jobs that read other files than those that were written last."""
    done = [record for record in records if record["state"] == State.DONE]
    written = {path: entry["sha256"] for r in done for path, entry in r["outputs"].items()}
    found: set[str] = set()
    for record in sorted(done, key=lambda record: record["step"]):  # makers come first
        changed = {
            path for path, e in record["inputs"].items() if written.get(path) != e["sha256"]
        } & written.keys()
        if changed:
            found.add(record["name"])
            for path in record["outputs"]:  # so what was made from them is out of date, too
                written[path] = ""
    return found


def _warnings(jobs: Iterable[Mapping]) -> list[str]:
    """What to know before the answer is read."""
    found = []
    if any(job["step"] == COMPARISON.id and job["state"] == OUTDATED for job in jobs):
        found.append(
            "Out of date: results have changed since this was written. Run the same command "
            "again, with all steps."
        )
    if any(job["state"] not in (State.DONE, OUTDATED) for job in jobs):
        found.append("Not all jobs below are done, so this may be the answer of an earlier run.")
    weak = sorted(
        {j["dataset"] for j in jobs if j["step"] == TRAINING.id and GUESSING in j["numbers"]}
    )
    found += [
        f"{name}: the original network is {GUESSING}, so these numbers mean nothing."
        for name in weak
    ]
    return found


def _row(path: Path, record: Mapping, root: Path) -> dict[str, str]:
    usage, error, seed = record["resources"], record["error"] or {}, record["seed"]
    where = f"cell {error['cell']}" if error.get("cell") else "outside a cell"
    section = _lines(error.get("section", ""))
    page = path.with_suffix(".html")
    return {
        "name": _lines(record["name"]),
        "dataset": record["dataset"],
        "step": _lines(record["step"]),
        "title": readable(path.stem) + ("" if seed is None else f" (seed {seed})"),
        "state": record["state"],
        "seconds": amount(usage, "wall_seconds", "{:.1f}"),
        "memory": amount(usage, "memory_peak_mb", "{:.0f} MB"),
        "energy": amount(usage, "energy_kwh", "{:.3f} Wh", 1000),
        "numbers": _lines(record["says"]),
        "link": _href(page, root) if page.exists() else "",
        "where": where + (f", section {section}" if section else ""),
        "error": _lines(error.get("error", "")),
    }


def _lines(text: str, most: int = 1000) -> str:
    return "\n".join(readable(line, most) for line in text[:most].splitlines())


def _href(path: Path, root: Path) -> str:
    """A link to a file; quoted, as a name such as ``javascript:x.html`` would be more than that."""
    return quote(path.relative_to(root).as_posix(), errors="surrogateescape")


def _thumbnails(workspace: Workspace, dataset: str) -> list[dict[str, str]]:
    folder, root = workspace.figures(dataset), workspace.reports_root
    wanted = [f"{dataset}_c{c}_{q}" for c in CONFIGURATIONS for q in THUMBNAILS] if dataset else []
    names = wanted or [p.stem for p in sorted(folder.glob("[!.]*.png"))]
    pictures = [_picture(folder / f"{name}.png", root, f"{dataset}_") for name in names]
    return [picture for picture in pictures if picture]


def _picture(path: Path, root: Path, prefix: str = "") -> dict[str, str] | None:
    """A figure's name, its .png to show and its .svg to open; None if it is not there."""
    if not path.exists():
        return None
    return {
        "name": readable(path.stem).removeprefix(prefix).replace("_", " "),
        "source": _href(path, root),
        "link": _href(path.with_suffix(".svg"), root),
    }
