"""The runner: a whole run against its functions in one process, and seeing that nothing is to do.

As a program (``... PRESET CONFIGURATIONS METRICS WORKSPACE``) it is that one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from tests.benchmarks.harness import Comparison, Row, Setting, Target, race, row, timed
from utils.core.files import write_json
from utils.core.paths import ROOT, Workspace
from utils.machine.provenance import usable_cpus
from utils.metrics.registry import METRICS
from utils.plan.freshness import fingerprint, hashes
from utils.plan.jobs import Job, plan
from utils.plan.parameters import settings
from utils.plan.records import State, write_record
from utils.plan.steps import RETRAINING
from utils.retraining.results import COST

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""What `run_all.py` gives each job by default."""


def whole_run(setting: Setting) -> list[Row]:
    """All of digits from nothing, each in a new workspace; the results tables must be equal."""
    preset, numbers, metrics = "quick", ["1", "2", "3", "4"], list(METRICS)
    if setting.quick:
        preset, numbers, metrics = "smoke", ["3"], ["random"]
    asked = ["--preset", preset, "--configurations", *numbers, "--metrics", *metrics]
    cores, one_job = (f"run_all.py, {n} at a time" for n in (f"{usable_cpus()} jobs", "one job"))
    against = "the same functions called in one Python process, on one core"
    commands = {
        cores: ["run_all.py", *asked, "--jobs", str(usable_cpus()), "--workspace"],
        one_job: ["run_all.py", *asked, "--jobs", "1", "--workspace"],
        against: ["-m", __name__, preset, " ".join(numbers), " ".join(metrics)],
    }

    def tables(command: list[str]) -> pd.DataFrame:
        with TemporaryDirectory() as folder:
            _python(*command, folder)
            paths = (Workspace(folder).results("digits", 0, int(number)) for number in numbers)
            return pd.concat(map(pd.read_csv, paths), ignore_index=True)

    def compare(results: dict[str, pd.DataFrame]) -> Comparison:
        first, *others = (table.drop(columns=COST) for table in results.values())
        equal = all(first.equals(other) for other in others)
        text = f"results tables of {len(first)} rows {'equal' if equal else 'differ'}"
        return Comparison(text, equal=equal)

    contenders = {name: partial(tables, command) for name, command in commands.items()}
    # Nothing stays warm from one run to the next: the first runs count.
    runs, found = race(contenders, 1, compare, slow=0)
    verdict = (found, Target("at most 1.3 times its wall time", slowdown=1.3), setting.quick)
    values = {"digits": settings("digits", preset, {"metrics": metrics})}
    jobs = plan(Workspace(setting.out), ["digits"], [0], map(int, numbers), values)
    curves = sum(len(job.parameters["metrics"]) for job in jobs if job.step == RETRAINING)
    size = f"digits, preset {preset}, {curves} curves"
    ours = (cores, one_job)
    return [row(name, size, against, runs[name], runs[against], *verdict) for name in ours]


def planning(setting: Setting) -> list[Row]:
    """``--plan`` and a run with nothing to do: five data sets, five seeds, files of full size."""
    from tests.benchmarks.retraining import STUDY

    names, seeds = list(STUDY)[-setting.size(5, 1) :], list(range(setting.size(5, 1)))
    with TemporaryDirectory(dir=setting.out) as folder:
        values = {name: settings(name, "study", {}) for name in names}
        jobs = plan(Workspace(folder), names, seeds, [1, 2, 3, 4], values)
        for job in jobs:
            _pretend(job, *STUDY.get(job.dataset, (1, 1, 1, 1)))
        n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        asked = ["--datasets", *names, "--seeds", *map(str, seeds), "--preset", "study"]

        def call(*options: str) -> None:
            shown = _python("run_all.py", *asked, *options, "--workspace", folder)
            assert "0 of" in shown or "are up to date" in shown, shown

        size = f"{len(names)} data sets, {len(seeds)} seeds: {len(jobs)} jobs, "
        size += f"{n_bytes / 1e9:.1f} GB"
        rows = []
        for what, work in {
            "--plan": partial(call, "--plan"),
            "a run with nothing to do": call,
        }.items():
            work()
            seconds = [timed(work) for _ in range(setting.size(5, 1))]
            rows.append(Row(what, size, "itself", ours=seconds))
    return rows


def _python(*command: str) -> str:
    """What a command prints, each of whose processes computes on one core."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        ends = done.stdout[-2000:] + done.stderr[-2000:]
        raise RuntimeError(f"{command}: exit {done.returncode}\n{ends}")
    return done.stdout


def _pretend(job: Job, n_all: int, n_train: int, side: int, n_classes: int) -> None:
    """Write files like a job's, and its record as if it had made them."""
    workspace = job.workspace
    n_test = settings(job.dataset, "study", {}).get("n_adversarial", 0)  # as many as there are
    images = {
        "0.0": {"train": n_train, "val": n_all - n_train - n_test, "test": n_test},
        "1.1": dict.fromkeys(("adv_train", "adv_val", "adv_test"), n_test),
    }.get(job.step.id, {})
    for pattern in job.outputs:
        path = workspace.root / pattern
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "*.npy":
            for name, n in images.items():
                path.with_name(f"x_{name}.npy").write_bytes(bytes(4 * n * side * side))
        else:
            size = 100_000 if "*" in path.name else 2_000_000
            path.with_name(path.name.replace("*", "x")).write_bytes(bytes(size))
    if job.step.id == "0.0":
        about = {"n_images": images, "image_shape": [side, side, 1], "n_classes": n_classes}
        about["class_names"] = [str(number) for number in range(n_classes)]
        write_json(workspace.data(job.dataset) / "dataset.json", about)
    job.report.parent.mkdir(parents=True, exist_ok=True)
    job.file(".ipynb").write_text("{}")
    job.file(".html").write_text("</html>")
    if job.step.id == "5.2":
        write_json(workspace.reports() / "recommendation.json", {"text": "none"})
    made = {**fingerprint(job), "outputs": hashes(workspace, job.outputs)}
    write_record(job, State.DONE, made)


def in_one_process(preset: str, configurations: str, metrics: str, workspace: str) -> None:
    """Run the templates' code, one job after another, without kernels, notebooks and pages.

    The jobs get the parameters that ``run_all.py`` would give them; `configurations` and `metrics`
    are separated by spaces.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.show = lambda *_, **__: plt.close("all")
    values = {"digits": settings("digits", preset, {"metrics": metrics.split()})}
    numbers = [int(number) for number in configurations.split()]
    for job in plan(Workspace(workspace), ["digits"], [0], numbers, values):
        names: dict[str, Any] = {"display": lambda *_: None, "__name__": "__main__"}
        job.report.parent.mkdir(parents=True, exist_ok=True)
        for cell in json.loads(job.step.path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            exec(compile("".join(cell["source"]), job.name, "exec"), names)
            if "parameters" in cell["metadata"].get("tags", []):
                names.update({**job.parameters, "workspace": job.workspace.parameter})


if __name__ == "__main__":
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # what the cells print
    in_one_process(*sys.argv[1:])
