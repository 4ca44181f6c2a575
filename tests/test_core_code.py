"""The fingerprint of code: what changes it, what does not, and what it refuses to follow."""

from __future__ import annotations

import pytest

from utils.core import code, source
from utils.core.code import NAMES, code_hash

START = "from utils.a import answer\nprint(answer(3))"
PROJECT = {
    "a": '''
"""What is asked for."""
import numpy as np
from utils import c
from utils.b import REGISTRY, Shape, helper as aid

FACTOR = 2

def answer(x, start=1):
    """The answer."""
    from utils.lazy import late
    if x < 0:
        raise ValueError(f"got {x}, " "expected more")
    assert x != 7, "no seven"
    return aid(x) * FACTOR + start + REGISTRY["one"](x) + c.third(x) + late(x) + Shape(x).area()

def nobody_asks(x):
    return x
''',
    "b": '''
from __future__ import annotations
from dataclasses import dataclass
from utils.c import third, BASES, choose

@dataclass(frozen=True)
class Shape:
    side: float
    """In metres."""
    scale: float = 1.0
    def area(self) -> float:
        return self.side**2 * self.scale

class Base:
    def name(self):
        return "base"

class Heir(Base):
    def name(self):
        return "heir"

def one(x: int) -> int:
    return x + 1

REGISTRY = {"one": one}

def helper(x):
    return second(x, Base, choose(c_name))

c_name = "picked"

def second(x, kind, chosen):
    return third(x)
''',
    "c": """
import sys
from utils import d

BASES = (1, 2)

def third(x):
    return d.fourth(x, power=3)

def picked(x):
    return x - 1

def choose(name):
    return getattr(sys, name)
""",
    "d": """
def fourth(x, power=2, *, key=lambda v: v):
    def inner(y):
        return y**power
    return inner(x)
""",
    "lazy": """
import math

def late(x):
    return math.sqrt(x)

def same(x):
    return 1
""",
}


@pytest.fixture
def print_of(tmp_path, monkeypatch):
    """The fingerprint of `start` in a project of some modules."""

    def fingerprint(modules=PROJECT, start=START, leave_out=()):
        folder = tmp_path / "utils"
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.py"):
            old.unlink()
        for name, text in {"__init__": "", **modules}.items():
            (folder / f"{name}.py").write_text(text)
        for cached in CACHES:
            cached.cache_clear()
        return code.fingerprint(start, leave_out)

    monkeypatch.setattr(source, "ROOT", tmp_path)
    yield fingerprint
    for cached in CACHES:
        cached.cache_clear()


CACHES = (code.fingerprint, source.load, source.parse, source._is_module)


def changed(module, old, new, modules=PROJECT):
    assert modules[module].count(old) == 1, (module, old)
    return {**modules, module: modules[module].replace(old, new)}


def test_what_is_loaded_is_named(print_of):
    found = print_of({**PROJECT, "not_loaded": "def other():\n    return 1\n"})
    expected = {"answer", "FACTOR", "helper", "Shape", "REGISTRY", "one", "second", "third", "late"}
    expected |= {"fourth", "choose", "picked", "Base", "Heir", "c_name", "np", "math", "sys"}
    assert found.keys() >= expected and "other" not in found


NOTHING = {
    "the text of an error": ("a", '"expected more"', '"expected another number"'),
    "what an error names": ("a", 'f"got {x}, "', 'f"got {nobody_asks(x)}, "'),
    "where an error came from": ("a", '"expected more")', '"expected more") from None'),
    "the text of an assertion": ("a", '"no seven"', '"no sevens"'),
    "a docstring": ("a", "The answer.", "Another."),
    "the docstring of a module": ("a", "What is asked for.", "Another."),
    "a missing docstring": ("a", '    """The answer."""\n', ""),
    "the docstring of a field": ("b", "In metres.", "In feet."),
    "a comment": ("a", "FACTOR = 2", "# why\nFACTOR = 2  # how much"),
    "the layout": ("a", "return aid(x) * FACTOR", "return (\n        aid(x) * FACTOR\n       )"),
    "an annotation": ("b", "def one(x: int) -> int:", "def one(x: float):"),
    "the annotation of a field": ("b", "side: float", "side: int | float"),
    "what is imported for types": (
        "d",
        "\ndef fourth",
        "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from utils.a import x\n\n"
        "def fourth",
    ),
    "the order of definitions": (
        "c",
        "BASES = (1, 2)\n\ndef third(x):\n    return d.fourth(x, power=3)\n",
        "def third(x):\n    return d.fourth(x, power=3)\n\nBASES = (1, 2)\n",
    ),
}


@pytest.mark.parametrize("change", NOTHING.values(), ids=NOTHING)
def test_what_changes_no_number_does_not_count(print_of, change):
    assert print_of(changed(*change)) == print_of()


EVERYTHING = {
    "a constant": ("FACTOR", "a", "FACTOR = 2", "FACTOR = 3"),
    "a default": ("answer", "a", "start=1", "start=2"),
    "a default of a keyword": ("fourth", "d", "key=lambda v: v", "key=lambda v: -v"),
    "a helper three calls away": ("fourth", "d", "y**power", "y + power"),
    "an argument three calls away": ("third", "c", "power=3", "power=4"),
    "an entry of a registry": ("REGISTRY", "b", '{"one": one}', '{"one": second}'),
    "what is in a registry": ("one", "b", "return x + 1", "return x + 2"),
    "the kind of an error": ("answer", "a", "raise ValueError(", "raise KeyError("),
    "a condition of an error": ("answer", "a", "x < 0", "x < 1"),
    "an assertion": ("answer", "a", "x != 7", "x != 8"),
    "a method": ("Shape", "b", "self.side**2", "self.side**3"),
    "the default of a field": ("Shape", "b", "scale: float = 1.0", "scale: float = 2.0"),
    "a field": ("Shape", "b", "    scale: float", "    more: float = 0\n    scale: float"),
    "whether it is a field": ("Shape", "b", "    side: float", "    side: ClassVar[float]"),
    "an option of a decorator": ("Shape", "b", "frozen=True", "frozen=True, order=True"),
    "a base": ("Base", "b", "class Base:", "class Base(dict):"),
    "a class that derives from one": ("Heir", "b", 'return "heir"', 'return "child"'),
    "what a text names": ("picked", "c", "return x - 1", "return x - 2"),
    "a text that names something": ("c_name", "b", '"picked"', '"third"'),
    "what is imported in a function": ("late", "lazy", "math.sqrt", "math.exp"),
    "a library": ("math", "lazy", "import math", "import cmath as math"),
    "a name from a library": ("math", "lazy", "import math", "from cmath import pi as math"),
}


@pytest.mark.parametrize(("name", "module", "old", "new"), EVERYTHING.values(), ids=EVERYTHING)
def test_what_may_change_a_number_counts(print_of, name, module, old, new):
    before, after = print_of(), print_of(changed(module, old, new))
    assert before[name] != after[name]
    others = {n for n in before.keys() & after.keys() if before[n] != after[n]}
    assert others <= {name, NAMES}  # the reason shows what was changed, not what uses it


MOVES = {
    "to another module": {
        **changed("b", "def second(x, kind, chosen):\n    return third(x)\n", ""),
        "new": "from utils.c import third\n\ndef second(x, kind, chosen):\n    return third(x)\n",
    },
    "of a module": {
        **changed("a", "from utils import c\n", "from utils import far as c\n"),
        "far": PROJECT["c"],
    },
    "of an import into a function": changed("c", "from utils import d\n\n", "")
    | {
        "c": PROJECT["c"]
        .replace("from utils import d\n", "")
        .replace("def third(x):\n", "def third(x):\n    from utils import d\n")
    },
}
MOVES["to another module"]["b"] = "from utils.new import second" + MOVES["to another module"]["b"]
MOVES["of a module"]["b"] = PROJECT["b"].replace("utils.c", "utils.far")
del MOVES["of a module"]["c"]


@pytest.mark.parametrize("modules", MOVES.values(), ids=MOVES)
def test_where_code_is_does_not_count(print_of, modules):
    assert print_of(modules) == print_of()


def test_an_import_from_elsewhere_does_not_count_in_the_code_itself(print_of):
    print_of()
    assert code_hash(START) == code_hash("from utils.b import answer\n\nprint(answer(3))  # so")
    assert code_hash(START) != code_hash(START.replace("3", "4"))
    assert code_hash("a = 1\nb = a\na = 2") != code_hash("a = 1\na = 2\nb = a")


TWO = {
    "a": "from utils.b import load\nfrom utils.c import load as other\n"
    "def answer():\n    return load() - other()\n",
    "b": "def load():\n    return 1\n",
    "c": "def load():\n    return 2\n",
}


def test_which_definition_a_name_means_counts(print_of):
    swapped = {"b": "from utils.c import load\n", "c": "from utils.b import load as other\n"}
    rest = TWO["a"].partition("def")[2]
    other = {**TWO, "a": f"{swapped['b']}{swapped['c']}def{rest}"}
    before, after = print_of(TWO), print_of(other)
    assert before != after and {n for n in before if before[n] != after[n]} == {NAMES}
    first = {**TWO, "d": "from utils.b import load\n", "a": f"from utils import d\n{TWO['a']}"}
    assert print_of(first) == print_of({**first, "d": "from utils.c import load\n"})  # not used
    first["d"] += "def use():\n    return load()\n"
    assert print_of(first) != print_of({**first, "d": first["d"].replace("utils.b", "utils.c")})
    module = {**TWO, "a": "from utils import b, c\ndef answer():\n    return b.load() - c.load()\n"}
    other = {**module, "a": module["a"].replace("import b, c", "import c as b, b as c")}
    assert print_of(module) != print_of(other)


FILLED = {
    "a": "from utils import c\nfrom utils.b import TABLE\n"
    "def answer(x):\n    return TABLE['f'](x)\n",
    "b": "TABLE = {}\n\ndef enter(f):\n    TABLE['f'] = f\n    return f\n",
}
FILLS = {
    "a decorator": "from utils.b import enter\n@enter\ndef f(x):\n    return VALUE\nVALUE = 1\n",
    "a statement": "from utils.b import enter\ndef f(x):\n    return 1\nenter(f)\n",
    "an assignment": "from utils.b import enter\ndef f(x):\n    return 1\nkept = enter(f)\n",
    "a default": "from utils.b import enter\ndef f(x):\n    return 1\n"
    "def g(x=enter(f)):\n    pass\n",
    "a body of a class": "from utils.b import enter\ndef f(x):\n    return 1\n"
    "class G:\n    g = enter(f)\n",
    "an entry": "from utils.b import TABLE\ndef f(x):\n    return 1\nTABLE['f'] = f\n",
    "a loop": "from utils.b import enter\ndef f(x):\n    return 1\nfor g in (f,):\n    enter(g)\n",
}


@pytest.mark.parametrize("text", FILLS.values(), ids=FILLS)
def test_what_a_registry_is_filled_with_counts(print_of, text):
    before = print_of({**FILLED, "c": text})
    for old, new in (("= 1", "= 2"), ("return 1", "return 2")):
        if old in text:
            assert print_of({**FILLED, "c": text.replace(old, new)}) != before
            return
    pytest.fail("nothing was changed")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (
            "from utils import b\ndef answer(n):\n    return getattr(b, f'do_{n}')()\n",
            "def do_x():\n    return 1\n",
        ),
        (
            "from utils import b\ndef answer(n):\n    return [m.x for m in (b,)] + vars(b)[n]\n",
            "def do_x():\n    return 1\n",
        ),
        (
            "from importlib import import_module\n"
            "def answer():\n    return import_module('utils.b').do_x()\n",
            "def do_x():\n    return 1\n",
        ),
        (
            "from utils.b import do_x\ndef answer():\n    return do_x()\n",
            "try:\n    from fast import do_x\nexcept ImportError:\n"
            "    def do_x():\n        return 1\n",
        ),
        (
            "from utils import b\ndef answer():\n    return b.do_x()\n",
            "def __getattr__(name):\n    return 1\n",
        ),
        ("from utils.b import x\ndef answer():\n    return x\n", "y = 0\nx = y\ny = z = 1\n"),
        ("from utils.b import x as y\ndef answer():\n    return y\n", "z = lambda: 1\nx = z\n"),
        (
            "from utils.b import Box\ndef answer():\n    return Box().made\n",
            "from functools import cached_property\n\ndef _make():\n    return 1\n\nclass Box:\n"
            "    @cached_property\n    def made(self):\n        return _make()\n",
        ),
    ],
    ids=["getattr", "vars", "import_module", "try", "__getattr__", "twice", "alias", "method"],
)
def test_ways_to_code_without_its_name(print_of, a, b):
    after = b.replace("1", "2")
    assert after != b and print_of({"a": a, "b": b}) != print_of({"a": a, "b": after})


@pytest.mark.parametrize(
    "text",
    [
        "from utils.b import *",
        "from . import b",
        "x = eval('1')",
        "exec('x = 1')",
        "import importlib\ndef f(n):\n    importlib.import_module(n)",
        "x = __import__('y')",
        "import utils.b",
        "@f.register\ndef _(x: int):\n    pass",
    ],
)
def test_what_can_not_be_followed_is_refused(print_of, text):
    modules = {"a": f"from utils import b\n{text}\ndef answer():\n    return 1\n", "b": ""}
    with pytest.raises(ValueError, match=r"utils\.a: line \d+: .* hides what is used"):
        print_of(modules)


def test_what_is_left_out_does_not_count(print_of):
    before = print_of(leave_out=("utils.d", "utils.la"))
    assert "fourth" not in before and "late" in before
    other = changed("d", "y**power", "y + power")
    assert print_of(other, leave_out=("utils.d", "utils.la")) == before


def test_alike_definitions_that_read_other_values_are_told_apart(print_of):
    """Two twins that read a constant of their own module: which has which value matters."""
    twin = "SIZE = {}\ndef helper():\n    return SIZE\n"
    first = {
        "a": "from utils.b import helper\nfrom utils.c import helper as other\n"
        "def answer():\n    return helper() - other()\n",
        "b": twin.format(1),
        "c": twin.format(2),
    }
    second = {**first, "b": twin.format(2), "c": twin.format(1)}
    assert print_of(first) != print_of(second)


def test_a_name_that_is_defined_and_imported_may_mean_both(print_of):
    both = "def f():\n    return 0\ndef answer():\n    from utils.{} import f\n    return f()\n"
    rest = {"b": "def f():\n    return 1\n", "c": "def f():\n    return 2\n"}
    load = "from utils import b, c\n"
    assert print_of({**rest, "a": load + both.format("b")}) != print_of(
        {**rest, "a": load + both.format("c")}
    )


def test_the_order_of_calls_counts(print_of):
    calls = "import itertools\nc = itertools.count()\nA = next(c)\nB = next(c)\n"
    swapped = calls.replace("A = next(c)\nB = next(c)", "B = next(c)\nA = next(c)")
    use = "from utils.b import A\ndef answer():\n    return A\n"
    assert print_of({"a": use, "b": calls}) != print_of({"a": use, "b": swapped})
