r"""What the number of images leaves open: intervals of accuracies, tests on the same images.

They are about other images like these, for networks as they are; not about other seeds. An accuracy
on :math:`n` images has Wilson's score interval (JASA 22, 1927). Robust accuracy is a mean of
shares on images that overlap: each share has Wilson's interval, and these are put together by
square and add with the correlation of the shares (as Newcombe does it for a difference, Statistics
in Medicine 17, 1998, and Zou and Donner in general, Statistics in Medicine 27, 2008). For shares
:math:`p_j` with weights :math:`w_j`, lower ends :math:`l_j` and correlations :math:`r_{jk}` the
lower end is

.. math:: \sum_j w_j p_j - \sqrt{\sum_{jk} r_{jk} w_j (p_j - l_j) w_k (p_k - l_k)},

and the upper one likewise. Two networks are compared on the same images by McNemar's exact test: of
the images that one of them alone classifies right, either has half by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from utils.retraining.outcomes import parts
from utils.retraining.selection import paired
from utils.statistics.significance import holm

_WHERE = {
    1: ("on clean and fixed adversarial images",),
    2: ("on clean images", "under the fresh attack"),
}
"""What the parts of outcomes are of: the study's quantity has one, the robust one two."""


def accuracy_interval(outcomes: Iterable[str]) -> tuple[float, float]:
    """Lower and upper end of the 95 % interval of a mean of accuracies, see above.

    Parameters
    ----------
    outcomes : iterable of str
        Of `utils.retraining.outcomes.pack` or `join`, a text for each data set: data sets are
        independent and count alike.
    """
    found = [_interval(parts(text)) for text in outcomes]
    shares, below, above = np.array(found).T
    mean, n = shares.mean(), len(found)
    spread = [float(np.sqrt((side**2).sum()) / n) for side in (below, above)]
    return max(0.0, float(mean - spread[0])), min(1.0, float(mean + spread[1]))


def _interval(shares: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Mean of some shares, and how far the ends of its interval are below and above it."""
    limits = [
        stats.binomtest(int(part.sum()), len(part)).proportion_ci(method="wilson")
        for part in shares
    ]
    means = np.array([part.mean() for part in shares])
    together = np.eye(len(shares))
    for j, k in combinations(range(len(shares)), 2):
        together[j, k] = together[k, j] = _correlation(shares[j], shares[k])
    low, high = np.array([(limit.low, limit.high) for limit in limits]).T
    below, above = (
        float(np.sqrt(max(side @ together @ side, 0))) / len(shares)
        for side in (means - low, high - means)
    )
    return float(means.mean()), below, above


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of the shares of two outcomes; they have their first images in common."""
    n = min(len(first), len(second))
    a, b = first[:n], second[:n]
    if a.all() or b.all() or not (a.any() and b.any()):
        return 0.0
    return float(np.corrcoef(a, b)[0, 1] * n / np.sqrt(len(first) * len(second)))


def mcnemar(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """McNemar's exact two-sided p-value.

    Parameters
    ----------
    pairs : iterable of (ndarray, ndarray) of shape (n,), dtype=bool
        Which images two networks classify right; of several data sets the counts are added.
    """
    both = [(np.sum(a & ~b), np.sum(b & ~a)) for a, b in pairs]
    first, second = (int(count) for count in np.sum(both, axis=0))
    return float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0


def compare_networks(
    own: Sequence[str], others: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Hold one network against others on the same test images.

    Parameters
    ----------
    own : sequence of str
        Outcomes of the network, a text for each data set.
    others : mapping of sequence of str
        By name, those of the networks that it is held against.

    Returns
    -------
    dict of dict
        By name: ``error``, the standard error of the difference of their accuracies; and
        ``mcnemar``: by what the images are, the ``difference`` there and McNemar's ``p``, after
        Holm's correction over all that are compared here; both over the images of all data sets
        together, as the counts are added.
    """
    found: dict[str, dict[str, Any]] = {}
    tests = []
    for name, other in others.items():
        squares = [paired(a, b)[1] for a, b in zip(own, other, strict=True)]
        found[name] = {"error": float(np.sqrt(sum(squares)) / len(squares)), "mcnemar": {}}
        both = [(parts(a), parts(b)) for a, b in zip(own, other, strict=True)]
        for number, where in enumerate(_WHERE[len(both[0][0])]):
            pairs = [(a[number], b[number]) for a, b in both]
            differences = np.concatenate([a.astype(float) - b for a, b in pairs])
            test = {"difference": float(differences.mean()), "p": mcnemar(pairs)}
            found[name]["mcnemar"][where] = test
            tests.append(test)
    for test, p in zip(tests, holm(np.array([test["p"] for test in tests])), strict=True):
        test["p"] = float(p)
    return found
