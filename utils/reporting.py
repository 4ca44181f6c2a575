"""Pages that open offline: one for each executed notebook, and the index over all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from utils.text import readable
from utils.workspace import Workspace, atomic, read_json

if TYPE_CHECKING:
    from utils.pipeline import Job

PAGES = Path(__file__).parent / "pages"
THUMBNAILS = ("accuracy", "accuracy_adversarial")
"""Figures of each configuration that the index shows."""
MAX_RECORD = 2**24
"""Bytes of the largest JSON file that is looked at; records have some thousands."""


@dataclass(frozen=True)
class Links:
    """Where a page leads: (label, title, path of the page)."""

    items: tuple[tuple[str, str, Path], ...] = ()


def links_between(jobs: Iterable[Job]) -> dict[str, Links]:
    """Links from each job's page to those of the steps before and after it, of the same run."""
    jobs = list(jobs)
    steps = list(dict.fromkeys(job.step for job in jobs))
    result = {}
    for job in jobs:
        place = steps.index(job.step)
        items = [
            (label, other.report.name, other.file(".html"))
            for label, near in (("previous", place - 1), ("next", place + 1))
            for other in jobs
            if 0 <= near < len(steps) and other.step is steps[near] and _same_run(job, other)
            and not other.parameters.get("part")
        ]
        result[job.name] = Links(tuple(items))
    return result


def _same_run(job: Job, other: Job) -> bool:
    """Whether two jobs agree on data set, seed and configuration, as far as both have one."""
    return job.workspace.root == other.workspace.root and all(
        job.parameters[axis] == other.parameters[axis]
        for axis in ("dataset", "seed", "configuration")
        if axis in job.parameters and axis in other.parameters
    )


def export_html(job: Job, links: Links, record: Mapping) -> None:
    """Write the page of an executed notebook, which opens offline.

    Code is folded; the parameters stand on top, and what the record says of the run at the end.
    """
    import nbformat
    from nbconvert import HTMLExporter

    from utils.parameters import as_text, template_parameters

    folder = job.report.parent

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path, folder)).as_posix()

    declared = template_parameters(job.step.path)
    shown = {**job.parameters, "workspace": job.workspace.root}
    report = {
        "title": job.report.name,
        "style": _style(),
        "index": relative(job.home.reports_root / "index.html"),
        "links": [(label, title, relative(page)) for label, title, page in links.items],
        "parameters": [(n, as_text(shown[n]), p.help) for n, p in declared.items()],
        "made": _how_made(record),
    }
    exporter = HTMLExporter(template_name="report", extra_template_basedirs=[str(PAGES)])
    notebook = nbformat.read(job.file(".ipynb"), as_version=4)
    notebook.cells = [c for c in notebook.cells if not _is_parameters(c)]
    page, _ = exporter.from_notebook_node(notebook, resources={"report": report})
    with atomic(job.file(".html")) as path:
        path.write_text(page, encoding="utf-8")


def _how_made(record: Mapping) -> list[tuple[str, str]]:
    """The last table of a page: name and value."""
    made, used = record["provenance"], record["resources"]
    git, machine = made["git"] or {}, made["hardware"]
    cpus = f"{machine['cpus_usable']} of {machine['cpus']} CPUs"
    packages = [f"{name} {version}" for name, version in made["packages"].items() if version]
    energy = amount(used, "energy_kwh", "{:.3f} Wh, ", 1000) + used["energy_method"]
    rows = {
        "started": _time(record["started"]),
        "ended": _time(record["ended"]),
        "took": amount(used, "wall_seconds", "{:.1f} s"),
        "processor time": amount(used, "cpu_seconds", "{:.1f} s"),
        "peak memory": amount(used, "memory_peak_mb", "{:.0f} MB"),
        "energy": energy,
        "seed": "" if record["seed"] is None else str(record["seed"]),
        "git commit": git.get("commit", "") + (", with changes" if git.get("changed") else ""),
        "software": ", ".join([f"Python {made['python']}", *packages]),
        "system": made["platform"],
        "hardware": ", ".join(
            [machine["processor"], cpus, f"{machine['memory_gib']} GiB of memory", *machine["gpus"]]
        ),
        "provenance": made["id"],
    }
    return [(name, value) for name, value in rows.items() if value]


def _time(text: str) -> str:
    return text.replace("T", " ").replace("+00:00", " UTC")


def _is_parameters(cell: Mapping) -> bool:
    """Whether the table on top of the page says what the cell says."""
    return bool({"parameters", "injected-parameters"} & set(cell["metadata"].get("tags", [])))


def _style() -> str:
    return (PAGES / "style.css").read_text(encoding="utf-8")


# --- the index ---


def write_index(workspace: Workspace) -> Path:
    """Write ``reports/index.html`` over all runs of a workspace, the failed first."""
    from jinja2 import Environment, FileSystemLoader

    root = workspace.reports_root
    jobs = _rows(workspace, root)
    variants = [
        row for path in sorted(root.glob("variants/*")) for row in _rows(Workspace(path), root)
    ]
    names = sorted({job["dataset"] for job in jobs if job["dataset"]})
    sections = [
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
    failures = [job for job in jobs + variants if job["state"] == "failed"]
    answer = _text(_read(root / "recommendation.json"), "text", 5000)
    picture = _picture(workspace.figures() / "comparison_curves.png", root)
    page = Environment(loader=FileSystemLoader(PAGES), autoescape=True).get_template(
        "index.html.j2"
    )
    with atomic(root / "index.html") as path:
        path.write_text(
            page.render(
                style=_style(), datasets=sections, variants=variants, failures=failures,
                answer=answer, picture=picture,
                written=datetime.now().strftime("%Y-%m-%d %H:%M"),
            ),
            encoding="utf-8",
        )  # fmt: skip
    return root / "index.html"


def _rows(workspace: Workspace, root: Path) -> list[dict[str, object]]:
    """A row for each job of a workspace; links are seen from `root`."""
    reports = workspace.reports_root
    paths = sorted(reports.rglob("[!.]*.json"))
    records = {p: read_record(p) for p in paths if reports / "variants" not in p.parents}
    return [_row(path, record, root) for path, record in records.items() if record]


def _read(path: Path) -> dict:
    """A JSON file of any content, as it may come with a stranger's workspace; {} if useless."""
    try:
        small = path.is_file() and path.stat().st_size < MAX_RECORD
        content = read_json(path) if small else {}
    except (OSError, ValueError):
        content = {}
    return content if isinstance(content, dict) else {}


def read_record(path: Path) -> dict | None:
    """A job's record; None for any other file."""
    from utils.parameters import RULES

    record = _read(path)
    known = all(isinstance(record.get(key), str) for key in ("name", "step", "state", "dataset"))
    named = known and (not record["dataset"] or not RULES["dataset"](record["dataset"]))
    return record if named else None


def _row(path: Path, record: Mapping, root: Path) -> dict[str, object]:
    usage, error = _mapping(record, "resources"), _mapping(record, "error")
    place = f"cell {_text(error, 'cell')}" if error.get("cell") else "outside a cell"
    page = path.with_suffix(".html")
    return {
        "name": _text(record, "name"),
        "dataset": record["dataset"],
        "step": _text(record, "step"),
        "title": readable(path.stem)
        + (f" (seed {_text(record, 'seed')})" if record.get("seed") is not None else ""),
        "state": _text(record, "state"),
        "seconds": amount(usage, "wall_seconds", "{:.1f}"),
        "memory": amount(usage, "memory_peak_mb", "{:.0f} MB"),
        "energy": amount(usage, "energy_kwh", "{:.3f} Wh", 1000),
        "numbers": _text(record, "says"),
        "link": _href(page, root) if page.exists() else "",
        "where": place + (f", section {_text(error, 'section')}" if error.get("section") else ""),
        "error": _text(error, "error"),
    }


def _mapping(record: Mapping, key: str) -> Mapping:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def amount(record: Mapping, key: str, form: str, factor: float = 1) -> str:
    """A measured number in words; nothing if it is not known."""
    value = record.get(key)
    known = isinstance(value, int | float) and 0 < value < 1e12  # also false for NaN
    return form.format(factor * value) if known else ""


def _text(record: Mapping, key: str, most: int = 1000) -> str:
    value = record.get(key)
    shown = str(value)[:most] if isinstance(value, str | int | float) else ""
    return "\n".join(readable(line, most) for line in shown.splitlines())


def _href(path: Path, root: Path) -> str:
    """A link to a file; quoted, as a name such as ``javascript:x.html`` would be more than that."""
    return quote(path.relative_to(root).as_posix(), errors="surrogateescape")


def _thumbnails(workspace: Workspace, dataset: str) -> list[dict[str, str]]:
    folder, root = workspace.figures(dataset), workspace.reports_root
    wanted = [f"{dataset}_c{c}_{q}" for c in (1, 2, 3) for q in THUMBNAILS] if dataset else []
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
