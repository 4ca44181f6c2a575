"""The same image in two classes: a sign that folders are not what they seem."""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

MOST = 20_000
"""So many images are compared at most."""
MANY = 0.05
"""From this share of copies with another label on, a data set is refused: people's errors and
generic pictures make a few, a misread folder makes far more."""


def to_compare(names: list[str]) -> np.ndarray:
    """Positions of at most `MOST` images; copies, which mostly have the same name, together."""
    if len(names) <= MOST:
        return np.arange(len(names))
    keys = [zlib.crc32(name.rpartition("/")[2].encode(errors="replace")) for name in names]
    return np.sort(np.argsort(keys, kind="stable")[:MOST])


def contradictions(contents: Iterable[tuple[int, bytes]], labels: np.ndarray) -> list[list[int]]:
    """Groups of images that are equal, byte for byte, and have different labels.

    Parameters
    ----------
    contents : iterable of (int, bytes)
        Number and content of each image; empty ones are no image.
    labels : (n,) int
        By number.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number, content in contents:
        if content:
            groups[hashlib.blake2b(content, digest_size=16).digest()].append(number)
    return [g for g in groups.values() if len({int(labels[number]) for number in g}) > 1]
