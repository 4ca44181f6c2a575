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


def join(*parts: np.ndarray) -> str:
    """Several outcomes as one text, of which the mean of the parts' accuracies is asked for.

    Parameters
    ----------
    *parts : ndarray of shape (n_i,), dtype=bool
        Outcome i of each part is that of image i; the first part has all images.
    """
    return ";".join(map(pack, parts))


def credits(text: str) -> np.ndarray:
    """What each image adds to an accuracy: the mean over the images is the accuracy.

    Parameters
    ----------
    text : str
        Of `pack`, or of `join`.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        Of one part 0 or 1. Of several, 1 for each part that is right, weighted so that all parts
        count alike however many images they have.
    """
    each = parts(text)
    n = len(each[0])
    found = np.zeros(n)
    for part in each:
        found[: len(part)] += part * (n / len(part) / len(each))
    return found


def parts(text: str) -> list[np.ndarray]:
    """The outcomes that `join` was given, or the one of `pack`."""
    return [unpack(part) for part in str(text).split(";")]


def squared_error(values: np.ndarray, text: str) -> float:
    """Squared standard error of a mean over images.

    Parameters
    ----------
    values : ndarray of shape (n,)
        `credits`, or the differences of two networks' credits.
    text : str
        The outcomes that they are of. The images that all parts have, and those that the first part
        has alone, are strata (Cochran, "Sampling Techniques", 1977, chapter 5): that they differ in
        their weights is no chance.
    """
    found, start = 0.0, 0
    for end in sorted({len(part) for part in parts(text)}):
        stratum = values[start:end]
        found += (len(stratum) / len(values)) ** 2 * stratum.var() / max(len(stratum) - 1, 1)
        start = end
    return float(found)
