"""The code is as ruff and mypy want it, with the settings of pyproject.toml."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "command",
    [
        "ruff check --no-cache",
        "ruff format --check --no-cache",
        pytest.param("mypy", marks=pytest.mark.slow),
    ],
    ids=lambda command: command.partition(" --")[0],
)
def test_the_code_is_as_it_should_be(command):
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
