"""The whole study on digits with ``run_all.py`` against its functions called in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from tests.benchmarks.harness import Comparison, Row, Setting, Target, race, row
from tests.benchmarks.inputs import CORES
from utils.core.paths import ROOT, Workspace
from utils.metrics.registry import METRICS
from utils.retraining.results import COST

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""What `run_all.py` gives each job by default."""


def whole_run(setting: Setting) -> tuple[list[Row], list[str]]:
    """All from nothing, each in a new workspace; the results tables must be equal."""
    preset, configurations, metrics = ("quick", (1, 2, 3), tuple(METRICS))
    if setting.quick:
        preset, configurations, metrics = "smoke", (3,), ("random",)
    numbers = tuple(map(str, configurations))
    asked = ("--preset", preset, "--configurations", *numbers, "--metrics", *metrics)
    same = (preset, " ".join(numbers), " ".join(metrics))
    target = Target("at most 1.3 times its wall time", slowdown=1.3)
    one_job, cores = "run_all.py, one job at a time", f"run_all.py, {CORES} jobs at a time"

    def compare(results: dict[str, pd.DataFrame]) -> Comparison:
        first, *others = (table.drop(columns=COST) for table in results.values())
        equal = all(first.equals(other) for other in others)
        text = f"results tables of {len(first)} rows {'equal' if equal else 'differ'}"
        return Comparison(text, equal=equal)

    def run_all(jobs: int) -> pd.DataFrame:
        return _tables(configurations, "run_all.py", *asked, "--jobs", str(jobs), "--workspace")

    runs, comparison = race(
        {
            cores: lambda: run_all(CORES),
            one_job: lambda: run_all(1),
            "one process": lambda: _tables(
                configurations, "-m", "tests.benchmarks.one_process", *same
            ),
        },
        setting.repeats(1),
        compare,
        slow=0 if setting.quick else float("inf"),
        warm_up=False,
    )
    against = "the same functions called in one Python process, on one core"
    size = f"digits, preset {preset}, {len(configurations) * len(metrics)} curves"
    return [
        row(name, size, against, runs[name], runs["one process"], comparison, target, setting.quick)
        for name in (cores, one_job)
    ], []


def _tables(configurations: tuple[int, ...], *command: str) -> pd.DataFrame:
    """Run a command on a new workspace, its last argument; the results tables."""
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *command, folder],
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command}: exit {done.returncode}\n{done.stderr[-2000:]}")
        place = Workspace(Path(folder))
        tables = [pd.read_csv(place.results("digits", 0, number)) for number in configurations]
        return pd.concat(tables, ignore_index=True)
