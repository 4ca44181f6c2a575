"""What the guidance metrics share: checks with messages that name array and remedy, and chunks."""

from __future__ import annotations

import numpy as np

LARGEST = 1e100
"""Magnitudes beyond this are refused: their squares would leave the range of float64."""

CHUNK_BYTES = 32 * 2**20
"""Work arrays stay near this size, so memory does not grow with the number of inputs."""


def check_traces(traces: np.ndarray, name: str = "traces") -> np.ndarray:
    """Return activation traces as a finite float array of shape (n, neurons).

    float32 and float64 are kept as they are; other real dtypes become float64.

    Raises
    ------
    ValueError
        If `traces` is not two-dimensional, not real, or holds NaN or infinite values.
    """
    traces = np.asarray(traces)
    if traces.ndim != 2 or traces.shape[1] == 0:
        raise ValueError(
            f"{name}: expected shape (n, neurons), got {traces.shape}; "
            "flatten a layer with more axes, e.g. traces.reshape(len(traces), -1)"
        )
    if traces.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected real numbers, got dtype {traces.dtype}")
    if traces.dtype not in (np.float32, np.float64):
        traces = traces.astype(np.float64)
    # min and max are NaN or infinite as soon as one value is, and need no array of their own.
    if traces.size and not (-LARGEST < float(traces.min()) and float(traces.max()) < LARGEST):
        raise ValueError(
            f"{name}: expected finite values, got NaN, infinite or values beyond {LARGEST:g}"
        )
    return traces


def check_classes(classes: np.ndarray, n: int, name: str = "classes") -> np.ndarray:
    """Return predicted classes as an int64 array of shape (n,).

    Raises
    ------
    ValueError
        If `classes` is not one integer for each of the `n` traces.
    """
    classes = np.asarray(classes)
    if classes.size == 0 and n == 0:
        return np.empty(0, dtype=np.int64)
    if classes.shape != (n,) or classes.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected one integer for each trace, shape ({n},), "
            f"got shape {classes.shape} of {classes.dtype}; "
            "from probabilities, take probabilities.argmax(axis=1)"
        )
    return classes.astype(np.int64)


def check_probabilities(probabilities: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
    """Return class probabilities as a float64 array of shape (n, classes).

    Raises
    ------
    ValueError
        If a value is outside [0, 1] or a row does not sum to 1, each within `tolerance`.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or probabilities.shape[1] == 0:
        raise ValueError(f"probabilities: expected shape (n, classes), got {probabilities.shape}")
    if probabilities.dtype.kind not in "fiu":
        raise ValueError(f"probabilities: expected real numbers, got {probabilities.dtype}")
    probabilities = probabilities.astype(np.float64)
    sums = probabilities.sum(axis=1)
    # Written so that NaN fails too.
    valid = (probabilities >= -tolerance).all(axis=1) & (np.abs(sums - 1) <= tolerance)
    if not valid.all():
        row = int(np.argmin(valid))
        raise ValueError(
            f"probabilities: expected rows in [0, 1] that sum to 1, got "
            f"{np.round(probabilities[row][:5], 4).tolist()}{'...' * (len(probabilities[row]) > 5)}"
            f" (sum {sums[row]:.4g}) in row {row}; apply soft-max to logits first"
        )
    return np.clip(probabilities, 0.0, 1.0)


def chunks(n: int, row_bytes: int) -> list[slice]:
    """Slices of `n` rows, each of at most ``CHUNK_BYTES`` (but at least one row)."""
    rows = max(1, CHUNK_BYTES // row_bytes)
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
