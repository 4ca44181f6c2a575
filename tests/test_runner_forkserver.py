"""The fork server: fresh processes, the project from disk, and what happens when it can't fork."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import Pipe
from types import SimpleNamespace

import psutil
import pytest

from tests.notebooks import make_job, printed, run_jobs
from utils.core.paths import ROOT
from utils.runner import forkserver, worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
MESSAGE = pickle.dumps(("not a job",))


@pytest.fixture
def server():
    server = forkserver.ForkServer(network=False)
    yield server
    server.close()


@pytest.mark.slow
def test_kernels_are_fresh_and_have_libraries_but_nothing_of_the_project(tmp_path):
    look = (
        "import os, sys, random, numpy as np\nfrom sys import modules\n"
        "print(os.getpid(), sys.argv[0], 'pandas' in modules, sys.executable)\n"
        "print(random.random(), np.random.random())\n"
        "ours = {'utils.runner', 'utils.runner.own_kernel'}\n"
        "print([m for m in modules if m.startswith('utils.') and m not in ours])"
    )
    jobs = [make_job(tmp_path, name, look) for name in ("one", "two")]
    jobs[0].workspace.root.mkdir()
    assert all(outcome.state == "done" for outcome in run_jobs(*jobs).values())
    one, two = map(printed, jobs)
    assert one[1:4] == two[1:4] == ["ipykernel_launcher", "True", sys.executable]
    assert one[0] != two[0]  # processes
    assert one[4] != two[4] and one[5] != two[5]  # random numbers
    assert one[6:] == two[6:] == ["[]"]


@pytest.mark.slow
def test_a_kernel_has_the_threads_and_figures_that_a_started_one_has(tmp_path, monkeypatch):
    cell = (
        "import os, matplotlib.pyplot as plt, numpy, scipy.linalg\n"
        "from threadpoolctl import threadpool_info\n"
        "print(os.environ['OMP_NUM_THREADS'], {i['num_threads'] for i in threadpool_info()})\n"
        "plt.plot([1, 2])\nplt.show()"
    )
    job = make_job(tmp_path, "job", cell)
    monkeypatch.setitem(job.parameters, "threads", 2)
    job.workspace.root.mkdir()
    run_jobs(job)
    forked, figure = printed(job), _figure(job)
    assert forked == ["2", "{2}"]
    monkeypatch.setattr(worker, "ForkServer", _no_server)
    job.file(".json").unlink()
    run_jobs(job)
    assert printed(job) == forked
    assert _figure(job) == figure


def _no_server(network, environment):
    raise OSError


def _figure(job):
    cells = json.loads(job.file(".ipynb").read_text())["cells"]
    (png,) = [o["data"]["image/png"] for c in cells for o in c.get("outputs", []) if "data" in o]
    return png


@pytest.mark.slow
def test_where_it_cannot_fork_processes_are_started(tmp_path, monkeypatch):
    job = make_job(tmp_path, "job", "import time\nprint('hello')")
    job.workspace.root.mkdir()

    def refuse(self, *arguments):
        ours, theirs = Pipe()
        theirs.close()
        return forkserver.Forked(ours)

    monkeypatch.setattr(forkserver.ForkServer, "start", refuse)
    assert run_jobs(job)[job.name].state == "done"
    assert printed(job) == ["hello"]


@pytest.mark.slow
def test_a_job_goes_on_when_the_server_dies(tmp_path):
    mark = tmp_path / "pid"
    cell = (
        f"import os, time, pathlib\npath = pathlib.Path({str(mark)!r})\n"
        "first = not path.exists()\npath.write_text(str(os.getpid()))\n"
        "time.sleep(600 if first else 0)\nprint('second')"
    )
    job = make_job(tmp_path, "job", cell)
    job.workspace.root.mkdir()
    kernels = []

    def kill_server(outcomes, running):
        if mark.exists() and mark.read_text() and not kernels:
            kernels.append(psutil.Process(int(mark.read_text())))
            kernels[0].parent().parent().kill()  # the kernel's job's server

    outcomes = run_jobs(job, on_poll=kill_server)
    assert outcomes[job.name].state == "done" and printed(job) == ["second"]
    _, alive = psutil.wait_procs(kernels, timeout=10)
    assert not alive


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_the_server(tmp_path):
    job = make_job(tmp_path, "job", "print('never')")
    job.workspace.root.mkdir()

    def interrupt(outcomes, running):
        raise KeyboardInterrupt  # while the server still imports

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(job, on_poll=interrupt)
    stopped = time.monotonic()
    assert not job.file(".ipynb").exists()
    run_jobs(job)
    assert stopped - began < (time.monotonic() - stopped) / 2


def test_a_job_that_is_taken_back_ends_though_it_has_no_process_yet(tmp_path, monkeypatch):
    ours, theirs = Pipe()
    monkeypatch.setattr(worker, "ForkServer", lambda *_: SimpleNamespace(alive=True, start=fork))
    begun = threading.Event()

    def fork(*arguments):
        begun.set()
        return forkserver.Forked(ours)

    runner = worker.Runner("run", SimpleNamespace(refusal=lambda: "", root=ROOT), network=False)
    resources = SimpleNamespace(total_resources={})
    heartbeat = partial(asyncio.sleep, 0)
    asyncio.run(runner.setup(SimpleNamespace(state=resources, metrics={}, heartbeat=heartbeat)))
    task = worker.Task(MESSAGE, str(tmp_path / "job"), {}, network=False)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(runner.run, "key", task)
        begun.wait(10)
        runner.transition("key", "executing", "cancelled")
        theirs.send(process.pid)  # the server has imported what it needs
        process.wait(10)  # it has been killed
        theirs.send(-signal.SIGKILL)
        assert ended.result(10).code is None
    assert runner.run("key", task).code is None  # nor is it started in the ordinary way


def test_a_process_with_threads_is_not_forked():
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert forkserver._fork() is None
    finally:
        end.set()
        thread.join()


@pytest.mark.slow
def test_processes_tell_how_they_end_and_outlast_a_bad_message(server, tmp_path):
    log = tmp_path / "log"
    process = server.start(MESSAGE, log, dict(os.environ), False)
    assert process.wait() == 1
    assert "Traceback" in log.read_text()
    process = server.start(MESSAGE, log, {}, False)
    assert process.started() == process.pid
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() in (-signal.SIGKILL, 1)  # 1: it was done before


def test_a_server_that_is_gone_raises_an_error(server, tmp_path):
    waiting = server.start(MESSAGE, tmp_path / "log", {}, False)  # it still imports
    server._process.kill()
    server._process.wait()
    with pytest.raises(OSError, match="gone"):
        waiting.wait()
    assert waiting.pid is None
    with pytest.raises(OSError):
        server.start(MESSAGE, tmp_path / "log", {}, False)


def test_the_server_ends_with_its_client():
    code = (
        "import os, time\nfrom utils.runner.forkserver import ForkServer\n"
        "print(ForkServer(network=False)._process.pid, flush=True)\ntime.sleep(60)"
    )
    client = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    server = psutil.Process(int(client.stdout.readline()))
    client.kill()
    client.wait()
    _, alive = psutil.wait_procs([server], timeout=30)
    assert not alive


@pytest.mark.slow
def test_a_job_and_its_kernel_end_with_the_run(tmp_path):
    mark = tmp_path / "pid"
    cell = f"import os, time\nopen({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    script = (
        "from pathlib import Path\n"
        "from tests.notebooks import make_job, run_jobs\n"
        f"job = make_job(Path({str(tmp_path)!r}), 'long', {cell!r})\n"
        "job.workspace.root.mkdir()\nrun_jobs(job)"
    )
    runner = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (mark.exists() and mark.read_text()):
        time.sleep(0.1)
    kernel = psutil.Process(int(mark.read_text()))
    family = [kernel, kernel.parent(), kernel.parent().parent()]  # its job, the server
    runner.kill()
    runner.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
