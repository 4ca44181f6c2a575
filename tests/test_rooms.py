"""The rooms of the package: what may import what, and what each hands on."""

import ast
import subprocess
import sys
from functools import cache

import pytest

import utils
from tests.conftest import ROOT

FLOORS = (
    ("core",),
    ("machine",),
    ("data",),
    ("networks",),
    ("attacks", "metrics"),
    ("retraining",),
    ("statistics",),
    ("plotting",),
    ("plan",),
    ("reports",),
    ("runner",),
    ("notebook",),
)
"""From the ground up; a module imports from its own room and from those below."""
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
HANDED_ON = {
    "attacks": {"fgsm", "bim", "pgd", "carlini_wagner"},
    "metrics": {"METRICS"},
    "retraining": {"retrain"},
}
"""What other people's code calls; all else is imported from its module."""


def modules():
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / "utils").rglob("*.py"))
    }


@cache
def imports(path):
    """Names of the package's modules that a file imports, wherever in the file."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return {name for name in found if name.split(".")[0] == "utils"}


PROJECT = {
    "benchmarks",  # the measurements in tests/benchmarks
    "documents",  # README.md, CONTRIBUTING.md, docs/
    "faults",  # runs that are stopped or damaged
    "goldens",  # the executed templates in tests/goldens
    "rooms",  # this file
    "run_all",  # the command line
    "safety",  # what strangers bring
    "smoke",  # whole runs
    "smoke_own",  # whole runs on users' own images and networks
    "style",  # ruff and mypy
    "templates",  # notebooks/
}
"""Tests of the whole project; all others are named after the room they test."""


def test_the_name_of_a_test_file_begins_with_the_room_it_tests():
    names = {path.stem.removeprefix("test_") for path in ROOT.glob("tests/test_*.py")} - PROJECT
    room_of = {
        name: next((r for r in FLOOR if f"{name}_".startswith(f"{r}_")), "") for name in names
    }
    assert all(room_of.values()), room_of
    # the notebooks' face has its tests with the steps
    assert set(FLOOR) - set(room_of.values()) == {"notebook"}


def room(module):
    return module.split(".")[1]


def test_every_room_is_on_a_floor():
    rooms = {room(name) for name in modules() if "." in name}
    assert rooms == set(FLOOR)


@pytest.mark.parametrize("module", [name for name in modules() if "." in name])
def test_nothing_is_imported_from_above(module):
    own = FLOOR[room(module)]
    for other in imports(modules()[module]):
        same = room(other) == room(module)
        assert same or FLOOR[room(other)] < own, f"{module} imports {other}"


def test_modules_do_not_import_each_other_in_circles():
    graph = {name: imports(path) & set(modules()) for name, path in modules().items()}
    faces = {f"utils.{name}" for name in HANDED_ON}  # a face imports its modules, never back
    assert not [m for m, found in graph.items() if found & faces]
    left = dict(graph)
    while left:
        ends = [name for name, found in left.items() if not found & set(left)]
        assert ends, f"a circle among {', '.join(sorted(left))}"
        for name in ends:
            del left[name]


@pytest.mark.parametrize("name", [r for rooms in FLOORS[:-1] for r in rooms])
def test_a_room_tells_what_it_is_and_hands_on_no_more_than_others_call(name):
    tree = ast.parse((ROOT / "utils" / name / "__init__.py").read_text(encoding="utf-8"))
    text = " ".join(ast.get_docstring(tree).split())
    listed = text[text.index("Imports ") :].partition(".")[0]
    below = {r for rooms in FLOORS[: FLOOR[name]] for r in rooms}
    used = {room(m) for n, p in modules().items() if room(f"{n}.") == name for m in imports(p)}
    assert {r for r in below if r in listed} == used - {name}, listed
    handed = {
        alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names
    } - {"annotations"}
    assert handed == HANDED_ON.get(name, set())
    others = [n for n in tree.body[1:] if not isinstance(n, ast.ImportFrom)]
    assert len(others) == (name in HANDED_ON)  # __all__


def test_counting_drawing_planning_and_reporting_do_without_tensorflow():
    rooms = ("statistics", "plotting", "plan", "reports")
    names = [name for name in modules() if name.count(".") > 1 and room(name) in rooms]
    code = f"import sys, {', '.join(names)}; print({{'tensorflow', 'keras'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_package_names_its_rooms_from_the_ground_up():
    listed = utils.__doc__[utils.__doc__.index("ground up:") :]
    places = [listed.index(name) for rooms in FLOORS for name in rooms]
    assert places == sorted(places)
