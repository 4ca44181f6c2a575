"""The index page: what it warns of before anybody reads the answer."""

from __future__ import annotations

import pytest

from utils.core.files import write_json
from utils.core.paths import Workspace
from utils.networks.accuracy import GUESSING
from utils.reports.index import OUTDATED, write_index


def record(workspace, step, reads, writes, says="", state="done", dataset="digits"):
    """Write a job's record; `reads` and `writes` are names of files and hashes."""
    path = workspace.reports(dataset) / f"{step}-job.json"
    name = path.with_suffix("").relative_to(workspace.reports_root).as_posix()
    content = {"name": name, "step": step, "dataset": dataset, "state": state, "says": says}
    for part, files in (("inputs", reads), ("outputs", writes)):
        content[part] = {file: {"sha256": text} for file, text in files.items()}
    write_json(path, content)


@pytest.fixture
def workspace(tmp_path):
    """A finished chain of three jobs and the recommendation made from it."""
    place = Workspace(tmp_path)
    record(place, "0.1", {}, {"model": "m"}, "test accuracy 0.9")
    record(place, "3-4.1", {"model": "m"}, {"table": "t"})
    record(place, "5.1", {"table": "t"}, {"plot": "p"})
    record(place, "5.2", {"table": "t"}, {"advice": "a"}, dataset="")
    write_json(place.reports_root / "recommendation.json", {"text": "Do this."})
    return place


def test_a_whole_run_has_no_warning(workspace):
    page = write_index(workspace).read_text()
    assert OUTDATED not in page and 'class="warning"' not in page


def test_an_answer_from_results_that_have_changed_is_said_to_be_out_of_date(workspace):
    record(workspace, "3-4.1", {"model": "m"}, {"table": "other"})
    page = write_index(workspace).read_text()
    assert page.count(f">{OUTDATED}<") == 2  # the plot and the comparison
    assert page.index("Out of date: results have changed") < page.index("Do this.")


def test_what_was_made_from_something_out_of_date_is_so_too(workspace):
    record(workspace, "0.1", {}, {"model": "other"}, "test accuracy 0.9")
    page = write_index(workspace).read_text()
    assert page.count(f">{OUTDATED}<") == 3


def test_a_failed_job_stays_failed(workspace):
    record(workspace, "3-4.1", {"model": "older"}, {}, state="failed")
    page = write_index(workspace).read_text()
    assert OUTDATED not in page and ">failed<" in page


def test_an_answer_about_a_network_that_guesses_means_nothing(workspace):
    record(workspace, "0.1", {}, {"model": "m"}, f"test accuracy 0.1, {GUESSING}")
    page = write_index(workspace).read_text()
    assert page.index(f"digits: the original network is {GUESSING}") < page.index("Do this.")
