"""What the tests share. Files run side by side; the notebooks of one folder one after another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


LONGEST = (
    "test_smoke",
    "goldens",
    "test_smoke_own",
    "test_runner_execution",
    "test_attacks",
    "test_retraining",
    "test_networks_ends",
    "test_networks_copying",
    "test_run_all",
    "test_plotting",
)
"""Groups of tests that start first, so that no core waits at the end."""


def pytest_configure(config: pytest.Config) -> None:
    """Golden notebooks start from nothing, not from what the last run of the tests left."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(ROOT / "build" / "goldens", ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all golden notebooks, in one process: they share fixtures."""
    groups = {i: "goldens" if i.path.suffix == ".ipynb" else i.path.stem for i in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
        if group == "goldens":
            item.add_marker(pytest.mark.slow)
    places = {group: place for place, group in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(groups[item], len(places)))


def run_all(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Call the command line as a user does."""
    command = [sys.executable, str(ROOT / "run_all.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def keras() -> ModuleType:
    """Keras, as each kernel of this project starts it."""
    from utils.networks import runtime

    runtime.start(seed=0, threads=1)
    import keras

    return keras


@pytest.fixture(scope="session")
def raw_real() -> Path:
    """Folder of real raw data, from GUIDED_RETRAINING_RAW; tests that need it skip without."""
    folder = os.environ.get("GUIDED_RETRAINING_RAW")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set GUIDED_RETRAINING_RAW to a folder with mnist.npz to run this test")
    return Path(folder)
