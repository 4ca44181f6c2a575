"""Which images withstand attacks, on a linear network, with attacks that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from tests.test_attacks import linear
from utils.attacks import robustness
from utils.attacks.norm_ball import fgsm
from utils.attacks.robustness import right, withstands
from utils.networks.activations import predict

EPSILON, N = 0.1, 300


@pytest.fixture(scope="module")
def task():
    """A network, and images of which it gets the first 20 wrong."""
    model = linear([[1, 3], [2, -1]])
    images = np.random.default_rng(5).random((N, 1, 2, 1), np.float32)
    labels = predict(model, images).argmax(axis=1)
    labels[:20] = 1 - labels[:20]
    return model, images, labels


def test_an_image_that_is_wrong_as_it_is_has_not_withstood(task, monkeypatch):
    """Even where the attack happens to end at an image that is classified right."""
    _, images, labels = task
    good = right(*task)
    helps = np.stack([images[good & (labels == label)][0] for label in (0, 1)])
    monkeypatch.setattr(robustness, "pgd", lambda m, x, labels, *_, **__: helps[labels])
    assert np.array_equal(withstands(*task, EPSILON), good) and good.sum() == N - 20


def test_the_worst_of_several_attacks_counts_each_from_a_start_of_its_own(task, monkeypatch):
    model, _, labels = task
    fixed, seeds = fgsm(*task, EPSILON), []

    def pgd(model, images, labels, epsilon, steps, seed):
        seeds.append(seed)
        part = np.arange(N) % 3 == len(seeds) % 3
        return np.where(part[:, None, None, None], fixed, images)

    monkeypatch.setattr(robustness, "pgd", pgd)
    found = withstands(*task, EPSILON, restarts=2, seed=7)
    fooled = ~right(model, fixed, labels)
    assert fooled.sum() > 50
    assert np.array_equal(found, right(*task) & ~(fooled & (np.arange(N) % 3 > 0)))
    assert seeds == [(7, 3), (7, 4)]  # 0 to 2 are those of the adversarial inputs of step 1.1
