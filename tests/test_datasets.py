"""Reading, splitting, and the checks of what is read back."""

from __future__ import annotations

import numpy as np
import pytest

from utils.datasets import Raw, load_splits, read_raw, save_splits, split, split_sizes
from utils.workspace import Workspace


def colours(n=60, classes=3, seed=0):
    """Images of one colour a class, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = (labels[:, None, None, None] * 60 + rng.integers(0, 40, (n, 6, 6, 3))).astype(np.uint8)
    return images, labels


def raw_of(images, labels, classes=3):
    return Raw(
        images.astype(np.float32) / 255,
        labels.astype(np.int64),
        [*map(str, range(classes))],
        "made",
    )


def test_digits_are_read_as_they_are():
    raw = read_raw("digits")
    assert raw.images.shape == (1797, 8, 8, 1) and raw.images.dtype == np.float32
    assert raw.images.min() == 0 and raw.images.max() == 1
    assert np.bincount(raw.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_splits_are_disjoint_stratified_and_seeded():
    raw = raw_of(*colours(200, 4), classes=4)
    raw = raw._replace(images=raw.images + np.arange(200)[:, None, None, None] * 1e-4)  # all differ
    parts = split(raw, split_seed=3)
    assert [len(parts.y_train), len(parts.y_val), len(parts.y_test)] == [140, 40, 20]
    for y in (parts.y_train, parts.y_val, parts.y_test):
        assert len(set(np.bincount(y))) == 1
    pixels = [{image.tobytes() for image in x} for x in (parts.x_train, parts.x_val, parts.x_test)]
    assert len(set.union(*pixels)) == 200  # every image is in one split only
    again, other = split(raw, split_seed=3), split(raw, split_seed=4)
    assert np.array_equal(parts.x_train, again.x_train)
    assert not np.array_equal(parts.x_train, other.x_train)


@pytest.mark.parametrize(("n", "n_images"), [(200, 0), (200, 60), (97, 0), (131, 77), (50, 500)])
def test_split_sizes_are_known_beforehand(n, n_images):
    raw = raw_of(*colours(n))
    parts = split(raw, n_images=n_images)
    sizes = {s: len(getattr(parts, f"y_{s}")) for s in ("train", "val", "test")}
    assert split_sizes(raw, n_images) == sizes


def test_written_splits_are_read_back_and_duplicates_counted(tmp_path):
    place = Workspace(tmp_path)
    images, labels = colours()
    raw = raw_of(np.tile(images[:30], (2, 1, 1, 1)), np.tile(labels[:30], 2))
    parts = split(raw)
    description = save_splits(place, "mine", parts, raw)
    back = load_splits("mine", place)
    for a, b in zip(parts, back, strict=True):
        assert np.array_equal(a, b) and a.dtype == b.dtype
    train = {x.tobytes() for x in parts.x_train}
    in_val = sum(x.tobytes() in train for x in parts.x_val)
    seen = train | {x.tobytes() for x in parts.x_val}
    in_test = sum(x.tobytes() in seen for x in parts.x_test)
    assert description["duplicates_across_splits"] == in_val + in_test > 0


def test_an_npz_file_of_the_users_own(tmp_path):
    images, labels = colours()
    np.savez(tmp_path / "a.npz", x=images, y=labels, class_names=["red", "green", "blue"])
    raw = read_raw("mine", tmp_path / "a.npz")
    assert raw.images.shape == (60, 6, 6, 3) and raw.images.max() <= 1
    assert np.allclose(raw.images, images / 255)
    assert raw.class_names == ["red", "green", "blue"]
    np.savez(tmp_path / "b.npz", x_train=images[:40, ..., 0], y_train=labels[:40],
             x_test=images[40:, ..., 0], y_test=labels[40:, None])  # fmt: skip
    assert read_raw("mine", tmp_path / "b.npz").images.shape == (60, 6, 6, 1)


def test_real_mnist(raw_real):
    raw = read_raw("mnist", raw_real / "mnist.npz")
    assert raw.images.shape == (70000, 28, 28, 1)
    assert np.bincount(raw.labels).tolist() == [
        6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958
    ]  # fmt: skip


def broken_npz(path, **changes):
    images, labels = colours()
    arrays = {"x": images, "y": labels, **changes}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": None}, "expected arrays x_train, y_train, x_test, y_test or x, y; got x"),
        ({"x": np.zeros((60, 6), np.uint8)}, r"expected images of shape .* got \(60, 6\)"),
        ({"x": np.full((60, 6, 6), np.nan)}, "no NaN, got nan"),
        ({"x": np.full((60, 6, 6), 3.0)}, r"expected image values in \[0, 1\] .* got 3 to 3"),
        ({"x": np.array(["a"] * 60).reshape(60, 1, 1)}, "expected numbers"),
        ({"y": np.zeros(59, int)}, "expected 60 int64 labels"),
        ({"y": np.full(60, -1)}, "got -1 to -1"),
        ({"y": np.zeros(60)}, "expected integer labels"),
        (
            {"y": np.arange(60) % 3, "class_names": ["a", "b"]},
            r"expected labels in 0\.\.1, got 0 to 2",
        ),
    ],
)
def test_a_bad_npz_file_is_explained(tmp_path, changes, message):
    broken_npz(tmp_path / "bad.npz", **changes)
    with pytest.raises(ValueError, match=message):
        read_raw("mine", tmp_path / "bad.npz")


def test_missing_truncated_and_pickled_files(tmp_path):
    with pytest.raises(ValueError, match="not found; give the path"):
        read_raw("mine", tmp_path / "none.npz")
    broken_npz(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a readable"):
        read_raw("mine", tmp_path / "a.npz")
    np.savez(tmp_path / "c.npz", x=np.array([{"a": 1}], dtype=object), y=[0])
    with pytest.raises(ValueError, match="not a readable"):
        read_raw("mine", tmp_path / "c.npz")
    with pytest.raises(ValueError, match="not known"):
        read_raw("mine")


def test_damaged_arrays_are_refused(tmp_path):
    place = Workspace(tmp_path)
    raw = raw_of(*colours())
    save_splits(place, "mine", split(raw), raw)
    path = place.data("mine") / "x_val.npy"
    good = np.load(path)
    for bad, message in [
        (np.full_like(good, np.nan), "no NaN"),
        (good[..., :1], r"expected images of shape \(6, 6, 3\)"),
        (good.astype(np.float64), "expected float32"),
        (good[:-1], "int64 labels"),
    ]:
        np.save(path, bad)
        with pytest.raises(ValueError, match=message):
            load_splits("mine", place)
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="damaged"):
        load_splits("mine", place)
    path.unlink()
    with pytest.raises(ValueError, match=r"step 0\.0 makes it"):
        load_splits("mine", place)


def test_classes_too_small_to_split():
    images, labels = colours()
    labels = np.where(labels == 2, 1, labels)
    labels[0] = 2
    with pytest.raises(ValueError, match=r"at least 3 images a class to split them, got 2 \(1\)"):
        split(raw_of(images, labels))
