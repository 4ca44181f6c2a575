"""What makes a job stale: parameters, code and inputs, by content."""

from __future__ import annotations

from tests.notebooks import write_template
from utils.freshness import _code_hash, code_hashes
from utils.pipeline import STEPS


def test_comments_and_docstrings_are_not_code():
    base = _code_hash('def f(x):\n    """Old."""\n    return x + 1\n')
    assert _code_hash('def f(x):\n    """New."""\n\n    # why\n    return (x + 1)\n') == base
    assert _code_hash('def f(x):\n    """Old."""\n    return x + 2\n') != base


def test_a_job_depends_on_the_modules_it_uses(tmp_path):
    used = {step.id: set(code_hashes(step.path)) for step in STEPS}
    assert "utils.attacks" in used["1.1"] and "utils.attacks" not in used["3-4.1"]
    assert {"utils.retraining", "utils.results"} <= used["3-4.1"]
    assert "utils.datasets" in used["0.0"]
    assert not any("plotting" in m for id_ in ("0.1", "3-4.1") for m in used[id_])
    assert any("plotting" in m for m in used["5.1"])
    for step in STEPS:
        assert not used[step.id] & {"utils.execution", "utils.scheduling", "utils.reporting"}
    one = code_hashes(write_template(tmp_path / "a.ipynb", "x: int = 1  # a", "print(x)"))
    two = code_hashes(write_template(tmp_path / "a.ipynb", "x: int = 2  # b", "print(x)"))
    assert one == two  # the parameters' defaults are compared as parameters
