"""Archives, read member by member; nothing is ever unpacked to disk."""

from __future__ import annotations

import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_MEMBER = 256 * 2**20
"""Largest unpacked size of one image, in bytes."""
MAX_TOTAL = 64 * 2**30
"""Largest unpacked size of all that an archive holds, in bytes."""

_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError,
           zipfile.BadZipFile, NotImplementedError, ValueError)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Whether the name of `path` is an archive's."""
    return path.name.lower().endswith(SUFFIXES)


def stem(path: Path) -> str:
    """The name of an archive without its suffix."""
    suffix = next(s for s in sorted(SUFFIXES, key=len)[::-1] if path.name.lower().endswith(s))
    return path.name[: -len(suffix)]


def members(path: Path) -> tuple[list[str], int]:
    """Names of the regular files in an archive, and how many links and devices were left out.

    Raises
    ------
    ValueError
        If the archive is damaged, encrypted or too large, or a name points outside of it.
    """
    names: dict[str, None] = {}
    n_special, total = 0, 0
    with _explained(path):
        for name, size, special in _headers(path):
            total += size
            for unpacked, most, what in ((size, MAX_MEMBER, name), (total, MAX_TOTAL, "all")):
                if unpacked > most:
                    raise _Refused(f"unpacks to more than {most / 2**20:,.0f} MiB for {what}")
            if special:
                n_special += 1
            else:
                names[_safe(name)] = None
    return list(names), n_special


def contents(path: Path, wanted: Mapping[str, int]) -> Iterator[tuple[int, bytes]]:
    """Number and content of each wanted member, in the order of the archive.

    A member that can't be read comes as ``b""``: one damaged image must not end it all.
    """
    with _explained(path):
        if _is_zip(path):
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    if (number := wanted.get(_plain(info.filename))) is not None:
                        yield number, _content_of(archive, info)
        else:
            with tarfile.open(path, "r|*") as archive:
                for info in archive:
                    if info.isreg() and (number := wanted.get(_plain(info.name))) is not None:
                        yield number, archive.extractfile(info).read()


class _Refused(ValueError):
    """An archive that is whole, but not safe."""


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"raw file {path}: not found") from None
    except _Refused as error:
        raise ValueError(f"raw file {path}: refused, it {error}") from None
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"raw file {path}: not a readable archive ({reason})") from None


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")


def _headers(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Name, unpacked size, and whether it is a link or device, of all but the folders."""
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.flag_bits & 0x1:
                    raise _Refused("is encrypted; unpack it and give the folder")
                if not info.is_dir():
                    yield info.filename, info.file_size, stat.S_ISLNK(info.external_attr >> 16)
    else:
        with tarfile.open(path) as archive:
            for info in archive:
                if not info.isdir():
                    yield info.name, info.size, not info.isreg()


def _content_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as file:
            return file.read(info.file_size)  # never more than the header says
    except _DAMAGE:
        return b""


def _plain(name: str) -> str:
    return re.sub(r"^(\./)+", "", name.replace("\\", "/"))


def _safe(name: str) -> str:
    plain = _plain(name)
    if plain.startswith("/") or ".." in plain.split("/") or re.match(r"[A-Za-z]:", plain):
        raise _Refused(f"holds a file that points outside: {name}")
    return plain
