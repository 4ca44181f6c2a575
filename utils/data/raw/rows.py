"""From text to rows of cells, whatever separates them and however it is encoded."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from io import StringIO


def readings(content: bytes) -> list[list[list[str]]]:
    """What a text may be as rows of one width, above 1; first what fits most of its rows."""
    found = []
    for rows in _readings(_text(content)):
        counts = Counter(map(len, rows))
        width, count = max(counts.items(), key=lambda item: item[1]) if counts else (0, 0)
        if width > 1 and count >= 0.9 * len(rows):
            found.append((count / len(rows), [row for row in rows if len(row) == width]))
    return [rows for _, rows in sorted(found, key=lambda pair: -pair[0])]


def _readings(text: str) -> Iterator[list[list[str]]]:
    if "\0" in text:
        return
    for delimiter in ",;\t|":
        try:
            rows = csv.reader(
                StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
            )
            yield [row for row in rows if any(cell.strip() for cell in row)]
        except csv.Error:
            continue
    lines = [line for line in text.splitlines() if line.strip()]
    yield [line.split() for line in lines]
    yield [line.rsplit(None, 1) for line in lines]  # names with spaces, then a label


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
