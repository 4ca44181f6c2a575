"""The command line as a user meets it: what it lists, and what it says to bad input."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from zlib import crc32

import numpy as np
import pytest

from run_all import main
from tests.conftest import ROOT, run_all
from tests.pictures import tree, write_folder, write_tar, write_zip


def test_list_names_everything():
    result = run_all("--list")
    assert result.returncode == 0
    for word in ("digits", "dsa", "cw", "bim_l1", "smoke", "study", "epsilon"):
        assert re.search(rf"^  {word} ", result.stdout, re.MULTILINE), word


def mine(path, *options):
    return ["--datasets", "mine", "--raw", f"mine={path}", *options]


def bad_npz(tmp_path, **changes):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random((90, 6, 6)), "y": np.arange(90) % 3, **changes}
    np.savez(tmp_path / "bad.npz", **arrays)
    return mine(tmp_path / "bad.npz")


def not_an_npz(tmp_path, content):
    (tmp_path / "bad.npz").write_bytes(content)
    return mine(tmp_path / "bad.npz")


def folder(tmp_path, files, *options):
    path = write_folder(tmp_path / "pictures", files)
    return mine(path, "--preset", "study", *options)


def idx(tmp_path, header):
    names = (f"{p}-{k}" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1"))
    return folder(tmp_path, {f"{name}-ubyte": header for name in names})


def a_zip(tmp_path, name, size=0):
    """An archive with a member of that name, and size as its directory says."""
    path = write_zip(tmp_path / "a.zip", tree())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"")
        archive.infolist()[-1].file_size = size
    return mine(path)


def changed_zip(tmp_path, before, after):
    path = write_zip(tmp_path / "a.zip", tree())
    path.write_bytes(path.read_bytes().replace(before, after))
    return mine(path)


def a_tar(tmp_path, name="red/a.png", **facts):
    """An archive with a member of that name, for which its header says these things."""
    info = tarfile.TarInfo(name)
    for fact, value in facts.items():
        setattr(info, fact, value)
    return mine(write_tar(tmp_path / "a.tar", tree(), info))


def pipe(tmp_path, name):
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / name)
    return tmp_path / "in" / name


def links_out(tmp_path):
    write_folder(tmp_path / "secret", tree())
    (tmp_path / "in").mkdir()
    for name in ("blue", "green", "red"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "secret" / name)
    return mine(tmp_path / "in")


def loop(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return mine(tmp_path / "loop")


def keras_file(tmp_path, **layer):
    """A model file of one layer, without weights."""
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
    files = {"config.json": json.dumps(config).encode(), "metadata.json": b"{}"}
    return ["--model", str(write_zip(tmp_path / "own.keras", files))]


def bomb(width):
    """The head of a PNG image that would be so wide and high."""
    size = struct.pack(">II", width, width) + bytes([8, 2, 0, 0, 0])
    chunks = [(b"IHDR", size), (b"IDAT", b"")]
    packed = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


BAD_INPUT = {
    "data set": (["--datasets", "digit"], "did you mean 'digits'?"),
    "data set name": (["--datasets", "../x"], "letters, digits"),
    "metric": (["--metrics", "nc", "gini"], "got 'nc gini', expected one of nc, lsa"),
    "metric twice": (["--metrics", "nc", "nc"], "each value once"),
    "attack": (["--attacks", "fgms"], "did you mean 'fgsm'?"),
    "configuration": (["--configurations", "6"], "expected one of 1, 2, 3, 4, 5"),
    "configuration text": (["--configurations", "one"], "expected whole numbers"),
    "preset": (["--preset", "fast"], "expected one of smoke, quick, reduced, study"),
    "parameter": (["--set", "epsilom=0.1"], "did you mean 'epsilon'?"),
    "parameter with own option": (["--set", "seed=1"], "use --seeds instead"),
    "no value": (["--set", "epsilon"], "expected name=value"),
    "type": (["--set", "points=ten"], "expected a whole number"),
    "epsilon 0": (["--set", "epsilon=0"], "epsilon: got 0.0, expected more than 0 and at most 1"),
    "epsilon above 1": (["--set", "epsilon=1.1"], "more than 0 and at most 1"),
    "epsilon 0 among others": (["--vary", "epsilon=0.1,0"], "epsilon: got 0.0, expected more than"),
    "nothing is attacked": (
        ["--set", "clean_share=1"],
        "clean_share: got 1.0, expected at least 0",
    ),
    "clean share": (["--set", "clean_share=-0.1"], "at least 0 and below 1"),
    "no inner steps": (["--set", "inner_steps=0"], "inner_steps: got 0, expected at least 1"),
    "inner noise": (["--set", "inner_noise=-1"], "inner_noise: got -1.0, expected at least 0"),
    "no point images": (["--set", "point_images=0"], "point_images: got 0, expected at least 1"),
    "no point steps": (["--set", "point_steps=0"], "point_steps: got 0, expected at least 1"),
    "beyond the prefix": (["--set", "beyond_prefix=kept"], "did you mean 'keep'?"),
    "hardening epochs": (["--set", "hardening_epochs=-1"], "hardening_epochs: got -1, expected at"),
    "no epochs": (["--set", "epochs=0"], "epochs: got 0, expected at least 1"),
    "seed below 0": (["--seeds", "-1"], "seeds: got '-1', expected at least 0"),
    "jobs": (["--jobs", "0"], "--jobs: got 0"),
    "step": (["--steps", "6"], "expected numbers 0 to 5"),
    "too many points": (
        ["--set", "points=181"],
        "expected at most 180, the inputs that are ordered in configuration 3 on digits",
    ),
    "too many adversarial inputs": (["--set", "n_adversarial=999"], "to 180, the smaller of"),
    "country": (["--set", "country=Spain"], "three-letter"),
    "earlier step": (["--steps", "2"], "is needed but not up to date (has not run yet)"),
    "networks not kept": (["--steps", "4.2", "--set", "keep_models=none"], "keep_models is none"),
    "no such option": (["--presett", "smoke"], "did you mean '--preset'?"),
    "option without a value": (["--set"], "expected at least one argument"),
    "jobs text": (["--jobs", "many"], "expected whole numbers"),
    "contradiction": (["--force", "--trust-existing"], "contradict each other"),
    "threshold": (["--set", "nc_threshold=1"], "at least 0 and below 1"),
    "too few images": (["--set", "n_images=50"], "points: got 10, expected at most 5"),
    "too few adversarial inputs": (
        ["--set", "n_adversarial=2"],
        "expected 3 (one for each attack)",
    ),
    "raw of nothing": (["--raw", "mnist=x.npz"], "--raw mnist: not among --datasets"),
    "raw missing": (["--datasets", "mine", "--raw", "mine=/none.npz"], "not found"),
    "raw without images": (lambda p: folder(p, {"red/a.txt": b""}), "no images found; expected"),
    "masks": (lambda p: folder(p, tree(classes=["a", "masks", "b"])), "masks looks like no class"),
    "parts without classes": (
        lambda p: folder(p, tree(classes=["train", "test"])),
        "are named as parts, but",
    ),
    "same images": (
        lambda p: folder(p, {f"{c}/{n}": i for n, i in tree(classes="x").items() for c in "ab"}),
        "8 of 8 images equal one of another class",
    ),
    "label column": (
        lambda p: folder(p, tree(), "--set", "label_column=age"),
        "label_column: got 'age'",
    ),
    "left out": (lambda p: folder(p, tree(), "--set", "leave_out=sea"), "leave_out: no folder or"),
    "one class": (lambda p: folder(p, tree(classes=["red"])), "got only red"),
    "small classes": (lambda p: folder(p, tree(n=2)), "at least 3 training images of each class"),
    "points of a folder": (lambda p: folder(p, tree(n=10)), "points: got 20, expected at most 3"),
    "tracks": (lambda p: folder(p, tree(), "--set", "split_by=track"), "split_by: got 'track'"),
    "several data sets": (
        lambda p: folder(p, {**tree(), "a.npz": b""}),
        "holds several data sets, such as a.npz, ",
    ),
    "fewer images than attacks": (
        ["--set", "n_images=30", "shares=80 10 10", "--attacks", "fgsm", "bim", "pgd", "cw"],
        "attacks: got 4, but digits has 3 validation images",
    ),
    "split_by": (["--set", "split_by=tracks"], "did you mean 'track'?"),
    "shares": (["--set", "shares=70 20 20"], "three whole numbers that sum to 100"),
    "color": (["--set", "color=grey"], "did you mean 'gray'?"),
    "image size": (["--set", "image_size=2"], "at least 4 and at most 1024"),
    "model missing": (["--model", "/none.keras"], "/none.keras does not exist"),
    "no model": (["--model", __file__], "expected a .keras or .h5 file as Keras saves it"),
    "whose model": (["--datasets", "digits", "mnist", "--model", "a.keras"], "expected NAME=PATH"),
    "model twice": (["--model", "digits=a.keras", "--model", "digits=b.h5"], "given twice"),
    "model of another": (["--model", "mnist=a.keras"], "--model mnist: not among --datasets"),
    "model as a parameter": (["--set", "own_model=a.keras"], "use --model instead"),
    "classes of gtsrb": (
        lambda p: [
            "--datasets",
            "gtsrb",
            *folder(p, tree())[2:3],
            f"gtsrb={write_folder(p / 'in', tree())}",
        ],
        "expected the 43 classes of gtsrb, got 3",
    ),
    "path outside": (
        lambda p: a_zip(p, "../out.png"),
        "refused, it holds a file that points outside: ../out.png",
    ),
    "NaN": (lambda p: bad_npz(p, x=np.full((90, 6, 6), np.nan)), "no NaN"),
    "labels": (lambda p: bad_npz(p, y=np.full(90, -2)), "expected labels 0, 1, 2, ..., got -2"),
    "shape": (lambda p: bad_npz(p, x=np.zeros((90, 6))), "expected images of shape"),
    "large label": (lambda p: bad_npz(p, y=np.full(90, 3 * 10**9)), "without gaps, got up to"),
    "no images": (lambda p: bad_npz(p, x=np.zeros((0, 6, 6)), y=np.zeros(0, int)), "got (0, 6, 6)"),
    "range": (lambda p: bad_npz(p, x=np.full((90, 6, 6), 16)), "--set white=N"),
    "names": (lambda p: bad_npz(p, class_names=np.array("a")), "expected class_names of shape"),
    "not an npz": (lambda p: not_an_npz(p, b"\x93NUMPY"), "not a readable .npz file"),
    "count": (lambda p: bad_npz(p, y=np.zeros(3, int)), "got 90 images, but 3 labels"),
    # files that a stranger made
    "pickle": (lambda p: not_an_npz(p, pickle.dumps({"x": 1})), "not a readable .npz file"),
    "images as objects": (lambda p: bad_npz(p, x=np.full(90, None)), "it holds Python objects"),
    "labels as objects": (lambda p: bad_npz(p, y=np.full(90, None)), "it holds Python objects"),
    "names as objects": (
        lambda p: bad_npz(p, class_names=np.array(["a", "b", None])),
        "save numbers, and class_names as np.array(names, dtype=str)",
    ),
    "array of a pebibyte": (
        lambda p: [*a_zip(p, "x.npy", 2**50)[:3], f"mine={(p / 'a.zip').rename(p / 'a.npz')}"],
        "unpacks to 1,048,576.0 GiB",
    ),
    "IDX of an exbibyte": (lambda p: idx(p, b"\0\0\x08\x03" + b"\xff" * 12), "GiB"),
    "IDX cut": (lambda p: idx(p, b"\0\0\x08\x03"), "not an IDX file of 3 dimensions, or cut"),
    "absolute path": (lambda p: a_zip(p, "/etc/a.png"), "points outside: /etc/a.png"),
    "path outside in a tar": (lambda p: a_tar(p, "red/../../a.png"), "points outside"),
    "backslashes": (lambda p: a_tar(p, "..\\a.png"), "points outside: ..\\a.png"),
    "drive": (lambda p: a_zip(p, "C:/a.png"), "points outside: C:/a.png"),
    "path with an escape": (lambda p: a_zip(p, "/\x1b[2J\n.png"), r"outside: /\x1b[2J\n.png"),
    "image of a gibibyte": (lambda p: a_zip(p, "a/a.png", 2**30), "more than 256 MiB for a/a.png"),
    "archive of a pebibyte": (lambda p: a_zip(p, "a.txt", 2**50), "more than 65,536 MiB for all"),
    "encrypted": (
        lambda p: changed_zip(p, b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14\0\x01"),
        "refused, it is encrypted",
    ),
    "zip cut": (lambda p: changed_zip(p, b"PK\x05\x06", b""), "not a readable archive"),
    "long name": (lambda p: a_zip(p, "a/" * 999 + "a.png"), "names that are too long"),
    "sparse": (lambda p: a_tar(p, type=tarfile.GNUTYPE_SPARSE), "holds a sparse file"),
    "negative size": (
        lambda p: a_tar(p, pax_headers={"size": "-1536"}),
        "refused, it holds a file of negative size",
    ),
    "links out": (links_out, "no images found; expected train/<class>/<image>"),
    "links out, counted": (links_out, "; 3 links that lead out of the folder were left out"),
    "loop": (loop, "loop', expected a path ("),
    "device": (mine("/dev/zero"), "expected a file or folder, got a device, pipe or socket"),
    "pipe as npz": (lambda p: mine(pipe(p, "a.npz")), "got a device, pipe or socket"),
    "pipe as archive": (lambda p: mine(pipe(p, "a.tar.gz")), "got a device, pipe or socket"),
    "pipe in a folder": (
        lambda p: mine(pipe(p, "a.png").parent),
        "1 devices, pipes or sockets were left out",
    ),
    "pipe as IDX": (lambda p: mine(pipe(p, "train-images-idx3-ubyte").parent), "no images found"),
    "bombs": (
        lambda p: folder(p, dict.fromkeys(tree(), bomb(50_000))),
        "pictures: none of 12 images can be decoded",
    ),
    "class with an escape": (
        lambda p: folder(p, tree(n=2, classes=["a\x1b[2J\n", "\u202ec"])),
        r"too few of class a\x1b[2J\n (2), \u202ec (2)",
    ),
    "long class names": (
        lambda p: bad_npz(p, class_names=["a" * 9999] * 3),
        "expected different class_names, got aaa",
    ),
    "path that is no text": (mine("/in\udcff"), r"got '/in\udcff', which is no UTF-8 text"),
    "text that is none": (["--set", "layer=\udcff"], "layer: got '\\udcff', expected text"),
    "home of nobody": (mine("~nobody-at-all/a.zip"), "Could not determine home directory"),
    "path too long": (mine("/" + "a" * 9999), "expected a path (File name too long)"),
    "data set name with an escape": (["--datasets", "\x1b[2J"], "letters, digits"),
    "data set name with HTML": (["--datasets", "<b>"], "got '<b>', expected a name of letters"),
    "data set name with lines": (["--datasets", "a\nb"], "expected a name of letters"),
    "data set name with code": (["--datasets", "a'+1"], "expected a name of letters"),
    "data set called raw": (["--datasets", "raw"], "not 'raw'"),
    "option with lines": (["--a\nb"], "unrecognized arguments: --a\\nb"),
    "seed too long": (["--seeds", "9" * 5000], "expected whole numbers"),
    "model that is a pipe": (
        lambda p: ["--model", str(pipe(p, "own.keras"))],
        "expected a .keras or .h5 file",
    ),
    "model with code": (
        lambda p: keras_file(p, module="os", class_name="system", config={"command": "touch own"}),
        "own.keras cannot be loaded safely: it asks for os.system; taken are only layers of Keras",
    ),
}

OLD = {"reports/digits/old.json": b"[]", "data/digits/dataset.json": b"{}", "notes.txt": b"mine"}


def contents(root):
    """All that lies below a folder, with the bytes of the files."""
    return {
        path: os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in root.rglob("*")
    }


NETWORK = {"model missing", "no model", "model that is a pipe", "model with code"}
"""Cases that start TensorFlow, which a process can do but once."""

WHOLE = {*list(BAD_INPUT)[::20], *NETWORK}
"""Cases that run as a command; starting one for each takes minutes."""

CASES = [pytest.param(c, marks=pytest.mark.slow) if c in NETWORK else c for c in BAD_INPUT]


def call_main(*arguments, cwd, timeout):
    """What `run_all` of conftest does, in this process; a warning is an error."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        patch.setattr(sys, "argv", ["run_all.py", *map(str, arguments)])
        signal.alarm(timeout)  # a pipe that is opened is waited for
        try:
            code = main()
        except SystemExit as end:  # as argparse ends
            code = end.code
        finally:
            signal.alarm(0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize("case", CASES)
def test_bad_input_costs_one_line_and_changes_nothing(tmp_path, case):
    arguments, message = BAD_INPUT[case]
    arguments = arguments(tmp_path) if callable(arguments) else arguments
    if list(BAD_INPUT).index(case) % 3 == 0:  # the others have no workspace yet
        write_folder(tmp_path / "workspace", OLD)
    before = contents(tmp_path)
    workspace = tmp_path / "workspace"
    run = run_all if case in WHOLE else call_main
    result = run(*arguments, "--workspace", workspace, cwd=tmp_path, timeout=60)
    assert result.returncode == 2
    assert message in result.stderr and len(result.stderr) < 2500
    assert len(result.stderr.strip().splitlines()) == 1 and result.stderr.strip().isprintable()
    assert result.stdout == ""
    assert contents(tmp_path) == before


def test_a_workspace_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    result = run_all("--workspace", tmp_path / "file")
    assert result.returncode == 2 and "cannot write there" in result.stderr
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "reports").write_text("")
    result = run_all("--workspace", tmp_path / "workspace")
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert [p.name for p in (tmp_path / "workspace").iterdir()] == ["reports"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    result = run_all("--workspace", tmp_path / "below")
    assert result.returncode == 2 and "cannot write there" in result.stderr


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} {ROOT / 'run_all.py'} --list | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_ctrl_c_while_planning_is_quiet():
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_all.py"), "--plan"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(2)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in (0, 130)  # 0: it had finished
    assert "KeyboardInterrupt" not in stderr
