"""A Dask worker's side of a run: a process for each job.

Workers may outlast many runs, on machines of which nothing else is known. So nothing of the project
is imported on them: this module and the two that it imports are sent to them, and what runs a job
is the checkout that they share with ``run_all.py``, in the job's own process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from utils.runner.environment import cleaned, empty_folders
from utils.runner.forkserver import Forked, ForkServer


@dataclass(frozen=True)
class Task:
    """What a worker has to know of a job."""

    message: bytes
    """Arguments of `utils.runner.execution.main`, pickled."""
    report: str
    """Path of the executed copy without its suffix."""
    environment: Mapping[str, str]
    """Variables of the job's process besides those of `utils.runner.environment`."""
    network: bool
    """Whether it needs TensorFlow."""
    gpus: int = 0
    """How many GPUs it has to itself."""


@dataclass(frozen=True)
class Ended:
    """How a job's process ended."""

    code: int | None
    """Exit code, or None if the job was stopped."""
    seconds: float
    record: bytes
    """The job's ``.json``, read where it was written; empty if there is none."""


@dataclass(frozen=True)
class Site:
    """What a worker must see and have, to give the results that any other would."""

    root: str
    """The checkout."""
    mark: str
    """A file of the workspace, written for this run."""
    content: str
    """What it holds."""
    code: str
    """See `code_of`."""
    versions: Mapping[str, str]
    """Packages of the environment."""

    def refusal(self) -> str:
        """What is wrong with this process, or an empty string."""
        shared = "checkout and workspace must lie at the same path on all machines"
        try:
            if not Path(self.root, "run_all.py").is_file():
                return f"does not see the checkout {self.root}; {shared}"
            if code_of(self.root) != self.code:
                return f"has another version of the code at {self.root}; {shared}"
            if Path(self.mark).read_text(encoding="utf-8") != self.content:
                return f"sees another workspace at {self.mark}; {shared}"
        except OSError as error:
            return f"can't read {error.filename} ({error.strerror}); {shared}"
        for name, wanted in self.versions.items():
            try:
                found = version(name)
            except PackageNotFoundError:
                found = "not at all"
            if found != wanted:
                environment = "start it in an environment made from the same requirements.txt"
                return f"has {name} {found}, expected {wanted}; {environment}"
        return ""


def code_of(root: str | Path) -> str:
    """A hash of the checkout's files: whether two machines have the same, not what code does."""
    digest = hashlib.sha256()
    for path in sorted([*Path(root).glob("utils/**/*.py"), *Path(root).glob("notebooks/*.ipynb")]):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class Runner(WorkerPlugin):
    """Runs the jobs of one run on a worker, in processes that end with the run, whatever ends it.

    (A fork server without jobs ends ten minutes later, if the run was killed.) Without
    `transition`, the jobs of a run that was killed would go on for hours: it tells its workers
    nothing, but Dask drops its tasks.

    The scheduler learns with each heartbeat, as a metric of the run's name, whether the worker is
    fit and which jobs have begun: in the middle of a run, one that hangs keeps nobody waiting.

    Parameters
    ----------
    name : str
        Of the run.
    site : Site
    network : bool
        Whether some job needs TensorFlow.
    """

    def __init__(self, name: str, site: Site, network: bool) -> None:
        self.name, self.site, self.network = name, site, network

    async def setup(self, worker: Worker) -> None:
        """Called by Dask on each worker, when the run begins or the worker joins."""
        self._lock = threading.Lock()  # so that no job starts while the others are being stopped
        self._running: dict[object, subprocess.Popen | Forked] = {}
        self._dropped: set[object] = set()
        self._stopped = False
        self._server: ForkServer | None = None
        self._settings = ""
        try:
            self._settings = tempfile.mkdtemp(prefix="guided-retraining-")  # and nothing in it
        except OSError as error:
            self.refusal = f"has no folder for temporary files ({error})"
        else:
            self.refusal = self.site.refusal()
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        n_gpus = int(worker.state.total_resources.get("GPU", 0))
        self._gpus = seen.split(",") if seen else [str(number) for number in range(n_gpus)]
        # By the jobs of all runs: which of them has a GPU.
        self._taken: dict[str, str] = vars(worker).setdefault("gpus_taken", {})
        worker.metrics[self.name] = lambda _: {
            "refusal": self.refusal,
            "begun": list(self._running),
        }
        await worker.heartbeat()  # so that this is known at once

    def teardown(self, worker: Worker) -> None:
        """Called by Dask when the run ends, or the worker does."""
        worker.metrics.pop(self.name, None)
        self.stop()

    def transition(self, key: object, start: str, finish: str, **kwargs: object) -> None:
        """Called by Dask when the state of any task changes."""
        if start == "executing" and finish in ("released", "cancelled"):
            with self._lock:  # `run_all.py` has died, or takes the job elsewhere
                self._dropped.add(key)
                process = self._running.pop(key, None)
            if process:
                _kill(process)

    def run(self, key: str, task: Task) -> Ended:
        """Run a job and wait for it."""
        if self.refusal:  # it took the address of one that was fit a moment ago
            raise RuntimeError(f"its worker {self.refusal}")
        begin = time.monotonic()
        with self._gpus_for(key, task) as environment:
            try:
                code = self._run(key, task, environment, self._fork)
            except OSError:  # it can't be forked, or the fork server died, and the process with it
                code = self._run(key, task, environment, self._spawn)
        record = b""
        with suppress(OSError):
            record = Path(task.report + ".json").read_bytes()
        return Ended(code, time.monotonic() - begin, record)

    def stop(self) -> None:
        """Stop all jobs, with their kernels, and let no other start."""
        with self._lock:
            self._stopped = True
            processes = list(self._running.values())
            self._running.clear()
            if self._server:
                self._server.close()
        for process in processes:
            _kill(process)
        shutil.rmtree(self._settings, ignore_errors=True)

    @contextmanager
    def _gpus_for(self, key: str, task: Task) -> Iterator[dict[str, str]]:
        """The job's environment, with GPUs that no other job of this worker has meanwhile."""
        gpus: list[str] = []
        try:
            for gpu in self._gpus:  # `setdefault` decides between runs, which have no common lock
                if len(gpus) < task.gpus and self._taken.setdefault(gpu, key) == key:
                    gpus.append(gpu)
            if len(gpus) < task.gpus:
                raise RuntimeError(f"needs {task.gpus} GPUs, free are {' '.join(gpus) or 'none'}")
            own = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if task.gpus else {}
            known = cleaned(os.environ) | empty_folders(self._settings)
            yield {**known, **task.environment, **own}
        finally:
            for gpu in gpus:
                del self._taken[gpu]

    def _run(self, key: str, task: Task, environment: dict, start: Callable) -> int | None:
        """Exit code of the job's process once it has ended; None if jobs are being stopped."""
        with self._lock:
            if self._stopped or key in self._dropped:
                return None
            Path(task.report).parent.mkdir(parents=True, exist_ok=True)
            process = self._running[key] = start(task, environment)
        try:
            if isinstance(process, Forked):
                process.started()
            if key in self._dropped:  # before it had a process that could be killed
                _kill(process)
            code = process.wait()
        except OSError:
            _kill(process)
            raise
        return None if self._running.pop(key, None) is None else code

    def _fork(self, task: Task, environment: dict) -> Forked:
        """A process forked from one that has the libraries."""
        if not (self._server and self._server.alive):
            self._server = ForkServer(self.network, cleaned(os.environ))
        return self._server.start(task.message, task.report + ".log", environment, task.network)

    def _spawn(self, task: Task, environment: dict) -> subprocess.Popen:
        """A new process."""
        with tempfile.TemporaryFile() as message, open(task.report + ".log", "ab") as log:
            message.write(task.message)
            message.seek(0)
            return subprocess.Popen(
                [sys.executable, "-m", "utils.runner.execution"],
                stdin=message,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.site.root,
                env=environment,
                start_new_session=True,  # Ctrl-C is for run_all.py, which then stops its jobs
            )


def run_task(name: str, task: Task) -> Ended:
    """What Dask calls on a worker: run a job there."""
    worker = get_worker()
    return worker.plugins[name].run(worker.get_current_task(), task)


def _kill(process: subprocess.Popen | Forked) -> None:
    """End a job's process and all that it has started."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        members = [psutil.Process(process.pid)] if process.pid else []
        members += [child for member in members for child in member.children(recursive=True)]
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(members, timeout=10)
