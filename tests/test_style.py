"""The code is as ruff wants it, with the settings of pyproject.toml."""

import subprocess
import sys

from tests.conftest import ROOT


def test_ruff_has_nothing_to_say():
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
