"""Reading, splitting, and the checks of what is read back."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pictures import tree, write_folder
from utils.core.paths import Workspace
from utils.data.arrays import describe, load_splits, save_splits
from utils.data.raw.arrays import from_parts
from utils.data.registry import read_raw, read_splits, split


def colours(n=60, classes=3, seed=0):
    """Images of one colour a class, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = (labels[:, None, None, None] * 60 + rng.integers(0, 40, (n, 6, 6, 3))).astype(np.uint8)
    return images, labels


def raw_of(images, labels, classes=3):
    return from_parts({"": (images, labels)}, "made", [*map(str, range(classes))])


def splits_of(raw, **options):
    plan = split("mine", raw, **options)
    return read_splits(raw, plan, raw.found_shape())[0]


def test_digits_are_read_as_they_are():
    raw = read_raw("digits")
    images, broken = raw.read(np.arange(1797), raw.found_shape())
    assert images.shape == (1797, 8, 8, 1) and images.dtype == np.float32 and not broken
    assert images.min() == 0 and images.max() == 1
    assert np.bincount(raw.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_splits_hold_the_images_of_the_plan():
    images, labels = colours(90)
    images[..., 0] = np.arange(90)[:, None, None]  # every image tells its number
    raw = raw_of(images, labels)
    plan = split("mine", raw, shares=[80, 10, 10], split_seed=3)
    parts, broken = read_splits(raw, plan, raw.found_shape())
    assert not broken and plan.sizes == {"train": 72, "val": 9, "test": 9}
    for name in ("train", "val", "test"):
        x, y, positions = getattr(parts, f"x_{name}"), getattr(parts, f"y_{name}"), plan._asdict()
        assert np.array_equal(np.round(x[:, 0, 0, 0] * 255), positions[name])
        assert np.array_equal(y, labels[positions[name]])


def test_images_that_do_not_fit_in_memory_are_refused():
    raw = raw_of(*colours(90))
    with pytest.raises(ValueError, match="image_size: 90 images of 99999x99999x3 need"):
        read_splits(raw, split("mine", raw), (99_999, 99_999, 3))


def test_written_splits_are_read_back_and_duplicates_counted(tmp_path):
    workspace = Workspace(tmp_path)
    images, labels = colours()
    raw = raw_of(np.tile(images[:30], (2, 1, 1, 1)), np.tile(labels[:30], 2))
    parts = splits_of(raw)
    description = save_splits(workspace, "mine", parts, raw)
    back = load_splits("mine", workspace)
    for a, b in zip(parts, back, strict=True):
        assert np.array_equal(a, b) and a.dtype == b.dtype
    train = {x.tobytes() for x in parts.x_train}
    in_val = sum(x.tobytes() in train for x in parts.x_val)
    seen = train | {x.tobytes() for x in parts.x_val}
    in_test = sum(x.tobytes() in seen for x in parts.x_test)
    assert description["duplicates_across_splits"] == in_val + in_test > 0


def test_broken_images_are_in_no_split(tmp_path):
    files = {**tree(n=20), "red/broken.png": b"", "blue/broken.png": b""}
    raw = read_raw("mine", write_folder(tmp_path / "in", files))
    plan = split("mine", raw)
    parts, broken = read_splits(raw, plan, (10, 8, 3), max_broken=2)
    assert sorted(b.name for b in broken) == ["blue/broken.png", "red/broken.png"]
    assert sum(plan.sizes.values()) == 62
    assert sum(len(y) for y in (parts.y_train, parts.y_val, parts.y_test)) == 60
    for x, y in ((parts.x_train, parts.y_train), (parts.x_val, parts.y_val)):
        assert np.array_equal(x.mean((1, 2)).argmax(1), 2 - y)  # labels still fit
    save_splits(Workspace(tmp_path), "mine", parts, raw, broken=broken)
    listed = describe("mine", Workspace(tmp_path))["broken"]
    assert min(listed) == ["blue/broken.png", "empty or unreadable"]


def test_an_npz_file_of_the_users_own(tmp_path):
    images, labels = colours()
    np.savez(tmp_path / "a.npz", x=images, y=labels, class_names=["red", "green", "blue"])
    raw = read_raw("mine", tmp_path / "a.npz")
    read, _ = raw.read(np.arange(60), raw.found_shape())
    assert read.shape == (60, 6, 6, 3) and np.allclose(read, images / 255)
    assert raw.class_names == ["red", "green", "blue"]
    np.savez(
        tmp_path / "b.npz",
        x_train=images[:40, ..., 0],
        y_train=labels[:40],
        x_test=images[40:, ..., 0],
        y_test=labels[40:, None],
    )
    raw = read_raw("mine", tmp_path / "b.npz")
    assert raw.found_shape() == (6, 6, 1)
    assert split("mine", raw).sizes == {"train": 31, "val": 9, "test": 20}


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
        ({"x": np.zeros((60, 3, 6, 6))}, "expected 1, 3 or 4 channels, last"),
        ({"x": np.full((60, 6, 6), -1)}, r"expected image values in 0\.\.1, .* got -1"),
        ({"x": np.full((60, 6, 6), 3.0)}, r"expected image values in \[0, 1\] .* got 3 to 3"),
        ({"x": np.array(["a"] * 60).reshape(60, 1, 1)}, "expected numbers"),
        ({"y": np.zeros(59, int)}, "got 60 images, but "),
        ({"y": np.full(60, -1)}, r"expected labels 0, 1, 2, \.\.\., got -1"),
        ({"y": np.zeros(60)}, "expected whole-number labels"),
        (
            {"y": np.arange(60) % 3, "class_names": ["a", "b"]},
            "got 2 class_names, but labels up to 2",
        ),
        ({"y": np.zeros(60, int)}, "at least 2 classes, got only 0"),
        ({"x": np.full((60, 6, 6), 70_000.0)}, "say which value is white with --set white=N"),
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
    workspace = Workspace(tmp_path)
    raw = raw_of(*colours())
    save_splits(workspace, "mine", splits_of(raw), raw)
    path = workspace.data("mine") / "x_val.npy"
    good = np.load(path)
    for bad, message in [
        (np.full_like(good, np.nan), "no NaN"),
        (good[..., :1], r"expected images of shape \(6, 6, 3\)"),
        (good.astype(np.float64), "expected float32"),
        (good[:-1], "int64 labels"),
    ]:
        np.save(path, bad)
        with pytest.raises(ValueError, match=message):
            load_splits("mine", workspace)
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="damaged"):
        load_splits("mine", workspace)
    path.unlink()
    with pytest.raises(ValueError, match=r"x_val\.npy does not exist; run step 0\.0 first"):
        load_splits("mine", workspace)


def test_classes_too_small_to_split():
    images, labels = colours()
    labels = np.where(labels == 2, 1, labels)
    labels[0] = 2
    with pytest.raises(ValueError, match=r"to split them; too few of class 2 \(1\)"):
        splits_of(raw_of(images, labels))
