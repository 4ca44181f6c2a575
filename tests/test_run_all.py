"""The command line as a user meets it: what it lists, and what it says to bad input."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import ROOT, run_all
from tests.pictures import tree, write_folder, write_zip


def test_list_names_everything():
    result = run_all("--list")
    assert result.returncode == 0
    for word in ("digits", "dsa", "cw", "bim_l1", "smoke", "study", "epsilon"):
        assert re.search(rf"^  {word} ", result.stdout, re.M), word


def bad_npz(tmp_path, **changes):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.random((90, 6, 6)), "y": np.arange(90) % 3, **changes}
    np.savez(tmp_path / "bad.npz", **arrays)
    return ["--datasets", "mine", "--raw", f"mine={tmp_path / 'bad.npz'}"]


def not_an_npz(tmp_path):
    with open(tmp_path / "bad.npz", "wb") as file:
        np.save(file, np.zeros(3))
    return ["--datasets", "mine", "--raw", f"mine={tmp_path / 'bad.npz'}"]


def folder(tmp_path, files, *options):
    path = write_folder(tmp_path / "pictures", files)
    return ["--datasets", "mine", "--raw", f"mine={path}", "--preset", "study", *options]


def outside(tmp_path):
    path = write_zip(tmp_path / "a.zip", {**tree(), "../out.png": b""})
    return ["--datasets", "mine", "--raw", f"mine={path}"]


BAD_INPUT = {
    "data set": (["--datasets", "digit"], "did you mean 'digits'?"),
    "data set name": (["--datasets", "../x"], "letters, digits"),
    "metric": (["--metrics", "nc", "gini"], "got 'nc gini', expected one of nc, lsa"),
    "metric twice": (["--metrics", "nc", "nc"], "each value once"),
    "attack": (["--attacks", "fgms"], "did you mean 'fgsm'?"),
    "configuration": (["--configurations", "4"], "expected one of 1, 2, 3"),
    "configuration text": (["--configurations", "one"], "expected whole numbers"),
    "preset": (["--preset", "fast"], "expected one of smoke, quick, reduced, study"),
    "parameter": (["--set", "epsilom=0.1"], "did you mean 'epsilon'?"),
    "parameter with own option": (["--set", "seed=1"], "use --seeds instead"),
    "no value": (["--set", "epsilon"], "expected name=value"),
    "type": (["--set", "points=ten"], "expected a whole number"),
    "epsilon below 0": (["--set", "epsilon=-0.1"], "at least 0 and at most 1"),
    "epsilon above 1": (["--set", "epsilon=1.1"], "at least 0 and at most 1"),
    "no epochs": (["--set", "epochs=0"], "epochs: got 0, expected at least 1"),
    "seed below 0": (["--seeds", "-1"], "seeds: got '-1', expected at least 0"),
    "jobs": (["--jobs", "0"], "--jobs: got 0"),
    "step": (["--steps", "6"], "expected numbers 0 to 5"),
    "too many points": (
        ["--set", "points=181"],
        "points: got 181, expected at most 180, the retraining inputs of configuration 3 on digits",
    ),
    "too many adversarial inputs": (["--set", "n_adversarial=999"], "to 180, the smaller of"),
    "country": (["--set", "country=Spain"], "three-letter"),
    "earlier step": (["--steps", "2"], "is needed but not up to date (has not run yet)"),
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
        lambda p: ["--datasets", "gtsrb", *folder(p, tree())[2:3],
                   f"gtsrb={write_folder(p / 'in', tree())}"],
        "expected the 43 classes of gtsrb, got 3",
    ),
    "path outside": (outside, "refused, it holds a file that points outside: ../out.png"),
    "NaN": (lambda p: bad_npz(p, x=np.full((90, 6, 6), np.nan)), "no NaN"),
    "labels": (lambda p: bad_npz(p, y=np.full(90, -2)), "expected labels 0, 1, 2, ..., got -2"),
    "shape": (lambda p: bad_npz(p, x=np.zeros((90, 6))), "expected images of shape"),
    "large label": (lambda p: bad_npz(p, y=np.full(90, 3 * 10**9)), "without gaps, got up to"),
    "no images": (lambda p: bad_npz(p, x=np.zeros((0, 6, 6)), y=np.zeros(0, int)), "got (0, 6, 6)"),
    "range": (lambda p: bad_npz(p, x=np.full((90, 6, 6), 16)), "got at most 16"),
    "names": (lambda p: bad_npz(p, class_names=np.array("a")), "expected class_names of shape"),
    "not an npz": (lambda p: not_an_npz(p), "not a readable .npz file"),
    "count": (lambda p: bad_npz(p, y=np.zeros(3, int)), "got 90 images, but 3 labels"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_costs_one_line_and_leaves_nothing(tmp_path, case):
    arguments, message = BAD_INPUT[case]
    arguments = arguments(tmp_path) if callable(arguments) else arguments
    result = run_all(*arguments, "--workspace", tmp_path / "workspace")
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
    assert not (tmp_path / "workspace").exists()


def test_a_workspace_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    result = run_all("--workspace", tmp_path / "file")
    assert result.returncode == 2 and "cannot write there" in result.stderr
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "reports").write_text("")
    result = run_all("--workspace", tmp_path / "place")
    assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
    assert [p.name for p in (tmp_path / "place").iterdir()] == ["reports"]


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
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    time.sleep(2)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in (0, 130)  # 0: it had finished
    assert "KeyboardInterrupt" not in stderr
