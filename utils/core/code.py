"""What of the code decides a result: one fingerprint for every question whether one is up to date.

Counted by definition (function, class, constant), not by module, so code may move and modules may
be split. Left out is what changes no number: comments, layout, docstrings, annotations, texts of
errors. All definitions of all modules that are loaded count, used or not: which of them are used
can't be known for sure. The fingerprint may take in too much, which costs a run; never too little,
which would keep a wrong result.
"""

from __future__ import annotations

from functools import cache

from utils.core.source import Module, digest, load, parse

STATEMENTS, NAMES = "~statements", "~names"
"""Entries of a fingerprint that are no definitions. They sort last: a definition is clearer."""

NO_NUMBERS = (
    "utils.plotting",  # how results are drawn
    "utils.plan",  # which steps run
    "utils.machine.provenance",  # on what they ran
    "utils.core.code",
    "utils.core.source",  # whether they are kept
)
"""Code that a template or a retraining uses, and that decides none of its numbers."""


def code_hash(source: str) -> str:
    """Hash of what `source` does by itself; the project's code that it calls does not count."""
    return digest(parse(source).statements)


@cache
def fingerprint(source: str, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """A hash for each definition in the project's modules that `source` loads.

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
    """
    modules = {"": parse(source)}
    pending = set(modules[""].loads)
    while pending:
        name = pending.pop()
        if name not in modules and not f"{name}.".startswith(tuple(f"{n}." for n in leave_out)):
            modules[name] = load(name)
            pending |= modules[name].loads
    found: dict[str, list[str]] = {}
    for name in modules.keys() - {""}:
        for defined, statements in modules[name].defined.items():
            found.setdefault(defined, []).append(digest(statements))
        if modules[name].in_order:
            found.setdefault(STATEMENTS, []).append(digest(modules[name].in_order))
    found[NAMES] = _meanings(modules)
    return {name: digest(sorted(values)) for name, values in found.items()}


_DEPTH = 20
"""Two statements that are alike are told apart if what they use differs so far away, or nearer."""


def _meanings(modules: dict[str, Module]) -> list[str]:
    """A hash of each statement together with what the names in it mean, wherever that is."""
    uses = {
        (module, statement): [
            (use, means) for use in sorted(names) if (means := _meant(modules, module, *use))
        ]
        for module, content in modules.items()
        for statement, names in content.uses.items()
    }
    known = {key: key[1] for key in uses}
    for _ in range(_DEPTH):  # each time what is meant is known one definition further
        known = {
            key: digest([key[1], *((use, sorted(known[m] for m in means)) for use, means in names)])
            for key, names in uses.items()
        }
    return sorted(known.values())


def _meant(
    modules: dict[str, Module], module: str, name: str, attribute: str = ""
) -> set[tuple[str, str]]:
    """The statements, each with its module, that a name in a module may stand for."""
    found = {(module, statement) for statement in modules[module].defined.get(name, ())}
    for source, there in modules[module].imports.get(name, ()):
        if source in modules:
            names = {there or attribute} - {""} or modules[source].defined  # it may be passed on
            found |= {key for each in names for key in _meant(modules, source, each)}
    return found
