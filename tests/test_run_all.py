"""The command line as a user meets it: lists, plans, bad input, and a whole smoke run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from tests.conftest import ROOT, run_all

from utils.metrics import METRICS
from utils.results import read_results
from utils.workspace import Workspace, read_json


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
    "too many adversarial inputs": (["--set", "n_adversarial=999"], "expected at most 180"),
    "country": (["--set", "country=Spain"], "three-letter"),
    "earlier step": (["--steps", "2"], "which is not there; run the steps before it too"),
    "raw of nothing": (["--raw", "mnist=x.npz"], "--raw mnist: not among --datasets"),
    "raw missing": (["--datasets", "mine", "--raw", "mine=/none.npz"], "not found"),
    "NaN": (lambda p: bad_npz(p, x=np.full((90, 6, 6), np.nan)), "no NaN"),
    "labels": (lambda p: bad_npz(p, y=np.full(90, -2)), "expected labels in 0"),
    "shape": (lambda p: bad_npz(p, x=np.zeros((90, 6))), "expected images of shape"),
    "count": (lambda p: bad_npz(p, y=np.zeros(3, int)), "expected 90 int64 labels, got (3,)"),
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
    assert result.returncode == 2 and "is not a folder" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_without_write_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    result = run_all("--workspace", tmp_path / "below")
    assert result.returncode == 2 and "is not writable" in result.stderr


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A whole run of the preset smoke, once for the tests below."""
    root = tmp_path_factory.mktemp("a workspace {with} odd <name>")
    result = run_all("--preset", "smoke", "--workspace", root, "--jobs", 2)
    assert result.returncode == 0, result.stdout + result.stderr
    return Workspace(root), result


def test_every_step_leaves_its_reports(smoke):
    place, result = smoke
    notebooks = sorted(place.reports_root.rglob("*.ipynb"))
    assert len(notebooks) == 11
    for notebook in notebooks:
        page = notebook.with_name(notebook.name.replace(".ipynb", ".html")).read_text()
        assert "https://" not in page and "http://" not in page and "<script" not in page
        assert notebook.stat().st_size < 2_000_000
        content = json.loads(notebook.read_text())
        outputs = [o for c in content["cells"] for o in c.get("outputs", [])]
        assert not [o for o in outputs if o.get("name") == "stderr"]
    index = (place.reports_root / "index.html").read_text()
    for notebook in notebooks:
        assert notebook.stem in index
    assert "https://" not in index and "<name>" not in index
    assert "Traceback" not in result.stdout and result.stderr == ""


def test_tables_hold_every_curve_and_point(smoke):
    place, _ = smoke
    results = read_results([place.results("digits", 0, c) for c in (1, 2, 3)])
    assert len(results) == 3 * len(METRICS) * 3  # configurations, metrics, points 0 to 2
    point_0 = results[results["point"] == 0]
    assert point_0["accuracy"].nunique() == 1  # the original model, whatever the configuration
    last = results[(results["point"] == 2) & (results["configuration"] == 1)]
    assert last["n_inputs"].nunique() == 1
    assert results.drop(columns=["gpu_percent", "gpu_memory_mb"]).notna().all(axis=None)
    assert (results["energy_kwh"] >= 0).all() and (results["fit_seconds"] >= 0).all()
    summary = pd.read_csv(place.reports_root / "comparison.csv")
    assert len(summary) == 3 * len(METRICS)
    advice = read_json(place.reports_root / "recommendation.json")
    assert advice["text"].startswith("Best trade-off on digits")


def test_figures_are_there_for_papers_pages_and_a_quick_look(smoke):
    place, _ = smoke
    names = {p.name for p in place.figures("digits").iterdir()}
    for c in (1, 2, 3):
        for quantity in ("accuracy", "precision", "recall", "loss", "resources"):
            for suffix in ("svg", "pdf", "png"):
                assert f"digits_c{c}_{quantity}.{suffix}" in names


def test_the_same_seed_gives_the_same_table_whatever_runs_beside(smoke, tmp_path):
    place, _ = smoke
    result = run_all("--preset", "smoke", "--workspace", tmp_path, "--jobs", 1,
                     "--configurations", 2, "--steps", "0", "1", "2", "3")  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    results = ["loss", "accuracy", "precision", "recall", "accuracy_adversarial", "val_loss"]
    one = read_results(place.results("digits", 0, 2))
    two = read_results(Workspace(tmp_path).results("digits", 0, 2))
    keys = ["metric", "point", "n_inputs", *results]
    pd.testing.assert_frame_equal(one[keys], two[keys], check_exact=True)


def test_a_second_run_does_nothing_and_a_change_only_what_it_must(smoke):
    place, _ = smoke
    began = time.monotonic()
    result = run_all("--preset", "smoke", "--workspace", place.root)
    assert result.returncode == 0 and "All 11 jobs are up to date" in result.stdout
    assert time.monotonic() - began < 30  # five seconds on an idle machine
    plan = run_all("--preset", "smoke", "--workspace", place.root, "--plan", "--set", "epsilon=0.1")
    lines = {line.split()[1]: line for line in plan.stdout.splitlines() if "/" in line}
    assert lines["digits/0.0.1-digits-preprocessing"].startswith("skip")
    changed = "digits/seed-0/1.1.1-digits-obtaining_adversarials"
    assert lines[changed].startswith("run") and "epsilon: 0.05 -> 0.1" in lines[changed]
    below = lines["digits/5.1.2-digits-plot-c2"]
    assert below.startswith("run") and "writes something new" in below


def test_a_damaged_file_of_an_earlier_step_is_refused(smoke):
    place, _ = smoke
    path = place.data("digits") / "x_test.npy"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:200])
        result = run_all("--preset", "smoke", "--workspace", place.root, "--steps", "2")
        assert result.returncode == 2 and "x_test.npy: damaged" in result.stderr
    finally:
        path.write_bytes(whole)


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    command = [sys.executable, str(ROOT / "run_all.py"), "--preset", "smoke", "--steps", "0"]
    process = subprocess.Popen(
        [*command, "--workspace", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    record = Workspace(tmp_path).reports("digits") / "0.0.1-digits-preprocessing.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if record.exists() and read_json(record)["state"] == "done":
            break
        time.sleep(0.2)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout + stderr
    assert "goes on from there" in stdout and "Traceback" not in stderr
    plan = run_all("--preset", "smoke", "--workspace", tmp_path, "--steps", "0", "--plan")
    assert "skip  digits/0.0.1-digits-preprocessing" in plan.stdout
    assert "(was interrupted)" in plan.stdout
