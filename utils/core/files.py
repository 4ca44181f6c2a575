"""Files written whole or not at all, read with care, and hashed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` only if the block succeeds.

    Readers therefore see the old file or the whole new one, never a part, whenever the process
    is stopped. The temporary name keeps the suffix, for writers that look at it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:  # not all libraries name the cause; seen while the file is there
        if no_room(path.parent):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def share(source: str | Path, path: str | Path) -> None:
    """Give a file a second name where the file system can, and copy it elsewhere.

    Files are written by `atomic`, which gives the name to a new file and leaves the other name its
    old one; see `unshare` for what may write otherwise.
    """
    with atomic(path) as temporary:
        try:
            os.link(Path(source).resolve(), temporary)
        except OSError:  # another file system, or one without such links
            shutil.copy2(source, temporary)


def unshare(path: str | Path) -> None:
    """Make a file that has other names one of its own."""
    if os.stat(path).st_nlink > 1:
        with atomic(path) as temporary:
            shutil.copy2(path, temporary)


def _flush_folder(folder: Path) -> None:
    """Have the new name on disk, too, so that a power cut does not bring back the old file."""
    with suppress(OSError):  # not every system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def no_room(folder: str | Path) -> str:
    """A line that says so if the disk is full, else an empty string."""
    free = shutil.disk_usage(folder).free
    return f"no room on the disk of {folder}; make some" if free < 2**20 else ""


def write_json(path: str | Path, content: object) -> None:
    """Write `content` as readable JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write `table` without its index, whole or not at all."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def read_json(path: str | Path) -> Any:
    """Read a JSON file; what is none, or nested without end, is a ValueError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None


MAX_SMALL = 2**24
"""Bytes of the largest file that `read_small` looks at; those of a run have some thousands."""


def read_small(path: str | Path) -> dict:
    """A JSON object from a file that a stranger may have written; {} if it is none or too large."""
    path = Path(path)
    try:
        small = path.is_file() and path.stat().st_size < MAX_SMALL
        content = read_json(path) if small else {}
    except (OSError, ValueError):
        content = {}
    return content if isinstance(content, dict) else {}


def checksum(content: object) -> str:
    """SHA-256 of what JSON can hold, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
