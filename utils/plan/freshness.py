"""Which jobs are up to date, by content, and why not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from utils.core.code import NO_NUMBERS, code_hash
from utils.core.code import fingerprint as code_fingerprint
from utils.core.files import sha256
from utils.core.paths import Workspace
from utils.data.raw.arrays import idx_files
from utils.data.raw.sources import locate
from utils.data.raw.walking import walk
from utils.machine.provenance import numerical_versions
from utils.plan.jobs import Job
from utils.plan.records import State, read_record
from utils.plan.rules import as_text

UP_TO_DATE = str(State.UP_TO_DATE)
AS_VARIED = "as in the run that it varies"
UNCHANGED = (UP_TO_DATE, AS_VARIED)


@dataclass
class Status:
    """Whether a job would run, and why."""

    up_to_date: bool
    reason: str


def fingerprint(job: Job, reread: bool = False) -> dict[str, dict]:
    """What decides the outputs of `job`: its parameters, its code and its inputs."""
    known = {} if reread else (read_record(job.file(".json")) or {"inputs": {}})["inputs"]
    return {
        "parameters": dict(job.parameters),
        "code": code_hashes(job.step.path) | (numerical_versions() if job.step.network else {}),
        "inputs": {**hashes(job.workspace, job.inputs, known), **_own_files(job, known)},
    }


def status(job: Job, rule: str = "content", reread: bool = False) -> Status:
    """Compare what the job would read and run now with what it read and ran last time.

    Parameters
    ----------
    job : Job
    rule : {"content", "force", "trust"}
        "force": nothing is up to date. "trust": a job is, if its outputs are there, however they
        were made.
    reread : bool, default=False
        Read files even if their size and time are those of last time, so that damage is noticed
        that changed neither.
    """
    if rule == "force":
        return Status(False, "--force")
    record = read_record(job.file(".json"))
    if rule == "trust" and _has_made(job, record):
        return Status(True, UP_TO_DATE)
    if job.original and (record is None or record["state"] == State.NOT_RUN):
        now = status(job.original, "content", reread)  # from which it starts
        return Status(False, AS_VARIED) if now.up_to_date else now
    if record is None:
        return Status(False, "has not run yet")
    if record["state"] != State.DONE:
        why = {
            State.FAILED: "failed last time",
            State.NOT_RUN: "was not run last time",
            State.RUNNING: "was interrupted, or is running now",
        }
        return Status(False, why.get(record["state"], "was interrupted"))
    if any(name.startswith("utils.") for name in record["code"]):
        return Status(False, "made before code was compared by definition: once more")
    known = record["outputs"]
    found = hashes(job.workspace, job.outputs, {} if reread else known)
    present = fingerprint(job, reread)
    present["outputs"] = {name: found.get(name) for name in known}
    for part in ("parameters", "code", "outputs", "inputs"):  # so a file is named by its maker
        new, old = present[part], record[part]
        for name in sorted(new.keys() | old.keys()):
            if _content(new.get(name)) != _content(old.get(name)):
                return Status(False, _difference(part, name, old.get(name), new.get(name)))
    if not (_ends_with(job.file(".ipynb"), b"}") and _ends_with(job.file(".html"), b"</html>")):
        return Status(False, "its report is missing or cut")
    return Status(True, UP_TO_DATE)


def _has_made(job: Job, record: Mapping[str, Any] | None) -> bool:
    """Whether a job's outputs are there, and not those of the run that it varies or compares.

    A variant starts with the files of its run; a comparison may be one of other variants.
    """
    if job.original and not (
        record and record["state"] == State.DONE and record["parameters"] == dict(job.parameters)
    ):
        return False
    variants = job.parameters.get("variants")
    if variants and record and record["parameters"].get("variants") != variants:
        return False
    return all(job.workspace.expand([pattern]) for pattern in job.outputs)


def states_of(jobs: Iterable[Job], rule: str) -> dict[str, str]:
    """For each job "up to date", or why it would run; needed jobs come before those they serve."""
    return _spread(jobs, {job.name: status(job, rule).reason for job in jobs}, rule)


def verified(jobs: Sequence[Job], states: Mapping[str, str], rule: str) -> dict[str, str]:
    """As `states`, but every file that a job is going to read has been read and compared.

    Only what will be used: reading all of a large workspace takes minutes.
    """
    states = dict(states)
    for job in reversed(jobs):  # so that it is known which of those it serves will run
        serves = (other for other in jobs if job.name in other.needs)
        if states[job.name] == UP_TO_DATE and any(states[o.name] != UP_TO_DATE for o in serves):
            states[job.name] = status(job, rule, reread=True).reason
    return _spread(jobs, states, rule)


def _spread(jobs: Iterable[Job], reasons: Mapping[str, str], rule: str) -> dict[str, str]:
    """Jobs behind one that runs may have to run, too."""
    states: dict[str, str] = {}
    for job in jobs:
        states[job.name] = reasons[job.name]
        first = next((n for n in job.needs if states.get(n, UP_TO_DATE) not in UNCHANGED), None)
        if states[job.name] in UNCHANGED and first and rule == "content":
            states[job.name] = f"if {first.rpartition('/')[2]} writes something new"
    return states


def _content(entry: object) -> object:
    return entry["sha256"] if isinstance(entry, dict) and "sha256" in entry else entry


def _difference(part: str, name: str, before: object, now: object) -> str:
    if part == "parameters":
        return f"{name}: {as_text(before) or 'nothing'} -> {as_text(now) or 'nothing'}"
    if part == "outputs":
        return f"output {name} {'is missing' if now is None else 'was changed by something else'}"
    what = {"code": f"code of {name}", "inputs": f"input {name}"}[part]
    return f"{what} {'is new' if before is None else 'is gone' if now is None else 'changed'}"


def _ends_with(path: Path, end: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 100))
            return file.read().rstrip().endswith(end)
    except OSError:
        return False


def hashes(
    workspace: Workspace, patterns: Iterable[str], known: Mapping[str, dict] | None = None
) -> dict[str, dict]:
    """SHA-256 of each matching file; one of the same size and time as in `known` is not read."""
    return {
        workspace.relative(path): _file_hash(path, (known or {}).get(workspace.relative(path)))
        for path in workspace.expand(patterns)
    }


def _own_files(job: Job, known: Mapping[str, dict]) -> dict[str, dict]:
    """Hashes of what the user brought: raw images and a model."""
    found = {}
    if "raw" in job.parameters:
        path = locate(job.dataset, job.parameters["raw"], job.workspace)
        if path and idx_files([path.name]):  # of several files, of which one was named
            path = path.parent
        if path and path.is_file():
            found["raw"] = _file_hash(path, known.get("raw"))
        elif path and path.is_dir():
            found["raw"] = _folder_hash(path)
    path = Path(job.parameters.get("own_model") or "")
    if path.is_file():
        found["own_model"] = _file_hash(path, known.get("own_model"))
    return found


def _folder_hash(path: Path) -> dict[str, Any]:
    """Of names, sizes and times, not content: there may be many files."""
    files = sorted(walk(path)[0])
    seen = [(name, (path / name).stat()) for name in files if (path / name).exists()]
    listed = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in seen]
    return {"sha256": hashlib.sha256(json.dumps(listed).encode()).hexdigest()}


def _file_hash(path: Path, known: Mapping | None) -> dict[str, Any]:
    stat = path.stat()
    seen = {"size": stat.st_size, "time": stat.st_mtime_ns}
    if known and all(known.get(k) == v for k, v in seen.items()):
        return dict(known)
    return {**seen, "sha256": _sha256_once(str(path), *seen.values())}


@cache
def _sha256_once(path: str, size: int, time: int) -> str:
    """A file's hash; read once in a process, however many jobs use it."""
    return sha256(path)


def code_hashes(template: Path) -> dict[str, str]:
    """A hash for the template's own code, and one for each definition that it loads.

    How results are drawn counts for templates alone that are there for it (step 5).
    """
    cells = json.loads(template.read_text(encoding="utf-8"))["cells"]
    source = "\n".join(
        "".join(c["source"])
        for c in cells
        if c["cell_type"] == "code" and "parameters" not in c["metadata"].get("tags", [])
    )
    leave_out = () if template.name.startswith("5") else NO_NUMBERS
    return {template.name: code_hash(source), **code_fingerprint(source, leave_out)}
