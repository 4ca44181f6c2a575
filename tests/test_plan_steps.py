"""What each step reads and writes: one declaration, which the templates' own tables agree with."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatchcase
from types import SimpleNamespace

import pytest

from tests.test_templates import cells
from utils import notebook
from utils.core.paths import Workspace
from utils.plan.steps import STEPS, files, makers, steps_named

NAMED = {"dataset": "<dataset>", "seed": "<n>", "configuration": "<configuration>"}
NAMED |= {"metrics": ["<metric>"], "variants": ["<name>-<value>"], "keep_models": "best"}


def table(step):
    """The files in a template's table: what it reads, what it writes, and who makes the former."""
    found, makers, kind, folder = {"reads": [], "writes": []}, [], "", ""
    for line in cells(step.path, "markdown")[0]["source"].splitlines():
        parts = [part.strip() for part in line.strip("|").split("|")]
        if not (line.startswith("|") and parts[0] in ("reads", "writes", "")):
            kind = ""
            continue
        kind = parts[0] or kind
        if not kind:
            continue
        for name, form in re.findall(r"`([^`]+)`( as \.svg)?", parts[1]):
            name = name.replace("...", folder) if name.startswith("...") else name
            name = name if "/" in name else f"{folder}/{name}"
            folder = name.rpartition("/")[0]
            name = re.sub(r"/\.\.\.$", "/*", name).replace("<point>", "*")
            found[kind].append(name if not form or name.endswith("*") else f"{name}.*")
        if kind == "reads" and step.id != "0.0":
            makers += re.findall(r"^\d\S*?(?=[ ,])", parts[2])
    return found["reads"], found["writes"], makers


def alone(names, patterns):
    """Names that are none of the patterns, and that no pattern is one of."""
    return [n for n in names if not any(fnmatchcase(n, p) or fnmatchcase(p, n) for p in patterns)]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.id)
def test_the_table_of_a_template_is_what_is_declared(step):
    reads, writes, _ = table(step)
    declared = files(step, Workspace(), NAMED)
    for named, own in ((reads, declared.reads + declared.reads_too), (writes, declared.writes)):
        if step.id == "0.0" and named is reads:
            assert not own  # raw images are the user's
            continue
        own = [name for name in own if not name.endswith("dataset.json")]  # part of the arrays
        named = [name for name in named if not name.endswith("dataset.json")]
        assert named and not alone(named, own) and not alone(own, named)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.id)
def test_the_steps_before_are_those_that_a_template_names(step):
    _, _, named = table(step)
    own = files(step, Workspace(), NAMED)
    before = {maker.id: files(maker, Workspace(), NAMED).writes for maker in makers(step)}
    read = {*own.reads, *own.reads_too}
    assert set(named) == {id_ for id_, written in before.items() if read & {*written}}


@pytest.mark.parametrize(
    ("id_", "before"),
    [
        ("0.0", ""),
        ("0.1", "0.0"),
        ("1.1", "0.0 0.1"),
        ("2.1", "0.0 0.1 1.1"),
        ("3-4.1", "0.0 0.1 1.1 2.1"),
        ("4.2", "0.0 0.1 1.1 2.1 3-4.1"),
        ("5.1", "0.0 0.1 1.1 2.1 3-4.1"),
        ("5.2", "0.0 0.1 1.1 2.1 3-4.1 4.2"),
        ("5.3", "0.0 0.1 1.1 2.1 3-4.1"),
    ],
)
def test_the_steps_before_in_their_order(id_, before):
    (step,) = steps_named([id_])
    assert " ".join(maker.id for maker in makers(step)) == before


@pytest.fixture
def commands(monkeypatch):
    """Commands that would have been run."""
    found, answer = [], SimpleNamespace(returncode=0, stderr="", stdout="")

    def run(command, **options):
        found.append(command[2:])
        return answer

    monkeypatch.setattr(subprocess, "run", run)
    return found, answer


def write(workspace, names):
    for name in names:
        path = workspace.root / name.replace("*", "x")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_template_alone_runs_the_steps_before_it(tmp_path, commands, capsys):
    workspace, (found, answer) = Workspace(tmp_path), commands
    given = {"dataset": "digits", "seed": 3, "metrics": ["nc", "dsa"]}
    notebook.prepare("3-4.1", workspace, **given)
    steps = "--steps 0.0 0.1 1.1 2.1 --datasets digits --seeds 3 --metrics nc dsa"
    assert found == [["--trust-existing", f"--workspace={tmp_path}", *steps.split()]]
    assert "data/digits/seed-3/metrics/dsa.npy" in capsys.readouterr().out
    (step,) = steps_named(["3-4.1"])
    write(workspace, files(step, workspace, given).reads)
    notebook.prepare("3-4.1", workspace, **given)
    assert len(found) == 1
    (tmp_path / "data/digits/seed-3/metrics/dsa.npy").unlink()
    answer.returncode, answer.stderr = 2, "one\nrun_all.py: what is wrong\n"
    with pytest.raises(RuntimeError, match=r"^run_all\.py: what is wrong$"):
        notebook.prepare("3-4.1", workspace, **given)


def test_a_comparison_alone_runs_whole_runs(tmp_path, commands):
    workspace, (found, _) = Workspace(tmp_path), commands
    given = {"datasets": ["a", "b"], "configurations": [1, 3], "seeds": [0]}
    axes = "--datasets a b --configurations 1 3 --seeds 0".split()
    notebook.prepare("5.3", workspace, **given, variants=["epsilon-0.02", "points-5"])
    steps = "--steps 0.0 0.1 1.1 2.1 3-4.1".split()
    assert found.pop()[2:] == [*steps, *axes, "--vary", "epsilon=0.02", "points=5"]
    notebook.prepare("5.2", workspace, **given)
    assert found.pop()[2:] == [*steps, "4.2", *axes]
    (step,) = steps_named(["5.2"])
    write(
        workspace, files(step, workspace, given).reads
    )  # no network was kept, so none was attacked
    notebook.prepare("5.2", workspace, **given)
    assert not found
