"""A real scheduler and real workers, started as the README says: who is let in, and who may die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import psutil
import pytest
from distributed import Client

from tests.conftest import ROOT, run_all
from tests.notebooks import make_job, printed, run_jobs
from utils.core.files import read_json
from utils.core.paths import Workspace
from utils.plan.freshness import status
from utils.retraining.results import COST, read_results
from utils.runner import cluster, placement, worker
from utils.runner.cluster import Cluster, ClusterError, ClusterLost
from utils.runner.worker import Site, code_of

pytestmark = pytest.mark.slow  # schedulers and workers are started


class Dask:
    """A scheduler and its workers, each a process of its own that knows nothing of the project."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "scheduler.json"
        options = ("--port", "0", "--dashboard-address", ":0")
        self.processes = {"scheduler": self._start("scheduler", *options)}
        self.address = self._wait(lambda: self.file.exists() and read_json(self.file)["address"])

    def worker(self, name, *options, **environment):
        """Start a worker and wait until the scheduler knows it."""
        words = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name, *options]
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
                [*command, "--scheduler-file", str(self.file)],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )

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
    host, port = dask.address.rpartition(":")[0], read_json(dask.file)["services"]["dashboard"]
    link = f"http{host.removeprefix('tcp')}:{port}/status"
    assert said == [f"Dashboard: {link}"]
    with urllib.request.urlopen(link, timeout=10) as page:
        assert b"<title>Dask" in page.read()
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


def test_a_run_without_workers_says_so_and_goes_on_with_the_next(tmp_path, dask):
    dask.worker("a")
    mark = tmp_path / "pid"
    job = make_job(tmp_path, "job", LONG.format(mark=str(mark)))
    said, shown = [], []

    def kill(outcomes, running):
        if "a" in dask.processes and kernel_of(mark):
            assert list(running) == [job.name]
            dask.kill("a")
            del dask.processes["a"]
        elif "a" not in dask.processes and "b" not in dask.processes:
            shown.append(list(running))
            if any(line.startswith("No worker is left: ") for line in said):
                dask.worker("b")

    outcomes = run_jobs(job, cluster=Cluster(scheduler=dask.address), on_poll=kill, say=said.append)
    assert outcomes[job.name].state == "done"
    assert shown[-1] == [] and len(shown) < 5  # the job is not shown as running
    assert any(line.startswith("A worker is there again (tcp://") for line in said)
    assert sum(line.startswith("No worker is left: ") for line in said) == 1


def test_a_run_whose_workers_stay_away_ends(tmp_path, dask, monkeypatch):
    monkeypatch.setattr(placement, "REMIND_SECONDS", 1)
    monkeypatch.setattr(placement, "GIVE_UP_SECONDS", 5)
    dask.worker("a")
    mark = tmp_path / "pid"
    job = make_job(tmp_path, "job", LONG.format(mark=str(mark)))
    said = []

    def kill(outcomes, running):
        if not said[1:] and mark.exists() and mark.read_text():  # after the dashboard's address
            dask.kill("a")

    with pytest.raises(ClusterLost, match=r"no worker has been left for .* the same command goes"):
        run_jobs(job, cluster=Cluster(scheduler=dask.address), on_poll=kill, say=said.append)
    assert any("still waiting" in line for line in said)
    assert status(job).reason == "was interrupted"


def test_a_worker_that_is_not_fit_is_none():
    """Of three that come and go; against a scheduler that is played."""
    scenes = iter(["ab", "b", "b", "", "c", ""])

    def answer(address):
        says = {"refusal": "is another" if address == "b" else "", "begun": []}
        return {"metrics": {"run": says}, "status": "running", "nthreads": 1, "resources": {}}

    client = SimpleNamespace(
        status="running",
        scheduler_info=lambda n_workers: {"workers": {a: answer(a) for a in next(scenes)}},
    )
    said = []
    here = Cluster(scheduler="tcp://h:1")
    workers = placement.Placement(client, here, "run", 1, said.append)

    def fit():
        found = workers.fit()
        workers.judge(found)  # as if each ran a job
        return set(found)

    assert [fit() for _ in range(3)] == [{"a"}, set(), set()]
    assert said.pop(0) == "Worker b is not used: it is another"
    assert len(said) == 1 and "dask worker tcp://h:1" in said[0] and "60 minutes" in said[0]
    assert [fit() for _ in range(2)] == [set(), {"c"}]
    assert said[1:] == ["A worker is there again (c); the run goes on."]
    client.status = "connecting"  # to the scheduler, which says itself that it is gone
    assert fit() == set() and len(said) == 2
    client.status = "closed"
    with pytest.raises(ClusterLost, match="the scheduler is gone"):
        fit()


def test_a_job_does_not_come_back_to_the_worker_that_it_was_taken_from():
    """While another has room; against a scheduler that is played."""
    client = SimpleNamespace(status="running", processing=dict)
    jobs = placement.Placement(client, Cluster(scheduler="tcp://h:1"), "run", 1, print)
    free = {"running": True, "threads": 1, "gpus": 0, "begun": []}
    jobs._there, jobs._left = {"a": free, "b": free}, {"job": "a"}
    assert (jobs.room("job", 0), jobs.room("other", 0)) == ("b", "a")
    jobs._there = {"a": free}
    assert jobs.room("job", 0) == "a"


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
        "from utils.runner.scheduling import Cluster\n"
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


def test_a_job_that_waits_behind_another_run_moves_to_a_worker_that_is_free(
    tmp_path, dask, monkeypatch
):
    monkeypatch.setattr(placement, "MOVE_SECONDS", 2)
    for name in ("a", "b"):
        dask.worker(name, "--resources", "GPU=1")
    job = make_job(tmp_path, "job", "print('done')", network=True)
    free = {}
    with Client(dask.address, set_as_default=False) as client:
        for address in client.scheduler_info(n_workers=-1)["workers"]:  # held by somebody else
            free[address] = tmp_path / f"free-{len(free)}"
            client.submit(
                lambda path: [time.sleep(0.1) for _ in iter(lambda: os.path.exists(path), True)],
                str(free[address]),
                workers=[address],
                resources={"GPU": 1},
                pure=False,
            ).add_done_callback(lambda _: None)

        def end_the_other(outcomes, running):
            busy = client.processing()
            if all(busy.values()) and max(map(len, busy.values())) > 1:
                free[min(busy, key=lambda address: len(busy[address]))].touch()

        outcomes = run_jobs(
            job, cluster=Cluster(scheduler=dask.address, gpus_per_job=1), on_poll=end_the_other
        )
        assert outcomes[job.name].state == "done"
        assert sum(path.exists() for path in free.values()) == 1  # one is held to this moment


def test_a_run_that_waits_for_gpus_says_so_and_ends(tmp_path, dask, monkeypatch):
    monkeypatch.setattr(placement, "REMIND_SECONDS", 1)
    monkeypatch.setattr(placement, "GIVE_UP_SECONDS", 5)
    dask.worker("plain")
    dask.worker("gpu", "--resources", "GPU=1")
    mark = tmp_path / "pid"
    job = make_job(tmp_path, "job", LONG.format(mark=str(mark)), network=True)
    other = make_job(tmp_path, "other", "print('needs none')", needs=[job.name])
    said = []

    def kill(outcomes, running):
        if "gpu" in dask.processes and kernel_of(mark):
            dask.kill("gpu")
            del dask.processes["gpu"]

    with pytest.raises(ClusterLost, match=r"no worker has been left for .* the same command goes"):
        here = Cluster(scheduler=dask.address, gpus_per_job=1)
        run_jobs(job, other, cluster=here, on_poll=kill, say=said.append)
    (line,) = [line for line in said if line.startswith("No worker is left")]
    assert "--resources GPU=1" in line
    assert status(job).reason == "was interrupted"


def test_runs_on_one_worker_have_different_gpus(tmp_path, dask):
    dask.worker("a", "--nthreads", "2", "--resources", "GPU=2")
    cell = MEET.format(folder=str(tmp_path))
    jobs = [make_job(tmp_path / name, "job", cell, network=True) for name in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        here = Cluster(scheduler=dask.address, gpus_per_job=1)
        list(pool.map(lambda job: run_jobs(job, cluster=here), jobs))
    assert sorted(printed(job) for job in jobs) == [["0"], ["1"]]


@pytest.mark.parametrize("question", ["scheduler_info", "processing", "register_plugin"])
def test_a_scheduler_that_dies_while_it_is_asked_is_said(tmp_path, dask, monkeypatch, question):
    dask.worker("a")
    dask.worker("b")
    job = make_job(tmp_path, "job", "print('hello')")
    ask = getattr(Client, question)

    def asked(client, *arguments, **options):
        if "scheduler" in dask.processes:
            dask.kill("scheduler")
            del dask.processes["scheduler"]
        return ask(client, *arguments, **options)

    monkeypatch.setattr(Client, question, asked)
    with pytest.raises(ClusterLost, match="the same command goes on from there") as lost:
        run_jobs(job, cluster=Cluster(scheduler=dask.address))
    assert lost.value.code == 1


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


def silent(connection):
    time.sleep(60)


def hangs_up(connection):
    pass


def ssh(connection):
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
    time.sleep(60)


def zeros(connection):
    while True:
        connection.sendall(bytes(1000))
        time.sleep(0.01)


def tls(connection):
    connection.recv(100)
    connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")  # alert: it speaks no such protocol


def web(connection):
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def server(request):
    """The port of a server that answers every connection as a function does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=one, args=listening.accept()[:1], daemon=True).start()

        def one(connection):
            with contextlib.suppress(OSError), connection:
                request.param(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
@pytest.mark.parametrize("server", [silent, hangs_up, ssh, zeros, tls, web], indirect=True)
def test_somebody_else_at_the_address_is_refused(server, protocol):
    began = time.monotonic()
    with pytest.raises(ClusterError) as error:
        cluster.reach(f"{protocol}://127.0.0.1:{server}")
    assert time.monotonic() - began < cluster.REACH_SECONDS + 30  # zeros come for ever
    line = str(error.value)
    assert line.startswith(f"--scheduler {protocol}://127.0.0.1:{server}: can't connect (")
    assert len(line.splitlines()) == 1 and "dask scheduler" in line


def test_other_addresses_of_a_cluster_are_refused_in_one_line(tmp_path, dask):
    dask.worker("a")
    with Client(dask.address, set_as_default=False) as client:
        (worker,) = client.scheduler_info(n_workers=-1)["workers"]
        dashboard = client.dashboard_link
    host, _, port = dashboard.removesuffix("/status").rpartition(":")
    said = {
        worker: "is the address of a Worker, expected that of its scheduler",
        dashboard: "unknown address scheme 'http'",
        f"tcp{host.removeprefix('http')}:{port}": "can't connect",
        "tcp://127.0.0.1:1": "can't connect ([Errno 111] Connection refused)",
        "nonsense": "can't connect (missing port number",
        "tls" + dask.address.removeprefix("tcp"): "can't connect (TLS expects",
    }
    for address, reason in said.items():
        began = time.monotonic()
        result = run_all("--workspace", tmp_path / "w", "--scheduler", address)
        assert time.monotonic() - began < 100  # of which most is Python's start
        assert result.returncode == 2 and len(result.stderr.splitlines()) == 1, result.stderr
        assert result.stderr.startswith(f"run_all.py: --scheduler {address}: ")
        assert reason in result.stderr and result.stdout == ""
        assert not (tmp_path / "w").exists()
    cluster.reach(dask.address.removeprefix("tcp://"))  # the protocol may be left out


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
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
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


def test_a_worker_without_a_folder_for_temporary_files_is_not_fit(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    async def heartbeat():
        pass

    monkeypatch.setattr(worker.tempfile, "mkdtemp", full)
    metrics, state = {}, SimpleNamespace(total_resources={})
    dask_worker = SimpleNamespace(state=state, metrics=metrics, heartbeat=heartbeat)
    runner = worker.Runner("run", Site("", "", "", "", {}), network=False)
    asyncio.run(runner.setup(dask_worker))
    assert metrics["run"](None)["refusal"].startswith("has no folder for temporary files")
    runner.teardown(dask_worker)
    assert not metrics
