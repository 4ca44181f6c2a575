"""Runs jobs side by side on a Dask cluster, each after those whose files it reads."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from utils.execution import describe_error, identity, last_words
from utils.forkserver import Forked, ForkServer
from utils.freshness import status
from utils.pipeline import Job
from utils.reporting import Links
from utils.workspace import ROOT, read_json, write_json

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: str
    """"done", "up to date", "failed", "not run" or "interrupted"."""
    seconds: float = 0.0
    detail: str = ""


# --- a worker's side: one process a job ---

_running: dict[str, tuple[Job, subprocess.Popen | Forked]] = {}
_server: ForkServer | None = None
_stopping = threading.Event()
_lock = threading.Lock()  # so that no job starts while the running ones are being stopped


def run_job(job: Job, links: Links, rule: str, run_id: str, *needed: Outcome) -> Outcome:
    """Run a job in a process of its own, unless it is up to date or what it needs is missing."""
    if any(outcome.state not in ("done", "up to date") for outcome in needed):
        detail = "a job it needs did not finish"
        before = read_json(job.file(".json")) if job.file(".json").exists() else {}
        write_json(
            job.file(".json"), {**before, **identity(job), "state": "not run", "says": detail}
        )
        return Outcome("not run", detail=detail)
    if status(job, rule).up_to_date:
        return Outcome("up to date")
    begin = time.monotonic()
    job.report.parent.mkdir(parents=True, exist_ok=True)
    job.remove_fragments()
    if rule == "force":
        job.forget()
    job.file(".log").unlink(missing_ok=True)
    message = job, links, run_id
    try:
        code = _run(job, message, _fork)
    except OSError:  # it can't be forked, or the fork server has died, and the process with it
        code = _run(job, message, _spawn)
    seconds = time.monotonic() - begin
    if code is None:
        return Outcome("interrupted", seconds)
    record = read_json(job.file(".json")) if job.file(".json").exists() else {}
    if record.get("run") != run_id or record.get("state") == "running":
        detail = f"its process ended with code {code}; see {job.file('.log')}"
        record = {**identity(job), "state": "failed", "error": {"cell": None, "error": detail}}
        write_json(job.file(".json"), record)
    return Outcome(record["state"], seconds, describe_error(record))


def _run(job: Job, message: tuple, start: Callable) -> int | None:
    """Exit code of the job's process once it has ended; None if jobs are being stopped."""
    with _lock:
        if _stopping.is_set():
            return None
        process = start(job, message)
        _running[job.name] = job, process
    try:
        code = process.wait()
    except OSError:
        _kill(process)
        raise
    return None if _running.pop(job.name, None) is None else code


def _fork(job: Job, message: tuple) -> Forked:
    """A process forked from one with the libraries."""
    if _server is None:
        raise OSError("there is no fork server")
    return _server.start(message, job.file(".log"), _environment(job), job.step.network)


def _spawn(job: Job, message: tuple) -> subprocess.Popen:
    """A new process."""
    with open(job.file(".log"), "ab") as log:  # to append, as the notebook's own text is
        process = subprocess.Popen(
            [sys.executable, "-m", "utils.execution"],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, env=_environment(job),
            start_new_session=True,  # Ctrl-C is for run_all.py, which then stops its jobs
        )  # fmt: skip
    with suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps(message))
        process.stdin.close()
    return process


@contextmanager
def _fork_server(network: bool) -> Iterator[None]:
    """While it lasts, jobs' processes are forked, where that is possible."""
    global _server
    with suppress(OSError):
        _server = ForkServer(network)
    try:
        yield
    finally:
        if _server:
            _server.close()
        _server = None


def stop_running() -> None:
    """Stop the jobs of this worker, with their kernels, and let no other start."""
    with _lock:
        _stopping.set()
        stopped = list(_running.values())
        _running.clear()
    if _server:
        _server.close()
    for job, process in stopped:
        _kill(process)
        write_json(job.file(".json"), {**identity(job), "state": "interrupted"})


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


def _environment(job: Job) -> dict[str, str]:
    """Numerical libraries use as many threads as the job declares, so results don't vary."""
    threads = str(job.parameters.get("threads", 1))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    figures = "module://matplotlib_inline.backend_inline"  # whatever the user's is
    own = {**dict.fromkeys(names, threads), "PYTHONUNBUFFERED": "1", "MPLBACKEND": figures}
    return {**os.environ, **own}


# --- the client's side ---


@contextmanager
def _cluster(workers: int) -> Iterator:
    """A Dask cluster inside this process: its threads only wait for the jobs' processes."""
    import dask
    from distributed import Client, LocalCluster

    dask.config.set(
        {"distributed.admin.tick.limit": "1h", "distributed.worker.memory.target": False}
    )
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=workers, processes=False,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL, memory_limit=0,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def run(
    jobs: Iterable[Job],
    links: Mapping[str, Links],
    workers: int,
    rule: str,
    on_poll: Callable[[dict[str, Outcome], dict[str, str]], None],
) -> dict[str, Outcome]:
    """Run jobs side by side, each after those it needs; the others go on when one fails.

    Parameters
    ----------
    jobs : iterable of Job
        In an order in which they can run.
    links : mapping
        Links of each job's page, by the job's name.
    workers : int
        How many jobs run at a time.
    rule : {"content", "force", "trust"}
        Which jobs count as up to date; see `utils.freshness.status`.
    on_poll : callable
        Called several times a second with the outcomes so far and what each running job says.

    Returns
    -------
    dict of str to Outcome

    Raises
    ------
    KeyboardInterrupt
        After the running jobs have been stopped.
    """
    run_id = f"{time.time():.3f}-{os.getpid()}"
    _stopping.clear()
    jobs = list(jobs)
    with _fork_server(any(job.step.network for job in jobs)), _cluster(workers) as client:
        futures = {}
        for job in jobs:
            needed = [futures[name] for name in job.needs if name in futures]
            futures[job.name] = client.submit(
                run_job, job, links[job.name], rule, run_id, *needed, key=job.name, pure=False
            )
        try:
            outcomes: dict[str, Outcome] = {}
            while len(outcomes) < len(jobs):
                time.sleep(POLL_SECONDS)
                for name, future in futures.items():
                    if name not in outcomes and future.done():
                        outcomes[name] = future.result()
                running = {
                    j.name: last_words(j) for j in jobs
                    if j.name not in outcomes and _is_running(j, run_id)
                }  # fmt: skip
                on_poll(outcomes, running)
            return outcomes
        except KeyboardInterrupt:
            client.run(stop_running)
            client.gather(list(futures.values()), errors="skip")
            raise


def _is_running(job: Job, run_id: str) -> bool:
    with suppress(FileNotFoundError, ValueError):
        record = read_json(job.file(".json"))
        return record.get("run") == run_id and record["state"] == "running"
    return False
