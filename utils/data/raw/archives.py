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
from typing import Any, NoReturn, Self

from utils.core.text import readable
from utils.data.raw.names import is_image

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
FOREIGN = re.compile(
    r"\.(7z|rar|z\d\d|(?:zip|7z)\.\d+|tar\.zst|tzst|cab|iso|lzh|arj|ace)$", re.IGNORECASE
)
"""Names of archives, and of parts of one, that are not understood."""
COMPRESSIONS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64, as Windows Explorer does above 4 GB",
    93: "Zstandard",
    95: "xz",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
}
"""Of .zip files, those that Python lacks, by number."""
MAX_IMAGE = 256 * 2**20
"""Largest unpacked size of one image, in bytes."""
MAX_TOTAL = 64 * 2**30
"""Largest unpacked size of all that an archive holds, in bytes."""
MAX_HEADER = 2**20
"""Largest size of a name or other fact about a member, which is read whole, in bytes."""
MAX_NAME, MAX_NAMES = 1000, 2**28
"""Longest name, in characters, and largest size of all names, in bytes: a small archive can hold
millions of empty files, each of which takes memory."""

_PYTHONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_DAMAGE = (
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
)


def is_archive(path: Path) -> bool:
    """Whether the name of `path` is an archive's."""
    return path.name.lower().endswith(SUFFIXES)


def check_name(path: Path) -> None:
    """Raise a ValueError for an archive, or a part of one, that by its name is not understood."""
    if match := FOREIGN.search(path.name):
        raise ValueError(
            f"raw file {path}: .{match[1]} archives, and archives in several parts, are not "
            "understood; unpack it and give the folder, or pack it as one .zip"
        )
    first = path.with_suffix(".z01")
    if _is_zip(path) and first.exists():
        raise ValueError(
            f"raw file {path}: the last part of an archive in several, with {first.name}; unpack "
            "it and give the folder"
        )


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
    n_special, total, listed = 0, 0, 0
    with _explained(path):
        for name, size, kind in _headers(path):
            total += size
            listed += 128 + len(name)  # about what Python takes for it
            if listed > MAX_NAMES or len(name) > MAX_NAME:
                raise _Refused("holds too many files, or names that are too long")
            image = size if is_image(_plain(name)) else 0  # others are not read
            for unpacked, most, what in ((image, MAX_IMAGE, name), (total, MAX_TOTAL, "all")):
                if unpacked > most:
                    raise _Refused(f"unpacks to more than {most / 2**20:,.0f} MiB for {what}")
            if kind == "special":
                n_special += 1
            elif kind == "file":
                names[_safe(name)] = None
    return list(names), n_special


def contents(
    path: Path, wanted: Mapping[str, int], most: int = MAX_IMAGE
) -> Iterator[tuple[int, bytes]]:
    """Number and first `most` bytes of each wanted member, in the order of the archive.

    A member that can't be read comes as ``b""``: one damaged image must not end it all.
    """
    with _explained(path):
        if _is_zip(path):
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    if (number := wanted.get(_plain(info.filename))) is not None:
                        yield number, _content_of(archive, info, most)
        else:
            with tarfile.open(path, "r|*", tarinfo=_Header) as tar:
                for member in _one_by_one(tar):
                    number = wanted.get(_plain(member.name)) if member.isreg() else None
                    if number is not None and (file := tar.extractfile(member)):
                        yield number, file.read(most)


class _Refused(ValueError):
    """An archive that is whole, but not safe."""


_FACTS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Header(tarfile.TarInfo):
    """Refuses what tarfile would read into memory before anyone sees its size.

    Steps of tarfile that are private are overridden, as it has no public ones there. Without
    `_block` a negative size makes it read one header for ever; without `_proc_sparse` a sparse
    file fills the memory with its map.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _FACTS and header.size > MAX_HEADER:
            raise _Refused(f"holds a header of more than {MAX_HEADER / 2**20:,.0f} MiB")
        return header

    def _block(self, count: int) -> int:
        if count < 0:
            raise _Refused("holds a file of negative size")
        return super()._block(count)  # type: ignore[misc]  # typeshed leaves it out

    def _proc_sparse(self, *_: object) -> NoReturn:
        raise _Refused("holds a sparse file")

    _proc_gnusparse_10 = _proc_sparse


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


def _headers(path: Path) -> Iterator[tuple[str, int, str]]:
    """Name, unpacked size and kind of each member; "special" is a link or a device."""
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.flag_bits & 0x1:
                    raise _Refused("is encrypted; unpack it and give the folder")
                if info.compress_type not in _PYTHONS and not info.is_dir():
                    method = COMPRESSIONS.get(info.compress_type, "a method that is not known")
                    raise _Refused(
                        f"is compressed with {method} (method {info.compress_type}), which Python "
                        "can't unpack; unpack it and give the folder"
                    )
                link = stat.S_ISLNK(info.external_attr >> 16)
                kind = "folder" if info.is_dir() else "special" if link else "file"
                yield info.filename, info.file_size, kind
    else:
        n = 0
        with tarfile.open(path, tarinfo=_Header) as tar:
            for member in _one_by_one(tar):
                n += 1
                kind = "folder" if member.isdir() else "file" if member.isreg() else "special"
                yield member.name, member.size, kind
            # A damaged header ends the loop like the block of zeros at the end of an archive.
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"damaged or cut after {n:,} files")


def _one_by_one(tar: Any) -> Iterator[tarfile.TarInfo]:
    """The members of a tar file; it would keep the headers of all, to extract links."""
    for member in tar:
        tar.members.clear()
        yield member


def _content_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    try:
        with archive.open(info) as file:
            return file.read(min(info.file_size, most))  # never more than the header gives
    except _DAMAGE:
        return b""


def _plain(name: str) -> str:
    return re.sub(r"^(\./)+", "", name.replace("\\", "/"))


def _safe(name: str) -> str:
    plain = _plain(name)
    if plain.startswith("/") or ".." in plain.split("/") or re.match(r"[A-Za-z]:", plain):
        raise _Refused(f"holds a file that points outside: {readable(name, 200)}")
    return plain
