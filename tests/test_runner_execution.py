"""The runner, on tiny notebooks: done, failing, skipped, killed, stopped; its own interpreter."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace

import psutil
import pytest

from tests.notebooks import make_job, run_jobs
from utils.core.files import read_json, write_json
from utils.core.paths import Workspace
from utils.machine.meter import Usage
from utils.machine.provenance import facts
from utils.plan.freshness import status
from utils.plan.records import Outcome
from utils.reports.index import write_index
from utils.reports.pages import Links, _how_made
from utils.runner.cluster import Cluster
from utils.runner.execution import start_as_original

WRITE = "from pathlib import Path\nPath(workspace, '{0}').write_text(str(value))"


def outputs_of(job):
    notebook = json.loads(job.file(".ipynb").read_text())
    return [o for c in notebook["cells"] if c["cell_type"] == "code" for o in c["outputs"]]


@pytest.mark.slow
def test_done_then_up_to_date_then_changed(tmp_path):
    job = make_job(tmp_path, "ok", WRITE.format("out.txt"), outputs=["out.txt"], value=7)
    job.workspace.root.mkdir()
    assert status(job).reason == "has not run yet"
    assert run_jobs(job)[job.name].state == "done"
    assert (job.workspace.root / "out.txt").read_text() == "7"
    record = read_json(job.file(".json"))
    assert record["parameters"] == {"value": 7}
    assert record["resources"]["wall_seconds"] > 0
    assert record["provenance"] == facts()
    assert "T" in record["started"] and record["started"] <= record["ended"]
    end = job.file(".html").read_text().partition("How this was made")[2]
    assert facts()["id"] in end and facts()["packages"]["papermill"] in end
    assert record["ended"][11:19] in end
    assert run_jobs(job)[job.name] == Outcome("up to date")
    assert run_jobs(job, rule="force")[job.name].state == "done"

    (job.workspace.root / "out.txt").write_text("8")
    assert status(job).reason == "output out.txt was changed by something else"
    other = make_job(tmp_path, "ok", WRITE.format("out.txt"), outputs=["out.txt"], value=8)
    assert status(other).reason == "value: 7 -> 8"
    assert status(other, "trust").up_to_date
    edited = make_job(
        tmp_path, "ok", WRITE.format("out.txt") + "\n1 + 1", outputs=["out.txt"], value=7
    )
    assert status(edited).reason == "code of ok.ipynb changed"


@pytest.mark.slow
def test_a_variant_starts_from_what_the_run_has_made(tmp_path):
    cells = [WRITE.format("out.txt"), "Path(workspace, 'curve.txt').open('a').write('x')"]
    run = make_job(tmp_path, "ok", *cells, outputs=["out.txt"], value=7)
    run = replace(run, unfinished=("curve.txt",))
    run.workspace.root.mkdir()

    def variant(value, name):
        workspace = run.workspace.variant(name)
        report = workspace.reports("digits") / "ok"
        return replace(run, workspace=workspace, report=report, parameters={"value": value})

    def files(job):
        return [(job.workspace.root / name).read_text() for name in ("out.txt", "curve.txt")]

    same, other, trusted = variant(7, "same-7"), variant(8, "value-8"), variant(8, "trusted-8")
    assert same.original.report == run.report and same.name == "variants/same-7/reports/digits/ok"
    assert status(same).reason == "has not run yet"
    assert run_jobs(run)[run.name].state == "done" and files(run) == ["7", "x"]
    assert status(same).reason == status(same, "trust").reason == "as in the run that it varies"
    assert status(other).reason == "value: 7 -> 8"
    outcomes = run_jobs(same, other)
    assert outcomes[same.name].state == "up to date" and files(same) == ["7", "x"]
    assert outcomes[other.name].state == "done" and files(other) == ["8", "xx"]
    assert run_jobs(trusted, rule="trust")[trusted.name].state == "done"
    assert files(trusted) == ["8", "xx"]  # that the run's files are there proves nothing
    assert run_jobs(other, rule="force")[other.name].state == "done" and files(other) == ["8", "x"]
    assert read_json(same.file(".json"))["name"] == same.name
    assert "../../../../index.html" in same.file(".html").read_text()  # that of the run
    assert all(status(job).up_to_date for job in (run, same, other))
    (run.workspace.root / "out.txt").write_text("damaged")
    late = variant(7, "late-7")
    assert run_jobs(late)[late.name].state == "done" and files(late) == ["7", "xx"]


@pytest.mark.slow
@pytest.mark.parametrize("can_link", [True, False])
def test_a_variant_shares_what_it_does_not_change(tmp_path, monkeypatch, can_link):
    """Whether a template replaces its files, as all of this project do, or writes into them."""
    cells = [
        "from pathlib import Path\nfrom utils.core.files import write_json",
        "write_json(Path(workspace, 'replaced.json'), value)",
        "Path(workspace, 'written.txt').open('a').write(str(value))",
    ]
    if not can_link:

        def no_links(*arguments):
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", no_links)
    run = make_job(tmp_path, "ok", *cells, outputs=["replaced.json", "written.txt"], value=7)
    run.workspace.root.mkdir()
    assert run_jobs(run)[run.name].state == "done"
    workspace = run.workspace.variant("value-8")
    variant = replace(
        run, workspace=workspace, report=workspace.reports("digits") / "ok", parameters={"value": 8}
    )
    assert start_as_original(variant, Links())
    names = ["replaced.json", "written.txt"]
    pairs = [(run.workspace.root / name, workspace.root / name) for name in names]
    before = [(one.read_bytes(), one.stat().st_mtime_ns) for one, _ in pairs]
    assert all(one.samefile(other) == can_link for one, other in pairs)
    assert [(o.read_bytes(), o.stat().st_mtime_ns) for _, o in pairs] == before
    assert start_as_original(replace(variant, workspace=workspace), Links()) is False  # it has run
    assert run_jobs(variant)[variant.name].state == "done"
    assert [other.read_text().strip() for _, other in pairs] == ["8", "78"]
    assert [(one.read_bytes(), one.stat().st_mtime_ns) for one, _ in pairs] == before
    assert status(run).up_to_date and not any(one.samefile(other) for one, other in pairs)


@pytest.mark.slow
def test_a_failure_is_shown_and_what_needs_it_does_not_run(tmp_path):
    bad = make_job(
        tmp_path, "bad", "# Title", "## 2. Divide", "1 / 0", "print('never')", outputs=["a"]
    )
    needy = make_job(tmp_path, "needy", "print('never')", inputs=["a"], needs=[bad.name])
    fine = make_job(tmp_path, "fine", "print('hello')")
    bad.workspace.root.mkdir()
    outcomes = run_jobs(bad, needy, fine)
    assert outcomes[bad.name].state == "failed"
    assert "(2. Divide): ZeroDivisionError: division by zero" in outcomes[bad.name].detail
    assert outcomes[needy.name] == Outcome("not run", detail="a job it needs did not finish")
    assert outcomes[fine.name].state == "done"
    page = bad.file(".html").read_text()
    assert "ZeroDivisionError" in page and "papermill-error-cell" in page
    assert facts()["id"] in page.partition("How this was made")[2]
    assert any(o["output_type"] == "error" for o in outputs_of(bad))
    index = write_index(bad.workspace).read_text()
    assert index.index("Failed") < index.index("<h2 id=")  # the failed come first
    assert "ZeroDivisionError" in index and "section 2. Divide" in index


@pytest.mark.slow
def test_an_output_that_was_promised_must_be_there(tmp_path):
    job = make_job(tmp_path, "lazy", "pass", outputs=["never.npy"])
    job.workspace.root.mkdir()
    assert run_jobs(job)[job.name].detail == "did not write never.npy"


@pytest.mark.slow
def test_a_killed_kernel_is_explained(tmp_path):
    job = make_job(tmp_path, "killed", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    job.workspace.root.mkdir()
    outcome = run_jobs(job)[job.name]
    assert outcome.state == "failed"
    assert "the kernel died" in outcome.detail
    assert job.file(".html").exists()


@pytest.mark.slow
def test_kernels_run_this_interpreter_and_stderr_goes_to_the_log(tmp_path, monkeypatch):
    installed = tmp_path / "jupyter" / "kernels" / "python3"
    installed.mkdir(parents=True)
    (installed / "kernel.json").write_text(
        json.dumps({"argv": ["/bin/false"], "display_name": "broken", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    noise = (
        "import os, sys, warnings\n"
        "warnings.warn('old thing')\n"
        "os.write(2, b'from C++')\n"
        "sys.executable"
    )
    job = make_job(tmp_path, "noisy", noise)
    job.workspace.root.mkdir()
    assert run_jobs(job)[job.name].state == "done"
    outputs = outputs_of(job)
    assert [o["output_type"] for o in outputs] == ["execute_result"]
    assert outputs[0]["data"]["text/plain"] == [repr(sys.executable)]
    log = job.file(".log").read_text()
    assert "old thing" in log and "from C++" in log


@pytest.mark.slow
def test_progress_is_the_newest_line_the_notebook_said(tmp_path):
    said = []
    cell = "import time\nprint('→ point 1 of 2', flush=True)\nprint('other')\ntime.sleep(2)"
    job = make_job(tmp_path, "slow", cell, "print('→ all done')")
    job.workspace.root.mkdir()
    run_jobs(job, on_poll=lambda outcomes, running: said.extend(running.values()))
    assert "point 1 of 2" in said
    assert read_json(job.file(".json"))["says"] == "all done"


@pytest.mark.slow
def test_ctrl_c_stops_the_kernels_and_the_next_run_goes_on(tmp_path):
    mark = tmp_path / "pid"
    cell = (
        "import os, pathlib, time\n"
        f"path = pathlib.Path({str(mark)!r})\n"
        "first = not path.exists()\n"
        "path.write_text(str(os.getpid()))\n"
        "time.sleep(600 if first else 0)"
    )
    job = make_job(tmp_path, "long", cell)
    job.workspace.root.mkdir()

    def interrupt(outcomes, running):
        if mark.exists() and mark.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(job, on_poll=interrupt)
    kernel = int(mark.read_text())
    for _ in range(50):
        if not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == "zombie":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the kernel is still running")
    assert status(job).reason == "was interrupted"
    assert read_json(job.file(".json"))["state"] == "interrupted"
    assert run_jobs(job)[job.name].state == "done"


@pytest.mark.slow
def test_the_energy_of_a_step_counts_what_its_kernel_computes(tmp_path):
    idle = make_job(tmp_path, "idle", "import time\ntime.sleep(4)")
    work = "import time\nend = time.process_time() + 5\nwhile time.process_time() < end: pass"
    busy = make_job(tmp_path, "busy", work)
    idle.workspace.root.mkdir()
    run_jobs(idle, busy, cluster=Cluster(1))
    low, high = (read_json(job.file(".json"))["resources"] for job in (idle, busy))
    assert high["cpu_seconds"] > low["cpu_seconds"] + 2
    if low["energy_method"].startswith("estimated (CodeCarbon: CPU load"):
        power = [1000 * r["energy_kwh"] / r["wall_seconds"] for r in (low, high)]
        assert power[1] > 1.03 * power[0]


@pytest.mark.slow
def test_user_given_text_is_escaped(tmp_path):
    job = make_job(tmp_path, "x<b>y", "print('<script>alert(1)</script>')")
    job.workspace.root.mkdir()
    run_jobs(job)
    page = job.file(".html").read_text()
    index = write_index(job.workspace).read_text()
    for text in (page, index):
        assert "<b>y" not in text and "<script" not in text
    assert "http://" not in page and "https://" not in page  # nothing from outside


def test_the_index_opens_with_the_answer_and_its_picture(tmp_path):
    workspace = Workspace(tmp_path)
    write_json(workspace.reports_root / "recommendation.json", {"text": "Do this & that."})
    assert "<img" not in write_index(workspace).read_text()  # no picture, no broken one
    workspace.figures().mkdir()
    (workspace.figures() / "comparison_curves.png").touch()
    page = write_index(workspace).read_text()
    answer = page[page.index('class="answer"') : page.index("</section>")]
    assert "Do this &amp; that." in answer
    assert 'src="figures/comparison_curves.png"' in answer
    assert 'href="figures/comparison_curves.svg"' in answer
    long = "Do this & that. " * 150  # a paragraph keeps its middle
    write_json(workspace.reports_root / "recommendation.json", {"text": long})
    assert long.strip().replace("&", "&amp;") in write_index(workspace).read_text()


def test_a_page_shows_only_what_is_known_of_how_it_was_made():
    unknown = vars(Usage(wall_seconds=2.0, energy_method="not available (no counters)"))
    record = {"seed": None, "started": "2026-01-02T03:04:05+00:00", "ended": ""}
    record["resources"] = unknown
    rows = dict(_how_made({**record, "provenance": {**facts(), "git": None}}))
    assert rows["started"] == "2026-01-02 03:04:05 UTC" and rows["took"] == "2.0 s"
    assert rows["energy"] == "not available (no counters)"
    assert not rows.keys() & {"ended", "seed", "git commit", "processor time", "peak memory"}
    for changed, shown in ((False, "abc"), (True, "abc, with changes")):
        made = {**facts(), "git": {"commit": "abc", "changed": changed}}
        rows = dict(_how_made({**record, "seed": 0, "provenance": made}))
        assert rows["git commit"] == shown and rows["seed"] == "0"
