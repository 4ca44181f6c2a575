"""The golden notebooks are executed copies of the templates as they are now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from utils.plan.steps import STEPS

GOLDENS = Path(__file__).parent / "goldens"


def sources(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [
        "".join(cell["source"])
        for cell in cells
        if "injected-parameters" not in cell["metadata"].get("tags", [])
    ]


@pytest.mark.parametrize("step", STEPS, ids=lambda s: s.id)
def test_a_golden_has_the_cells_of_its_template(step):
    golden = GOLDENS / f"{step.copy.format(d='digits', c=2)}.ipynb"
    assert sources(golden) == sources(step.path), "run: python tests/update_goldens.py"


def test_goldens_check_something_and_hold_no_path_of_a_machine():
    for path in GOLDENS.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert "nbval-check-output" in text
        assert "/home/" not in text and str(Path.home()) not in text
        assert path.stat().st_size < 100_000
