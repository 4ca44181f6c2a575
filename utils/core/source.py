"""A module's source as definitions without words: what `utils.core.code` follows and hashes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from utils.core.paths import ROOT

Use = tuple[str, str]
"""A name and an attribute of it, or an empty text."""

HARMLESS = {"cache", "lru_cache", "contextmanager", "dataclass"}
"""Decorators that do nothing but to what they decorate; others may enter it in a registry."""


@dataclass(eq=False)
class Code:
    """Some statements without their words; what is asked of them is found out once."""

    nodes: list[ast.stmt]

    @cached_property
    def hash(self) -> str:
        return digest(map(ast.dump, self.nodes))

    @cached_property
    def uses(self) -> set[Use]:
        """Names in it; what they mean depends on the module."""
        return _uses(self.nodes)

    @cached_property
    def loose(self) -> set[str]:
        """Attributes, and texts that could be names (for ``getattr``): only a run shows of what."""
        found: set[str] = set()
        for part in (part for node in self.nodes for part in ast.walk(node)):
            if isinstance(part, ast.Attribute):
                found.add(part.attr)
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                found |= {word for word in part.value.split(".") if word.isidentifier()}
        return found

    @cached_property
    def bases(self) -> set[Use]:
        """What it derives from, if it is a class."""
        return _uses(b for node in self.nodes if isinstance(node, ast.ClassDef) for b in node.bases)

    @cached_property
    def calls(self) -> set[Use]:
        """What is called when it is loaded."""
        loaded = (part for node in self.nodes for part in _loaded(node))
        return _uses(part.func for part in loaded if isinstance(part, ast.Call))

    @property
    def is_record(self) -> bool:
        """Whether it is a class of which making an instance does nothing else."""
        makers = {"__init__", "__new__", "__post_init__"}
        return all(
            isinstance(node, ast.ClassDef)
            and not node.bases
            and not any(getattr(part, "name", "") in makers for part in node.body)
            for node in self.nodes
        )


@dataclass
class Module:
    """A module of the project, or other code that imports from it."""

    body: Code
    definitions: dict[str, Code]
    """Those of its statements that define a name and do nothing else."""
    whole: bool
    """Whether it does more than define names once: then order matters, and all of it counts."""
    imports: dict[str, set[Use]] = field(default_factory=dict)
    """For each name the modules of the project, and the names there, that it may stand for; an
    imported module is one with an empty name."""
    reads: set[str] = field(default_factory=set)
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
        If it reaches code in a way that can't be followed, such as ``from x import *``.
    """
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not _is_for_types(node)]
    imports: dict[str, set[Use]] = {}
    reads: set[str] = set()
    for node in ast.walk(tree):
        _refuse(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            reads |= _with_parents(node.value)  # for `import_module`
        for bound, module, name in _imported(node):
            target = f"{module}.{name}" if name else module
            reads |= _with_parents(target) | _with_parents(module)
            imports.setdefault(bound, set()).add(
                (target, "") if _is_module(target) else (module, name)
            )
    body = _WithoutWords().visit(tree).body
    nodes: dict[str, list[ast.stmt]] = {}
    whole = False
    for node in body:
        names = _defined(node)
        for name in names:
            nodes.setdefault(name, []).append(node)
        again = not isinstance(node, ast.Import | ast.ImportFrom)
        whole |= not names or (again and any(len(nodes[name]) > 1 for name in names))
    definitions = {name: Code(found) for name, found in nodes.items()}
    return Module(Code(body), definitions, whole, imports, reads)


def digest(parts: Iterable[object]) -> str:
    """Hash of values that ``repr`` shows whole."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:16]


def _uses(nodes: Iterable[ast.AST]) -> set[Use]:
    """Names in pieces of code, each with its attribute, if one is asked for."""
    found: set[Use] = set()
    bases: set[ast.AST] = set()
    for part in (part for node in nodes for part in ast.walk(node)):  # attributes before bases
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            found.add((part.value.id, part.attr))
            bases.add(part.value)
        elif isinstance(part, ast.Name) and part not in bases:
            found.add((part.id, ""))
    return found


def _loaded(node: ast.AST) -> Iterator[ast.AST]:
    """What of a statement runs when its module is loaded: of functions only their defaults."""
    yield node
    parts: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        decorators = getattr(node, "decorator_list", [])
        parts = filter(None, [*decorators, *node.args.defaults, *node.args.kw_defaults])
    for part in parts:
        yield from _loaded(part)


def _path(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _is_module(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "utils" and all(p.isidentifier() for p in parts) and _path(name).is_file()


def _with_parents(name: str) -> set[str]:
    """Modules that are loaded with one of the project, and itself."""
    if not name.startswith("utils"):
        return set()
    parts = name.split(".")
    return set(filter(_is_module, (".".join(parts[: n + 1]) for n in range(len(parts)))))


def _imported(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    """What a statement imports from the project: name here, module, name there."""
    if isinstance(node, ast.Import):
        for alias in filter(lambda alias: _is_module(alias.name), node.names):
            yield alias.asname or "utils", alias.name, ""
    elif isinstance(node, ast.ImportFrom) and _is_module(node.module or ""):
        yield from ((a.asname or a.name, str(node.module), a.name) for a in node.names)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _refuse(node: ast.AST) -> None:
    """Raise a ValueError for code that leads where no name does."""
    hidden = ""
    if isinstance(node, ast.ImportFrom):
        hidden = "this import" if node.level or node.names[0].name == "*" else ""
    elif isinstance(node, ast.Name):
        hidden = node.id if node.id in ("eval", "exec", "globals", "__import__") else ""
    elif isinstance(node, ast.Attribute):
        hidden = "sys.modules" if ast.unparse(node) == "sys.modules" else ""
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        hidden = "" if isinstance(node.args[0], ast.Constant) else "import_module"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        by_type = any(ast.unparse(d).endswith(".register") for d in node.decorator_list)
        hidden = "dispatch by annotations" if by_type else ""
        hidden = node.name if node.name == "__init_subclass__" else hidden
    elif isinstance(node, ast.ClassDef):
        hidden = "a metaclass" if node.keywords else ""
    if hidden:
        line = getattr(node, "lineno", 0)
        raise ValueError(f"line {line}: {hidden} hides what is used; use it by its name")


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
    special = [n for n in names if n.startswith("__") and n != "__all__"]  # such as __getattr__
    return [] if special else names


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
        return None if node.module == "__future__" or _is_module(node.module or "") else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        special = {name for use in _uses([node.annotation]) for name in use}
        if not special & {"ClassVar", "InitVar", "KW_ONLY"}:  # else a dataclass asks if, not what
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
