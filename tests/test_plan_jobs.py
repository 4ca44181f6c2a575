"""The plan: which jobs, in which order, what makes one stale."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import run_all
from utils.core.paths import ROOT, Workspace
from utils.plan import arguments, requests
from utils.plan.jobs import plan
from utils.plan.rules import ParameterError
from utils.plan.steps import steps_named
from utils.reports.pages import links_between


def jobs_for(tmp_path, **changes):
    request = {"datasets": ["digits"], "seeds": [0], "configurations": [1, 2, 3], "settings": {}}
    return plan(Workspace(tmp_path), **{**request, **changes})


def test_jobs_of_the_study_and_their_names(tmp_path):
    names = [job.report.name for job in jobs_for(tmp_path)]
    assert names == [
        "0.0.1-digits-preprocessing",
        "0.1.1-digits-original_model_training",
        "1.1.1-digits-obtaining_adversarials",
        "2.1.1-digits-obtaining_metrics",
        "3-4.1.1-digits-ordering_and_retraining-configuration_1",
        "3-4.1.2-digits-ordering_and_retraining-configuration_2",
        "3-4.1.3-digits-ordering_and_retraining-configuration_3",
        "4.2.1-digits-attacking_retrained-configuration_1",
        "4.2.2-digits-attacking_retrained-configuration_2",
        "4.2.3-digits-attacking_retrained-configuration_3",
        "5.1.1-digits-plot-c1",
        "5.1.2-digits-plot-c2",
        "5.1.3-digits-plot-c3",
        "5.2-comparison",
    ]


def test_needs_follow_the_files_and_come_before(tmp_path):
    jobs = jobs_for(tmp_path, datasets=["digits", "mine"], seeds=[0, 1])
    assert len({job.name for job in jobs}) == len(jobs) == 2 + 3 * 4 + 12 + 12 + 6 + 1
    before = set()
    for job in jobs:
        assert set(job.needs) <= before
        before.add(job.name)
    by_name = {job.name: job for job in jobs}
    plot = by_name["digits/5.1.2-digits-plot-c2"]
    assert plot.needs == tuple(
        f"digits/seed-{s}/3-4.1.2-digits-ordering_and_retraining-configuration_2" for s in (0, 1)
    )
    retraining = by_name[plot.needs[1]]
    assert {n.split("/")[-1][:3] for n in retraining.needs} == {"0.0", "0.1", "1.1", "2.1"}
    assert not any("mine" in n or "seed-0" in n for n in retraining.needs)
    attacking = by_name["digits/seed-1/4.2.2-digits-attacking_retrained-configuration_2"]
    assert retraining.name in attacking.needs and attacking.name in by_name["5.2-comparison"].needs
    assert not any("configuration_1" in n or "seed-0" in n for n in attacking.needs)
    outputs = [o for job in jobs for o in job.outputs]
    assert len(outputs) == len(set(outputs))  # no two jobs write the same files


def test_settings_reach_only_templates_that_know_them(tmp_path):
    jobs = jobs_for(tmp_path, settings={"digits": {"epsilon": 0.3, "metrics": ["nc"]}})
    by_step = {job.step.id: job for job in jobs}
    assert by_step["1.1"].parameters["epsilon"] == 0.3
    assert "epsilon" not in by_step["2.1"].parameters
    assert by_step["2.1"].outputs[0] == "data/digits/seed-0/metrics/nc.npy"
    assert by_step["5.2"].parameters["datasets"] == ["digits"]


def test_networks_are_kept_by_the_job_that_retrains_them(tmp_path):
    metrics = {"digits": {"metrics": ["dsa", "nc"]}}
    models = [f"models/digits/seed-0/c2_{m}_p*.keras" for m in ("dsa", "nc")]
    (alone,) = [
        j for j in jobs_for(tmp_path, configurations=[2], settings=metrics) if j.step.id == "3-4.1"
    ]
    assert set(models) <= set(alone.outputs)
    jobs = jobs_for(tmp_path, configurations=[2], settings=metrics, split_metrics=True)
    *parts, joining = [job for job in jobs if job.step.id == "3-4.1"]
    assert [[m for m in models if m in part.outputs] for part in parts] == [[m] for m in models]
    assert set(models) <= set(joining.inputs) and not set(models) & set(joining.outputs)
    (attacking,) = [job for job in jobs if job.step.id == "4.2"]
    assert joining.name in attacking.needs


def test_where_no_network_is_kept_none_is_attacked(tmp_path):
    jobs = jobs_for(
        tmp_path, datasets=["digits", "mine"], settings={"digits": {"keep_models": "none"}}
    )
    assert {job.dataset for job in jobs if job.step.id == "4.2"} == {"mine"}
    assert not any(
        ".keras" in o
        for j in jobs
        if j.dataset == "digits" and j.step.id == "3-4.1"
        for o in j.outputs
    )
    with pytest.raises(ParameterError, match=r"--steps: 4.2 attacks .* keep_models is none"):
        requests.inputs(jobs, [], "content")


@pytest.mark.parametrize("split_metrics", [False, True])
@pytest.mark.parametrize("keep", ["none", "best", "all"])
def test_what_was_made_of_networks_that_go_goes_too(tmp_path, keep, split_metrics):
    """By the jobs of step 3-4.1, where no step 4.2 would make it anew; and nothing besides."""
    settings = {"digits": {"metrics": ["dsa", "nc"]}}
    before = {j.step.id: j for j in jobs_for(tmp_path, configurations=[2], settings=settings)}
    attacked = before["4.2"]
    paths = [attacked.file(".html"), attacked.file(".json")]
    names = [name.replace(".*", ".svg") for name in attacked.outputs]
    paths += [tmp_path / name for name in names]
    other = tmp_path / "reports" / "digits" / "seed-0" / "4.2.1-digits-attacking.html"
    results = tmp_path / before["3-4.1"].outputs[0]
    for path in [*paths, other, results]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    settings["digits"]["keep_models"] = keep
    jobs = jobs_for(tmp_path, configurations=[2], settings=settings, split_metrics=split_metrics)
    for job in jobs:
        job.remove_outdated()
    assert {path.exists() for path in paths} == {keep != "none"}
    assert other.exists() and results.exists()


@pytest.mark.slow
def test_networks_no_longer_kept_do_not_stop_the_comparison(tmp_path):
    options = (
        "--preset smoke --configurations 3 --metrics random --attacks fgsm --workspace".split()
    )
    options.append(tmp_path)
    assert run_all(*options).returncode == 0
    fresh = Workspace(tmp_path).fresh_attack("digits", 0, 3)
    assert fresh.exists()
    result = run_all(*options, "--set", "keep_models=none", "points=3")
    assert result.returncode == 0, result.stdout
    page = (tmp_path / "reports" / "5.2-comparison.html").read_text()
    assert "No network was attacked" in page and not fresh.exists()
    assert "4.2.3-digits" not in (tmp_path / "reports" / "index.html").read_text()
    assert run_all(*options, "--set", "points=3").returncode == 0
    assert fresh.exists()  # made anew when the networks are kept again


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a=b.keras", "digits=b.keras", "b.keras", "lr=0.1,epochs=5.h5"):
        (tmp_path / name).write_text("")
    (tmp_path / "run=1").mkdir()
    (tmp_path / "run=1" / "net.keras").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a=b.keras", "a=b.keras"),
        ("lr=0.1,epochs=5.h5", "lr=0.1,epochs=5.h5"),
        ("run=1/net.keras", "run=1/net.keras"),
        ("./digits=b.keras", "digits=b.keras"),
        ("digits=a=b.keras", "a=b.keras"),
        ("digits=./digits=b.keras", "digits=b.keras"),
        ("digits=./b.keras", "b.keras"),
        ("digits=none.keras", "none.keras"),
        ("b.keras", "b.keras"),
    ],
)
def test_the_path_of_a_model_may_hold_an_equals_sign(here, text, path):
    found = arguments.paths_of("--model", [text], ["digits"], unnamed=True)
    assert found == {"digits": str(here / path)}


@pytest.mark.parametrize(
    ("text", "datasets", "message"),
    [
        ("digits=b.keras", ["digits"], "means b.keras for digits, too; write --model digits=./"),
        ("a=c.keras", ["digits"], "--model a: not among --datasets"),
        ("a=b.keras", ["digits", "mnist"], "--model a: not among --datasets"),
        ("~nobody-at-all/a=b", ["digits"], "--model ~nobody-at-all/a: not among"),
        ("\0=b", ["digits"], "not among --datasets"),
    ],
)
def test_what_else_an_equals_sign_may_mean_is_said(here, text, datasets, message):
    with pytest.raises(ParameterError, match=re.escape(message)):
        arguments.paths_of("--model", [text], datasets, unnamed=True)


def test_variants_repeat_the_run_up_to_retraining_and_are_compared(tmp_path):
    changed = {"points-5": {"points": 5}, "layer-conv_1": {"layer": "conv_1"}}
    changed = {name: {"digits": values} for name, values in changed.items()}
    run, jobs = jobs_for(tmp_path), jobs_for(tmp_path, variants=changed)
    *jobs, last = jobs
    names = [job.name for job in jobs]
    assert names[: len(run)] == [job.name for job in run] and len(set(names)) == len(names)
    own = [job for job in jobs[len(run) :] if job.workspace.root.name == "points-5"]
    assert [job.step.id for job in own] == ["0.0", "0.1", "1.1", "2.1", "3-4.1", "3-4.1", "3-4.1"]
    for job in own:
        assert job.original.name in names[: len(run)] and job.original.workspace.root == tmp_path
        assert job.original.name in job.needs
        assert all(n in names[: names.index(job.name)] for n in job.needs)
        assert all("points-5" in n for n in job.needs if n != job.original.name)
    assert own[-1].parameters == {**own[-1].original.parameters, "points": 5}
    assert own[3].parameters == own[3].original.parameters
    assert last.step.id == "5.3" and last.parameters["variants"] == list(changed)
    assert set(last.needs) == {job.name for job in jobs if job.step.id == "3-4.1"}


def test_pages_of_a_variant_lead_to_its_own(tmp_path):
    jobs = jobs_for(tmp_path, variants={"points-5": {}})
    for job in jobs[:-1]:
        pages = [page for _, _, page in links_between(jobs)[job.name].items]
        assert pages and all(p.is_relative_to(job.workspace.reports_root) for p in pages)
        assert any("variants" in str(page) for page in pages) == (job.original is not None)


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["0"], ["0.0", "0.1"]),
        (["3"], ["3-4.1"]),
        (["3-4"], ["3-4.1"]),
        (["4"], ["3-4.1", "4.2"]),
        (["4.2"], ["4.2"]),
        (["5.2", "1"], ["1.1", "5.2"]),
    ],
)
def test_steps_by_number(words, ids):
    assert [s.id for s in steps_named(words)] == ids


def test_an_unknown_step_is_explained():
    with pytest.raises(ValueError, match="--steps: got '7', expected numbers 0 to 5"):
        steps_named(["7"])


def test_pages_lead_to_the_neighbouring_steps(tmp_path):
    jobs = jobs_for(tmp_path)
    links = {
        name: [(label, title[:5]) for label, title, _ in found.items]
        for name, found in links_between(jobs).items()
    }
    metrics = next(j.name for j in jobs if j.step.id == "2.1")
    assert links[metrics] == [("previous", "1.1.1"), *[("next", "3-4.1")] * 3]
    assert links["digits/5.1.1-digits-plot-c1"] == [("previous", "4.2.1"), ("next", "5.2-c")]
    assert links["5.2-comparison"] == [
        ("previous", "5.1.1"),
        ("previous", "5.1.2"),
        ("previous", "5.1.3"),
    ]


def test_planning_does_not_import_what_is_slow():
    code = (
        "import sys, run_all; "
        "slow = {'tensorflow', 'papermill', 'distributed', 'matplotlib', 'codecarbon'}; "
        "print(sorted(slow & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
