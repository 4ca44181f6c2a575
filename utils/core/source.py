"""A module's source, taken apart: what it defines, uses and loads.

What changes no number is left out, such as docstrings.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from utils.core.paths import ROOT

HARMLESS = {"cache", "lru_cache", "contextmanager", "dataclass"}
"""Decorators that do nothing but to what they decorate; others may enter it in a registry."""


@dataclass
class Module:
    """A module of the project, or other code that imports from it."""

    statements: list[str]
    """Hashes of its statements, without what changes no number."""
    defined: dict[str, list[str]]
    """For each name that it defines the hashes of the statements that do so."""
    in_order: list[str]
    """Of the statements those whose order may matter: all, if it does more than define each name
    once; else assignments that call something, if there are several."""
    uses: dict[str, set[tuple[str, str]]]
    """For the hash of each statement the names in it, each with the attribute that is asked for."""
    imports: dict[str, set[tuple[str, str]]]
    """From the project: for a name here the modules, and the names there or empty texts."""
    loads: set[str]
    """Modules of the project that it loads."""


@cache
def load(name: str) -> Module:
    """A module of the project; read once in a process."""
    try:
        return parse(_path(name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


@cache
def parse(source: str) -> Module:
    """Take a source apart.

    Raises
    ------
    ValueError
        If it loads code in a way that can't be followed, such as ``from . import x``.
    """
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not _is_for_types(node)]
    imports: dict[str, set[tuple[str, str]]] = {}
    loads: set[str] = set()
    for node in ast.walk(tree):
        _refuse(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            loads |= {node.value} if _is_module(node.value) else set()  # for `import_module`
        for here, module, there in _imported(node):
            imports.setdefault(here, set()).add((module, there))
            loads.add(module)
    statements: list[str] = []
    defined: dict[str, list[str]] = {}
    uses: dict[str, set[tuple[str, str]]] = {}
    calls: list[str] = []
    is_plain = True
    for node in _WithoutWords().visit(tree).body:
        names, statement = _defined(node), digest([ast.dump(node)])
        statements.append(statement)
        again = not isinstance(node, ast.Import | ast.ImportFrom) and defined.keys() & set(names)
        is_plain &= bool(names) and not again
        for name in names:
            defined.setdefault(name, []).append(statement)
        uses.setdefault(statement, set()).update(_uses(node))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            calls += [statement] if any(isinstance(p, ast.Call) for p in ast.walk(node)) else []
    parents = {parent for name in loads for parent in _parents(name)}
    in_order = statements if not is_plain else calls if len(calls) > 1 else []
    return Module(statements, defined, in_order, uses, imports, loads | parents)


def digest(parts: Iterable[object]) -> str:
    """Hash of values that ``repr`` shows whole."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:16]


def _path(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _is_module(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "utils" and all(p.isidentifier() for p in parts) and _path(name).is_file()


def _parents(name: str) -> set[str]:
    """Packages that are loaded with a module."""
    parts = name.split(".")
    return set(filter(_is_module, (".".join(parts[:n]) for n in range(1, len(parts)))))


def _is_for_types(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or node.orelse:
        return False
    return ast.unparse(node.test) == "TYPE_CHECKING"


def _refuse(node: ast.AST) -> None:
    """Raise a ValueError for code that loads what no name shows."""
    hidden = ""
    if isinstance(node, ast.ImportFrom) and (node.level or node.names[0].name == "*"):
        hidden = "this import"
    elif isinstance(node, ast.Import):
        nested = [a.name for a in node.names if "." in a.name and not a.asname]
        hidden = "this import" if any(map(_is_module, nested)) else ""
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        by_type = any(ast.unparse(d).endswith(".register") for d in node.decorator_list)
        hidden = "dispatch by annotations" if by_type else ""
    elif isinstance(node, ast.Name) and node.id in ("eval", "exec", "__import__"):
        hidden = node.id
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        hidden = "" if isinstance(node.args[0], ast.Constant) else "import_module"
    if hidden:
        line = getattr(node, "lineno", 0)
        raise ValueError(f"line {line}: {hidden} hides what is used; use it by its name")


def _uses(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Names in a piece of code, each with its attribute, if one is asked for."""
    bases = set()
    for part in ast.walk(node):  # attributes before their bases
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            bases.add(part.value)
            yield part.value.id, part.attr
        elif isinstance(part, ast.Name) and part not in bases:
            yield part.id, ""


def _imported(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """What a statement imports from the project: name here, module, name there."""
    if isinstance(node, ast.Import):
        for alias in filter(lambda alias: _is_module(alias.name), node.names):
            yield alias.asname or alias.name, alias.name, ""
    elif isinstance(node, ast.ImportFrom) and _is_module(node.module or ""):
        for alias in node.names:
            module = f"{node.module}.{alias.name}"
            here = alias.asname or alias.name
            yield (here, module, "") if _is_module(module) else (here, str(node.module), alias.name)


def _defined(node: ast.stmt) -> list[str]:
    """Names that a statement defines and does nothing else; none if it may do more."""
    names: list[str] = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        decorators = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
        names = [node.name] if all(ast.unparse(d) in HARMLESS for d in decorators) else []
    elif isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.asname or alias.name.split(".")[0] for alias in node.names]
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        parts = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
        names = [part.id for part in parts if isinstance(part, ast.Name)]
        names = names if len(names) == len(parts) else []
    return names


class _WithoutWords(ast.NodeTransformer):
    """Takes out what changes no number, and imports from the project, which are followed."""

    def generic_visit(self, node: Any) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant)  # a docstring
        return None if is_text else self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        node.names = [alias for alias in node.names if not _is_module(alias.name)]
        return node if node.names else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        no_number = node.module in ("__future__", "typing")
        return None if no_number or _is_module(node.module or "") else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        special = {"ClassVar", "InitVar", "KW_ONLY"}
        words = {getattr(p, "attr", getattr(p, "id", "")) for p in ast.walk(node.annotation)}
        if not special & words:  # else a dataclass asks what it is
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        node.cause = None
        if isinstance(call := node.exc, ast.Call):
            every = ast.unparse(call.func).endswith("Error")  # others may carry a result
            call.args = [a for a in call.args if not (every or _is_text(a))]
            call.keywords = [k for k in call.keywords if not (every or _is_text(k.value))]
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) and _is_text(node.right)
    is_constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_constant or isinstance(node, ast.JoinedStr)
