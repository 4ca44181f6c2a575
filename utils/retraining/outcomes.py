"""Which of some images a network classifies right, as a short text: a cell of a table."""

from __future__ import annotations

import base64
import binascii

import numpy as np


def pack(right: np.ndarray) -> str:
    """Outcomes as text: their number, a colon, and their bits in base64.

    Parameters
    ----------
    right : ndarray of shape (n,), dtype=bool

    Examples
    --------
    >>> pack(np.array([True, True, False]))
    '3:wA=='
    """
    right = np.asarray(right, dtype=bool)
    return f"{len(right)}:{base64.b64encode(np.packbits(right).tobytes()).decode('ascii')}"


def unpack(text: str) -> np.ndarray:
    """The outcomes that `pack` was given, an ndarray of shape (n,) and dtype=bool.

    Raises
    ------
    ValueError
        If the text is not of `pack`.
    """
    number, _, bits = str(text).partition(":")
    try:
        found = np.frombuffer(base64.b64decode(bits, validate=True), dtype=np.uint8)
        n = int(number)
        if n < 0 or len(found) != -(-n // 8):
            raise ValueError
    except (ValueError, binascii.Error):
        shown = f"{text!r:.40}"
        raise ValueError(f"outcomes: expected a number, ':' and bits, got {shown}") from None
    return np.unpackbits(found, count=n).astype(bool)
