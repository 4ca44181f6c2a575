"""Guidance metric from structural coverage: the share of neurons an input activates."""

from __future__ import annotations

import numpy as np

from utils.metrics.traces import check_traces, chunks


def neuron_coverage(traces: np.ndarray, threshold: float = 0.2) -> np.ndarray:
    """Share of the layer's neurons that each input activates.

    Parameters
    ----------
    traces : ndarray of shape (n, neurons)
        Activation traces of one layer.
    threshold : float in [0, 1), default=0.2
        A neuron is active if its scaled output exceeds this.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        Share in [0, 1). Higher = retrain first.

    Raises
    ------
    ValueError
        If `traces` is not a finite matrix or `threshold` is outside [0, 1).

    Notes
    -----
    Outputs are min-max scaled within the layer for each input, as DeepXplore does:
    ``(trace - min) / (max - min) > threshold``. A constant trace has no range to scale by and
    scores 0. The share takes few values (at most the number of neurons), so ties are common;
    they are broken at random when inputs are ordered.

    References
    ----------
    Pei et al., "DeepXplore: Automated Whitebox Testing of Deep Learning Systems", SOSP 2017,
    doi:10.1145/3132747.3132785.

    Examples
    --------
    >>> neuron_coverage(np.array([[0.0, 1.0, 2.0, 10.0], [3.0, 3.0, 3.0, 3.0]])).tolist()
    [0.25, 0.0]
    """
    traces = check_traces(traces)
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold: expected a number in [0, 1), got {threshold}")
    scores = np.empty(len(traces))
    for part in chunks(len(traces), 8 * traces.shape[1]):
        scaled = traces[part].astype(np.float64)
        scaled -= scaled.min(axis=1, keepdims=True)
        span = scaled.max(axis=1, keepdims=True)
        scaled /= np.where(span > 0, span, 1.0)
        scores[part] = np.mean(scaled > threshold, axis=1)
    return scores
