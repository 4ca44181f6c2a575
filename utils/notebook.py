"""What the templates share: their inputs, their lines of progress, the files they wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from utils.core.paths import ROOT, Workspace


def ensure_inputs(paths: Iterable[Path], workspace: Workspace, **request: object) -> None:
    """Make what a template reads by running the steps before it, if a file is missing.

    So a template that is opened alone in JupyterLab runs on a fresh checkout too. Existing files
    are kept, whatever settings made them. In a batch run no file is missing, and this does nothing.

    Parameters
    ----------
    paths : iterable of Path
        Files the template reads.
    workspace : Workspace
    **request
        Options of ``run_all.py``, e.g. ``steps="0 1"``, ``datasets="digits"``, ``seeds=[0, 1]``.
    """
    missing = [path for path in paths if not path.exists()]
    if not missing:
        return
    names = ", ".join(workspace.relative(path) for path in missing)
    print(f"missing: {names}; running the steps that make it, which takes a minute or two")
    options = ["--trust-existing", f"--workspace={workspace.root}"]
    for name, values in request.items():
        values = values.split() if isinstance(values, str) else np.atleast_1d(values).tolist()
        options += [f"--{name}", *map(str, values)]
    command = [sys.executable, str(ROOT / "run_all.py"), *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise RuntimeError(said[-1] if said else f"{' '.join(command)} failed")


def ensure_results(
    workspace: Workspace,
    steps: str,
    datasets: Iterable[str],
    configurations: Iterable[int],
    seeds: Iterable[int],
    variants: Iterable[str] = (),
) -> list[Path]:
    """The results tables of a request, made by `ensure_inputs` if one is missing.

    Parameters
    ----------
    workspace : Workspace
    steps : str
        The steps that make them.
    datasets, configurations, seeds : iterables
    variants : iterable of str, optional
        Names of variants, such as ``epsilon-0.1``, whose tables are made too.

    Returns
    -------
    list of Path
        Those of the run itself.
    """
    runs = [workspace, *map(workspace.variant, variants)]
    keys = [(d, s, c) for d in datasets for s in seeds for c in configurations]
    request = {"datasets": datasets, "configurations": configurations, "seeds": seeds}
    if variants:
        request["vary"] = [variant.replace("-", "=", 1) for variant in variants]
    tables = [run.results(*key) for run in runs for key in keys]
    ensure_inputs(tables, workspace, steps=steps, **request)
    return tables[: len(keys)]


def show_whole_tables() -> None:
    """Show every row of a table and every cell whole, however many and long they are."""
    pd.set_option("display.max_rows", None)
    pd.set_option("display.max_colwidth", None)


def files_written(workspace: Workspace, paths: Iterable[Path]) -> pd.DataFrame:
    """A table of files a template wrote: name from the workspace's root, size in KB."""
    show_whole_tables()  # the end of a name matters most
    rows = [(workspace.relative(p), round(p.stat().st_size / 1024, 1)) for p in sorted(set(paths))]
    return pd.DataFrame(rows, columns=["file", "KB"])
