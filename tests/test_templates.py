"""Reads every template and checks what a program can check of its form."""

from __future__ import annotations

import ast
import json
import re

import pytest

from utils.core.paths import TEMPLATES
from utils.plan.parameters import template_parameters
from utils.plan.steps import STEPS

NOTEBOOKS = sorted(TEMPLATES.glob("*.ipynb"))


def cells(path, *kinds):
    """Of these kinds; without, those of code."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kinds = kinds or ("code",)
    return [c | {"source": "".join(c["source"])} for c in found if c["cell_type"] in kinds]


def test_every_template_is_a_step_and_the_other_way_round():
    assert [path.name for path in NOTEBOOKS] == sorted(step.template for step in STEPS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestTemplate:
    def test_it_is_committed_without_outputs_for_the_usual_kernel(self, path):
        assert all(not c["outputs"] and c["execution_count"] is None for c in cells(path))
        kernel = json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]
        assert kernel["name"] == "python3"

    def test_it_is_short(self, path):
        code = cells(path)
        assert len(code) <= 15
        for cell in code:
            most = 30 if "parameters" in cell["metadata"].get("tags", []) else 20
            assert len(cell["source"].splitlines()) <= most

    def test_it_has_one_title_with_inputs_and_outputs(self, path):
        text = cells(path, "markdown")
        titles = [c for c in text if re.match(r"# \S", c["source"])]
        assert titles == [text[0]]
        assert "| reads |" in text[0]["source"] and "| writes |" in text[0]["source"]
        assert "study" in text[0]["source"]

    def test_sections_are_numbered_and_the_last_lists_the_files(self, path):
        headings = [
            line
            for c in cells(path, "markdown")
            for line in c["source"].splitlines()
            if line.startswith("## ")
        ]
        assert headings.pop() == "## Files written"
        assert [int(re.match(r"## (\d+)\. ", h)[1]) for h in headings] == [
            *range(1, len(headings) + 1)
        ]
        assert "files_written(" in cells(path)[-1]["source"]

    def test_prose_says_what_code_is_for(self, path):
        """Before each code cell, or before the two or three that belong together."""
        said, together = "", 0
        for cell in cells(path, "markdown", "code"):
            if cell["cell_type"] == "markdown":
                said, together = cell["source"], 0
                continue
            together += 1
            text = [line for line in said.splitlines() if line and not line.startswith("#")]
            assert text or said == "## Files written", f"no prose before {cell['source']}"
            assert together <= 3, f"too far from its prose: {cell['source']}"

    def test_it_holds_no_functions_magics_or_paths_of_a_machine(self, path):
        for cell in cells(path):
            tree = ast.parse(cell["source"])  # a magic or a shell command would not parse
            assert not any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in ast.walk(tree))
            assert not re.search(r"(/home/|/Users/|[A-Z]:\\)", cell["source"])

    def test_every_parameter_is_read_and_explained(self, path):
        others = "\n".join(c["source"] for c in cells(path) if "parameters" not in tags(c))
        read = {n.id for n in ast.walk(ast.parse(others)) if isinstance(n, ast.Name)}
        for name, parameter in template_parameters(path).items():
            assert name in read, f"{name} is never used"
            assert parameter.help, f"{name} is not explained"

    def test_lines_fit_a_page(self, path):
        for cell in cells(path):
            if "parameters" not in tags(cell):
                assert max(map(len, cell["source"].splitlines())) <= 100

    def test_tensorflow_only_where_a_network_runs(self, path):
        step = next(s for s in STEPS if s.template == path.name)
        uses = any("runtime.start(" in c["source"] for c in cells(path))
        assert uses == step.network


def tags(cell):
    return cell["metadata"].get("tags", [])
