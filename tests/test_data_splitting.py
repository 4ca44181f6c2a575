"""Which image goes where."""

from __future__ import annotations

import numpy as np
import pytest

from utils.data.raw.arrays import Arrays
from utils.data.raw.scale import DEEP, Scale, Stored
from utils.data.splitting import plan_split, understood

THIRDS = (0.7, 0.2, 0.1)


def listed(labels, parts="", tracks=None):
    labels = np.asarray(labels)
    return Arrays(
        labels=labels,
        class_names=[*map(str, range(labels.max() + 1))],
        source="made",
        parts=np.broadcast_to(parts, labels.shape),
        tracks=tracks,
        images=np.zeros((len(labels), 1, 1, 1), np.uint8),
        stored=Stored(DEEP, 0, 255),
        scale=Scale(0, 255, ""),
    )


def all_once(plan, n):
    return sorted(np.concatenate([plan.train, plan.val, plan.test])) == list(range(n))


def test_sizes_are_exact_and_every_image_is_used_once():
    labels = np.repeat(np.arange(43), np.linspace(7, 75, 43).astype(int))
    plan = plan_split(listed(labels), (0.8, 0.1, 0.1))
    n = len(labels)
    assert plan.sizes["test"] == plan.sizes["val"] == round(n / 10) and all_once(plan, n)
    for part in (plan.train, plan.val, plan.test):
        share = np.bincount(labels[part], minlength=43) / np.bincount(labels)
        assert np.abs(share - len(part) / n).max() < 1 / 7
    assert plan.how.startswith("80/10/10 % training/validation/test, at random within each class")


def test_the_seed_decides():
    raw = listed(np.arange(300) % 3)
    one, again, other = (plan_split(raw, THIRDS, split_seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.train, again.train) and not np.array_equal(one.train, other.train)


@pytest.mark.parametrize("n_images", [60, 77, 129, 200, 999])
def test_subsets_are_stratified(n_images):
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    plan = plan_split(listed(labels), THIRDS, n_images)
    chosen = np.concatenate([plan.train, plan.val, plan.test])
    n = min(n_images, 200)
    assert len(chosen) == len(set(chosen)) == n
    assert np.abs(np.bincount(labels[chosen]) - np.array([0.6, 0.3, 0.1]) * n).max() <= 1


def test_small_subsets_of_many_classes_work():
    labels = np.repeat(np.arange(43), np.linspace(210, 2250, 43).astype(int))
    plan = plan_split(listed(labels), (0.8, 0.1, 0.1), n_images=400)
    assert plan.sizes == {"train": 320, "val": 40, "test": 40}
    assert len(np.unique(labels[plan.train])) == 43  # every class is learned


@pytest.mark.parametrize("seed", range(5))
def test_no_subset_loses_a_class(seed):
    labels = np.repeat([0, 1], [9980, 20])
    plan = plan_split(listed(labels), THIRDS, n_images=200, split_seed=seed)
    assert sum(plan.sizes.values()) == 200
    assert len(np.unique(labels[plan.train])) == 2
    labels, parts = np.tile(np.arange(40), 20), np.repeat(["train", "test"], 400)
    plan = plan_split(listed(labels, parts), (0.8, 0.2, 0), n_images=200, split_seed=seed)
    assert set(labels[plan.test]) <= set(labels[plan.train]) == set(range(40))


def test_official_parts_stay_what_they_are():
    parts = np.array(["train"] * 90 + ["test"] * 30)
    plan = plan_split(listed(np.arange(120) % 3, parts), (0.8, 0.2, 0))
    assert sorted(plan.test) == list(range(90, 120)) and plan.sizes["val"] == 18
    assert plan.how == (
        "80/20 % training/validation, at random within each class, image by image; "
        "test images as the data set has them"
    )
    own = plan_split(listed(np.arange(120) % 3, parts), THIRDS)
    assert own.sizes == {"train": 70, "val": 20, "test": 30}  # 70 to 20, as among all
    parts[80:90] = "val"
    plan = plan_split(listed(np.arange(120) % 3, parts), THIRDS)
    assert plan.sizes == {"train": 80, "val": 10, "test": 30}
    assert plan_split(listed(np.arange(120) % 3, parts), THIRDS, 60).sizes == {
        "train": 40,
        "val": 5,
        "test": 15,
    }


def test_by_track_no_track_is_on_two_sides():
    labels = np.repeat(np.arange(4), 300)
    tracks = np.arange(1200) // 30
    raw = listed(labels, tracks=tracks)
    plan = plan_split(raw, (0.8, 0.1, 0.1), split_by="track")
    sides = [set(tracks[p]) for p in (plan.train, plan.val, plan.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 40 and all_once(plan, 1200)
    assert plan.sizes == {"train": 960, "val": 120, "test": 120}
    assert "whole tracks only" in plan.how
    assert all(len(np.unique(labels[p])) == 4 for p in (plan.train, plan.val, plan.test))
    by_image = plan_split(raw, (0.8, 0.1, 0.1))
    assert set(tracks[by_image.test]) & set(tracks[by_image.train])
    few = plan_split(raw, (0.8, 0.1, 0.1), n_images=100, split_by="track")
    assert not set(tracks[few.test]) & set(tracks[few.train])


@pytest.mark.parametrize(
    ("raw", "options", "message"),
    [
        (listed([0, 0, 0, 1, 1]), {}, r"3 training images of each class to split them; .* 1 \(2\)"),
        (listed(np.arange(60) % 3), {"split_by": "track"}, "split_by: got 'track', but not all"),
        (listed(np.arange(60) % 3), {"shares": (0.8, 0.2, 0)}, "shares: got none for test"),
        (listed(np.arange(60) % 3), {"n_images": 8}, "for 3 classes; expected at least 9"),
        (listed([0, 0, 0, 2, 2, 2]), {}, r"too few of class 1 \(0\)"),
        (listed([0, 0, 0, 1, 1, 1, 2], [""] * 6 + ["test"]), {}, r"too few of class 2 \(0\)"),
        (listed([0, 0, 1, 2], ["train", "val", "test", "test"]), {}, "1 training image of each"),
        (listed([1, 1, 1, 2, 2, 2]), {}, "do the labels start at 1 instead of 0"),
        (listed([0, 1], "test"), {}, "none for training"),
    ],
)
def test_what_can_not_be_split_is_explained(raw, options, message):
    with pytest.raises(ValueError, match=message):
        plan_split(raw, **{"shares": THIRDS, **options})


def test_what_was_understood_is_two_lines():
    raw = listed(np.arange(60) % 20)
    raw.notes += ["3 images were left out", "a label is wrong"]
    plan = plan_split(raw, THIRDS)
    first, second = understood("mine", raw, plan)
    assert first.startswith("mine: 60 images of 20 classes in made: 0, 1, 2, ")
    assert first.endswith(", ... (20)")
    assert second.startswith("mine: 20 train, 20 val, 20 test images, ") or "train" in second
    assert second.endswith("; 3 images were left out; a label is wrong")
