"""How long it takes to see that there is nothing to do, on a workspace of a whole study's size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.benchmarks.harness import Row, Run, Setting, Target, row, timed
from tests.benchmarks.study import STUDY
from utils.core.files import write_json
from utils.core.paths import ROOT, Workspace
from utils.plan.freshness import fingerprint, hashes
from utils.plan.jobs import Job, plan
from utils.plan.parameters import settings
from utils.plan.records import State, write_record


def planning(setting: Setting) -> tuple[list[Row], list[str]]:
    """``--plan`` and a run with nothing to do: five data sets, five seeds, files of full size."""
    names = list(STUDY)[-setting.size(5, 1) :]
    seeds = list(range(setting.size(5, 1)))
    asked = ["--datasets", *names, "--seeds", *map(str, seeds), "--preset", "study"]
    with TemporaryDirectory(dir=setting.out) as folder:
        place = Workspace(folder)
        values = {name: settings(name, "study", {}) for name in names}
        jobs = plan(place, names, seeds, [1, 2, 3], values)
        for job in jobs:
            _pretend(job)
        n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        rows = []
        for what, option in {"--plan": ["--plan"], "a run with nothing to do": []}.items():
            command = [sys.executable, str(ROOT / "run_all.py"), *asked, *option]
            command += ["--workspace", folder]

            def call(command: list[str] = command) -> None:
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                assert "0 of" in done.stdout or "are up to date" in done.stdout, done.stdout

            call()
            run = Run([timed(call) for _ in range(setting.repeats(5))])
            size = f"{len(names)} data sets, {len(seeds)} seeds: {len(jobs)} jobs, "
            size += f"{n_bytes / 1e9:.1f} GB"
            rows.append(row(what, size, "itself", run, None, None, Target(""), setting.quick))
    return rows, []


def _pretend(job: Job) -> None:
    """Write files like a job's, and its record as if it had made them."""
    place = job.workspace
    n_all, n_train, side, n_classes = STUDY.get(job.dataset, (1, 1, 1, 1))
    n_test = settings(job.dataset, "study", {}).get("n_adversarial", 0)  # as many as there are
    n = {
        "0.0": {"train": n_train, "val": n_all - n_train - n_test, "test": n_test},
        "1.1": dict.fromkeys(("adv_train", "adv_val", "adv_test"), n_test),
    }.get(job.step.id, {})
    for pattern in job.outputs:
        path = place.root / pattern
        path.parent.mkdir(parents=True, exist_ok=True)
        if "*" not in path.name:
            path.write_bytes(bytes(2_000_000))
        elif path.suffix != ".npy":
            path.with_name(path.name.replace("*", "x")).write_bytes(bytes(100_000))
        for name, size in n.items() if path.name == "*.npy" else []:
            np.save(path.with_name(f"x_{name}.npy"), np.ones((size, side, side, 1), np.float32))
            np.save(path.with_name(f"y_{name}.npy"), np.ones(size, np.int64))
    if job.step.id == "0.0":
        about = {"n_images": n, "image_shape": [side, side, 1], "n_classes": n_classes}
        about["class_names"] = [str(number) for number in range(n_classes)]
        write_json(place.data(job.dataset) / "dataset.json", about)
    job.report.parent.mkdir(parents=True, exist_ok=True)
    job.file(".ipynb").write_text("{}")
    job.file(".html").write_text("</html>")
    if job.step.id == "5.2":
        write_json(place.reports() / "recommendation.json", {"text": "none"})
    outputs = {"outputs": hashes(place, job.outputs)}
    write_record(job, State.DONE, {**fingerprint(job), **outputs})
