"""The same image in two classes or parts: a sign that folders are not what they seem."""

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
MOST_SHARED = 0.5
"""From this share of official test images on that are training images, too, they are no test."""


def to_compare(names: list[str]) -> np.ndarray:
    """Positions of at most `MOST` images; copies, which mostly have the same name, together."""
    if len(names) <= MOST:
        return np.arange(len(names))
    keys = [zlib.crc32(name.rpartition("/")[2].encode(errors="replace")) for name in names]
    return np.sort(np.argsort(keys, kind="stable")[:MOST])


def equal(contents: Iterable[tuple[int, bytes]]) -> list[list[int]]:
    """Groups of images that are equal, byte for byte.

    Parameters
    ----------
    contents : iterable of (int, bytes)
        Number and content of each image; empty ones are no image.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number, content in contents:
        if content:
            groups[hashlib.blake2b(content, digest_size=16).digest()].append(number)
    return [group for group in groups.values() if len(group) > 1]
