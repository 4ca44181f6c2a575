"""Archives are read where they are, and only what is safe."""

from __future__ import annotations

import stat
import tarfile
import zipfile

import numpy as np
import pytest

from tests.pictures import tree, write_folder, write_tar, write_zip
from utils.data.raw import archives
from utils.data.raw.sources import open_raw

FILES = {"a/1.png": b"one", "./b/2.png": b"two", "b\\3.png": b"three"}


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_members_and_contents_of_every_kind(tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    write = write_zip if suffix == ".zip" else write_tar
    long = {".tgz": ".tar.gz", ".tbz2": ".tar.bz2", ".txz": ".tar.xz"}
    if suffix in long:
        write(tmp_path / f"data{long[suffix]}", FILES).rename(path)
    else:
        write(path, FILES)
    names, n_special = archives.members(path)
    assert names == ["a/1.png", "b/2.png", "b/3.png"] and n_special == 0
    found = dict(archives.contents(path, {"b/3.png": 7, "a/1.png": 2}))
    assert found == {2: b"one", 7: b"three"}
    assert archives.stem(path) == "data"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing was unpacked


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "C:/out.png"])
def test_names_that_point_outside_are_refused(tmp_path, name):
    for path in (
        write_zip(tmp_path / "a.zip", {name: b""}),
        write_tar(tmp_path / "a.tar.gz", {name: b""}),
    ):
        with pytest.raises(ValueError, match="refused, it holds a file that points outside"):
            archives.members(path)


def test_links_and_devices_are_left_out(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    links = []
    for name, kind in (
        ("red/l.png", tarfile.SYMTYPE),
        ("red/h.png", tarfile.LNKTYPE),
        ("red/d.png", tarfile.CHRTYPE),
    ):
        links.append(tarfile.TarInfo(name))
        links[-1].type, links[-1].linkname = kind, str(secret)
    raw = open_raw(write_tar(tmp_path / "a.tar", tree(), *links))
    assert len(raw.labels) == 12
    assert raw.notes == ["3 links or devices in a.tar were left out"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("red/l.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(secret))
    assert archives.members(tmp_path / "a.zip") == ([], 1)


def test_what_unpacks_too_large_is_refused(tmp_path, monkeypatch):
    zeros = {f"a/{i}.ppm": bytes(2**20) for i in range(4)}
    paths = (write_zip(tmp_path / "a.zip", zeros), write_tar(tmp_path / "a.tar.gz", zeros))
    assert all(path.stat().st_size < 2**16 for path in paths)
    for path in paths:
        assert len(archives.members(path)[0]) == 4
    monkeypatch.setattr(archives, "MAX_TOTAL", 3 * 2**20)
    for path in paths:
        with pytest.raises(ValueError, match="unpacks to more than 3 MiB for all"):
            archives.members(path)
    monkeypatch.setattr(archives, "MAX_IMAGE", 2**19)
    for path in paths:
        with pytest.raises(ValueError, match=r"more than 0 MiB for a/0\.ppm"):
            archives.members(path)
    archives.members(write_zip(tmp_path / "b.zip", {"a/weights.h5": bytes(2**20)}))  # not read


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_headers_are_refused_before_they_fill_the_memory(tmp_path, format):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=format) as archive:
        archive.addfile(tarfile.TarInfo("a/" + "x" * 2**21))
    with pytest.raises(ValueError, match="refused, it holds a header of more than 1 MiB"):
        archives.members(tmp_path / "a.tar.gz")
    with pytest.raises(ValueError, match="refused, it holds a header of more than 1 MiB"):
        list(archives.contents(tmp_path / "a.tar.gz", {}))


def test_a_zip_with_a_false_size_unpacks_no_more_than_it_claims(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a/1.png": bytes(2**20)})
    content = path.read_bytes()
    true, lie = (2**20).to_bytes(4, "little"), (100).to_bytes(4, "little")
    assert content.count(true) == 2  # in the member's header and in the directory
    path.write_bytes(content.replace(true, lie))
    ((_, found),) = archives.contents(path, {"a/1.png": 0})
    assert len(found) <= 100


def test_damaged_and_encrypted_archives_are_explained(tmp_path):
    for name in ("a.zip", "a.tar.gz", "a.tar.xz"):
        path = tmp_path / name
        (write_zip if name == "a.zip" else write_tar)(path, tree())
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ValueError, match="not a readable archive"):
            archives.members(path)
    path = write_tar(tmp_path / "c.tar", {f"a/{i}.png": bytes(600) for i in range(12)})
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[5 * 1536 + 150] ^= 1  # in the checksum of the sixth header
    for content in (damaged, whole[: 7 * 1536], whole[: 7 * 1536 + 300]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"not a readable archive \(damaged or cut after"):
            archives.members(path)
    path = write_zip(tmp_path / "b.zip", {"a/1.png": b"1"})
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag of an encrypted member
    path.write_bytes(content)
    with pytest.raises(ValueError, match="refused, it is encrypted"):
        archives.members(path)


def test_one_damaged_member_of_a_zip_does_not_end_it_all(tmp_path):
    files = tree()
    path = write_zip(tmp_path / "a.zip", files)
    content = bytearray(path.read_bytes())
    start = content.index(b"blue/1.png") + len("blue/1.png")
    content[start + 20 : start + 60] = bytes(40)
    path.write_bytes(content)
    found = dict(archives.contents(path, {name: i for i, name in enumerate(files)}))
    assert found[1] == b"" and found[0] and len(found) == 12


def test_a_folder_may_hold_archives(tmp_path):
    write_folder(tmp_path / "in", {})
    (tmp_path / "in").mkdir()
    write_zip(tmp_path / "in" / "train.zip", tree("train"))
    write_tar(tmp_path / "in" / "test.tar.gz", tree(n=2))
    raw = open_raw(tmp_path / "in")
    assert sorted(set(raw.parts)) == ["test", "train"] and len(raw.labels) == 18
    images, broken = raw.read(range(18), (10, 8, 3))
    assert not broken and images.shape == (18, 10, 8, 3)


def test_an_archive_beside_the_images_that_came_from_it_is_left_out(tmp_path):
    write_folder(tmp_path / "in", tree())
    write_zip(tmp_path / "in" / "pets.zip", tree())
    raw = open_raw(tmp_path / "in")
    assert raw.class_names == ["blue", "green", "red"] and len(raw.labels) == 12
    assert raw.notes == ["pets.zip left out, as there are images beside it"]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"pax_headers": {"size": "-1536"}}, "a file of negative size"),
        ({"size": -512}, "a file of negative size"),
        ({"type": tarfile.GNUTYPE_SPARSE}, "a sparse file"),
        ({"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}}, "a sparse file"),
    ],
)
def test_headers_that_would_never_end_are_refused(tmp_path, facts, message):
    info = tarfile.TarInfo("red/a.png")
    for name, value in facts.items():
        setattr(info, name, value)
    path = tmp_path / "a.tar"
    with tarfile.open(
        path, "w", format=tarfile.PAX_FORMAT if "pax_headers" in facts else tarfile.GNU_FORMAT
    ) as archive:
        archive.addfile(tarfile.TarInfo("red/b.png"))
        archive.fileobj.write(info.tobuf(archive.format))
        archive.offset += 512
    with pytest.raises(ValueError, match=f"refused, it holds {message}"):
        archives.members(path)
    with pytest.raises(ValueError, match=f"refused, it holds {message}"):
        list(archives.contents(path, {}))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_small_archive_of_very_many_files_is_refused(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    write = write_zip if suffix == ".zip" else write_tar
    write(path, {f"a/{i}.png": b"" for i in range(100)})
    assert len(archives.members(path)[0]) == 100
    monkeypatch.setattr(archives, "MAX_NAMES", 10_000)
    with pytest.raises(ValueError, match="refused, it holds too many files"):
        archives.members(path)
    write(path, {"a/" * 1000 + "b.png": b""})
    with pytest.raises(ValueError, match="names that are too long"):
        archives.members(path)


def test_folders_count_too(tmp_path, monkeypatch):
    folders = [tarfile.TarInfo(f"folder_{i}") for i in range(100)]
    for info in folders:
        info.type = tarfile.DIRTYPE
    path = write_tar(tmp_path / "a.tar.gz", {}, *folders)
    assert archives.members(path) == ([], 0)
    monkeypatch.setattr(archives, "MAX_NAMES", 10_000)
    with pytest.raises(ValueError, match="refused, it holds too many files"):
        archives.members(path)


@pytest.mark.parametrize(
    ("method", "name"),
    [(9, "Deflate64, as Windows Explorer does"), (93, "Zstandard"), (97, "WavPack"), (98, "PPMd"),
     (77, "a method that is not known")],
)  # fmt: skip
def test_compressions_that_python_lacks_are_named(tmp_path, method, name):
    path = write_zip(tmp_path / "a.zip", tree())
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + offset] = method
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"compressed with {name}.*method {method}") as error:
        open_raw(path)
    assert str(error.value).endswith("unpack it and give the folder")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
def test_the_others_are_read(tmp_path, compression):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as archive:
        for name, content in tree().items():
            archive.writestr(name, content)
    raw = open_raw(tmp_path / "a.zip")
    assert not raw.read(np.arange(12), raw.found_shape())[1]


@pytest.mark.parametrize("name", ["a.7z", "a.RAR", "a.zip.001", "a.z01", "a.7z.002", "a.tar.zst"])
def test_archives_that_are_not_understood_are_named(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"7z")
    for path in (tmp_path / "in" / name, tmp_path / "in"):
        with pytest.raises(ValueError, match="not understood; unpack it and give the folder"):
            open_raw(path)


def test_the_last_part_of_an_archive_in_several_is_named(tmp_path):
    path = write_zip(tmp_path / "a.zip", tree())
    (tmp_path / "a.z01").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"the last part of an archive in several, with a\.z01"):
        open_raw(path)
