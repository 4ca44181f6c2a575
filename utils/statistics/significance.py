"""When a difference counts as significant: the level of all tests, corrected for their number.

Several treatments (metrics, configurations) are compared by Friedman's test and, if that finds a
difference, Nemenyi's (`utils.statistics.ranking`); two by Wilcoxon's signed-rank test and the
effect size of Vargha and Delaney (`utils.statistics.pairs`). See Demsar, JMLR 7, 2006; Arcuri and
Briand, ICSE 2011. All compare within blocks, see `utils.statistics.blocks`.

Many tests find something by chance. So all signed-rank tests of a page are one *family*, over which
Holm's correction is made, whatever they compare. All of Friedman's tests are another.
"""

from __future__ import annotations

import numpy as np

ALPHA = 0.05
"""Level of all tests: with no difference anywhere, a family finds one at most this often."""


def holm(p: np.ndarray) -> np.ndarray:
    r"""Holm's step-down correction of p-values for their number, NaN (no test) included.

    The :math:`i`-th smallest of :math:`m` becomes :math:`\max_{j \le i} (m - j + 1)\, p_{(j)}`,
    at most 1.
    """
    order = np.argsort(p)  # NaN last
    stepped = (len(p) - np.arange(len(p))) * p[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted
