"""Which column of a table holds the labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from utils.core.text import listed
from utils.data.raw.names import part_of, words

Columns = dict[str, list[str]]
"""Name of each column, and its cells."""

_USUAL = {
    "label", "labels", "class", "classes", "category", "categories", "target", "targets", "dx",
    "diagnosis", "species", "breed", "y", "class name", "class names", "class label", "class id",
    "class idx", "class index", "label name", "label id", "label idx", "target name",
    "category name",
    "category id", "ground truth", "classname", "classid", "labelname", "true label", "animal",
    "finding labels",
}  # fmt: skip
"""Words of names that columns of labels usually have."""

_FOLDS = {
    "fold",
    "folds",
    "kfold",
    "cv",
    "cv fold",
    "is train",
    "is test",
    "is valid",
    "is val",
    "train",
    "test",
    "is training",
    "index",
    "idx",
}
_YES_OR_NO = {"0", "1", "0.0", "1.0", "", "True", "False"}
_SPLIT_COLUMNS = {"split", "splits", "subset", "set", "partition", "part", "data set", "usage"}


class Chosen(NamedTuple):
    """A label for each row, "" where there is none, and where it is, in words."""

    labels: list[str]
    how: str
    sure: bool
    """Whether the user named the column, or its name is clear."""


def choose_labels(
    table: str, columns: Columns, files: str, label_column: str = ""
) -> Chosen | None:
    """Find the labels in a table.

    Parameters
    ----------
    table : str
        Its name.
    columns : dict of str to list of str
    files : str
        The column that names the images.
    label_column : str, default=""
        The user's choice.

    Returns
    -------
    Chosen or None
        None if no column may hold labels.

    Raises
    ------
    ValueError
        If several may, and they differ, or if images have several labels.
    """
    others = {n: c for n, c in columns.items() if n != files}
    if label_column:
        chosen = [n for n in others if n.lower() == label_column.lower()]
        if not chosen:
            raise ValueError(
                f"{table}: label_column: got {label_column!r}, expected one of {listed(others, 20)}"
            )
        return _one(table, columns, chosen[0], [], sure=True)
    others = {n: c for n, c in others.items() if not (tells_parts(n, c) or _numbers_parts(n, c))}
    candidates = [n for n, cells in others.items() if _may_be_labels(n, cells, len(others) == 1)]
    usual = [n for n in candidates if _is_usual(n)]
    hot = [n for n, cells in others.items() if {*cells} <= _YES_OR_NO]
    if not usual and len(hot) > 1 and (found := _one_hot(table, others, hot, candidates)):
        return found
    best = _same(columns, usual or candidates)
    if best is None and candidates:
        raise ValueError(
            f"{table}: which column holds the labels is not clear: {listed(candidates, 20)}; say "
            f"it with --set label_column={candidates[0]}"
        )
    return _one(table, columns, best, candidates) if best else None


def _is_usual(name: str) -> bool:
    return " ".join(words(name)) in _USUAL


def tells_parts(name: str, cells: Sequence[str]) -> bool:
    """Whether a column tells the official part of each image."""
    parts = [part_of(cell) for cell in cells]
    several = len({p.part for p in parts}) > 1
    named = several or " ".join(words(name)) in _SPLIT_COLUMNS
    return named and all(p.part and not p.rest for p in parts)


def _numbers_parts(name: str, cells: Sequence[str]) -> bool:
    """Whether a column numbers folds or parts."""
    named = " ".join(words(name)) in _SPLIT_COLUMNS | _FOLDS
    return named and all(re.fullmatch(r"-?[\d.]*|true|false", c, re.IGNORECASE) for c in cells)


def _may_be_labels(name: str, cells: Sequence[str], alone: bool) -> bool:
    """Few different values, and no measurements; or the only other column."""
    values = {*cells} - {""}
    if len(values) < 2:
        return False
    measured = any(
        re.fullmatch(r"-?\d*\.\d*[1-9]\d*(e-?\d+)?|-\d+", v, re.IGNORECASE) for v in values
    )
    return _is_usual(name) or (not measured and (alone or 2 * len(values) <= len(cells)))


def _same(columns: Columns, names: Sequence[str]) -> str | None:
    """The one column, or of several that mean the same (number and name of a class) the names."""
    if not names:
        return None
    first = columns[names[0]]
    for name in names[1:]:
        pairs = {*zip(first, columns[name], strict=True)}
        if not len(pairs) == len({*first}) == len({*columns[name]}):
            return None
    with_words = [n for n in names if not all(re.fullmatch(r"[\d.]*", cell) for cell in columns[n])]
    return (with_words or names)[0]


def _one(
    table: str, columns: Columns, name: str, candidates: Sequence[str], sure: bool = False
) -> Chosen:
    cells = columns[name]
    if all(re.fullmatch(r"\d+\.0*|", cell) for cell in cells):  # numbers that pandas wrote
        cells = [cell.partition(".")[0] for cell in cells]
    values = {*cells} - {""}
    for mark in r"|;,":
        several = [
            v for v in values if mark in v and len({*map(str.strip, v.split(mark))} & values)
        ]
        if len(several) > 1 or (several and mark == "|"):
            raise ValueError(
                f"{table}: column {name} holds several labels for an image, such as "
                f"{several[0]!r}; expected one"
            )
    several = [v for v in values if " " in v and values.issuperset(v.split())]
    if several:
        raise ValueError(
            f"{table}: column {name} holds {several[0]!r}, and each of its words, too: several "
            "labels for an image? Expected one; write _ for spaces within a name"
        )
    others = [n for n in candidates if n != name]
    also = f" (not {listed(others)}; --set label_column=NAME chooses)" if others else ""
    return Chosen(cells, f"column {name}{also}", sure or _is_usual(name))


def _one_hot(
    table: str, others: Columns, hot: Sequence[str], candidates: Sequence[str]
) -> Chosen | None:
    """Columns of 0 and 1, one for each class."""
    ones = [
        [n for n in hot if others[n][row] in ("1", "1.0", "True")]
        for row in range(len(others[hot[0]]))
    ]
    if all(len(names) == 1 for names in ones):
        return Chosen([names[0] for names in ones], f"columns {listed(hot)}, of 0 and 1", True)
    if {*candidates} <= {*hot} and len(hot) > 2:
        worst = max(ones, key=len)
        got = f"{len(worst)} ({listed(worst)})" if len(worst) > 1 else "none"
        raise ValueError(
            f"{table}: columns {listed(hot)} of 0 and 1: expected one label for each image, got "
            f"{got}; choose one column with --set label_column=NAME"
        )
    return None
