"""The page of an executed notebook, which opens offline."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.files import atomic

if TYPE_CHECKING:
    from utils.plan.jobs import Job

TEMPLATES = Path(__file__).parent / "templates"


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
        own = steps.index(job.step)
        items = [
            (label, other.report.name, other.file(".html"))
            for label, near in (("previous", own - 1), ("next", own + 1))
            for other in jobs
            if 0 <= near < len(steps)
            and other.step is steps[near]
            and _same_run(job, other)
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

    Code is hidden until it is opened; the parameters are on top, the record of the run at the end.
    """
    import nbformat
    from nbconvert import HTMLExporter

    from utils.plan.parameters import template_parameters
    from utils.plan.rules import as_text

    folder = job.report.parent

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path, folder)).as_posix()

    declared = template_parameters(job.step.path)
    shown = {**job.parameters, "workspace": job.workspace.root}
    report = {
        "title": job.report.name,
        "style": style(),
        "index": relative(job.home.reports_root / "index.html"),
        "links": [(label, title, relative(page)) for label, title, page in links.items],
        "parameters": [(n, as_text(shown[n]), p.help) for n, p in declared.items()],
        "made": _how_made(record),
    }
    exporter = HTMLExporter(template_name="report", extra_template_basedirs=[str(TEMPLATES)])
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


def amount(record: Mapping, key: str, form: str, factor: float = 1) -> str:
    """A measured number in words; nothing if it is not known."""
    value = record.get(key)
    if isinstance(value, int | float) and 0 < value < 1e12:  # also false for NaN
        return form.format(factor * value)
    return ""


def _time(text: str) -> str:
    return text.replace("T", " ").replace("+00:00", " UTC")


def _is_parameters(cell: Mapping) -> bool:
    """Whether the table on top of the page shows all that the cell holds."""
    return bool({"parameters", "injected-parameters"} & set(cell["metadata"].get("tags", [])))


def style() -> str:
    """The style sheet of every page."""
    return (TEMPLATES / "style.css").read_text(encoding="utf-8")
