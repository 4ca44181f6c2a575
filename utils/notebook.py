"""What the templates share: their inputs, their lines of progress, the files they wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.core.paths import ROOT, Workspace


def ensure_inputs(paths: Iterable[Path], workspace: Workspace, **request: object) -> None:
    """Make what a template reads by running the steps before it, if a file is missing.

    So a template that is opened alone in JupyterLab runs on a fresh checkout too. What is there
    already is kept as it is, with whatever settings it was made; in a batch run all is there, and
    this does nothing.

    Parameters
    ----------
    paths : iterable of Path
        Files the template reads.
    workspace : Workspace
    **request
        Options of ``run_all.py``, e.g. ``steps="0 1"``, ``datasets="digits"``, ``seeds=0``.
    """
    missing = [path for path in paths if not path.exists()]
    if not missing:
        return
    names = ", ".join(workspace.relative(path) for path in missing)
    print(f"{names} not there yet: running the steps that make it; this takes a minute or two")
    options = ["--trust-existing", f"--workspace={workspace.root}"]
    for name, values in request.items():
        options += [f"--{name}", *str(values).split()]
    command = [sys.executable, str(ROOT / "run_all.py"), *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise RuntimeError(said[-1] if said else f"{' '.join(command)} failed")


def files_written(workspace: Workspace, paths: Iterable[Path]) -> pd.DataFrame:
    """A table of files a template wrote: name from the workspace's root, size in KB."""
    pd.set_option("display.max_colwidth", None)  # the end of a name matters most
    rows = [(workspace.relative(p), round(p.stat().st_size / 1024, 1)) for p in sorted(set(paths))]
    return pd.DataFrame(rows, columns=["file", "KB"])
