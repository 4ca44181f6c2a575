"""Write the golden notebooks anew: ``python tests/update_goldens.py``, after a template changed.

They are executed copies of the templates at the smallest preset, for nbval to run again. Only the
outputs of cells tagged ``nbval-check-output`` are kept: nbval compares no others, and numbers that
need a tolerance are compared by the other tests, on the results tables.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests" / "goldens"
WORKSPACE = "build/goldens"
OPTIONS = [
    "--preset",
    "smoke",
    "--configurations",
    "2",
    "--workspace",
    str(ROOT / WORKSPACE),
    "--vary",
    "epsilon=0.02,0.1",
]


def main() -> None:
    shutil.rmtree(ROOT / WORKSPACE, ignore_errors=True)
    subprocess.run([sys.executable, str(ROOT / "run_all.py"), *OPTIONS], check=True)
    shutil.rmtree(GOLDENS, ignore_errors=True)
    GOLDENS.mkdir()
    reports = ROOT / WORKSPACE / "reports"
    for path in sorted({*reports.rglob("*.ipynb")} - {*reports.glob("variants/**/*.ipynb")}):
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.pop("papermill", None)
        for cell in notebook.cells:
            cell.metadata.pop("papermill", None)
            if cell.cell_type == "code":
                cell.metadata.pop("execution", None)
                if "nbval-check-output" not in cell.metadata.get("tags", []):
                    cell.outputs = []
        nbformat.write(notebook, GOLDENS / path.name)


if __name__ == "__main__":
    main()
