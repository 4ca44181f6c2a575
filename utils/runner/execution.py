"""Executes one job in a process of its own: papermill, a fresh kernel, the page, the record.

Forked by `utils.runner.forkserver`, or started as ``python -m utils.runner.execution`` with the job
on standard input; see `utils.runner.scheduling`.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from utils.core.files import atomic, share
from utils.core.progress import PROGRESS_MARK
from utils.machine.provenance import facts, now
from utils.plan.freshness import fingerprint, hashes, status
from utils.plan.jobs import Job
from utils.plan.records import State, read_record, state_of, write_record
from utils.reports.pages import Links, export_html
from utils.runner.lock import running

if TYPE_CHECKING:
    from utils.runner.kernel import ForkedKernel


def execute(job: Job, links: Links, run_id: str, kernel: ForkedKernel | None = None) -> dict:
    """Execute the template of `job`; write the executed copy, its page and its record.

    The notebook runs in `kernel`, or in one started for it.

    Everything is written whatever happens: a template that fails leaves its notebook and page,
    which show the failing cell. The record, returned and kept as ``.json`` beside the copy, says
    what decided the outputs, how the job ended and what it cost.
    """
    from utils.machine.meter import measure

    begun = {
        "run": run_id,
        "started": now(),
        "outputs": {},
        "provenance": facts(),
        **fingerprint(job, reread=True),
    }
    record = write_record(job, State.RUNNING, begun)
    country = str(job.parameters.get("country", "ESP"))
    with measure(country, memory_of="children") as usage:  # of the kernel, not of papermill
        error, says = _run_template(job, kernel)
    record |= {"ended": now(), "resources": vars(usage)}
    record["outputs"] = hashes(job.workspace, job.outputs)
    missing = [p for p in job.outputs if not job.workspace.expand([p])]
    if not error and missing:
        error = {"cell": None, "section": "", "error": f"did not write {', '.join(missing)}"}
    export_html(job, links, record)
    record |= {"error": error, "says": "" if error else says}
    return write_record(job, State.FAILED if error else State.DONE, record)


def start_as_original(job: Job, links: Links) -> bool:
    """Give a variant's job what the run that it varies has made, unless it has run itself.

    Where nothing that decides the outputs differs, that is all it takes; else it is a start: of the
    retraining curves, those that the changed setting does not touch are kept.

    Returns
    -------
    bool
        Whether it was given anything.
    """
    source = job.original
    if source is None or state_of(job) not in (None, State.NOT_RUN):
        return False
    record = read_record(source.file(".json"))
    if not record or record["state"] != State.DONE:
        return False
    files = job.home.expand(source.outputs + source.unfinished)
    for path in files:
        share(path, job.workspace.root / job.home.relative(path))
    with atomic(job.file(".ipynb")) as copy:  # which JupyterLab would write in place
        shutil.copyfile(source.file(".ipynb"), copy)
    export_html(job, links, record)
    write_record(job, State.DONE, {**record, "run": ""})  # this run has not executed it
    return True


def _run_template(job: Job, kernel: ForkedKernel | None) -> tuple[dict | None, str]:
    """Run the notebook; return what went wrong, if anything did, and its last line of progress."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from utils.runner.kernel import kernel_manager

    error = None
    with open(job.file(".log"), "a", encoding="utf-8") as log, atomic(job.file(".ipynb")) as copy:
        try:
            papermill.execute_notebook(
                *(
                    str(path).replace("{", "{{").replace("}", "}}")  # papermill formats paths
                    for path in (job.step.path, copy)
                ),
                parameters={**job.parameters, "workspace": job.workspace.parameter},
                kernel_manager_class=kernel_manager(kernel),
                progress_bar=False,
                stdout_file=log,
                stderr_file=log,
                start_timeout=300,
            )
        except PapermillExecutionError as failure:
            error = {"cell": failure.exec_count, "error": f"{failure.ename}: {failure.evalue}"}
        except DeadKernelError:
            error = {"cell": None, "error": "the kernel died; often this means out of memory"}
        notebook = nbformat.read(copy, as_version=4)
        if error:
            error["section"] = _section_of_error(notebook)
        _tidy(notebook, job)
        nbformat.write(notebook, copy)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    printed = [output["text"] for output in outputs if output["output_type"] == "stream"]
    return error, _progress_in("\n".join(printed))


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


def _progress_in(text: str) -> str:
    said = [line for line in text.splitlines() if line.startswith(PROGRESS_MARK)]
    return said[-1].removeprefix(PROGRESS_MARK) if said else ""


def last_words(job: Job) -> str:
    """The newest line of progress in the job's log."""
    with suppress(FileNotFoundError), open(job.file(".log"), "rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
        return _progress_in(log.read().decode("utf-8", "replace"))
    return ""


def _end_with(parent: int, job: Job, run_id: str) -> None:
    """End this process, and so its kernel, when its run is over.

    That is, when the process that started it is gone, or another run has taken the workspace: on
    another machine, one may not have noticed yet that its run has died.
    """
    while os.getppid() == parent and running(job.home) in (run_id, ""):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


def main(
    job: Job, links: Links, run_id: str, rule: str, parent: int, kernel: ForkedKernel | None = None
) -> int:
    """Execute one job in this process, a child of `parent`, unless it is up to date.

    Returns
    -------
    int
        Exit code: 0 if the job is done, or was; a job that was leaves its record as it is.
    """
    threading.Thread(target=_end_with, args=(parent, job, run_id), daemon=True).start()
    before = state_of(job, run_id)  # if the worker was lost that it ran on
    if before == State.DONE:
        return 0
    job.report.parent.mkdir(parents=True, exist_ok=True)
    if rule != "force" and start_as_original(job, links):
        rule = "content"  # that files are there says nothing
    if status(job, rule, reread=True).up_to_date:
        return 0
    job.remove_leftovers()
    job.remove_outdated()
    if rule == "force" and not before:
        job.forget()
    job.unshare()
    if job.file(".log").exists():
        os.truncate(job.file(".log"), 0)
    return 0 if execute(job, links, run_id, kernel)["state"] == State.DONE else 1


if __name__ == "__main__":
    parent = os.getppid()
    job, links, run_id, rule = pickle.load(sys.stdin.buffer)
    sys.exit(main(job, links, run_id, rule, parent))
