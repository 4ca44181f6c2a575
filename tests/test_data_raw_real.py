"""Real raw files of the study's five data sets; see the fixture `raw_real`."""

from __future__ import annotations

import numpy as np
import pytest

from utils.data.registry import image_shape, read_raw, read_splits, split

FILES = {
    "gtsrb": "gtsrb.tar.gz",
    "intel": "intel.tar.gz",
    "cifar": "cifar10-images.tar.gz",
    "mnist": "mnist.npz",
    "fashion": "fashion-mnist",
}
SIZES = {  # the study's
    "gtsrb": ((48, 48, 1), {"train": 31_367, "val": 3_921, "test": 3_921}),
    "intel": ((48, 48, 1), {"train": 11_226, "val": 2_807, "test": 3_000}),
    "cifar": ((32, 32, 1), {"train": 42_000, "val": 12_000, "test": 6_000}),
    "mnist": ((28, 28, 1), {"train": 49_000, "val": 14_000, "test": 7_000}),
    "fashion": ((28, 28, 1), {"train": 49_000, "val": 14_000, "test": 7_000}),
}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", FILES)
def test_the_study_splits(raw_real, dataset):
    raw = read_raw(dataset, raw_real / FILES[dataset])
    plan = split(dataset, raw)
    shape = image_shape(dataset, raw)
    assert (shape, plan.sizes) == SIZES[dataset]
    few = split(dataset, raw, n_images=300)
    splits, broken = read_splits(raw, few, shape)
    assert not broken and splits.x_train.shape[1:] == shape
    assert 0.1 < splits.x_train.mean() < 0.7 and splits.x_train.std() > 0.1
    assert np.unique(splits.y_train).size == len(raw.class_names)


@pytest.mark.slow
def test_gtsrb_by_track(raw_real):
    raw = read_raw("gtsrb", raw_real / FILES["gtsrb"])
    assert np.bincount(raw.labels)[:5].tolist() == [210, 2220, 2250, 1410, 1980]
    assert len(np.unique(raw.tracks)) == 1307  # 30 frames each, one track has 29
    plan = split("gtsrb", raw, split_by="track")
    sides = [set(raw.tracks[p]) for p in (plan.train, plan.val, plan.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 1307
    assert {plan.sizes["val"], plan.sizes["test"]} <= {3930, 3929}  # 131 tracks each
    by_image = split("gtsrb", raw)
    assert len(set(raw.tracks[by_image.test]) & set(raw.tracks[by_image.train])) > 1000


@pytest.mark.slow
def test_intel_and_mnist_are_whole(raw_real):
    raw = read_raw("intel", raw_real / FILES["intel"])
    assert raw.class_names == ["buildings", "forest", "glacier", "mountain", "sea", "street"]
    train = raw.parts == "train"
    assert np.bincount(raw.labels[train]).tolist() == [2190, 2271, 2404, 2512, 2274, 2382]
    assert raw.found_shape() == (64, 64, 3)  # what the user's own data set would get
    raw = read_raw("mnist", raw_real / FILES["mnist"])
    assert np.bincount(raw.labels).tolist() == [
        6903,
        7877,
        6990,
        7141,
        6824,
        6313,
        6876,
        7293,
        6825,
        6958,
    ]
