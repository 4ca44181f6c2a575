"""What of the code decides a result: one fingerprint for every question whether one is up to date.

Counted by definition (function, class, constant), not by module, so code may move and modules may
be split. Left out is what changes no number: comments, layout, docstrings, annotations, texts of
errors. The fingerprint may take in too much, which costs a run; never too little, which would keep
a wrong result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from utils.core.source import Code, Module, Use, digest, load, parse

STATEMENTS, NAMES = "~statements", "~names"
"""Entries of a fingerprint that are no definitions. They sort last: a definition says more."""

NO_NUMBERS = (
    "utils.plotting",  # how results are drawn
    "utils.plan",  # which steps run
    "utils.machine.provenance",  # on what they ran
    "utils.core.code",
    "utils.core.source",  # whether they are kept
)
"""Code that a template or a retraining uses, and that decides none of its numbers."""

Key = tuple[str, str]
"""A module and a name in it; without a name, all of the module."""


def code_hash(source: str) -> str:
    """Hash of what `source` does by itself; the project's code that it calls does not count."""
    return parse(source).body.hash


@cache
def fingerprint(source: str, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """A hash for each definition of the project that `source` can reach.

    A name means what its module defines or imports. An attribute, or a text that could be a name
    (for ``getattr``), means every definition of that name in the modules that are loaded. A class
    brings those that derive from it, and a module that is passed on all that it defines. What a
    module does when it is loaded always counts.

    Parameters
    ----------
    source : str
        Code that imports from ``utils``; for its own hash see `code_hash`.
    leave_out : tuple of str
        Rooms and modules of which nothing counts, such as `NO_NUMBERS`.

    Returns
    -------
    dict of str to str
        Definitions of one name in several modules have one hash together. `STATEMENTS` stands for
        what modules do when they are loaded, `NAMES` for which definition a name means where.

    Raises
    ------
    ValueError
        If code is reached in a way that can't be followed, such as ``from x import *``.
    """
    modules: dict[str, Module] = {"": parse(source)}
    pending = set(modules[""].reads)
    while pending:
        name = pending.pop()
        if name not in modules and not f"{name}.".startswith(tuple(f"{n}." for n in leave_out)):
            modules[name] = load(name)
            pending |= modules[name].reads
    return _Reach(modules).hashes()


class _Reach:
    """What the module ``""`` of some loaded modules can reach."""

    def __init__(self, modules: dict[str, Module]) -> None:
        self.modules = modules
        self.named: dict[str, set[Key]] = {}
        self.heirs: dict[Key, set[Key]] = {}
        for key, code in self._definitions():
            self.named.setdefault(key[1], set()).add(key)
            for _, base in self._meant(key[0], code.bases):
                self.heirs.setdefault(base, set()).add(key)

    def hashes(self) -> dict[str, str]:
        reached = {(n, ""): m.body for n, m in self.modules.items() if m.whole or not n}
        pending = {key for key, code in self._definitions() if self._acts(key[0], code)}
        pending |= {key for (n, _), code in reached.items() for key in self._next(n, code)}
        while pending:
            module, name = key = pending.pop()
            if key not in reached:
                reached[key] = code = self.modules[module].definitions[name]
                pending |= self._next(module, code) | self.heirs.get(key, set())
        groups: dict[str, list[str]] = {}
        for (module, name), code in reached.items():
            if module:
                groups.setdefault(name or STATEMENTS, []).append(code.hash)
        names = {
            (code.hash, use, reached[target].hash)
            for (module, _), code in reached.items()
            for use, target in self._meant(module, code.uses)
        }
        merged = {name: digest(sorted(hashes)) for name, hashes in groups.items()}
        return {**merged, NAMES: digest(sorted(names))}

    def _definitions(self) -> Iterator[tuple[Key, Code]]:
        for module, content in self.modules.items():
            if module:
                yield from (((module, name), c) for name, c in content.definitions.items())

    def _acts(self, module: str, code: Code) -> bool:
        """Whether loading a definition calls the project's code, which may fill a registry."""
        called = (key for _, key in self._meant(module, code.calls))
        return not all(self.modules[m].definitions[name].is_record for m, name in called)

    def _next(self, module: str, code: Code) -> set[Key]:
        """Definitions that may be used by some code of `module`."""
        found = {key for _, key in self._meant(module, code.uses)}
        return found.union(*(self.named.get(name, ()) for name in code.loose))

    def _meant(self, module: str, uses: Iterable[Use]) -> Iterator[tuple[Use, Key]]:
        """The definitions that names in some code of `module` mean."""
        for use in uses:
            name, attribute = use
            for where, original in self._resolve(module, name):
                if original:
                    yield use, (where, original)
                elif attribute:
                    found = self._resolve(where, attribute)
                    yield from ((use, key) for key in found if key[1])
                elif where in self.modules:  # the module itself is passed on
                    yield from ((use, (where, each)) for each in self.modules[where].definitions)

    def _resolve(self, module: str, name: str, seen: frozenset[Key] = frozenset()) -> set[Key]:
        """The definitions or modules that `name` stands for in `module`."""
        if module not in self.modules or (module, name) in seen:
            return set()
        here, seen = self.modules[module], seen | {(module, name)}
        found = {(module, name)} if module and name in here.definitions else set()
        for source, original in here.imports.get(name, ()):
            found |= self._resolve(source, original, seen) if original else {(source, "")}
        return found
