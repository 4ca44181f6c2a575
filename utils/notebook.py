"""What the templates share: their inputs, and the files they wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.core.paths import ROOT, Workspace
from utils.plan.steps import files, makers, steps_named


def prepare(step: str, workspace: Workspace, **parameters: object) -> None:
    """Make what a template reads by running the steps before it, if a file is missing.

    So a template that is opened alone in JupyterLab runs on a fresh checkout too. Existing files
    are kept, whatever settings made them. In a batch run no file is missing, and nothing runs.

    Parameters
    ----------
    step : str
        Id of the template's step, such as ``"2.1"``.
    workspace : Workspace
    **parameters
        Those of the template that decide which files it reads: ``dataset``, ``seed``,
        ``configuration``, ``metrics``; or ``datasets``, ``seeds``, ``configurations``,
        ``variants``.

    Raises
    ------
    RuntimeError
        If a step before it fails; the message is the last line of ``run_all.py``.
    """
    (own,) = steps_named([step])
    wanted = files(own, workspace, parameters).reads
    if missing := [pattern for pattern in wanted if not workspace.expand([pattern])]:
        print(f"missing: {', '.join(missing)}; running the steps that make it: a minute or two")
        options = ["--trust-existing", f"--workspace={workspace.root}"]
        options += ["--steps", *(maker.id for maker in makers(own))]
        for name, value in parameters.items():
            values = [str(v) for v in (value if isinstance(value, list) else [value])]
            option = f"--{name.removesuffix('s')}s"
            if name == "variants":
                option, values = "--vary", [variant.replace("-", "=", 1) for variant in values]
            options += [option, *values]
        command = [sys.executable, str(ROOT / "run_all.py"), *options]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if result.returncode:
            printed = (result.stderr or result.stdout).strip().splitlines()
            raise RuntimeError(printed[-1] if printed else f"{' '.join(command)} failed")


def show_whole_tables() -> None:
    """Show every row of a table and every cell whole, however many and long they are."""
    pd.set_option("display.max_rows", None)
    pd.set_option("display.max_colwidth", None)


def files_written(workspace: Workspace, paths: Iterable[Path]) -> pd.DataFrame:
    """A table of files a template wrote: name from the workspace's root, size in KB."""
    show_whole_tables()  # the end of a name matters most
    rows = [(workspace.relative(p), round(p.stat().st_size / 1024, 1)) for p in sorted(set(paths))]
    return pd.DataFrame(rows, columns=["file", "KB"])
