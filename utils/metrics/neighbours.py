"""Exact nearest neighbours at the speed of a float32 matrix product.

The product only rules out points that its rounding error cannot bring to the front; the distances
that decide are computed in float64 from differences.
"""

from __future__ import annotations

import numpy as np

from utils.metrics.checks import CHUNK_BYTES, chunks

BLOCK_ROWS = 1024


class Points:
    """Traces, and a centred, scaled float32 copy of them to rule out far ones fast."""

    def __init__(self, traces: np.ndarray, centre: np.ndarray, scale: float) -> None:
        self.exact = traces
        n, dimension = traces.shape
        # Last column: minus half the squared norm, so that one product of a query (last entry 1)
        # with a reference gives q.r - |r|^2 / 2, which is largest for the nearest reference.
        self.folded = np.empty((n, dimension + 1), dtype=np.float32)
        self.norms = np.empty(n)
        for part in chunks(n, 8 * dimension):
            centred = (traces[part] - centre) * scale
            rounded = self.folded[part, :-1]
            rounded[:] = centred
            squares = np.einsum("ij,ij->i", rounded, rounded, dtype=np.float64)
            self.folded[part, -1] = -0.5 * squares
            self.norms[part] = np.sqrt(squares)


def nearest(
    query: Points,
    rows: np.ndarray,
    train: Points,
    spans: list[tuple[int, int]],
    own: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest training point of each of the given rows of the query.

    Parameters
    ----------
    query, train : Points
        Made with the same centre and scale.
    rows : ndarray of shape (m,), dtype=int
        Rows of `query`.
    spans : list of (first, last)
        The training points to look at: ``first <= position < last``.
    own : ndarray of shape (len(query),), dtype=int, optional
        A training point that each row of the query must not find; -1 for none.

    Returns
    -------
    positions : ndarray of shape (m,), dtype=int64
        Positions in `train`; of several nearest points, the first.
    distances : ndarray of shape (m,), dtype=float64
        Infinite if there is no training point to look at.
    """
    positions = np.zeros(len(rows), dtype=np.int64)
    distances = np.full(len(rows), np.inf)
    # Blocks of many rows and many columns: narrow ones make the product slow.
    width = max(1, CHUNK_BYTES // (4 * BLOCK_ROWS))
    tiles = [(i, min(i + width, last)) for first, last in spans for i in range(first, last, width)]
    widest = max((last - first for first, last in tiles), default=0)
    # A product is off by at most (K + 1) u (|q| + |r|)^2 / 2 for K = neurons + 1 terms, and by
    # 2 u (|q| + |r|)^2 from rounding the points; u is the unit roundoff. The largest product and
    # that of the nearest point may both be off, hence twice that.
    reach = max((train.norms[first:last].max() for first, last in tiles), default=0.0)
    factor = (query.folded.shape[1] + 6) * np.finfo(np.float32).eps / 2
    block = np.empty(min(len(rows), BLOCK_ROWS) * widest, dtype=np.float32)
    for start in range(0, len(rows), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        inputs = rows[part]
        left = query.folded[inputs]
        left[:, -1] = 1.0
        margin = (factor * (query.norms[inputs] + reach) ** 2).astype(np.float32)
        largest = np.full(len(inputs), -np.inf, dtype=np.float32)
        for first, last in tiles:
            closeness = block[: len(inputs) * (last - first)].reshape(len(inputs), -1)
            np.matmul(left, train.folded[first:last].T, out=closeness)
            if own is not None:
                hidden = np.flatnonzero((own[inputs] >= first) & (own[inputs] < last))
                closeness[hidden, own[inputs[hidden]] - first] = -np.inf
            np.maximum(largest, closeness.max(axis=1), out=largest)
            near = np.flatnonzero(closeness >= (largest - margin)[:, None])
            row, column = np.divmod(near, last - first)
            exact = _distances(query.exact, inputs[row], train.exact, column + first)
            order = np.lexsort((exact, row))
            found, at = np.unique(row[order], return_index=True)
            best = order[at]
            closer = exact[best] < distances[part][found]
            distances[part][found[closer]] = exact[best][closer]
            positions[part][found[closer]] = column[best][closer] + first
    return positions, distances


def _distances(a: np.ndarray, i: np.ndarray, b: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Euclidean distances of the pairs ``a[i], b[j]``, in float64 from differences."""
    distances = np.empty(len(i))
    for part in chunks(len(i), 8 * a.shape[1]):
        difference = a[i[part]].astype(np.float64) - b[j[part]]
        distances[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return distances


def power_of_two_scale(train: np.ndarray, traces: np.ndarray, centre: np.ndarray) -> float:
    """A factor that brings centred traces near 1, so that float32 squares stay in range.

    A power of two: multiplying by it rounds nothing.
    """
    largest = max(
        (max(abs(x.max(axis=0) - centre).max(), abs(x.min(axis=0) - centre).max()))
        for x in (train, traces)
        if len(x)
    )
    return float(2.0 ** -np.ceil(np.log2(largest))) if largest > 0 else 1.0
