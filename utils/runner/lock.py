"""One run at a time in a workspace."""

from __future__ import annotations

import errno
import os
import platform
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from utils.core.files import read_json, write_json
from utils.core.paths import Workspace


class Refused(Exception):
    """A run can't begin; the message is one line that says why."""

    code = 2
    """Exit code of `run_all.py`."""


class Locked(Refused):
    """Another run has the workspace."""


def running(workspace: Workspace) -> str:
    """The id of the run that has the workspace, or had it last; empty if there was none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return read_json(_mark(workspace))["run"]
    return ""


def _mark(workspace: Workspace) -> Path:
    return workspace.reports_root / ".run.json"


class Lock:
    """A context in which no other run can have the workspace.

    The operating system opens the lock when the process ends, however it ends, so a killed run
    leaves nothing to clean up.

    Attributes
    ----------
    workspace : Workspace
    run_id : str
        Unique to this run.
    mark : Path
        A file in the workspace that holds the run's id, for those who wonder and for workers.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.run_id = f"{time.time():.6f}-{os.getpid()}"
        self.mark = _mark(workspace)
        self._lock = FileLock(workspace.reports_root / ".lock", fallback_to_soft=False)

    def __enter__(self) -> Lock:
        """Take the workspace.

        Raises
        ------
        Locked
            If another run has it.
        """
        where = f"--workspace {self.workspace.root}"
        self.mark.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise Locked(
                f"{where}: another run is at work in it{self._described()}; wait for its end, or "
                "choose another workspace"
            ) from None
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            raise Locked(
                f"{where}: its file system knows no locks ({error.strerror}); mount it with them "
                "(flock), or choose another workspace"
            ) from None
        for fragment in self.mark.parent.glob(".*-????????.*"):  # of files like this one
            fragment.unlink(missing_ok=True)
        started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        about = {"run": self.run_id, "pid": os.getpid(), "host": platform.node()}
        write_json(self.mark, {**about, "started": started})
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _described(self) -> str:
        with suppress(OSError, ValueError, KeyError, TypeError):
            other = read_json(self.mark)
            return f" (process {other['pid']} on {other['host']}, since {other['started']})"
        return ""
