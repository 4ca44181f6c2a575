"""What makes a job stale: parameters, code and inputs, by content."""

from __future__ import annotations

import pytest

from tests.notebooks import make_job, write_template
from utils.core.files import write_json
from utils.plan.freshness import code_hashes, fingerprint, hashes, status
from utils.plan.jobs import STEPS
from utils.plan.records import State, write_record


def test_a_job_depends_on_the_modules_it_uses(tmp_path):
    used = {step.id: set(code_hashes(step.path)) for step in STEPS}
    attacks = "utils.attacks.registry"
    assert attacks in used["1.1"] and attacks not in used["3-4.1"]
    assert {"utils.retraining.curves", "utils.retraining.results"} <= used["3-4.1"]
    assert {"utils.retraining.fresh_attacks", "utils.attacks.norm_ball"} <= used["4.2"]
    assert "utils.data.registry" in used["0.0"]
    assert not any("plotting" in m for id_ in ("0.1", "3-4.1", "4.2") for m in used[id_])
    assert any("plotting" in m for m in used["5.1"])
    assert "utils.retraining.selection" in used["3-4.1"] & used["4.2"]
    assert not any("statistics" in m for m in used["3-4.1"] | used["4.2"])  # words change nothing
    for step in STEPS:
        assert not any(m.startswith(("utils.runner", "utils.reports")) for m in used[step.id])
    one = code_hashes(write_template(tmp_path / "a.ipynb", "x: int = 1  # a", "print(x)"))
    two = code_hashes(write_template(tmp_path / "a.ipynb", "x: int = 2  # b", "print(x)"))
    assert one == two  # the parameters' defaults are compared as parameters


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
