"""Intervals and tests over images, against SciPy, published numbers and simulation."""

import numpy as np
import pytest
from scipy import stats

from utils.retraining.outcomes import join, pack
from utils.retraining.selection import paired
from utils.statistics.images import accuracy_interval, compare_networks, mcnemar


def first(k, n):
    return np.arange(n) < k


@pytest.mark.parametrize(("k", "n"), [(37, 50), (0, 20), (20, 20), (800, 1000)])
def test_the_interval_of_one_share_is_wilsons(k, n):
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert accuracy_interval([pack(first(k, n))]) == pytest.approx(tuple(expected))


def test_wilsons_interval_as_newcombe_has_it():
    """Newcombe, Statistics in Medicine 17 (1998), 857-872, table I: 81 of 263, 15 of 148."""
    assert accuracy_interval([pack(first(81, 263))]) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert accuracy_interval([pack(first(15, 148))]) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_two_parts_that_are_the_same_say_no_more_than_one():
    right = first(37, 50)
    assert accuracy_interval([join(right, right)]) == pytest.approx(
        accuracy_interval([pack(right)])
    )


def test_parts_without_correlation_are_put_together_by_square_and_add():
    clean = np.array([1, 1, 0, 0] * 10, bool)
    fresh = np.array([1, 0, 1, 0] * 10, bool)
    low, high = accuracy_interval([join(clean, fresh)])
    one_low, one_high = stats.binomtest(20, 40).proportion_ci(method="wilson")
    assert low == pytest.approx(0.5 - (0.5 - one_low) / np.sqrt(2))
    assert high == pytest.approx(0.5 + (one_high - 0.5) / np.sqrt(2))
    # so are data sets
    both = accuracy_interval([pack(clean), pack(fresh)])
    assert both == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("n", "attacked", "clean", "holds"),
    [(300, 300, 0.85, 0.8), (800, 200, 0.9, 0.3), (100, 100, 0.95, 0.05)],
)
def test_the_interval_of_robust_accuracy_covers_it(n, attacked, clean, holds):
    """What withstands is right without the attack, too; fewer images may be attacked than are."""
    rng = np.random.default_rng(0)
    true, covered = (clean + clean * holds) / 2, []
    for _ in range(400):
        right = rng.random(n) < clean
        low, high = accuracy_interval(
            [join(right, right[:attacked] & (rng.random(attacked) < holds))]
        )
        covered.append(low <= true <= high)
    assert 0.92 <= np.mean(covered) <= 0.99  # 0.95 with a standard error of 0.011


def test_an_accuracy_at_the_edge_still_has_an_interval():
    low, high = accuracy_interval([join(first(50, 50), first(0, 50))])  # all clean, none attacked
    assert 0 < low < 0.5 < high < 1


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (3, 8), (40, 20)])
def test_mcnemars_exact_test_by_its_sum(b, c):
    n = b + c + 7
    one, other = np.zeros((2, n), bool)
    one[:b], other[b : b + c] = True, True
    tail = sum(stats.binom.pmf(range(min(b, c) + 1), b + c, 0.5)) if b + c else 1
    assert mcnemar([(one, other)]) == pytest.approx(min(1, 2 * tail))
    assert mcnemar([(one, other)]) == mcnemar([(other, one)])


def test_counts_of_data_sets_are_added():
    one, none = first(3, 5), first(0, 5)
    assert mcnemar([(one, none), (one, none)]) == pytest.approx(2 / 2**6)


def test_the_difference_has_the_direction_that_is_tested():
    # +0.10 on 100 images, -0.03 on 1,000: more on the mean over data sets, but 30 against 10 images
    small, large = np.arange(100), np.arange(1000)
    own, other = [pack(small < 60), pack(large < 470)], [pack(small < 50), pack(large < 500)]
    found = compare_networks(own, {"random": other})["random"]["mcnemar"]
    (test,) = found.values()
    assert test["difference"] == pytest.approx(-20 / 1100) and test["p"] < 0.05


def test_networks_are_compared_part_by_part():
    clean, fresh = first(80, 100), first(60, 100)
    weak = join(first(79, 100), first(40, 100))
    found = compare_networks([join(clean, fresh)], {"weak": [weak], "same": [join(clean, fresh)]})
    assert found["weak"]["error"] == pytest.approx(np.sqrt(paired(join(clean, fresh), weak)[1]))
    parts = found["weak"]["mcnemar"]
    assert list(parts) == ["on clean images", "under the fresh attack"]
    # Holm: the smallest of four p-values times four
    assert parts["under the fresh attack"]["p"] == pytest.approx(4 * 2 / 2**20)
    assert parts["under the fresh attack"]["difference"] == pytest.approx(0.2)
    assert parts["on clean images"]["p"] == 1
    assert found["same"]["error"] == 0


def test_the_studys_quantity_has_one_part():
    found = compare_networks([pack(first(9, 10))], {"other": [pack(first(5, 10))]})
    (test,) = found["other"]["mcnemar"].values()
    assert test == {"difference": pytest.approx(0.4), "p": pytest.approx(2 / 2**4)}
