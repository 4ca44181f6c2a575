"""What makes a job stale: parameters, code and inputs, by content."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.notebooks import make_job, write_template
from utils.core import source
from utils.core.files import write_json
from utils.core.paths import ROOT
from utils.plan.freshness import code_hashes, fingerprint, hashes, status
from utils.plan.records import State, write_record
from utils.plan.steps import STEPS


def defined_in(*rooms):
    """Names that only modules of these rooms define."""
    names = {True: set(), False: set()}
    for path in (ROOT / "utils").rglob("*.py"):
        found = source.parse(path.read_text(encoding="utf-8")).defined
        names[path.relative_to(ROOT / "utils").parts[0] in rooms] |= found.keys()
    assert len(names[True]) > 10
    return names[True] - names[False]


def test_a_job_depends_on_the_definitions_it_reaches(tmp_path):
    used = {step.id: set(code_hashes(step.path)) for step in STEPS}
    assert "ATTACKS" in used["1.1"] and "ATTACKS" not in used["3-4.1"]
    assert {"retrain", "results_table"} <= used["3-4.1"]
    assert {"attack_chosen", "pgd"} <= used["4.2"]
    assert {"DATASETS", "read_raw"} <= used["0.0"]
    for id_ in ("0.0", "0.1", "1.1", "2.1", "3-4.1", "4.2"):
        assert not defined_in("plotting", "plan") & used[id_]
    assert {"save_figure", "STYLE"} <= used["5.1"]
    assert "chosen_point" in used["3-4.1"] & used["4.2"]
    assert {"choose", "recommend"} <= used["3-4.1"]  # all pages name the same winner
    assert "gain_left" in used["4.2"]
    for step in STEPS:
        assert not defined_in("runner", "reports") & used[step.id]
    one = code_hashes(write_template(tmp_path / "a.ipynb", "x: int = 1  # a", "print(x)"))
    two = code_hashes(write_template(tmp_path / "a.ipynb", "x: int = 2  # b", "print(x)"))
    assert one == two  # the parameters' defaults are compared as parameters


def test_results_of_an_earlier_version_are_made_again_once(tmp_path):
    job = make_job(tmp_path, "ok", "pass")
    facts = fingerprint(job) | {"code": {"ok.ipynb": "0", "utils.core.files": "0"}}
    write_record(job, State.DONE, facts)
    assert status(job).reason == "made before code was compared by definition: once more"


@pytest.mark.parametrize(
    "damage",
    [
        {"state": []}, {"parameters": 3}, {"code": None}, {"inputs": []}, {"outputs": "x"},
        {"inputs": {"a": 1}}, {"outputs": {"a": {"size": 0}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_of_another_form_counts_as_none(tmp_path, damage):
    job = make_job(tmp_path, "ok", "pass", inputs=["a"], outputs=["a"])
    job.workspace.root.mkdir()
    (job.workspace.root / "a").touch()
    facts = {**fingerprint(job), "outputs": hashes(job.workspace, job.outputs)}
    record = write_record(job, State.DONE, facts)
    assert status(job).reason == "its report is missing or cut"  # nothing is wrong with the record
    write_json(job.file(".json"), {**record, **damage})
    assert status(job).reason == "has not run yet"


def test_all_files_of_an_idx_data_set_count_if_one_is_named(tmp_path):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(b"old")
    named = tmp_path / "train-images-idx3-ubyte"
    job = make_job(tmp_path, "ok", "pass")
    job = replace(job, parameters={"dataset": "mine", "raw": str(named)})
    before = fingerprint(job)["inputs"]["raw"]
    assert fingerprint(job)["inputs"]["raw"] == before
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"other")
    assert fingerprint(job)["inputs"]["raw"] != before


def test_files_of_the_run_are_not_trusted_to_be_those_of_a_variant(tmp_path):
    job = make_job(tmp_path, "ok", "pass", outputs=["out"])
    variant = job.workspace.variant("epochs-9")
    varied = replace(job, workspace=variant, report=variant.reports("digits") / "ok")
    variant.root.mkdir(parents=True)
    (variant.root / "out").touch()  # as a job starts with what the run has made
    write_record(varied, State.RUNNING)
    assert not status(varied, "trust").up_to_date
    write_record(varied, State.DONE, {"parameters": {"value": 2}})  # the run's, copied
    assert not status(varied, "trust").up_to_date
    write_record(varied, State.DONE, {"parameters": dict(varied.parameters)})
    assert status(varied, "trust").up_to_date


def test_a_comparison_of_other_variants_is_not_trusted(tmp_path):
    job = make_job(tmp_path, "ok", "pass", outputs=["out"])
    job.workspace.root.mkdir()
    (job.workspace.root / "out").touch()
    job = replace(job, parameters={"variants": ["epochs-9"]})
    for variants, trusted in ((["epochs-3"], False), (["epochs-9"], True)):
        write_record(job, State.DONE, {"parameters": {"variants": variants}})
        assert status(job, "trust").up_to_date == trusted
