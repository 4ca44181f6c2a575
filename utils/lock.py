"""One run at a time in a workspace."""

from __future__ import annotations

import os
import platform
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from utils.workspace import Workspace, read_json, write_json


class Locked(Exception):
    """Another run has the workspace; the message is one line that says which."""


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
        self.run_id = f"{time.time():.3f}-{os.getpid()}"
        self.mark: Path = workspace.reports_root / ".run.json"
        self._lock = FileLock(workspace.reports_root / ".lock")

    def __enter__(self) -> Lock:
        """Take the workspace.

        Raises
        ------
        Locked
            If another run has it.
        """
        self.mark.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise Locked(
                f"--workspace {self.workspace.root}: another run is at work in it"
                f"{self._described()}; wait for its end, or choose another workspace"
            ) from None
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
