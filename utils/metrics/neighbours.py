"""Exact nearest neighbours at the speed of a float32 matrix product.

The product only rules out points that its rounding error cannot bring to the front; where it leaves
many, a float64 product rules out more. The distances that decide are computed in float64 from
differences. Work arrays are bounded, however many points are equally near.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import DTypeLike

from utils.metrics.traces import CHUNK_BYTES, chunks

BLOCK_ROWS = 1024
CROWDED = 16
"""More candidates than this a query, on average, are thinned out with a float64 product."""


class Points:
    """Traces, and a centred, scaled float32 copy of them to rule out far ones fast."""

    def __init__(self, traces: np.ndarray, centre: np.ndarray, scale: float) -> None:
        self.exact, self.centre, self.scale = traces, centre, scale
        n, dimension = traces.shape
        self.augmented = np.empty((n, dimension + 1), dtype=np.float32)
        self.squares = np.empty(n)
        for part in chunks(n, 32 * dimension):
            self.squares[part] = self.augment(part, self.augmented[part])

    @property
    def norms(self) -> np.ndarray:
        """Distances from the centre, scaled."""
        return np.sqrt(self.squares)

    def augment(self, rows: np.ndarray | slice, out: np.ndarray) -> np.ndarray:
        """Write centred, scaled points with one more column to `out`; return their squared norms.

        The column is minus half the squared norm, so that one product of a query (last entry 1)
        with a reference gives q.r - |r|^2 / 2, which is largest for the nearest reference; less
        the part of the rounding error that grows with the reference's norm.
        """
        centred = self.exact[rows] - self.centre
        centred *= self.scale
        out[:, :-1] = centred
        squares = np.einsum("ij,ij->i", out[:, :-1], out[:, :-1], dtype=np.float64)
        out[:, -1] = -(0.5 + _error(out.shape[1], out.dtype)) * squares
        return squares

    @cached_property
    def second_copy_before(self) -> np.ndarray:
        """Position of the second last of the equal points before each point; -1 for none."""
        order = np.argsort(self.squares, kind="stable")
        one, next_one = order[:-1], order[1:]
        same = self.squares[one] == self.squares[next_one]
        alike = np.flatnonzero(same)
        for part in chunks(len(alike), 32 * self.exact.shape[1]):
            k = alike[part]
            same[k] = (self.exact[one[k]] == self.exact[next_one[k]]).all(axis=1)
        before = np.full(len(order), -1)
        twice = np.flatnonzero(same[1:] & same[:-1])
        before[order[twice + 2]] = order[twice]
        return before


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
        The training points to look at: ``first <= position < last``, in ascending order.
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
    largest = np.full(len(rows), -np.inf, dtype=np.float32)
    # Blocks of many rows and many columns: narrow ones make the product slow.
    dimension = query.augmented.shape[1]
    height = max(1, min(BLOCK_ROWS, CHUNK_BYTES // (8 * dimension)))
    width = max(1, CHUNK_BYTES // (8 * max(height, dimension)))
    error = _error(dimension, np.float32)
    block = np.empty(min(len(rows), height) * width, dtype=np.float32)
    for columns in _tiles(train, spans, width):
        right, right_squares = _at(train.augmented, columns), _at(train.squares, columns)
        for start in range(0, len(rows), height):
            part = slice(start, start + height)
            inputs = rows[part]
            augmented, squares = query.augmented[inputs], query.squares[inputs]
            closeness = block[: len(inputs) * len(columns)].reshape(len(inputs), -1)
            _multiply(augmented, right, closeness)
            closeness[_hidden(columns, own, inputs)] = -np.inf
            best = closeness.max(axis=1)
            bound = np.maximum(largest[part], best, out=largest[part])
            # Most rows have their nearest point elsewhere: spare them what follows. (2.1: a little
            # more than the 2 below, so that rounding here decides nothing.)
            slack = 2.1 * error * (squares + right_squares.max()) + _tiny(np.float32)
            left = np.flatnonzero(best >= bound - slack)
            if 2 * len(left) <= len(inputs):
                inputs, closeness = inputs[left], closeness[left]
                squares, bound = squares[left], bound[left]
            else:
                left = np.arange(len(inputs))
            near = _candidates(closeness, bound, squares, right_squares, error)
            near[_hidden(columns, own, inputs)] = False
            count = np.count_nonzero(near)
            if count > CROWDED * len(inputs):
                _thin_out(near, query, inputs, train, columns)
                count = np.count_nonzero(near)
            row_bytes = 64 * len(columns) if 64 * count > CHUNK_BYTES else 1
            for some in chunks(len(inputs), row_bytes):
                found, column, exact = _closest(near[some], query, inputs[some], train, columns)
                found = start + left[some][found]
                closer = exact < distances[found]
                distances[found[closer]] = exact[closer]
                positions[found[closer]] = column[closer]
    return positions, distances


def _tiles(train: Points, spans: list[tuple[int, int]], width: int) -> list[np.ndarray]:
    """Positions to look at, `width` at a time.

    Of equal points in a span two are enough, the first and one more if the first must not be found.
    """
    tiles = []
    for first, last in spans:
        columns = first + np.flatnonzero(train.second_copy_before[first:last] < first)
        tiles += [columns[i : i + width] for i in range(0, len(columns), width)]
    return tiles


def _hidden(
    columns: np.ndarray, own: np.ndarray | None, inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places in a block of products that belong to a query's own point."""
    if own is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    place = np.minimum(np.searchsorted(columns, own[inputs]), len(columns) - 1)
    hits = np.flatnonzero(columns[place] == own[inputs])
    return hits, place[hits]


def _at(array: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """``array[positions]`` for ascending positions; a view, not a copy, if none is left out."""
    first, last = positions[0], positions[-1] + 1
    return array[first:last] if last - first == len(positions) else array[positions]


def _error(columns: int, dtype: DTypeLike) -> float:
    """Error of a product of augmented points q, r, and of comparing distances: in |q|^2 + |r|^2.

    A product is off by at most (K + 1) u (|q| + |r|)^2 / 2 for K columns and by 2 u (|q| + |r|)^2
    from rounding the points, with the unit roundoff u; (|q| + |r|)^2 is at most twice the sum of
    the squares. A distance in float64 is off by about K times float64's u. Some u to spare are for
    the few operations on products.
    """
    return (columns + 12) * float(np.finfo(dtype).eps + np.finfo(np.float64).eps) / 2


def _tiny(dtype: DTypeLike) -> float:
    """Products below it have no relative error."""
    return 1e6 * float(np.finfo(dtype).tiny)


def _multiply(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    left[:, -1] = 1.0
    np.matmul(left, right.T, out=out)


def _candidates(
    closeness: np.ndarray,
    largest: np.ndarray,
    squares: np.ndarray,
    right_squares: np.ndarray,
    error: float,
) -> np.ndarray:
    """Which products may belong to the nearest point, given the largest of each row.

    Products are lower bounds, but for an error that depends on the query alone. Each is raised to
    an upper bound (`closeness` may be overwritten) and compared with the largest lower bound.
    """
    slack = 2 * error * right_squares + _tiny(closeness.dtype)
    bound = largest - 2 * error * squares
    if slack.max() <= 4 * slack.mean():
        bound -= slack.max()  # norms much alike: spares a pass over the products
    else:
        closeness += slack.astype(closeness.dtype)
    return closeness >= bound.astype(closeness.dtype)[:, None]


def _thin_out(
    near: np.ndarray, query: Points, inputs: np.ndarray, train: Points, columns: np.ndarray
) -> None:
    """Take candidates out of `near` that a float64 product rules out."""
    left, right = (np.empty((len(rows), train.augmented.shape[1])) for rows in (inputs, columns))
    squares, right_squares = query.augment(inputs, left), train.augment(columns, right)
    closeness = np.empty(near.shape)
    _multiply(left, right, closeness)
    np.copyto(closeness, -np.inf, where=~near)
    error = _error(right.shape[1], np.float64)
    near &= _candidates(closeness, closeness.max(axis=1), squares, right_squares, error)


def _closest(
    near: np.ndarray, query: Points, inputs: np.ndarray, train: Points, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a candidate, and the position and distance of the first of their nearest ones."""
    row, column = np.divmod(np.flatnonzero(near), near.shape[1])
    positions = columns[column]
    exact = _distances(query.exact, inputs[row], train.exact, positions)
    found, begin, counts = np.unique(row, return_index=True, return_counts=True)
    least = np.minimum.reduceat(exact, begin) if len(found) else exact
    hits = np.flatnonzero(exact == np.repeat(least, counts))
    winners = hits[np.searchsorted(hits, begin)]
    return found, positions[winners], least


def _distances(a: np.ndarray, i: np.ndarray, b: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Euclidean distances of the pairs ``a[i], b[j]``, in float64 from differences."""
    distances = np.empty(len(i))
    for part in chunks(len(i), 32 * a.shape[1]):
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
