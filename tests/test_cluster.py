"""A real scheduler and real workers, started as the README says: who is let in, and who may die."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from distributed import Client

from tests.conftest import ROOT, run_all
from tests.notebooks import make_job, printed, run_jobs
from utils.cluster import Cluster, ClusterError, ClusterLost
from utils.freshness import status
from utils.results import COST, read_results
from utils.worker import Site, code_of
from utils.workspace import Workspace, read_json


class Dask:
    """A scheduler and its workers, each a process of its own that knows nothing of the project."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.processes = {"scheduler": self._start("scheduler", "--port", "0")}
        self.address = self._wait(lambda: self.file.exists() and read_json(self.file)["address"])

    def worker(self, name, *options, **environment):
        """Start a worker and wait until the scheduler knows it."""
        words = ["--nthreads", "1", "--no-nanny", "--name", name, *options]
        self.processes[name] = self._start("worker", *words, **environment)
        with Client(self.address, set_as_default=False) as client:
            self._wait(lambda: name in [w["name"] for w in self._workers(client)])

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def close(self):
        for name in self.processes:
            self.kill(name)

    @staticmethod
    def _workers(client):
        return client.scheduler_info(n_workers=-1)["workers"].values()

    def _start(self, kind, *options, **environment):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        with open(self.folder / f"{kind}.log", "ab") as log:
            return subprocess.Popen(
                [*command, "--scheduler-file", str(self.file), "--no-dashboard"],
                cwd=self.folder, env={**os.environ, **environment}, stdout=log, stderr=log,
            )  # fmt: skip

    @staticmethod
    def _wait(what, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(ValueError):
                if found := what():
                    return found
            time.sleep(0.1)
        pytest.fail("nothing came of it")


@pytest.fixture
def dask(tmp_path):
    folder = tmp_path / "dask"
    folder.mkdir()
    dask = Dask(folder)
    yield dask
    dask.close()


def kernel_of(mark):
    """The kernel that wrote its pid to a file, once it has."""
    if mark.exists() and mark.read_text():
        return psutil.Process(int(mark.read_text()))
    return None


def gone(processes, seconds=20):
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


LONG = (
    "import os, pathlib, time\npath = pathlib.Path({mark!r})\nfirst = not path.exists()\n"
    "path.write_text(str(os.getpid()))\ntime.sleep(600 if first else 0)\nprint('second')"
)
"""A cell that sleeps the first time that it runs."""

MEET = (
    "import os, pathlib, time\nplace = pathlib.Path({folder!r})\n"
    "(place / f'{{os.getpid()}}.here').touch()\ndeadline = time.monotonic() + 90\n"
    "while len(list(place.glob('*.here'))) < 2:\n    assert time.monotonic() < deadline\n"
    "    time.sleep(0.1)\nprint(os.environ.get('CUDA_VISIBLE_DEVICES'))"
)
"""A cell that ends once two of it have run side by side."""


def test_workers_share_the_jobs_and_import_nothing_of_the_project(tmp_path, dask):
    dask.worker("a")
    dask.worker("b")
    jobs = [make_job(tmp_path, name, MEET.format(folder=str(tmp_path))) for name in ("one", "two")]
    jobs.append(make_job(tmp_path, "last", "print('last')", needs=[jobs[0].name]))
    said = []
    outcomes = run_jobs(*jobs, cluster=Cluster(scheduler=dask.address), say=said.append)
    assert {o.state for o in outcomes.values()} == {"done"}
    assert said == [f"Dashboard: http://{said[0].partition('//')[2]}"]
    with Client(dask.address, set_as_default=False) as client:
        imported = client.run(lambda: [m for m in sys.modules if m.split(".")[0] == "utils"])
        servers = client.run(lambda: len(psutil.Process().children()))
    assert len(imported) == 2 and not any(imported.values())
    assert not any(servers.values())  # the run has left no process behind
    again = run_jobs(*jobs, cluster=Cluster(scheduler=dask.address))
    assert {o.state for o in again.values()} == {"up to date"}


def test_a_job_whose_worker_is_lost_runs_again_on_another(tmp_path, dask):
    dask.worker("a")
    mark = tmp_path / "pid"
    job = make_job(tmp_path, "job", LONG.format(mark=str(mark)))
    kernels = []

    def kill(outcomes, running):
        if not kernels and (kernel := kernel_of(mark)):
            kernels.append(kernel)
            dask.kill("a")
            dask.worker("b")  # when no other is left

    said = []
    cluster = Cluster(scheduler=dask.address)
    outcomes = run_jobs(job, cluster=cluster, on_poll=kill, say=said.append)
    assert outcomes[job.name].state == "done" and printed(job) == ["second"]
    assert any(line.startswith(f"A worker is lost; {job.name} goes on on tcp") for line in said)
    assert gone(kernels)


@pytest.mark.parametrize("rule", ["content", "force"])
def test_what_is_done_stays_done_when_its_worker_is_lost(tmp_path, dask, rule):
    dask.worker("a")
    count = "import pathlib\nwith open({file!r}, 'a') as file:\n    file.write('x')"
    early = make_job(tmp_path, "early", count.format(file=str(tmp_path / "early")))
    mark = tmp_path / "pid"
    late = make_job(tmp_path, "late", LONG.format(mark=str(mark)), needs=[early.name])
    killed = []

    def kill(outcomes, running):
        if early.name in outcomes and not killed and kernel_of(mark):
            killed.append(True)
            dask.kill("a")
            dask.worker("b")

    cluster = Cluster(scheduler=dask.address)
    outcomes = run_jobs(early, late, rule=rule, cluster=cluster, on_poll=kill)
    assert {o.state for o in outcomes.values()} == {"done"} and killed
    assert (tmp_path / "early").read_text() == "x"


def test_two_runs_share_a_cluster(tmp_path, dask):
    dask.worker("a", "--nthreads", "2")
    cell = MEET.format(folder=str(tmp_path))
    jobs = [make_job(tmp_path / name, "job", cell) for name in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        cluster = Cluster(scheduler=dask.address)
        outcomes = list(pool.map(lambda job: run_jobs(job, cluster=cluster), jobs))
    assert [o[job.name].state for o, job in zip(outcomes, jobs, strict=True)] == ["done", "done"]


def test_a_lost_scheduler_is_said_and_the_next_run_goes_on(tmp_path, dask):
    dask.worker("a")
    mark = tmp_path / "pid"
    job = make_job(tmp_path, "job", LONG.format(mark=str(mark)))
    kernels = []

    def kill(outcomes, running):
        if not kernels and (kernel := kernel_of(mark)):
            kernels.append(kernel)
            dask.kill("scheduler")

    with pytest.raises(ClusterLost, match="the same command goes on from there"):
        run_jobs(job, cluster=Cluster(scheduler=dask.address), on_poll=kill)
    assert gone(kernels, 60)
    assert status(job).reason == "was interrupted"
    assert run_jobs(job)[job.name].state == "done"


def test_the_jobs_of_a_run_that_was_killed_end(tmp_path, dask):
    dask.worker("a")
    mark = tmp_path / "pid"
    script = (
        "from pathlib import Path\nfrom tests.notebooks import make_job, run_jobs\n"
        "from utils.scheduling import Cluster\n"
        f"job = make_job(Path({str(tmp_path)!r}), 'job', {LONG.format(mark=str(mark))!r})\n"
        f"run_jobs(job, cluster=Cluster(scheduler={dask.address!r}))"
    )
    runner = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    dask._wait(lambda: kernel_of(mark))
    kernel = kernel_of(mark)
    runner.kill()
    runner.wait()
    assert gone([kernel])
    job = make_job(tmp_path, "job", LONG.format(mark=str(mark)))
    assert run_jobs(job, cluster=Cluster(scheduler=dask.address))[job.name].state == "done"


def test_jobs_have_gpus_to_themselves(tmp_path, dask):
    cell = MEET.format(folder=str(tmp_path))
    jobs = [make_job(tmp_path, name, cell, network=True) for name in ("one", "two")]
    with pytest.raises(ClusterError, match="no worker offers more than 0"):
        dask.worker("none")
        run_jobs(*jobs, cluster=Cluster(scheduler=dask.address, gpus_per_job=1))
    dask.worker("two", "--nthreads", "4", "--resources", "GPU=2")
    run_jobs(*jobs, cluster=Cluster(scheduler=dask.address, gpus_per_job=1))
    assert sorted(printed(job) for job in jobs) == [["0"], ["1"]]
    pair = make_job(tmp_path, "pair", cell, network=True)
    run_jobs(pair, cluster=Cluster(scheduler=dask.address, gpus_per_job=2))
    assert printed(pair) == ["0,1"]


def test_a_worker_of_another_version_is_refused(tmp_path, dask):
    other = tmp_path / "other"
    (other / "scipy-0.1.dist-info").mkdir(parents=True)
    (other / "scipy-0.1.dist-info" / "METADATA").write_text("Name: scipy\nVersion: 0.1\n")
    dask.worker("old", PYTHONPATH=str(other))
    result = run_all("--workspace", tmp_path / "w", "--scheduler", dask.address)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert "no worker is fit for it: " in result.stderr
    assert "has scipy 0.1, expected" in result.stderr
    assert "requirements.txt" in result.stderr
    job = make_job(tmp_path, "job", "import time\ntime.sleep(3)\nprint('hello')")
    dask.kill("old")
    dask.worker("good")
    said = []

    def join(outcomes, running):
        if running and "old2" not in dask.processes:
            dask.worker("old2", PYTHONPATH=str(other))

    cluster = Cluster(scheduler=dask.address)
    outcomes = run_jobs(job, cluster=cluster, on_poll=join, say=said.append)
    assert outcomes[job.name].state == "done"
    assert any("is not used: it has scipy 0.1" in line for line in said)  # it joined meanwhile


def test_a_worker_that_does_not_see_the_files_is_refused(tmp_path):
    mark = tmp_path / "mark"
    mark.write_text("run 1")
    sees = {"root": str(ROOT), "mark": str(mark), "content": "run 1", "code": code_of(ROOT)}
    assert Site(**sees, versions={}).refusal() == ""
    wrong = {
        "does not see the checkout": {"root": str(tmp_path)},
        "another version of the code": {"code": "0"},
        "sees another workspace": {"content": "run 2"},
        "can't read": {"mark": str(tmp_path / "none")},
        "has scipy": {"versions": {"scipy": "0.1"}},
        "has nonsuch not at all": {"versions": {"nonsuch": "0.1"}},
    }
    for message, change in wrong.items():
        assert message in Site(**{**sees, "versions": {}, **change}).refusal()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_a_scheduler_that_is_not_there_is_refused(tmp_path, address):
    result = run_all("--workspace", tmp_path / "w", "--scheduler", address)
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert f"--scheduler {address}: can't connect" in result.stderr
    assert not (tmp_path / "w").exists()


def test_curves_on_two_workers_one_of_them_killed_give_the_same_table(tmp_path, dask):
    """Each metric in a job of its own, on a cluster; against one job on this machine."""
    options = ["--preset", "smoke", "--configurations", 2, "--metrics", "dsa", "random"]
    early = [*options, "--workspace", tmp_path / "cluster", "--steps", "0", "1", "2"]
    assert run_all(*early).returncode == 0
    dask.worker("a")
    dask.worker("b")
    command = [*options, "--workspace", tmp_path / "cluster", "--scheduler", dask.address]
    run = subprocess.Popen(
        [sys.executable, str(ROOT / "run_all.py"), *map(str, command), "--split-metrics"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    place = Workspace(tmp_path / "cluster")
    curves = [place.curve("digits", 0, 2, metric) for metric in ("dsa", "random")]
    dask._wait(lambda: any(curve.exists() for curve in curves), 300)
    dask.kill("a")
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    assert (place.reports_root / "5.2-comparison.html").exists()
    assert place.results("digits", 0, 2, "dsa").exists()

    alone = Workspace(tmp_path / "alone")
    steps = ["--steps", "0", "1", "2", "3"]
    assert run_all(*options, "--workspace", alone.root, *steps).returncode == 0
    one, two = (read_results(w.results("digits", 0, 2)).drop(columns=COST) for w in (place, alone))
    assert one.equals(two)
    plan = run_all(*command, "--split-metrics", "--plan")
    assert "0 of 10 jobs would run" in plan.stdout, plan.stdout
