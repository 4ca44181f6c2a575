"""Class and official part of each image, from a table that names images and labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from utils.core.text import listed
from utils.data.class_order import ordered_classes
from utils.data.raw.labels import Chosen, Columns, choose_labels, tells_parts
from utils.data.raw.layout import Layout
from utils.data.raw.names import IMAGE_SUFFIXES, part_of, words
from utils.data.raw.rows import readings

_NAMES_IMAGES = {"id", "image", "images", "img", "file", "filename", "path", "name", "picture"}
"""Words of names that columns with the names of images usually have."""


class Table(NamedTuple):
    """A table of which one column names images."""

    name: str
    columns: Columns
    files: str
    """The column with their names."""
    images: list[str | None]
    """For each row the image that it names."""


def arrange_by_tables(
    tables: Mapping[str, bytes], names: list[str], class_order: str, label_column: str = ""
) -> Layout | None:
    """Find classes and official parts in tables of labels.

    Parameters
    ----------
    tables : mapping of str to bytes
        Path and content of text files, any of which may be a table of labels: separated by commas,
        semicolons, tabs or spaces, with a header or without (``path label`` in each line). A
        column holds the paths or names of images, with their suffixes or without; another, or
        a column of 0 and 1 for each class, their labels. The table's name, as ``train.csv``, or a
        column ``split`` tells the part.
    names : list of str
        Paths of images.
    class_order : str
        See `utils.data.class_order.ordered_classes`.
    label_column : str, default=""
        The column with the labels; empty: found.

    Returns
    -------
    Layout or None
        None if no table has names of images and labels.

    Raises
    ------
    ValueError
        If it is not clear which column holds the labels, or an image has several.
    """
    index = _index(names)
    found = [table for name, content in tables.items() if (table := _table(name, content, index))]
    placed: dict[str, tuple[str, str]] = {}
    notes: list[str] = []
    read = _labeled(found, label_column)
    for table, chosen in read:
        notes.append(f"labels are those of {table.name}, {chosen.how}")
        _fill(placed, table, chosen.labels, _table_part(table.name), notes)
    if not read:
        return None
    if not any(part == "train" for part, _ in placed.values()) or len({*placed.values()}) < 2:
        placed = {name: ("", label) for name, (_, label) in placed.items()}
    classes = ordered_classes({label for _, label in placed.values()}, class_order)
    if len(classes) < 2:
        got = f"got only {classes[0]}" if classes else "got none"
        where = listed(table.name for table, _ in read)
        raise ValueError(f"{where}: expected labels of at least 2 classes, {got}")
    rest = [name for name in names if name not in placed]
    if rest:
        notes.append(
            f"{len(rest):,} images that no label names, such as {min(rest)}, were left out"
        )
    kept = sorted(placed)
    numbers = {name: number for number, name in enumerate(classes)}
    return Layout(
        kept,
        np.array([numbers[placed[n][1]] for n in kept], np.int64),
        classes,
        np.array([placed[n][0] for n in kept]),
        None,
        notes,
    )


def _labeled(found: list[Table], label_column: str) -> list[tuple[Table, Chosen]]:
    """The tables with labels, and where they are; those that are sure of it, if any are."""
    chosen, errors = [], []
    for table in found:
        try:
            labels = choose_labels(table.name, table.columns, table.files, label_column)
        except ValueError as error:
            errors.append(error)
        else:
            chosen += [(table, labels)] if labels else []
    sure = [(table, labels) for table, labels in chosen if labels.sure]
    if errors and not sure:
        raise errors[0]
    return sure or chosen


def _fill(
    placed: dict[str, tuple[str, str]], table: Table, labels: list[str], part: str, notes: list[str]
) -> None:
    """Place the images that a table names."""
    parts = _parts(table, part)
    several, missing, empty = [], [], 0
    for row, (image, label) in enumerate(zip(table.images, labels, strict=True)):
        if image is None:
            missing.append(table.columns[table.files][row])
        elif not label:
            empty += 1
        elif placed.setdefault(image, (parts[row], label)) != (parts[row], label):
            several.append(image)
    if several:
        raise ValueError(
            f"{table.name}: {len(set(several)):,} images have several labels or parts, such as "
            f"{several[0]}; expected one of each; a table that holds something else is left out "
            "with --set leave_out=NAME"
        )
    if missing:
        notes.append(f"{len(missing):,} rows of {table.name} name no image, such as {missing[0]}")
    if empty:
        notes.append(f"{empty:,} rows of {table.name} have no label; their images were left out")


def _parts(table: Table, part: str) -> list[str]:
    """Of each row: from a column such as split, else the table's, else the image's folder."""
    for name, values in table.columns.items():
        if tells_parts(name, values):
            return [part_of(value).part for value in values]
    if part:
        return [part] * len(table.images)
    parts = [_folder_part(image) if image else "" for image in table.images]
    return parts if len({*parts} - {""}) > 1 else [""] * len(parts)


def _folder_part(image: str) -> str:
    found = [p for folder in image.split("/")[:-1] if (p := part_of(folder)).part]
    return found[0].part if found and (not found[0].rest or len(found) == 1) else ""


# --- text to table ---


def _table(name: str, content: bytes, index: Mapping[str, list[str]]) -> Table | None:
    """The table in a text file, if a column of it names images."""
    if {"submission", "submissions"} & {*words(_stem(name))}:  # made-up labels
        return None
    tables = (_read(name, rows, index) for rows in readings(content))
    return next((table for table in tables if table), None)


def _read(name: str, rows: list[list[str]], index: Mapping[str, list[str]]) -> Table | None:
    part, width = _table_part(name), len(rows[0])
    images = [[_find(row[i], index, part, name) for row in rows] for i in range(width)]
    n_found = [len({*column} - {None}) for column in images]
    # Names with a suffix are no numbers by chance, as a count of rows or a coordinate may be.
    n_named = [len({row[i] for row in rows if "." in row[i]} & index.keys()) for i in range(width)]
    n_named = [n or any("/" in row[i] for row in rows) for i, n in enumerate(n_named)]
    rank = [(n_found[i] > 0 and bool(n_named[i]), n_found[i]) for i in range(width)]
    column = max(range(width), key=rank.__getitem__)
    n_cells = len({row[column] for row in rows})
    n_images = len({n for names in index.values() for n in names})
    if not n_found[column] or n_found[column] < 0.5 * min(n_cells - 1, n_images):
        return None
    header = images[column][0] is None
    names = [cell.strip() or str(i + 1) for i, cell in enumerate(rows[0])]
    if not header or len(set(names)) < width:
        names = [str(i + 1) for i in range(width)]
    (named, most), alike = rank[column], [column]
    alike += [  # a count of rows beside the images' own numbers, both 0, 1, 2, ...
        i
        for i in range(width)
        if rank[i][0] == named and rank[i][1] >= 0.9 * most and images[i] != images[column]
    ]
    if len(alike) > 1:
        with_images = [i for i in alike if _NAMES_IMAGES.intersection(words(names[i]))]
        if len(with_images) != 1:
            raise ValueError(
                f"{name}: columns {listed(names[i] for i in alike)} name images, each of them "
                "others in a row; keep one, or write the names with their suffix"
            )
        (column,) = with_images
    columns = {n: [row[i].strip() for row in rows[header:]] for i, n in enumerate(names)}
    return Table(name, columns, names[column], images[column][header:])


# --- cell to image ---


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _table_part(name: str) -> str:
    """The part in a table's name, or in that of its folder."""
    return part_of(_stem(name)).part or _folder_part(name)


def _index(names: Iterable[str]) -> dict[str, list[str]]:
    """The images with a name, and with a name without its suffix."""
    index = defaultdict(list)
    for name in names:
        file = name.rpartition("/")[2]
        for key in {file, _without_suffix(file)}:
            index[key].append(name)
    return index


def _without_suffix(file: str) -> str:
    return file.rpartition(".")[0] if file.lower().endswith(IMAGE_SUFFIXES) else file


def _find(cell: str, index: Mapping[str, list[str]], part: str, table: str) -> str | None:
    """The image that a cell names.

    Raises
    ------
    ValueError
        If there are several.
    """
    folders = re.sub(r"^\W*[\\/]", "", cell.strip()).replace("\\", "/").split("/")
    file = folders.pop()
    found = index.get(file) or index.get(_without_suffix(file)) or []
    if not found:
        return None
    beside = "/".join([*table.split("/")[:-1], *folders, file])  # paths from the table's folder
    if len(own := [n for n in found if beside in (n, _without_suffix(n))]) == 1:
        return own[0]
    part = next((p for f in folders if (p := part_of(f).part)), part)
    fits = [n for n in found if not part or _folder_part(n) in ("", part)]
    if len(fits) > 1:  # the one that shares most of the path
        shared = [_n_shared(folders, name.split("/")[:-1]) for name in fits]
        fits = [n for n, s in zip(fits, shared, strict=True) if s == max(shared)]
    if len(fits) > 1 and (trained := [n for n in fits if _folder_part(n) == "train"]):
        fits = trained  # test images have no labels as a rule
    if len(fits) > 1 and re.search(r"\D", file):
        raise ValueError(f"{table}: {cell} names several images: {listed(fits, 3)}; write paths")
    return fits[0] if len(fits) == 1 else None


def _n_shared(a: list[str], b: list[str]) -> int:
    pairs = zip(reversed(a), reversed(b), strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))
