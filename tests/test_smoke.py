"""A whole run of the smallest preset, end to end, and what a user may do with it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT, run_all
from utils.core.files import read_json
from utils.core.paths import Workspace
from utils.metrics.registry import METRICS
from utils.retraining.fresh_results import ORIGINAL, read_fresh
from utils.retraining.results import COST, KEY, about_file, read_results
from utils.retraining.selection import chosen_points, measured

pytestmark = pytest.mark.slow  # whole runs

DEFAULT = (1, 2, 3, 4)
"""Configurations of a run that names none."""
CURVES = {
    c: list(METRICS) if c in (1, 2) else [m for m in METRICS if m != "adversarial_first"]
    for c in DEFAULT
}
N_CURVES = sum(map(len, CURVES.values()))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """A whole run of the preset smoke, once for the tests below."""
    root = tmp_path_factory.mktemp("a workspace {with} odd <name>")
    result = run_all("--preset", "smoke", "--workspace", root, "--jobs", 2)
    assert result.returncode == 0, result.stdout + result.stderr
    return Workspace(root), result


def test_every_step_leaves_its_reports(smoke):
    workspace, result = smoke
    notebooks = sorted(workspace.reports_root.rglob("*.ipynb"))
    assert len(notebooks) == 17
    for notebook in notebooks:
        page = notebook.with_name(notebook.name.replace(".ipynb", ".html")).read_text()
        assert "https://" not in page and "http://" not in page and "<script" not in page
        assert "How this was made" in page
        assert notebook.stat().st_size < 2_000_000
        content = json.loads(notebook.read_text())
        outputs = [o for c in content["cells"] for o in c.get("outputs", [])]
        assert not [o for o in outputs if o.get("name") == "stderr"]
    index = (workspace.reports_root / "index.html").read_text()
    for notebook in notebooks:
        assert notebook.stem in index
    assert "https://" not in index and "<name>" not in index
    assert "Traceback" not in result.stdout and result.stderr == ""


def test_every_record_holds_its_main_number(smoke):
    workspace, result = smoke
    printed = " ".join(result.stdout.split())  # long ones are wrapped
    records = [read_json(p.with_suffix(".json")) for p in workspace.reports_root.rglob("*.ipynb")]
    assert len(records) == 17
    for record in records:
        assert record["says"] and record["says"] in printed
        assert record["resources"]["energy_kwh"] > 0


def test_some_steps_alone_use_what_is_there(smoke):
    workspace, _ = smoke
    (workspace.figures("digits") / "digits_c1_quality.png").unlink()
    options = ["--preset", "smoke", "--workspace", workspace.root, "--steps"]
    result = run_all(*options, "5.1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (workspace.figures("digits") / "digits_c1_quality.png").exists()
    result = run_all(*options, "3", "--set", "epsilon=0.3")
    assert result.returncode == 2 and "(epsilon: 0.05 -> 0.3); add 1.1 to --steps" in result.stderr
    path = workspace.metrics("digits", 0) / "nc.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    result = run_all(*options, "3")
    path.write_bytes(whole)
    assert result.returncode == 2 and "nc.npy was changed by something else" in result.stderr


def test_tables_hold_every_curve_and_point(smoke):
    workspace, _ = smoke
    results = read_results([workspace.results("digits", 0, c) for c in DEFAULT])
    assert len(results) == N_CURVES * 3  # points 0 to 2
    point_0 = results[results["point"] == 0]
    for part in ("", "_clean", "_fresh", "_robust"):
        assert point_0[f"accuracy{part}"].nunique() == 1  # the original model, wherever
    last = results[(results["point"] == 2) & (results["configuration"] == 1)]
    assert last["n_inputs"].nunique() == 1
    gpu = ["gpu_percent", "gpu_memory_mb"]  # empty where there is none
    retrained = results[results["point"] > 0]
    one_step = "val_accuracy_one_step"  # where training attacks
    assert results[one_step].notna().equals(results["configuration"] == 4)
    gpu.append(one_step)
    assert retrained.drop(columns=gpu).notna().all(axis=None)
    assert point_0.drop(columns=[*gpu, "memory_mean_mb", "memory_peak_mb"]).notna().all(axis=None)
    assert (results["energy_kwh"] >= 0).all() and (results["fit_seconds"] >= 0).all()
    making = retrained.groupby("configuration")["adversarial_seconds"].agg(["min", "max"])
    assert (making["min"] == making["max"]).all()  # the same inputs, whatever is retrained
    assert ((making["max"] > 0) == [c != 4 for c in making.index]).all()
    assert (retrained["scoring_seconds"] > 0).all()
    assert (point_0[["adversarial_seconds", "scoring_seconds"]] == 0).all(axis=None)
    summary = pd.read_csv(workspace.reports_root / "comparison.csv")
    assert summary["quantity"].value_counts().to_dict() == {"robust": N_CURVES, "study": N_CURVES}
    for c in DEFAULT:
        about = read_json(about_file(workspace.results("digits", 0, c)))
        rows = results[results["configuration"] == c]
        assert set(rows["provenance"]) == about["provenance"].keys()
        assert about["parameters"]["seed"] == 0 and about["parameters"]["configuration"] == c
    advice = read_json(workspace.reports_root / "recommendation.json")
    assert advice["text"].startswith("Best trade-off on digits")


def test_the_chosen_networks_are_attacked_afresh(smoke):
    workspace, _ = smoke
    results = read_results([workspace.results("digits", 0, c) for c in DEFAULT])
    fresh = read_fresh([workspace.fresh_attack("digits", 0, c) for c in DEFAULT], results)
    assert len(fresh) == len(DEFAULT) + N_CURVES
    both = fresh.merge(chosen_points(measured(results)), on=KEY, suffixes=("", "_chosen"))
    assert len(both) == N_CURVES and (both["n_inputs"] == both["n_inputs_chosen"]).all()
    expected = both["accuracy_adversarial_chosen"].tolist()
    assert both["accuracy_fixed"].tolist() == pytest.approx(expected)
    assert (fresh["accuracy_fresh"] <= fresh["accuracy_clean"]).all()
    attacked = np.load(workspace.adversarial("digits", 0) / "y_adv_test.npy")
    assert (fresh["n_attacked"] == len(attacked)).all()
    originals = fresh[fresh["metric"] == ORIGINAL].drop(columns=["configuration", "seconds"])
    assert len(originals) == len(DEFAULT) and len(originals.drop_duplicates()) == 1
    kept = [path.name for path in workspace.models("digits", 0).glob("c*.keras")]
    names = both[["configuration", "metric", "point"]].itertuples(index=False)
    assert sorted(kept) == sorted(f"c{c}_{m}_p{p}.keras" for c, m, p in names)
    comparison = (workspace.reports_root / "5.2-comparison.html").read_text()
    for c in DEFAULT:  # in between there may be a doubt
        assert re.search(rf"digits, configuration {c}( \(.*?\))?: on the fixed inputs", comparison)


def test_figures_are_there_for_papers_pages_and_a_quick_look(smoke):
    workspace, _ = smoke
    names = {p.name for p in workspace.figures("digits").iterdir()}
    for c in DEFAULT:
        for quantity in ("accuracy", "accuracy_robust", "quality", "attacks", "resources"):
            for suffix in ("svg", "pdf", "png"):
                assert f"digits_c{c}_{quantity}.{suffix}" in names


def test_the_same_seed_gives_the_same_table_whatever_runs_beside(smoke, tmp_path):
    workspace, _ = smoke
    options = "--preset smoke --jobs 1 --configurations 2 --steps 0 1 2 3 4".split()
    result = run_all(*options, "--workspace", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    one = read_results(workspace.results("digits", 0, 2))
    two = read_results(Workspace(tmp_path).results("digits", 0, 2))
    one, two = one.drop(columns=COST), two.drop(columns=COST)
    assert "accuracy_clean" in one and "val_accuracy" in one
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    paths = [w.fresh_attack("digits", 0, 2) for w in (workspace, Workspace(tmp_path))]
    one, two = (pd.read_csv(path).drop(columns="seconds") for path in paths)
    assert len(one) == 1 + len(METRICS)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_a_second_run_does_nothing_and_a_change_only_what_it_must(smoke):
    workspace, _ = smoke
    records = [read_json(p.with_suffix(".json")) for p in workspace.reports_root.rglob("*.ipynb")]
    jobs = sum(record["resources"]["wall_seconds"] for record in records)
    began = time.monotonic()
    result = run_all("--preset", "smoke", "--workspace", workspace.root)
    assert result.returncode == 0 and "All 17 jobs are up to date" in result.stdout
    assert time.monotonic() - began < jobs / 3
    plan = run_all(
        "--preset", "smoke", "--workspace", workspace.root, "--plan", "--set", "epsilon=0.1"
    )
    lines = {line.split()[1]: line for line in plan.stdout.splitlines() if "/" in line}
    assert lines["digits/0.0.1-digits-preprocessing"].startswith("skip")
    changed = "digits/seed-0/1.1.1-digits-obtaining_adversarials"
    assert lines[changed].startswith("run") and "epsilon: 0.05 -> 0.1" in lines[changed]
    below = lines["digits/5.1.2-digits-plot-c2"]
    assert below.startswith("run") and "writes something new" in below


def test_a_damaged_file_of_an_earlier_step_is_refused(smoke):
    workspace, _ = smoke
    path = workspace.data("digits") / "x_test.npy"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:200])
        result = run_all("--preset", "smoke", "--workspace", workspace.root, "--steps", "2")
        assert result.returncode == 2 and "x_test.npy was changed" in result.stderr
    finally:
        path.write_bytes(whole)


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    command = [sys.executable, str(ROOT / "run_all.py"), "--preset", "smoke", "--steps", "0"]
    process = subprocess.Popen(
        [*command, "--workspace", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
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
    assert "run   digits/seed-0/0.1.1-digits-original_model_training" in plan.stdout


def test_variants_do_only_what_their_setting_touches(smoke):
    workspace, _ = smoke
    options = ["--preset", "smoke", "--workspace", workspace.root, "--configurations", 3]
    vary = ["--vary", "layer=flatten_1", "points=1"]
    result = run_all(*options, *vary)
    assert result.returncode == 0, result.stdout + result.stderr
    words = [line.split() for line in result.stdout.splitlines()]
    touched = {word[2] for word in words if word[:1] == ["done"] and len(word) > 2}
    retraining = "3-4.1.3-digits-ordering_and_retraining-configuration_3"
    assert touched >= {
        "variants/layer-flatten_1/reports/digits/seed-0/2.1.1-digits-obtaining_metrics",
        f"variants/layer-flatten_1/reports/digits/seed-0/{retraining}",
        f"variants/points-1/reports/digits/seed-0/{retraining}",
        "5.3-sensitivity",
    }
    # the order of DeepGini has nothing to do with the layer, so its curve is that of the run
    files = [
        w.curve("digits", 0, 3, "deepgini")
        for w in (workspace, workspace.variant("layer-flatten_1"))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    table = pd.read_csv(workspace.reports_root / "sensitivity.csv")
    assert set(table["value"]) == {"1", "2", "flatten_1", "default"}
    assert np.allclose(table.loc[table["is_base"], ["lost", "tau"]], [0, 1])
    index = (workspace.reports_root / "index.html").read_text()
    assert "variants/points-1/reports/digits" in index and "6 jobs of runs" not in index
    for page in [workspace.reports_root / "index.html", *workspace.reports_root.rglob("*.html")]:
        for link in re.findall(r'(?:href|src)="([^"#:]+)"', page.read_text()):
            assert (page.parent / unquote(link)).exists(), (page, link)
    again = run_all(*options, *vary)
    assert "are up to date" in again.stdout
    result = run_all(*options[:3], workspace.variant("points-1").root)
    assert result.returncode == 2 and "use that with --vary" in result.stderr
