"""Orders of the retraining inputs, and the prefixes of an order that make the data points."""

from __future__ import annotations

import numpy as np

from utils.core.seeds import rng
from utils.retraining.configurations import configuration_of


def order_inputs(scores: np.ndarray, seed: int) -> np.ndarray:
    """Indices of the inputs, highest score first; ties are in random order.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        Finite; higher = retrain first.
    seed : int
        Decides the order among equal scores, so that no metric profits from the order of a file.

    Returns
    -------
    ndarray of shape (n,), dtype=int64
        A permutation of 0 .. n - 1.

    Raises
    ------
    ValueError
        If the scores have another shape or are not finite.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1:
        raise ValueError(f"scores: expected shape (n,), got {scores.shape}")
    bad = np.count_nonzero(~np.isfinite(scores))
    if bad:
        raise ValueError(f"scores: expected finite numbers, got {bad} that are NaN or infinite")
    ties = rng(seed, "ties").permutation(len(scores))
    return np.lexsort((ties, -scores)).astype(np.int64)


def order_for(configuration: int, scores: np.ndarray, n_train: int, seed: int) -> np.ndarray:
    """Order of the inputs that a configuration orders, from a metric's scores of all inputs.

    Parameters
    ----------
    configuration : int
        See `utils.retraining.configurations`.
    scores : ndarray of shape (n_train + n_adversarial,)
        Training inputs first.
    n_train : int
        Number of training inputs.
    seed : int
        See `order_inputs`.

    Returns
    -------
    ndarray of int64
        Indices into what `Configuration.inputs` returns.
    """
    return order_inputs(configuration_of(configuration).scores(scores, n_train), seed)


def prefix_sizes(n: int, points: int) -> list[int]:
    """Numbers of inputs of the data points: equal steps, rounded; the last is all `n`.

    Examples
    --------
    >>> prefix_sizes(10, 4)
    [3, 5, 8, 10]
    """
    if not 1 <= points <= n:
        raise ValueError(f"points: expected 1 to {n} (the number of inputs), got {points}")
    return [(2 * n * point + points) // (2 * points) for point in range(1, points + 1)]


def checked_order(order: np.ndarray, n: int) -> np.ndarray:
    """The order as int64; a ValueError unless it is a permutation of 0 .. n - 1."""
    order = np.asarray(order)
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(
            f"order: expected a permutation of 0 .. {n - 1} (see order_for), got shape "
            f"{order.shape} and dtype {order.dtype}"
        )
    return order.astype(np.int64)
