"""A job's record: one writer, one reader, and nothing of a damaged one is used."""

from __future__ import annotations

import json

import pytest

from tests.notebooks import make_job
from utils.core.files import MAX_SMALL
from utils.plan.records import (
    State,
    describe_error,
    identity,
    parse_record,
    read_record,
    state_of,
    write_record,
)

FILE = {"a.npy": {"size": 1, "time": 2, "sha256": "0f"}}
RECORD = {"name": "a/b", "step": "0.0", "state": "done", "dataset": "digits"}


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path, "ok", "pass")


def test_what_is_written_is_read(job):
    written = write_record(job, State.DONE, {"run": "r1", "says": "fine", "outputs": FILE})
    read = read_record(job.file(".json"))
    assert read == parse_record(job.file(".json").read_bytes())
    assert written.items() <= read.items() and identity(job).items() <= read.items()
    assert read["state"] is State.DONE and read["inputs"] == {} and describe_error(read) == ""
    assert json.loads(job.file(".json").read_text())["state"] == "done"


def test_a_new_state_replaces_the_old_one_alone(job):
    before = {**RECORD, "name": "another", "state": State.DONE, "outputs": FILE}
    write_record(job, State.NOT_RUN, before)
    read = read_record(job.file(".json"))
    assert (read["state"], read["name"], read["outputs"]) == ("not run", job.name, FILE)


def test_a_state_may_be_asked_for_of_one_run(job):
    assert state_of(job) is None
    write_record(job, State.RUNNING, {"run": "r1"})
    assert state_of(job) is state_of(job, "r1") is State.RUNNING
    assert state_of(job, "r2") is None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            {"cell": 3, "section": "2. Load", "error": "E: no\n file"},
            "cell 3 (2. Load): E: no file",
        ),
        ({"error": "did not write a"}, "did not write a"),
        (None, ""),
    ],
)
def test_an_error_is_described_in_one_line(job, error, line):
    write_record(job, State.FAILED, {"error": error})
    assert describe_error(read_record(job.file(".json"))) == line


@pytest.mark.parametrize(
    "damage",
    [
        {"name": None}, {"step": 3}, {"dataset": ["a"]}, {"dataset": "../away"}, {"state": "?"},
        {"state": "DONE"}, {"run": 1}, {"seed": "0"}, {"seed": {"<b>": 1}}, {"seed": True},
        {"configuration": 1.5}, {"says": None}, {"error": "text"}, {"error": {"cell": ["<b>"]}},
        {"error": {"section": {}}}, {"error": {"error": 7}}, {"resources": []}, {"code": None},
        {"parameters": 3}, {"inputs": {"a": 1}}, {"outputs": {"a": {}}},
        {"outputs": {"a": {"sha256": None}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_record_is_none(tmp_path, damage):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(RECORD))
    assert read_record(path)["name"] == "a/b"
    path.write_text(json.dumps({**RECORD, **damage}))
    assert read_record(path) is None and parse_record(path.read_bytes()) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff", b"{", b"[" * 99_999])
def test_other_files_are_no_records(tmp_path, content):
    (tmp_path / "job.json").write_bytes(content)
    assert read_record(tmp_path / "job.json") is None and parse_record(content) is None
    assert read_record(tmp_path) is None and read_record(tmp_path / "none.json") is None


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "job.json", "w") as file:
        file.write(json.dumps(RECORD) + " " * MAX_SMALL)
    assert read_record(tmp_path / "job.json") is None
