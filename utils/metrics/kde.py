"""Gaussian kernel density estimates in log space, robust to singular covariances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs  # what SciPy calls, after checks that take longer
from threadpoolctl import ThreadpoolController

from utils.metrics.traces import chunks

SINGULAR = 1e-10
"""Shares of variance up to this are rounding error: the covariance counts as singular."""

_WORTH_THREADS = 1e9  # multiplications, some 50 ms of one core: more than it takes to wake another
_TOO_FEW = 1e4  # for which BLAS takes no second thread anyway


@contextmanager
def fitting_threads(multiplications: float) -> Iterator[None]:
    """One BLAS thread for small products.

    To wake a second thread takes up to a time slice of a busy machine, and with a class of some
    hundred traces that would be done for each of a dozen products of a millisecond.
    """
    if multiplications > _WORTH_THREADS or multiplications < _TOO_FEW:
        yield
    else:
        with _blas().limit(limits=1, user_api="blas"):
            yield


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # once: it looks through all loaded libraries


@dataclass
class Kde:
    """A Gaussian KDE in coordinates in which its kernel is the unit normal."""

    mean: np.ndarray
    factor: np.ndarray  # lower Cholesky factor of the kernel's covariance
    centres: np.ndarray
    shrinkage: float

    def log_density(self, traces: np.ndarray) -> np.ndarray:
        n, dimension = self.centres.shape
        log_norm = (
            np.log(n) + 0.5 * dimension * np.log(2 * np.pi) + np.log(np.diag(self.factor)).sum()
        )
        half_norms = 0.5 * np.einsum("ij,ij->i", self.centres, self.centres)
        result = np.empty(len(traces))
        for part in chunks(len(traces), 8 * max(n, dimension)):
            centred = traces[part] - self.mean
            white = _whiten(self.factor, centred)
            # -|x - c|^2 / 2 = x.c - |c|^2 / 2 - |x|^2 / 2; the last term leaves the sum.
            exponents = white @ self.centres.T
            exponents -= half_norms
            largest = exponents.max(axis=1)
            exponents -= largest[:, None]
            np.exp(exponents, out=exponents)
            half = 0.5 * np.einsum("ij,ij->i", white, white)
            result[part] = np.log(exponents.sum(axis=1)) + (largest - half)
        return result - log_norm


def fit_kde(traces: np.ndarray, least_variance: float = 0.0) -> Kde | None:
    """Fit a KDE with Scott's bandwidth; None if the traces do not vary beyond `least_variance`."""
    n, dimension = traces.shape
    mean = traces.mean(axis=0, dtype=np.float64)
    centred = traces - mean
    covariance = centred.T @ centred / max(n - 1, 1)
    if not np.trace(covariance) > least_variance:
        return None
    factor, shrinkage = _cholesky(covariance) if n > dimension else None, 0.0
    if factor is None:
        shrinkage = max(_ledoit_wolf(centred), 1 / n)
        target = np.trace(covariance) / dimension * np.eye(dimension)
        shrunk = (1 - shrinkage) * covariance + shrinkage * target
        factor, _ = dpotrf(shrunk, lower=1)  # positive definite, by at least 1 / n of the target
    factor = factor * n ** (-1 / (dimension + 4))
    return Kde(mean, factor, _whiten(factor, centred), shrinkage)


def _whiten(factor: np.ndarray, centred: np.ndarray) -> np.ndarray:
    """Coordinates in which a covariance of this lower Cholesky factor is the identity."""
    return dtrtrs(factor, centred.T, lower=1)[0].T


def _cholesky(covariance: np.ndarray) -> np.ndarray | None:
    """Lower Cholesky factor; None if the covariance is singular to working precision."""
    factor, failed = dpotrf(covariance, lower=1)
    if failed:
        return None
    # The squared pivot is the part of a neuron's variance that the ones before do not explain.
    return factor if np.all(np.diag(factor) ** 2 > SINGULAR * np.diag(covariance)) else None


def _ledoit_wolf(centred: np.ndarray) -> float:
    """Ledoit and Wolf's shrinkage towards a multiple of the identity, in [0, 1]."""
    n, dimension = centred.shape
    covariance = centred.T @ centred / n
    square = np.sum(covariance**2)
    delta = square - np.trace(covariance) ** 2 / dimension
    beta = np.mean(np.einsum("ij,ij->i", centred, centred) ** 2) / n - square / n
    return float(min(beta / delta, 1.0)) if delta > 0 and beta > 0 else 0.0
