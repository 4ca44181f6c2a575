"""What the tests share. Files run side by side; the notebooks of one folder one after another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all golden notebooks, in one process: they share fixtures."""
    for item in items:
        group = "goldens" if item.path.suffix == ".ipynb" else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


def run_all(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Call the command line as a user does."""
    command = [sys.executable, str(ROOT / "run_all.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="session")
def raw_real() -> Path:
    """Folder of real raw data, from GUIDED_RETRAINING_RAW; tests that need it skip without."""
    folder = os.environ.get("GUIDED_RETRAINING_RAW")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set GUIDED_RETRAINING_RAW to a folder with mnist.npz to run this test")
    return Path(folder)
