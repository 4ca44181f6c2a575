"""Random numbers for one purpose: no two steps of a run draw the same."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np


def rng(seed: int | Sequence[int], purpose: str, *numbers: int) -> np.random.Generator:
    """A generator that depends on the run's seed, on what it is for and on counters.

    Parameters
    ----------
    seed : int or sequence of int
        The run's seed, 0 or more; of a sequence the first, and the others count before `numbers`.
    purpose : str
        Words of its own for each use, with the same number of `numbers` each time.
    *numbers : int
        0 or more each, such as the number of an epoch.

    Notes
    -----
    NumPy pads the words of a seed with zeros: ``[3, 21]`` gives the same numbers as ``[3, 21, 0]``.
    Counted from 1, none of `numbers` is 0.
    """
    seed, *others = [seed] if isinstance(seed, int | np.integer) else seed
    counters = (number + 1 for number in (*others, *numbers))
    return np.random.default_rng([crc32(purpose.encode()), seed, *counters])
