"""Surprise adequacy: how far an input's activation trace is from the training traces.

Both metrics compare an input with training inputs of the class that the model predicts for it.
Memory does not grow with the number of training inputs times the number of inputs: the work goes
in chunks.

References
----------
Kim, Feldt and Yoo, "Guiding Deep Learning System Testing Using Surprise Adequacy", ICSE 2019,
doi:10.1109/ICSE.2019.00108.
"""

from __future__ import annotations

import numpy as np

from utils.metrics.kde import SINGULAR, fit_kde, fitting_threads
from utils.metrics.neighbours import Points, nearest, power_of_two_scale
from utils.metrics.traces import check_classes, check_traces


def lsa(
    train_traces: np.ndarray,
    train_classes: np.ndarray,
    traces: np.ndarray,
    classes: np.ndarray,
    *,
    variance_threshold: float = 1e-5,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Likelihood-based surprise adequacy.

    Minus the log density of each trace under a Gaussian kernel density estimate (KDE) of the
    training traces of its predicted class, with the bandwidth of Scott's rule: the same number
    as ``-scipy.stats.gaussian_kde(...).logpdf``, but never infinite.

    Parameters
    ----------
    train_traces : ndarray of shape (n_train, neurons)
        Activation traces of the training inputs.
    train_classes : ndarray of shape (n_train,), dtype=int
        Classes that the model predicts for the training inputs.
    traces : ndarray of shape (n, neurons)
        Activation traces of the inputs to score.
    classes : ndarray of shape (n,), dtype=int
        Classes that the model predicts for them.
    variance_threshold : float, default=1e-5
        Neurons whose variance over all training traces is below this are left out.
    notes : list of str, optional
        Sentences on neurons left out and rules applied are appended to it, for the report.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        Finite scores in nats. Higher = retrain first.

    Raises
    ------
    ValueError
        If the arrays do not fit together or hold values that are not finite.

    Notes
    -----
    - A training input is scored under the KDE of its class *with* its own trace in it, as in
      the paper. Its own kernel bounds its score from above; training inputs far from all others
      of their class reach that bound and tie.
    - The variance of a neuron is taken over all training traces, so that every class has a
      density of the same dimension and scores compare between classes. (The study's code leaves
      out neurons that are constant in *any* class, which with many classes can be all of them.)
    - If the covariance of a class is singular (no more traces than neurons, neurons that never
      fire for the class, collinear neurons), it is shrunk towards a multiple of the identity,
      ``(1 - a) * S + a * trace(S) / d * I``, with Ledoit and Wolf's `a`, at least ``1 / n``.
    - A class without two different training traces (total variance up to 1e-10 of that of all
      training traces) has no covariance. Inputs predicted as such a class, or as one never
      predicted in training, are scored under the KDE of all training traces.
    - If no neuron is left, all scores are 0.

    Cost: O(n_class * n * neurons) a class.

    References
    ----------
    Kim, Feldt and Yoo, ICSE 2019, doi:10.1109/ICSE.2019.00108. Ledoit and Wolf, "A
    well-conditioned estimator for large-dimensional covariance matrices", Journal of
    Multivariate Analysis 88, 2004, doi:10.1016/S0047-259X(03)00096-4.
    """
    train_traces, train_classes, traces, classes = _check(
        train_traces, train_classes, traces, classes
    )
    notes = [] if notes is None else notes
    variances = train_traces.var(axis=0, dtype=np.float64)
    kept = (variances >= variance_threshold) & (np.ptp(train_traces, axis=0) > 0)
    if not kept.all():
        notes.append(
            f"{np.count_nonzero(~kept)} of {len(kept)} neurons left out "
            f"(training variance below {variance_threshold:g})"
        )
    scores = np.zeros(len(traces))
    if not kept.any():
        notes.append("no neuron left, all scores are 0")
        return scores

    if not kept.all():
        train_traces, traces = train_traces[:, kept], traces[:, kept]
    least_variance = SINGULAR * variances[kept].sum()
    shrunk, without_kde = [], []
    labels, n_inputs = np.unique(classes, return_counts=True)
    n_members = np.array([np.count_nonzero(train_classes == label) for label in labels])
    products = n_members * (n_inputs + traces.shape[1]) * traces.shape[1]
    with fitting_threads(products.max(initial=0)):
        for label in labels:
            members, rows = train_traces[train_classes == label], np.flatnonzero(classes == label)
            kde = fit_kde(members, least_variance) if len(members) > 1 else None
            if kde is None:
                without_kde.append(label)
                continue
            if kde.shrinkage:
                shrunk.append(label)
            scores[rows] = -kde.log_density(traces[rows])
    if shrunk:
        notes.append(f"covariance singular, shrunk: class {_some_classes(shrunk)}")
    if without_kde:
        overall, others = fit_kde(train_traces), np.isin(classes, without_kde)
        assert overall is not None  # neurons that do not vary were left out
        scores[others] = -overall.log_density(traces[others])
        notes.append(
            "fewer than two different training traces, scored under the density of all training "
            f"traces: class {_some_classes(without_kde)} ({np.count_nonzero(others)} inputs)"
        )
    return scores


def dsa(
    train_traces: np.ndarray,
    train_classes: np.ndarray,
    traces: np.ndarray,
    classes: np.ndarray,
    *,
    exclude_self: bool = False,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Distance-based surprise adequacy.

    The distance from each trace to the nearest training trace of its predicted class, over the
    distance from *that* training trace to the nearest training trace of any other class.

    Parameters
    ----------
    train_traces : ndarray of shape (n_train, neurons)
        Activation traces of the training inputs.
    train_classes : ndarray of shape (n_train,), dtype=int
        Classes that the model predicts for the training inputs.
    traces : ndarray of shape (n, neurons)
        Activation traces of the inputs to score.
    classes : ndarray of shape (n,), dtype=int
        Classes that the model predicts for them.
    exclude_self : bool, default=False
        If True, the first `n_train` rows of `traces` must be the training traces themselves, and
        each of these is compared with the *other* training traces (see Notes).
    notes : list of str, optional
        Sentences on rules applied are appended to it, for the report.

    Returns
    -------
    ndarray of shape (n,), dtype=float64
        Finite ratios, 0 or more; dimensionless. Higher = retrain first.

    Raises
    ------
    ValueError
        If the arrays do not fit together or hold values that are not finite.

    Notes
    -----
    - A training input's nearest training trace is its own, at distance 0, so by default *every
      training input scores 0*: ordered together with adversarial inputs, the adversarial ones
      come first and the training inputs follow in random order (ties). This is the definition,
      and what the study and the public implementations compute. `exclude_self` ranks training
      inputs among themselves and with the adversarial ones instead.
    - Of several nearest traces the one that comes first in `train_traces` counts.
    - An input of a class without (other) training traces is compared with the training traces of
      all classes.
    - With a single class there is no other class: the divisor is the root mean square distance
      of the training traces from their mean (1 if that is 0), so inputs are ordered by distance.
    - If two classes share a training trace, the divisor can be 0: it is then taken as the float64
      resolution of the training traces (2.2e-16 times that root mean square), so the ratio is
      large but finite, and 0 for a distance of 0.
    - Distances that decide are computed in float64 from differences of the traces. A float32
      matrix product only rules out traces that its rounding error cannot bring to the front.

    Cost: O(n_class * n * neurons) for the first distance, O(n_train * w * neurons) for the
    second, with `w` the number of training traces that are nearest to some input without being
    equal to it.

    References
    ----------
    Kim, Feldt and Yoo, ICSE 2019, doi:10.1109/ICSE.2019.00108. Weiss, Chakraborty and Tonella,
    "A Review and Refinement of Surprise Adequacy", DeepTest 2021, arXiv:2103.05939.
    """
    train_traces, train_classes, traces, classes = _check(
        train_traces, train_classes, traces, classes
    )
    notes = [] if notes is None else notes
    n_train = len(train_traces)
    if exclude_self and not np.array_equal(traces[:n_train], train_traces):
        raise ValueError("traces: with exclude_self, expected the training traces as first rows")

    # Sorted by class, the training traces of one class are a slice, those of others two slices.
    order = np.argsort(train_classes, kind="stable")
    centre = train_traces.mean(axis=0, dtype=np.float64)
    scale = power_of_two_scale(train_traces, traces, centre)
    train = Points(train_traces[order], centre, scale)
    query = Points(traces, centre, scale)
    train_classes = train_classes[order]

    own = np.full(len(traces), -1)  # position of an input's own trace, -1: none to exclude
    if exclude_self and n_train > 1:
        own[order] = np.arange(n_train)
    start = np.searchsorted(train_classes, classes, side="left")
    stop = np.searchsorted(train_classes, classes, side="right")
    alone = stop - start <= (own >= 0)
    start[alone], stop[alone] = 0, n_train
    if alone.any():
        notes.append(
            f"{np.count_nonzero(alone)} inputs of class {_some_classes(np.unique(classes[alone]))} "
            "compared with all classes (no other training trace of their class)"
        )

    closest = np.empty(len(traces), dtype=np.int64)
    distance_a = np.empty(len(traces))
    for first, last in np.unique(np.stack([start, stop], axis=1), axis=0):
        rows = np.flatnonzero((start == first) & (stop == last))
        closest[rows], distance_a[rows] = nearest(query, rows, train, [(first, last)], own)

    # The second distance depends on the nearest training trace only: once for each that occurs.
    # A first distance of 0 needs none, such as that of every training input.
    away = np.flatnonzero(distance_a)
    winners, of_input = np.unique(closest[away], return_inverse=True)
    distance_b = np.empty(len(winners))
    for label in np.unique(train_classes[winners]):
        rows = np.flatnonzero(train_classes[winners] == label)
        first = np.searchsorted(train_classes, label, side="left")
        last = np.searchsorted(train_classes, label, side="right")
        others = [(0, first), (last, n_train)]
        _, distance_b[rows] = nearest(train, winners[rows], train, others)

    spread = np.sqrt(np.mean((train.norms / scale) ** 2)) or 1.0
    if train_classes[0] == train_classes[-1]:
        notes.append("a single class in training: ordered by distance alone")
        distance_b[:] = spread
    shared = distance_b == 0
    if shared.any():
        notes.append("training traces shared by two classes: divisor 0 taken as the resolution")
    distance_b[shared] = np.finfo(np.float64).eps * spread
    scores = np.zeros(len(traces))
    scores[away] = distance_a[away] / distance_b[of_input]
    return scores


def _check(
    train_traces: np.ndarray, train_classes: np.ndarray, traces: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    train_traces = check_traces(train_traces, "train_traces")
    traces = check_traces(traces, "traces")
    if len(train_traces) == 0:
        raise ValueError("train_traces: expected at least one training trace, got none")
    if traces.shape[1] != train_traces.shape[1]:
        raise ValueError(
            f"traces: expected {train_traces.shape[1]} neurons as in train_traces, "
            f"got {traces.shape[1]}"
        )
    train_classes = check_classes(train_classes, len(train_traces), "train_classes")
    return train_traces, train_classes, traces, check_classes(classes, len(traces))


def _some_classes(labels: list[int] | np.ndarray, most: int = 10) -> str:
    shown = ", ".join(str(label) for label in labels[:most])
    return shown + (f" and {len(labels) - most} more" if len(labels) > most else "")
