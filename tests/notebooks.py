"""Tiny templates for the tests of the runner, made where they are needed."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from utils.pipeline import Job, Step
from utils.workspace import Workspace


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
    root: Path, name: str, *cells: str, inputs=(), outputs=(), needs=(), value: int = 1
) -> Job:
    """A job whose template has the parameters ``value`` and ``workspace``."""
    template = write_template(
        root / "templates" / f"{name}.ipynb",
        'value: int = 0  # a number\nworkspace: str = ""  # where files go',
        *cells,
    )
    workspace = Workspace(root / "workspace")
    step = Step("0.0", name, str(template), name, (), False)
    return Job(
        step, workspace, {"value": value}, workspace.reports("digits") / name,
        tuple(inputs), tuple(outputs), (), tuple(needs),
    )  # fmt: skip
