"""Tiny templates for the tests of the runner, made where they are needed."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from utils.core.paths import Workspace
from utils.plan.jobs import Job
from utils.plan.records import Outcome
from utils.plan.steps import Step
from utils.reports.pages import Links
from utils.runner.cluster import Cluster
from utils.runner.lock import Lock
from utils.runner.scheduling import run


def write_template(path: Path, parameters: str, *cells: str) -> Path:
    """A notebook with a parameters cell; cells that start with '#' and a space are headings."""
    nodes = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    nodes += [
        new_markdown_cell(c) if c.startswith(("# ", "## ")) else new_code_cell(c) for c in cells
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=nodes, metadata=kernel), path)
    return path


def make_job(
    root: Path, name: str, *cells: str, inputs=(), outputs=(), needs=(), value=1, network=False
) -> Job:
    """A job whose template has the parameters ``value`` and ``workspace``."""
    template = write_template(
        root / "templates" / f"{name}.ipynb",
        'value: int = 0  # a number\nworkspace: str = ""  # where files go',
        *cells,
    )
    workspace = Workspace(root / "workspace")
    step = Step("0.0", name, str(template), name, (), network)
    return Job(
        step,
        workspace,
        {"value": value},
        workspace.reports("digits") / name,
        tuple(inputs),
        tuple(outputs),
        (),
        tuple(needs),
    )


def run_jobs(
    *jobs: Job, rule="content", cluster=None, on_poll=lambda outcomes, running: None, **options
) -> dict[str, Outcome]:
    """Run jobs, two at a time on this machine unless a cluster is given."""
    links = {job.name: Links() for job in jobs}
    with Lock(jobs[0].home) as lock:
        return run(jobs, links, lock, cluster or Cluster(2), rule, on_poll, **options)


def printed(job: Job) -> list[str]:
    """Words that the executed copy has printed."""
    cells = json.loads(job.file(".ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(text for output in outputs for text in output.get("text", [])).split()
