"""Guidance metrics against hand-computed values and independent oracles."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import entropy, gaussian_kde
from sklearn.covariance import ledoit_wolf_shrinkage
from threadpoolctl import threadpool_info, threadpool_limits

from utils.metrics.coverage import neuron_coverage
from utils.metrics.kde import _ledoit_wolf, fitting_threads
from utils.metrics.neighbours import Points, nearest, power_of_two_scale
from utils.metrics.registry import METRICS, score_all
from utils.metrics.surprise import dsa, lsa
from utils.metrics.traces import CHUNK_BYTES
from utils.metrics.uncertainty import deepgini, softmax_entropy


def clusters(n_train=300, n=80, neurons=6, n_classes=3, seed=0, dtype=np.float64):
    """Traces around one centre a class, and the classes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(scale=2, size=(n_classes, neurons))
    train_classes, classes = rng.integers(n_classes, size=n_train), rng.integers(n_classes, size=n)
    train = centres[train_classes] + rng.normal(size=(n_train, neurons))
    traces = centres[classes] + 1.5 * rng.normal(size=(n, neurons))
    return train.astype(dtype), train_classes, traces.astype(dtype), classes


def dsa_by_double_loop(train, train_classes, traces, classes):
    train, traces, scores = train.astype(float), traces.astype(float), []
    for x, c in zip(traces, classes, strict=True):
        a, nearest = min(
            (np.linalg.norm(x - t), i)
            for i, (t, k) in enumerate(zip(train, train_classes, strict=True))
            if k == c
        )
        b = min(
            np.linalg.norm(train[nearest] - t)
            for t, k in zip(train, train_classes, strict=True)
            if k != c
        )
        scores.append(a / b)
    return np.array(scores)


def lsa_by_scipy(train, train_classes, traces, classes):
    scores = np.empty(len(traces))
    for c in np.unique(classes):
        kde = gaussian_kde(train[train_classes == c].T.astype(float))
        scores[classes == c] = -kde.logpdf(traces[classes == c].T.astype(float))
    return scores


# --- Uncertainty ------------------------------------------------------------------------------


def test_deepgini_by_hand():
    # 1 - (0.49 + 0.04 + 0.01) = 0.46; 1 - 3/9 = 2/3; 1 - 1 = 0
    p = np.array([[0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(deepgini(p), [0.46, 2 / 3, 0.0], atol=1e-15)


def test_softmax_entropy_by_hand():
    # 0.5 ln 2 + 2 * 0.25 ln 4 = 1.5 ln 2; 0 ln 0 = 0
    p = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(softmax_entropy(p), [1.5 * np.log(2), 0.0], atol=1e-15)


@pytest.mark.parametrize("metric", [deepgini, softmax_entropy])
def test_uncertainty_of_float32_rows_is_finite_and_not_negative(metric):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=30, size=(500, 10)).astype(np.float32)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    scores = metric(p)
    assert scores.dtype == np.float64 and scores.shape == (500,)
    assert np.isfinite(scores).all() and scores.min() >= 0
    if metric is softmax_entropy:
        np.testing.assert_allclose(scores, entropy(p.astype(float), axis=1), atol=1e-6)


@pytest.mark.parametrize("metric", [deepgini, softmax_entropy])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([[0.5, 0.5], [2.0, -1.0]]), "row 1; apply soft-max"),
        (np.array([[0.5, 0.4]]), "sum 0.9"),
        (np.array([[np.nan, 1.0]]), "row 0"),
        (np.array([0.5, 0.5]), r"expected shape \(n, classes\), got \(2,\)"),
    ],
)
def test_uncertainty_refuses_what_is_no_probability(metric, bad, message):
    with pytest.raises(ValueError, match=message):
        metric(bad)


# --- Neuron coverage --------------------------------------------------------------------------


def test_neuron_coverage_by_hand():
    traces = np.array(
        [
            [0.0, 1.0, 2.0, 10.0],  # scaled 0, 0.1, 0.2, 1: 0.2 does not exceed 0.2 -> 1/4
            [-1.0, 0.0, 1.0, 3.0],  # scaled 0, 0.25, 0.5, 1 -> 3/4
            [5.0, 5.0, 5.0, 5.0],  # constant -> 0
        ]
    )
    np.testing.assert_array_equal(neuron_coverage(traces), [0.25, 0.75, 0.0])
    np.testing.assert_array_equal(neuron_coverage(traces, 0.4), [0.25, 0.5, 0.0])


def test_neuron_coverage_by_loop():
    traces = np.maximum(np.random.default_rng(1).normal(size=(50, 31)), 0).astype(np.float32)
    expected = []
    for trace in traces.astype(float):
        low, high = min(trace), max(trace)
        expected.append(sum((v - low) / (high - low) > 0.2 for v in trace) / len(trace))
    np.testing.assert_allclose(neuron_coverage(traces), expected, rtol=1e-15)


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_neuron_coverage_refuses_a_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match="threshold"):
        neuron_coverage(np.eye(3), threshold)


# --- DSA --------------------------------------------------------------------------------------


def test_dsa_by_hand():
    train = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0], [1.0, 5.0]])
    train_classes = np.array([0, 0, 1, 2])
    # (1, 1) as 0: nearest is (1, 0) at 1, whose nearest other is (4, 0) at 3: 1/3.
    # (4, 4) as 1: nearest is (4, 0) at 4, whose nearest other is (1, 0) at 3: 4/3.
    # (0, 0) as 0: its own trace at 0: 0.
    traces, classes = np.array([[1.0, 1.0], [4.0, 4.0], [0.0, 0.0]]), np.array([0, 1, 0])
    scores = dsa(train, train_classes, traces, classes)
    np.testing.assert_allclose(scores, [1 / 3, 4 / 3, 0.0], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_dsa_equals_the_double_loop(dtype, offset):
    # The offset makes norms 1e4 times the distances: products of uncentred traces would fail.
    train, train_classes, traces, classes = clusters(dtype=dtype)
    train, traces = train + dtype(offset), traces + dtype(offset)
    np.testing.assert_allclose(
        dsa(train, train_classes, traces, classes),
        dsa_by_double_loop(train, train_classes, traces, classes),
        rtol=1e-12,
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_dsa_does_not_depend_on_the_scale_of_traces(scale):
    train, train_classes, traces, classes = clusters()
    expected = dsa(train, train_classes, traces, classes)
    scores = dsa(train * scale, train_classes, traces * scale, classes)
    np.testing.assert_allclose(scores, expected, rtol=1e-10)


def test_dsa_finds_neighbours_that_float32_cannot_tell_apart():
    # Within class 0, traces differ by 1e-7 of their norm; only float64 can order them, and each
    # has another distance to class 1.
    rng = np.random.default_rng(3)
    close = 1.0 + 1e-7 * rng.normal(size=(50, 4))
    train = np.concatenate([close, 1.0 + 1e-6 * rng.normal(size=(50, 4)), -np.ones((5, 4))])
    train_classes = np.repeat([0, 1, 2], [50, 50, 5])
    traces, classes = 1.0 + 1e-7 * rng.normal(size=(20, 4)), np.zeros(20, dtype=int)
    np.testing.assert_allclose(
        dsa(train, train_classes, traces, classes),
        dsa_by_double_loop(train, train_classes, traces, classes),
        rtol=1e-9,
    )


def crowded(kind, n_train=300, n=80, **options):
    """Traces of which very many are about equally near, in float32 at least."""
    train, train_classes, traces, classes = clusters(n_train, n, **options)
    if kind == "dead":
        train[::2], traces[::2] = 0, 0
    elif kind == "all dead":
        train[:], traces[:] = 0, 0
    elif kind == "outlier":
        train[7] *= 3000
    elif kind == "far outlier":
        train[7] *= 1e9
    elif kind == "collapsed":
        centres = np.array([train[train_classes == c].mean(axis=0) for c in range(3)])
        train[:] = centres[train_classes] + 1e-5 * (train - centres[train_classes])
        traces[:] = centres[classes] + 1e-5 * (traces - centres[classes])
    return train, train_classes, traces, classes


CROWDS = ("dead", "all dead", "outlier", "far outlier", "collapsed")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", CROWDS)
def test_dsa_of_crowded_traces_equals_the_double_loop(kind, dtype):
    data = crowded(kind, dtype=dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = dsa_by_double_loop(*data)
    good = np.isfinite(expected)
    assert good.sum() >= (0 if kind == "all dead" else 40)
    np.testing.assert_allclose(dsa(*data)[good], expected[good], rtol=1e-12)


@pytest.mark.parametrize("kind", ["", *CROWDS])
@pytest.mark.parametrize("limit", [600, 5000, CHUNK_BYTES])
def test_nearest_finds_the_first_of_the_nearest(kind, limit, monkeypatch):
    monkeypatch.setattr("utils.metrics.traces.CHUNK_BYTES", limit)
    monkeypatch.setattr("utils.metrics.traces.CHUNK_BYTES", limit)
    train, _, _, _ = crowded(kind, n_train=120)
    train[60:] = train[np.random.default_rng(1).integers(60, size=60)]  # copies, some several
    centre = train.mean(axis=0)
    points = Points(train, centre, power_of_two_scale(train, train, centre))
    away = np.array([np.linalg.norm(train - trace, axis=1) for trace in train])
    rows, everything = np.arange(120), np.arange(120)
    for spans in ([(0, 120)], [(30, 90)], [(0, 50), (70, 120)], [(3, 4)], [(5, 5)]):
        seen = np.zeros(120, bool)
        for first, last in spans:
            seen[first:last] = True
        for own in (None, everything):
            expected = np.where(seen, away, np.inf)
            if own is not None:
                np.fill_diagonal(expected, np.inf)
            positions, distances = nearest(points, rows, points, spans, own)
            np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-14)
            found = np.isfinite(distances)
            np.testing.assert_array_equal(positions[found], expected.argmin(axis=1)[found])


@pytest.mark.parametrize("kind", ["", *CROWDS])
def test_dsa_keeps_its_memory_bounded(kind):
    data = crowded(kind, n_train=20_000, n=1000, neurons=32, dtype=np.float32)
    tracemalloc.start()
    try:
        dsa(*data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Copies of the traces, 20,000 * 32 * (4 + 4) bytes = 5 MB, and a few work arrays.
    assert peak < 2.5 * CHUNK_BYTES


def test_dsa_scores_training_inputs_zero_unless_self_is_excluded():
    train, train_classes, traces, classes = clusters(n_train=60, n=20)
    both, of_both = np.concatenate([train, traces]), np.concatenate([train_classes, classes])
    assert not dsa(train, train_classes, both, of_both)[:60].any()

    scores = dsa(train, train_classes, both, of_both, exclude_self=True)
    left_out = [
        dsa_by_double_loop(
            np.delete(train, i, axis=0), np.delete(train_classes, i), train[[i]], train_classes[[i]]
        )[0]
        for i in range(60)
    ]
    np.testing.assert_allclose(scores[:60], left_out, rtol=1e-12)
    np.testing.assert_allclose(scores[60:], dsa(train, train_classes, traces, classes))
    with pytest.raises(ValueError, match="training traces as first rows"):
        dsa(train, train_classes, traces, classes, exclude_self=True)


def test_dsa_of_a_single_class_orders_by_distance():
    train = np.array([[1.0], [-1.0]])  # root mean square distance from the mean: 1
    notes = []
    scores = dsa(train, np.zeros(2, int), np.array([[1.5], [4.0]]), np.zeros(2, int), notes=notes)
    np.testing.assert_allclose(scores, [0.5, 3.0])
    assert notes == ["a single class in training: ordered by distance alone"]


def test_dsa_of_a_class_never_predicted_in_training():
    train, train_classes = np.array([[0.0], [3.0]]), np.array([0, 1])
    notes = []
    # Nearest of all: 3 at distance 1, whose nearest of another class is 0 at 3.
    scores = dsa(train, train_classes, np.array([[4.0]]), np.array([7]), notes=notes)
    np.testing.assert_allclose(scores, [1 / 3])
    assert "1 inputs of class 7 compared with all classes" in notes[0]


def test_dsa_with_a_trace_shared_by_two_classes():
    train, train_classes = np.array([[0.0], [0.0], [1.0]]), np.array([0, 1, 0])
    notes = []
    traces = np.array([[0.0], [0.1], [-0.2]])
    scores = dsa(train, train_classes, traces, np.zeros(3, int), notes=notes)
    assert scores[0] == 0 and np.isfinite(scores).all()
    assert scores[2] > scores[1] > 1e12  # a divisor of 0 stays the most surprising, in order
    assert "shared by two classes" in notes[0]


def test_dsa_exclude_self_with_lone_traces_stays_finite():
    train, train_classes = np.array([[0.0], [1.0], [5.0]]), np.array([0, 1, 1])
    # Class 0 has no other trace: nearest of the others is 1 at 1, whose nearest other class is 0.
    scores = dsa(train, train_classes, train, train_classes, exclude_self=True)
    np.testing.assert_allclose(scores, [1 / 1, 4 / 5, 4 / 1])
    assert dsa(train[:1], [0], train[:1], [0], exclude_self=True) == [0.0]


# --- LSA --------------------------------------------------------------------------------------


def test_lsa_by_hand():
    # Two traces 0 and 2: variance 2 (n - 1), Scott's factor 2^(-1/5), kernel variance
    # h2 = 2 * 2^(-2/5). At 1 both kernels give exp(-1 / (2 h2)) / sqrt(2 pi h2).
    h2 = 2 * 2 ** (-2 / 5)
    scores = lsa(np.array([[0.0], [2.0]]), np.zeros(2, int), np.array([[1.0]]), np.zeros(1, int))
    np.testing.assert_allclose(scores, [1 / (2 * h2) + 0.5 * np.log(2 * np.pi * h2)], rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lsa_equals_scipy(dtype):
    train, train_classes, traces, classes = clusters(dtype=dtype)
    train[:, 0] *= 1000  # scales far apart must not matter
    traces[:, 0] *= 1000
    np.testing.assert_allclose(
        lsa(train, train_classes, traces, classes),
        lsa_by_scipy(train, train_classes, traces, classes),
        rtol=1e-10,
    )


@pytest.mark.parametrize(
    ("n_train", "n", "neurons", "n_classes"),
    [(15_000, 3_000, 24, 43), (1_000, 300, 3, 10), (600, 2_000, 8, 2), (200, 40, 1, 1)],
)
def test_lsa_equals_scipy_at_any_size(n_train, n, neurons, n_classes):
    train, train_classes, traces, classes = clusters(n_train, n, neurons, n_classes)
    expected = np.empty(n)
    for label in np.unique(classes):
        kde = gaussian_kde(train[train_classes == label].T)
        expected[classes == label] = -kde.logpdf(traces[classes == label].T)
    np.testing.assert_allclose(lsa(train, train_classes, traces, classes), expected, rtol=1e-9)


def test_small_products_stay_on_one_thread_and_large_ones_do_not():
    """With a second thread, 43 classes of 350 traces took twice SciPy's time on a busy machine."""

    def threads():
        return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    with threadpool_limits(2, user_api="blas"):
        for multiplications, expected in ((9e3, 2), (2e4, 1), (349 * 94 * 24, 1), (2e9, 2)):
            with fitting_threads(multiplications):
                assert threads() == expected
            assert threads() == 2


def test_lsa_stays_finite_where_the_density_underflows():
    train, train_classes, traces, classes = clusters()
    far = lsa(train, train_classes, traces + 1e6, classes)
    assert np.isfinite(far).all() and far.min() > 1e6
    assert np.isfinite(lsa(train, train_classes, traces * 1e60, classes)).all()


def test_lsa_leaves_out_neurons_that_hardly_vary():
    train, train_classes, traces, classes = clusters(n_train=400, n=30)
    rng = np.random.default_rng(5)
    still = [0.5 + 0.002 * rng.normal(size=(len(x), 1)) for x in (train, traces)]  # var 4e-6
    notes = []
    scores = lsa(
        np.hstack([train, still[0]]),
        train_classes,
        np.hstack([traces, still[1]]),
        classes,
        notes=notes,
    )
    np.testing.assert_allclose(scores, lsa(train, train_classes, traces, classes), rtol=1e-12)
    assert notes == ["1 of 7 neurons left out (training variance below 1e-05)"]


def test_lsa_without_any_neuron_left_is_zero():
    notes = []
    scores = lsa(np.ones((5, 3)), np.arange(5), np.ones((2, 3)), np.zeros(2, int), notes=notes)
    assert scores.tolist() == [0.0, 0.0] and "no neuron left" in notes[-1]


def singular(kind, train, train_classes):
    """Make class 0 singular."""
    rows = np.flatnonzero(train_classes == 0)
    if kind == "a dead neuron":
        train[rows, 2] = 0
    elif kind == "collinear neurons":
        train[rows, 2] = 3 * train[rows, 1]
    elif kind == "fewer traces than neurons":
        train_classes[rows[3:]] = 1
    elif kind == "two traces":
        train_classes[rows[2:]] = 1


@pytest.mark.parametrize(
    "kind", ["a dead neuron", "collinear neurons", "fewer traces than neurons", "two traces"]
)
def test_lsa_shrinks_a_singular_covariance(kind):
    train, train_classes, traces, classes = clusters()
    singular(kind, train, train_classes)
    members, notes = train[train_classes == 0], []
    scores = lsa(train, train_classes, traces, classes, notes=notes)
    assert notes == ["covariance singular, shrunk: class 0"]

    # By the documented rule, with scikit-learn's Ledoit-Wolf and a plain log-sum-exp.
    n, d = members.shape
    s = np.cov(members.T)
    a = max(ledoit_wolf_shrinkage(members), 1 / n)
    kernel = ((1 - a) * s + a * np.trace(s) / d * np.eye(d)) * n ** (-2 / (d + 4))
    steps = traces[classes == 0][:, None] - members
    exponents = -0.5 * np.einsum("qni,ij,qnj->qn", steps, np.linalg.inv(kernel), steps)
    log_norm = np.log(n) + 0.5 * np.linalg.slogdet(2 * np.pi * kernel)[1]
    expected = log_norm - np.logaddexp.reduce(exponents, axis=1)
    np.testing.assert_allclose(scores[classes == 0], expected, rtol=1e-8)
    others = classes != 0
    np.testing.assert_allclose(
        scores[others],
        lsa_by_scipy(train, train_classes, traces[others], classes[others]),
        rtol=1e-10,
    )


def test_ledoit_wolf_equals_scikit_learn():
    for n in (3, 8, 200):
        x = np.random.default_rng(n).normal(size=(n, 12)) * np.arange(1, 13)
        expected = ledoit_wolf_shrinkage(x)
        np.testing.assert_allclose(_ledoit_wolf(x - x.mean(axis=0)), expected, rtol=1e-9)


@pytest.mark.parametrize("members", ["none", "one", "all the same"])
def test_lsa_of_a_class_without_density_uses_all_training_traces(members):
    train, train_classes, traces, classes = clusters()
    rows = np.flatnonzero(train_classes == 0)
    if members == "all the same":
        train[rows] = train[rows[0]]
    else:
        train_classes[rows[(members == "one") :]] = 1
    notes = []
    scores = lsa(train, train_classes, traces, classes, notes=notes)
    everything = np.zeros(len(train), dtype=int)
    expected = lsa_by_scipy(train, everything, traces, np.zeros(len(traces), dtype=int))
    np.testing.assert_allclose(scores[classes == 0], expected[classes == 0], rtol=1e-10)
    assert f"class 0 ({np.count_nonzero(classes == 0)} inputs)" in notes[-1]


# --- Both: what must hold whatever the traces ---------------------------------------------------


def odd_traces(seed):
    """Few traces with dead neurons, duplicates, lone and missing classes, and wild scales."""
    rng = np.random.default_rng(seed)
    n, neurons = int(rng.integers(1, 40)), int(rng.integers(1, 12))
    train = np.maximum(rng.normal(size=(n, neurons)), 0) * 10.0 ** rng.integers(-8, 9, neurons)
    train = train[rng.integers(n, size=n)]
    traces = np.concatenate([train, 3 * train[::-1] + rng.normal(size=(n, neurons))])
    n_classes = int(rng.integers(1, 6))
    dtype = rng.choice([np.float32, np.float64])
    return (
        train.astype(dtype),
        rng.integers(n_classes, size=n),
        traces.astype(dtype),
        rng.integers(n_classes + 1, size=2 * n),
    )


@pytest.mark.parametrize("metric", [lsa, dsa])
def test_scores_of_odd_traces_are_finite_and_follow_the_inputs(metric):
    for seed in range(150):
        train, train_classes, traces, classes = odd_traces(seed)
        before = train.copy(), traces.copy()
        scores = metric(train, train_classes, traces, classes)
        assert scores.dtype == np.float64 and scores.shape == (len(traces),)
        assert np.isfinite(scores).all(), seed
        order = np.random.default_rng(seed).permutation(len(traces))
        shuffled = metric(train, train_classes, traces[order], classes[order])
        np.testing.assert_allclose(shuffled, scores[order], rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(before[0], train)
        np.testing.assert_array_equal(before[1], traces)


def test_dsa_of_odd_traces_equals_the_double_loop_where_it_is_defined():
    compared = 0
    for seed in range(150):
        train, train_classes, traces, classes = odd_traces(seed)
        known = np.isin(classes, train_classes)
        if len(np.unique(train_classes)) < 2 or not known.any():
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = dsa_by_double_loop(train, train_classes, traces[known], classes[known])
        scores = dsa(train, train_classes, traces, classes)[known]
        good = np.isfinite(expected)
        np.testing.assert_allclose(scores[good], expected[good], rtol=1e-9)
        compared += np.count_nonzero(good)
    assert compared > 1000


@pytest.mark.parametrize("metric", [lsa, dsa])
def test_order_of_training_traces_does_not_matter(metric):
    train, train_classes, traces, classes = clusters()
    order = np.random.default_rng(0).permutation(len(train))
    np.testing.assert_allclose(
        metric(train[order], train_classes[order], traces, classes),
        metric(train, train_classes, traces, classes),
        rtol=1e-10,
    )


@pytest.mark.parametrize("metric", [lsa, dsa])
def test_chunks_do_not_change_scores(metric, monkeypatch):
    data = clusters()
    whole = metric(*data)
    for size in (1, 4096, 20000):
        monkeypatch.setattr("utils.metrics.traces.CHUNK_BYTES", size)
        monkeypatch.setattr("utils.metrics.traces.CHUNK_BYTES", size)
        monkeypatch.setattr("utils.metrics.neighbours.BLOCK_ROWS", 7)
        np.testing.assert_allclose(metric(*data), whole, rtol=1e-12)


@pytest.mark.parametrize("metric", [lsa, dsa])
def test_nothing_to_score(metric):
    train, train_classes, traces, _ = clusters()
    assert metric(train, train_classes, traces[:0], []).shape == (0,)


@pytest.mark.parametrize("metric", [lsa, dsa])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traces": np.zeros((2, 5))}, "expected 6 neurons as in train_traces, got 5"),
        ({"traces": np.full((80, 6), np.inf)}, "traces: expected finite"),
        ({"train_traces": np.full((300, 6), np.nan)}, "train_traces: expected finite"),
        ({"train_traces": np.zeros((300, 2, 3))}, "train_traces: expected shape"),
        ({"train_traces": np.zeros((0, 6)), "train_classes": []}, "at least one training trace"),
        ({"classes": np.zeros(3, int)}, r"classes: .* shape \(80,\), got shape \(3,\)"),
        ({"classes": np.zeros((80, 3))}, "argmax"),
        ({"train_classes": np.zeros(300)}, "train_classes: .* float64"),
    ],
)
def test_errors_name_the_array(metric, change, message):
    names = ("train_traces", "train_classes", "traces", "classes")
    data = dict(zip(names, clusters(), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        metric(**data)


# --- The registry -----------------------------------------------------------------------------


def outcome(seed=0):
    train, train_classes, traces, classes = clusters(seed=seed, dtype=np.float32)
    return (
        train,
        np.eye(3, dtype=np.float32)[train_classes] * 0.7 + 0.1,
        traces,
        np.eye(3, dtype=np.float32)[classes] * 0.4 + 0.2,
    )


def test_registry_has_the_metrics_of_the_study():
    study = ["nc", "lsa", "dsa", "deepgini", "softmax_entropy", "random"]
    assert list(METRICS) == [*study, "adversarial_first"]
    assert all(metric.id == key and metric.reference for key, metric in METRICS.items())


def test_score_all():
    data = outcome()
    scores, table = score_all(METRICS, *data, seed=3)
    train, p_train, adv, p_adv = data
    traces, p = np.concatenate([train, adv]), np.concatenate([p_train, p_adv])
    grouped = (train, p_train.argmax(axis=1), traces, p.argmax(axis=1))
    np.testing.assert_array_equal(scores["nc"], neuron_coverage(traces))
    np.testing.assert_array_equal(scores["lsa"], lsa(*grouped))
    np.testing.assert_array_equal(scores["dsa"], dsa(*grouped))
    np.testing.assert_array_equal(scores["deepgini"], deepgini(p))
    np.testing.assert_array_equal(scores["softmax_entropy"], softmax_entropy(p))
    assert all(s.shape == (380,) and s.dtype == np.float64 for s in scores.values())
    assert table.columns.tolist() == ["metric", "name", "seconds", "energy_kwh", "notes"]
    assert table["metric"].tolist() == list(METRICS) and (table["seconds"] > 0).all()
    assert (table["energy_kwh"] >= 0).all()


def test_what_a_forward_pass_must_see():
    parts = ["train"], ["adv_train"], ["train", "adv_train"]
    seen = {m: [METRICS[m].forward_parts(ordered) for ordered in parts] for m in METRICS}
    both = ["adv_train", "train"]
    assert seen["nc"] == seen["deepgini"] == [["train"], ["adv_train"], both]
    assert seen["lsa"] == seen["dsa"] == [["train"], both, both]
    assert seen["random"] == seen["adversarial_first"] == [[], [], []]


def test_random_scores_come_from_the_seed():
    draws = [score_all(["random"], *outcome(), seed=seed)[0]["random"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert len(np.unique(draws[0])) == 380 and 0 <= draws[0].min() < draws[0].max() < 1


def test_score_all_passes_options_and_notes_on():
    data = outcome()
    data[0][:, 0] = data[2][:, 0] = 1.0
    ids = ("nc", "lsa", "dsa")
    scores, table = score_all(ids, *data, threshold=0.6, variance_threshold=1e-3, exclude_self=True)
    traces = np.concatenate([data[0], data[2]])
    np.testing.assert_array_equal(scores["nc"], neuron_coverage(traces, 0.6))
    assert scores["dsa"][:300].min() > 0
    assert table["notes"].tolist()[1] == "1 of 6 neurons left out (training variance below 0.001)"


def test_score_all_errors():
    train, p_train, adv, p_adv = outcome()
    with pytest.raises(ValueError, match=r"expected some of nc, lsa, .*, got 'dsaa'"):
        score_all(["dsa", "dsaa"], train, p_train, adv, p_adv)
    with pytest.raises(ValueError, match="adv_probabilities: expected one row for each of the 80"):
        score_all(["nc"], train, p_train, adv, p_adv[1:])
