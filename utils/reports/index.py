"""The index page: every job of a workspace, the failed first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from utils.core.files import atomic, read_small
from utils.core.paths import Workspace
from utils.core.text import readable
from utils.plan.records import State, read_record
from utils.reports.pages import TEMPLATES, amount, style
from utils.retraining.configurations import CONFIGURATIONS

THUMBNAILS = ("accuracy", "accuracy_adversarial")
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
    records = {p: read_record(p) for p in paths if reports / "variants" not in p.parents}
    return [_row(path, record, root) for path, record in records.items() if record]


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
