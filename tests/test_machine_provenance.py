"""What a result was made by: facts about software and machine, git, and what of code counts."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from utils.core.code import code_hash
from utils.core.files import checksum
from utils.machine import provenance
from utils.machine.provenance import facts


@pytest.fixture
def anew(monkeypatch):
    """Looks the facts up again, with a function of the module replaced."""

    def look(**changes):
        with monkeypatch.context() as patch:
            for name, value in changes.items():
                patch.setattr(provenance, name, lambda value=value: value)
            facts.cache_clear()
            return facts()

    yield look
    facts.cache_clear()


def test_facts_are_plain_and_complete():
    found = facts()
    assert json.loads(json.dumps(found)) == found
    assert found["packages"]["numpy"] == np.__version__
    machine = found["hardware"]
    assert machine["cpus"] >= machine["cpus_usable"] >= 1
    assert machine["processor"] and machine["memory_gib"] > 0
    assert facts() is found  # looked up once


def test_the_id_is_of_all_facts_and_is_no_number(anew):
    first = anew()["id"]
    assert re.fullmatch("p[0-9a-f]{8}", first) and anew()["id"] == first
    others = [{"processor": "another"}, {"gpu_names": ["one"]}, {"usable_cpus": 999}]
    others += [{"_git": {"commit": "abc", "changed": changed}} for changed in (True, False)]
    assert len({first, *(anew(**other)["id"] for other in others)}) == 6


def test_a_package_that_is_not_installed_is_no_error(monkeypatch, anew):
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package"))
    assert anew()["packages"] == {"numpy": np.__version__, "no-such-package": None}


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_the_commit_is_that_of_the_checkout(monkeypatch, tmp_path):
    def git(*arguments):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *who, *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)

    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    file = tmp_path / "run_all.py"
    file.write_text("1\n")
    assert provenance._git() is None  # no repository
    git("init")
    (tmp_path / "other.txt").touch()
    git("add", "other.txt")
    git("commit", "-m", "Other")
    assert provenance._git() is None  # one around it, which does not know it
    git("add", "run_all.py")
    git("commit", "-m", "The checkout")
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert provenance._git() == {"commit": commit, "changed": False}
    (tmp_path / "untracked.txt").touch()
    assert provenance._git() == {"commit": commit, "changed": False}
    file.write_text("2\n")
    assert provenance._git() == {"commit": commit, "changed": True}


@pytest.mark.parametrize(
    "error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 5)], ids=["none", "slow"]
)
def test_without_an_answer_from_git_there_is_no_commit(monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert provenance._git() is None


def test_a_checksum_is_of_the_content_not_its_order():
    assert checksum({"a": 1, "b": [0.1]}) == checksum({"b": [0.1], "a": 1})
    assert checksum({"a": 1, "b": [0.1]}) != checksum({"a": 1, "b": [0.2]})


def test_comments_and_docstrings_are_not_code():
    base = code_hash('def f(x):\n    """Old."""\n    return x + 1\n')
    assert code_hash('def f(x):\n    """New."""\n\n    # why\n    return (x + 1)\n') == base
    assert code_hash('def f(x):\n    """Old."""\n    return x + 2\n') != base
