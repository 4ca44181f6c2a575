"""Text that comes with other people's files, made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def readable(text: object, most: int = 1000) -> str:
    """One line that does nothing but be read, wherever it is shown.

    Control and invisible characters (terminal escapes, line breaks, bidirectional overrides, bytes
    that are no text) become what Python writes for them, such as ``\\x1b``: names that differ still
    do, and the reader sees why.

    Parameters
    ----------
    text : object
        What is not text is shown as ``str`` shows it.
    most : int, default=1000
        Longer text loses its middle.
    """
    shown = "".join(map(_visible, str(text)))
    if len(shown) <= most:
        return shown
    return f"{shown[: most - most // 2 - 1]}…{shown[len(shown) - most // 2 :]}"


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":  # kinds of blanks
        return character
    return character.encode("unicode_escape").decode()


def listed(names: Iterable[str], most: int = 5) -> str:
    """Some names, with how many there are if not all are shown."""
    names = list(names)
    return ", ".join(names[:most]) + (f", ... ({len(names)})" if len(names) > most else "")
