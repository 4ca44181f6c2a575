"""Provenance: the software and the machine that made a result.

The machine's name is left out: it tells nothing about a result, and something about the user.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from utils.core.files import checksum
from utils.core.paths import ROOT
from utils.machine.meter import gpu_names

PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "papermill", "codecarbon")


@cache
def facts() -> dict[str, Any]:
    """Software and machine of this process; looked up once.

    Returns
    -------
    dict
        Content that JSON can hold. ``id`` is short for all the rest: a "p", so that no program
        takes it for a number, and 8 hexadecimal digits. ``git`` is None outside of a repository.
    """
    found = {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(),
        "hardware": {
            "processor": processor(),
            "cpus": os.cpu_count(),
            "cpus_usable": usable_cpus(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "gpus": gpu_names(),
        },
        "platform": platform.platform(),
    }
    return {"id": f"p{checksum(found)[:8]}", **found}


@cache
def numerical_versions() -> dict[str, str]:
    """Libraries whose numbers differ from release to release."""
    return {name: version(name) for name in ("tensorflow", "keras", "numpy")}


def now() -> str:
    """The time in UTC, to the second; such texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def usable_cpus() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: fewer than there are, in a container
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, object] | None:
    """Commit of the checkout, and whether tracked files differ from it."""
    try:
        _run_git("ls-files", "--error-unmatch", "run_all.py")  # not a repository around it
        changes = _run_git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return {"commit": _run_git("rev-parse", "HEAD"), "changed": bool(changes)}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no answer
        return None


def _run_git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", "--no-optional-locks", *arguments],
        cwd=ROOT,
        check=True,
        timeout=5,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    return answer.stdout.strip()
