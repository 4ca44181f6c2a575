"""What may go wrong in the middle of a run, and that the next one goes on to the same results."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from tests.conftest import ROOT, run_all
from tests.notebooks import make_job, run_jobs
from utils.core.files import atomic, read_json
from utils.core.paths import Workspace
from utils.plan.freshness import status
from utils.retraining.results import COST, read_results
from utils.runner.lock import Lock, Locked

pytestmark = pytest.mark.slow  # runs are stopped at many moments

OPTIONS = (
    "--preset smoke --configurations 2 --metrics dsa random --set points=6 n_images=600 "
    "--steps 0 1 2 3"
).split()
"""A run with two curves of six points."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The workspace of a run that nothing happened to."""
    root = tmp_path_factory.mktemp("undisturbed")
    result = run_all(*OPTIONS, "--workspace", root)
    assert result.returncode == 0, result.stdout + result.stderr
    return Workspace(root)


def table(workspace):
    return read_results(workspace.results("digits", 0, 2)).drop(columns=COST)


def start(root):
    command = [sys.executable, str(ROOT / "run_all.py"), *OPTIONS, "--workspace", str(root)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def family(process):
    """Processes of a run by kind: itself, its fork server, and the jobs and kernels of that."""
    kinds = {"run": [], "server": [], "job": [], "kernel": []}
    members = [psutil.Process(process.pid)]
    for kind in kinds.values():
        kind += members
        members = []
        for member in kind:
            try:
                members += member.children()
            except psutil.NoSuchProcess:
                pass
    return kinds


def finished_points(workspace):
    """Points on disk of each curve."""
    files = [workspace.curve("digits", 0, 2, metric) for metric in ("dsa", "random")]
    return [len(read_json(path)["rows"]) if path.exists() else 0 for path in files]


def test_kill_9_at_twenty_random_moments(undisturbed, tmp_path):
    chance = random.Random(20)
    victims = ["run", "server", "job", "kernel"] * 5
    chance.shuffle(victims)
    workspace, points, process = Workspace(tmp_path), [0, 0], None
    everyone: set[psutil.Process] = set()
    deadline = time.monotonic() + 900
    while victims:
        assert time.monotonic() < deadline, victims
        if process is None or process.poll() is not None:
            if process and process.returncode == 0:  # it got through: begin anew
                shutil.rmtree(tmp_path)
                points = [0, 0]
            process = start(tmp_path)
        if family(process)[victims[-1]]:
            time.sleep(chance.uniform(0, 4))
            kinds = family(process)
            everyone.update(*kinds.values())
            if kinds[victims[-1]]:
                chance.choice(kinds[victims.pop()]).kill()
                time.sleep(0.2)
        time.sleep(0.05)
        now = finished_points(workspace)  # a file that was half-written would raise an error here
        assert all(n >= before for n, before in zip(now, points, strict=True))
        points = now
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(everyone, timeout=20)
    assert not alive
    result = run_all(*OPTIONS, "--workspace", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert table(workspace).equals(table(undisturbed))
    leftovers = [p for p in tmp_path.rglob(".*") if p.name not in (".lock", ".run.json")]
    assert leftovers == []


FILES = [
    "data/digits/x_train.npy", "models/digits/seed-0/original.keras",
    "data/digits/seed-0/adversarial/y_adv_val.npy", "data/digits/seed-0/metrics/dsa.npy",
    "reports/digits/seed-0/digits_c2_results.csv",
]  # fmt: skip
"""One that each step writes."""


def damage(path, content):
    """Write something else, with the time of what was there."""
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", FILES)
def test_a_cut_or_empty_file_is_named(undisturbed, name):
    path = undisturbed.root / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        damage(path, content)
        plan = run_all(*OPTIONS, "--workspace", undisturbed.root, "--plan")
        assert f"(output {name} was changed by something else)" in plan.stdout
    damage(path, whole)


def test_flipped_bits_are_noticed_before_they_are_used_and_mended(undisturbed):
    """Though neither the sizes of the files nor their times tell."""
    before = table(undisturbed)
    whole = {undisturbed.root / name: (undisturbed.root / name).read_bytes() for name in FILES}
    for path, content in whole.items():
        damage(path, content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    result = run_all(*OPTIONS, "5.1", "--workspace", undisturbed.root)  # for which files are read
    assert result.returncode == 0, result.stdout + result.stderr
    for path, content in whole.items():
        name = undisturbed.relative(path)
        assert f"output {name} was changed by something else" in result.stdout
        if path.suffix != ".csv":  # which holds times
            assert path.read_bytes() == content
    assert table(undisturbed).equals(before)


def test_a_second_run_in_a_workspace_is_refused_until_the_first_is_dead(tmp_path):
    workspace = Workspace(tmp_path)
    with Lock(workspace) as lock:
        result = run_all("--workspace", tmp_path)
        assert result.returncode == 2 and len(result.stderr.splitlines()) == 1
        assert f"another run is at work in it (process {os.getpid()} on" in result.stderr
        assert run_all("--workspace", tmp_path, "--plan").returncode == 0  # it writes nothing
        with pytest.raises(Locked):
            Lock(workspace).__enter__()
        assert read_json(lock.mark)["run"] == lock.run_id
    code = (
        "import time\nfrom utils.runner.lock import Lock\nfrom utils.core.paths import Workspace\n"
        f"with Lock(Workspace({str(tmp_path)!r})):\n"
        "    print('taken', flush=True)\n    time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"taken\n"
    with pytest.raises(Locked):
        Lock(workspace).__enter__()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with Lock(workspace):
        pass


def test_a_full_disk_is_said_and_the_next_run_goes_on(tmp_path):
    """On a file system of a few megabytes, which a namespace of its own lets a test mount."""
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    script = (
        "mount -t tmpfs -o size=900k tmpfs {w} && {run} --workspace {w}; echo code $?; "
        "mount -o remount,size=200m {w} && {run} --workspace {w}; echo code $?; cp -r {w} {out}"
    )
    workspace, out = tmp_path / "w", tmp_path / "out"
    workspace.mkdir()
    if subprocess.run([*inside, f"mount -t tmpfs tmpfs {workspace}"], check=False).returncode:
        pytest.skip("this system lets no test mount a file system")
    run = f"{sys.executable} {ROOT / 'run_all.py'} {' '.join(OPTIONS)}"
    command = script.format(w=workspace, run=run, out=out)
    result = subprocess.run([*inside, command], capture_output=True, text=True, check=False)
    codes = [line for line in result.stdout.splitlines() if line.startswith("code")]
    assert codes == ["code 1", "code 0"], result.stdout + result.stderr
    assert "no room on the disk of" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    for path in out.rglob("[!.]*.json"):
        json.loads(path.read_text())


def test_a_write_that_finds_no_room_is_reported_so_whatever_the_library_reports(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="No space left on device") as caught:
        with atomic(tmp_path / "file"):
            raise OSError("157286400 requested and 49283072 written")  # as NumPy says it
    assert caught.value.filename == str(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_job_whose_report_was_cut_runs_again(tmp_path):
    job = make_job(tmp_path, "job", "print('hello')")
    run_jobs(job)
    assert status(job).up_to_date
    page = job.file(".html")
    page.write_bytes(page.read_bytes()[:1000])
    assert status(job).reason == "its report is missing or cut"
