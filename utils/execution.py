"""Runs jobs: each notebook in a process and a fresh kernel of its own, on a Dask cluster."""

from __future__ import annotations

import logging
import os
import pickle
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from utils.notebook import PROGRESS_MARK
from utils.pipeline import Job, fingerprint, hashes, status
from utils.reporting import Links, export_html
from utils.workspace import ROOT, atomic, read_json, write_json

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "papermill", "codecarbon")
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    state: str
    """"done", "up to date", "failed", "not run" or "interrupted"."""
    seconds: float = 0.0
    detail: str = ""


# --- one job, in its own process ---


def execute(job: Job, links: Links, run_id: str) -> dict:
    """Execute the template of `job`; write the executed copy, its page and its record.

    Everything is written whatever happens: a template that fails leaves its notebook and page,
    which show the failing cell. The record, returned and kept as ``.json`` beside the copy, says
    what decided the outputs, how the job ended and what it cost.
    """
    from utils.resources import measure

    started = datetime.now(UTC).isoformat(timespec="seconds")
    record = {
        "run": run_id, **_identity(job), "state": "running", "started": started, "outputs": {},
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "hardware": {"cpus": os.cpu_count(), "machine": platform.platform()},
        **fingerprint(job),
    }  # fmt: skip
    write_json(job.file(".json"), record)
    with measure(country=str(job.parameters.get("country", "ESP"))) as usage:
        error = _run_template(job)
    record |= {"ended": datetime.now(UTC).isoformat(timespec="seconds"), "resources": vars(usage)}
    record["outputs"] = hashes(job.workspace, job.outputs)
    missing = [p for p in job.outputs if not hashes(job.workspace, [p])]
    if not error and missing:
        error = {"cell": None, "section": "", "error": f"did not write {', '.join(missing)}"}
    export_html(job, links)
    record |= {"state": "failed" if error else "done", "error": error, "says": _last_words(job)}
    write_json(job.file(".json"), record)
    return record


def _identity(job: Job) -> dict[str, object]:
    return {
        "name": job.name, "step": job.step.id, "dataset": job.dataset, "seed": job.seed,
        "configuration": job.parameters.get("configuration"),
    }  # fmt: skip


def _run_template(job: Job) -> dict | None:
    """Run the notebook; return what went wrong, if anything did."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    error = None
    with open(job.file(".log"), "a", encoding="utf-8") as log, atomic(job.file(".ipynb")) as copy:
        try:
            papermill.execute_notebook(
                str(job.step.path),
                str(copy).replace("{", "{{").replace("}", "}}"),  # papermill formats the path
                parameters={**job.parameters, "workspace": job.workspace.parameter},
                kernel_manager_class=_own_interpreter(),
                progress_bar=False,
                stdout_file=log,
                stderr_file=log,
                start_timeout=300,
            )
        except PapermillExecutionError as failure:
            error = {
                "cell": failure.exec_count,
                "error": f"{failure.ename}: {failure.evalue}",
            }
        except DeadKernelError:
            error = {"cell": None, "error": "the kernel died; often this means out of memory"}
        notebook = nbformat.read(copy, as_version=4)
        if error:
            error["section"] = _section_of_error(notebook)
        _tidy(notebook, job)
        nbformat.write(notebook, copy)
    return error


def _own_interpreter() -> type:
    """A kernel manager that runs this interpreter, whatever kernels are installed.

    Text that libraries write past Python, as TensorFlow's C++ does, is left to the process's own
    stderr, which is the job's log, instead of being captured into the notebook.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    argv += ["--IPKernelApp.capture_fd_output=False", "--HistoryManager.enabled=False"]

    class OwnInterpreter(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    return OwnInterpreter


def _tidy(notebook: Mapping, job: Job) -> None:
    """Drop what libraries print on stderr (the log keeps it) and temporary paths."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [o for o in cell["outputs"] if o.get("name") != "stderr"]
    about = notebook["metadata"].get("papermill", {})
    about["input_path"] = f"notebooks/{job.step.template}"
    about["output_path"] = job.file(".ipynb").name


def _section_of_error(notebook: Mapping) -> str:
    """The heading above the cell that failed."""
    heading = ""
    for cell in notebook["cells"]:
        if "papermill-error-cell-tag" in cell["metadata"].get("tags", []):
            continue  # papermill's own banner
        if cell["cell_type"] == "markdown":
            lines = [line for line in cell["source"].splitlines() if line.startswith("#")]
            heading = lines[-1].lstrip("# ") if lines else heading
        elif any(o["output_type"] == "error" for o in cell["outputs"]):
            break
    return heading


# --- a worker's side: one subprocess a job ---

_running: set[subprocess.Popen] = set()
_stopping = threading.Event()


def run_job(job: Job, links: Links, force: bool, run_id: str, *needed: Outcome) -> Outcome:
    """Run a job in a process of its own, unless it is up to date or what it needs is missing."""
    if _stopping.is_set():
        return Outcome("interrupted")
    if any(outcome.state not in ("done", "up to date") for outcome in needed):
        detail = "a job it needs did not finish"
        before = read_json(job.file(".json")) if job.file(".json").exists() else {}
        write_json(job.file(".json"), {**before, **_identity(job), "state": "not run", "says": detail})
        return Outcome("not run", detail=detail)
    if not force and status(job).up_to_date:
        return Outcome("up to date")
    if force:
        job.forget()
    begin = time.monotonic()
    job.report.parent.mkdir(parents=True, exist_ok=True)
    with open(job.file(".log"), "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "utils.execution"],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, env=_environment(job),
            start_new_session=True,  # Ctrl-C is for run_all.py, which then stops its jobs
        )  # fmt: skip
    _running.add(process)
    with suppress(BrokenPipeError):
        process.stdin.write(pickle.dumps((job, links, run_id)))
        process.stdin.close()
    process.wait()
    _running.discard(process)
    seconds = time.monotonic() - begin
    if _stopping.is_set():
        return Outcome("interrupted", seconds)
    record = read_json(job.file(".json")) if job.file(".json").exists() else {}
    if record.get("run") != run_id or record.get("state") == "running":
        detail = f"the process ended with code {process.returncode}; see {job.file('.log')}"
        record = {**_identity(job), "state": "failed", "error": {"cell": None, "error": detail}}
        write_json(job.file(".json"), record)
    return Outcome(record["state"], seconds, describe_error(record))


def _environment(job: Job) -> dict[str, str]:
    """Numerical libraries use as many threads as the job declares, so results don't vary."""
    threads = str(job.parameters.get("threads", 1))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, threads), "PYTHONUNBUFFERED": "1"}


def describe_error(record: Mapping) -> str:
    """One line: cell, section, error."""
    error = record.get("error") or {}
    place = f"cell {error['cell']}" if error.get("cell") else ""
    place += f" ({error['section']})" if error.get("section") else ""
    return ": ".join(part for part in (place, error.get("error", "")) if part)


def stop_running() -> None:
    """Stop the jobs of this worker, with their kernels."""
    import psutil

    _stopping.set()
    for process in list(_running):
        with suppress(psutil.NoSuchProcess):
            tree = psutil.Process(process.pid)
            for member in [*tree.children(recursive=True), tree]:
                with suppress(psutil.NoSuchProcess):
                    member.kill()


# --- the client's side ---


@contextmanager
def _cluster(workers: int) -> Iterator:
    """A Dask cluster inside this process: its threads only wait for the jobs' processes."""
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.admin.tick.limit": "1h", "distributed.worker.memory.target": False})
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=workers, processes=False, dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL, memory_limit=0,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


def run(
    jobs: Iterable[Job],
    links: Mapping[str, Links],
    workers: int,
    force: bool,
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
    force : bool
        Run jobs that are up to date too.
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
    with _cluster(workers) as client:
        futures = {}
        for job in jobs:
            needed = [futures[name] for name in job.needs]
            futures[job.name] = client.submit(
                run_job, job, links[job.name], force, run_id, *needed, key=job.name, pure=False
            )
        try:
            outcomes: dict[str, Outcome] = {}
            while len(outcomes) < len(jobs):
                time.sleep(POLL_SECONDS)
                for name, future in futures.items():
                    if name not in outcomes and future.done():
                        outcomes[name] = future.result()
                running = {
                    j.name: _last_words(j) for j in jobs
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


def _last_words(job: Job) -> str:
    """The newest line of progress in the job's log."""
    with suppress(FileNotFoundError), open(job.file(".log"), "rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
        lines = log.read().decode("utf-8", "replace").splitlines()
        said = [line for line in lines if line.startswith(PROGRESS_MARK)]
        return said[-1].removeprefix(PROGRESS_MARK) if said else ""
    return ""


def _end_with(parent: int) -> None:
    """End this process, and so its kernel, when the process that started it is gone."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Read one job from standard input and execute it."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    job, links, run_id = pickle.load(sys.stdin.buffer)
    Path(job.report).parent.mkdir(parents=True, exist_ok=True)
    return 0 if execute(job, links, run_id)["state"] == "done" else 1


if __name__ == "__main__":
    sys.exit(main())
