"""Guidance metrics from the class probabilities alone: DeepGini and soft-max entropy."""

from __future__ import annotations

import numpy as np
from scipy.special import entr

from utils.metrics.traces import check_probabilities


def deepgini(probabilities: np.ndarray) -> np.ndarray:
    """Gini impurity of the class probabilities.

    Parameters
    ----------
    probabilities : ndarray of shape (n, classes)
        Soft-max outputs; each row sums to 1.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        ``1 - sum(p ** 2)``, from 0 (one class is certain) to ``1 - 1 / classes`` (all classes
        alike). Higher = retrain first.

    Raises
    ------
    ValueError
        If the rows are not probabilities.

    References
    ----------
    Feng et al., "DeepGini: Prioritizing Massive Tests to Enhance the Robustness of Deep Neural
    Networks", ISSTA 2020, doi:10.1145/3395363.3397357.

    Examples
    --------
    >>> deepgini(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [0.5, 0.0]
    """
    probabilities = check_probabilities(probabilities)
    # float32 rows may sum to a little over 1; the impurity is never negative.
    return np.maximum(1.0 - np.einsum("ij,ij->i", probabilities, probabilities), 0.0)


def softmax_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of the class probabilities.

    Parameters
    ----------
    probabilities : ndarray of shape (n, classes)
        Soft-max outputs; each row sums to 1.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        ``-sum(p * log(p))`` in nats with ``0 * log(0) = 0``, from 0 (one class is certain) to
        ``log(classes)`` (all classes alike). Higher = retrain first.

    Raises
    ------
    ValueError
        If the rows are not probabilities.

    References
    ----------
    Weiss and Tonella, "Simple Techniques Work Surprisingly Well for Neural Network Test
    Prioritization and Active Learning", ISSTA 2022, doi:10.1145/3533767.3534375.

    Examples
    --------
    >>> softmax_entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
    [0.6931, 0.0]
    """
    return entr(check_probabilities(probabilities)).sum(axis=1)
