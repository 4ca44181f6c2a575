"""What is below a folder: files, without links that lead out, devices and what is hidden."""

from __future__ import annotations

import os
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Listing(NamedTuple):
    """What is below a folder, relative to it."""

    files: list[str]
    """Those that are not hidden."""
    empty: list[str]
    """Folders without any."""
    left_out: list[str]
    """Why some files are not among them, in words."""


def walk(folder: Path) -> Listing:
    """Files below a folder, and folders without any, relative to it.

    The folder may itself be a link. Links in it are followed as long as they stay in it, but no
    folder twice; a link comes last. What is no file (a device, a pipe) is never opened.

    Raises
    ------
    ValueError
        If a folder can't be read.
    """

    def stop(error: OSError) -> None:
        raise ValueError(f"raw images {error.filename}: can't be read ({error.strerror})")

    top = os.path.realpath(folder)
    files, empty, seen = [], [], set()
    kinds: Counter[str] = Counter()
    for root, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        shown = [name for name in (*folders, *names) if not name.startswith(".")]
        kind_of = {name: _kind(os.path.join(root, name), top) for name in shown}
        kinds.update(kind_of.values())
        kinds[_HIDDEN] += len(folders) + len(names) - len(shown)
        folders[:] = sorted(
            (name for name in folders if kind_of.get(name) in ("", "link")),
            key=lambda name: (kind_of[name], name),
        )
        here = Path(root).relative_to(folder).as_posix()
        names = sorted(name for name in names if kind_of.get(name) in ("", "link"))
        files += [name if here == "." else f"{here}/{name}" for name in names]
        if not names and not folders:
            empty.append(here)
    left_out = [
        f"{kinds[kind]:,} {kind} were left out" for kind in (_OUT, _DEVICE, _HIDDEN) if kinds[kind]
    ]
    return Listing(files, empty, left_out)


_OUT, _DEVICE = "links that lead out of the folder", "devices, pipes or sockets"
_HIDDEN = "hidden files or folders"


def _kind(path: str, top: str) -> str:
    """Whether a path below `top` is a link that stays there, or something to be left out."""
    link = os.path.islink(path)
    if link and os.path.commonpath([top, os.path.realpath(path)]) != top:
        return _OUT
    with suppress(OSError):  # a link to nothing: an image that can't be decoded
        if stat.S_IFMT(os.stat(path).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            return _DEVICE
    return "link" if link else ""
