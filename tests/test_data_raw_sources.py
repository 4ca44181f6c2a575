"""What the user brings is understood by looking at it."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys

import numpy as np
import psutil
import pytest

from tests.pictures import CLASSES, encoded, picture, tree, write_folder, write_tar, write_zip
from utils.core.paths import Workspace
from utils.data import registry
from utils.data.raw import downloads
from utils.data.raw.base import Options
from utils.data.raw.layout import arrange
from utils.data.raw.names import is_image
from utils.data.raw.sources import locate, open_raw


def counts(raw):
    return {p: int((raw.parts == p).sum()) for p in sorted(set(raw.parts))}


# --- layouts ---


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("",), {"": 12}),
        (("my pictures/of colours",), {"": 12}),
        (("train",), {"": 12}),
        (("Train", "Test"), {"train": 12, "test": 12}),
        (("data/training", "data/validation", "data/testing"),
         {"train": 12, "val": 12, "test": 12}),
        (("seg_train/seg_train", "seg_test/seg_test"), {"train": 12, "test": 12}),
        (("GTSRB/Final_Training/Images",), {"": 12}),
        (("test/train", "test/val"), {"train": 12, "val": 12}),
        (("training/pets/train", "training/pets/test"), {"train": 12, "test": 12}),
        (("test",), {"": 12}),
    ],
)  # fmt: skip
def test_layouts_in_folders_and_archives(tmp_path, parts, expected):
    files = tree(*parts)
    for path in (
        write_folder(tmp_path / "in", files),
        write_zip(tmp_path / "a.zip", files),
        write_tar(tmp_path / "a.tar.gz", files),
    ):
        raw = open_raw(path)
        assert counts(raw) == expected and raw.class_names == list(CLASSES)
        assert raw.found_shape() == (10, 8, 3)
        images, broken = raw.read(np.arange(len(raw.labels)), (10, 8, 3))
        assert not broken
        assert np.array_equal(images.mean((1, 2)).argmax(1), 2 - raw.labels)  # pixels fit labels


def test_folders_below_a_class_belong_to_it():
    found = arrange(["x/cat/1.png", "x/cat/tabby/2.png", "x/dog/big/brown/3.png"])
    assert found.class_names == ["cat", "dog"] and found.labels.tolist() == [0, 0, 1]


def test_a_class_may_be_called_train():
    found = arrange([f"{name}/{i}.png" for name in ("car", "plane", "train") for i in range(3)])
    assert found.class_names == ["car", "plane", "train"] and set(found.parts) == {""}
    found = arrange([f"train/{name}/{i}.png" for name in ("car", "train") for i in range(3)])
    assert found.class_names == ["car", "train"] and set(found.parts) == {""}


def test_numbered_classes_are_sorted_as_numbers():
    assert arrange([f"{i}/0.png" for i in range(11)]).class_names == [*map(str, range(11))]
    found = arrange(["00010/0.png", "00009/0.png"])
    assert found.class_names == ["00009", "00010"]


@pytest.mark.parametrize("names", [("0", "1", "10", "2"), ("1", "11", "3"), ("9", "10", "a", "B")])
def test_classes_may_be_sorted_as_text(names):
    found = arrange([f"{name}/{i}.png" for name in names for i in range(3)], "text")
    assert found.class_names == sorted(names)
    assert [n.split("/")[0] for n in found.names] == [found.class_names[k] for k in found.labels]


def test_text_order_changes_numbers_of_classes_and_nothing_else(tmp_path):
    workspace = Workspace(tmp_path)
    folder = write_folder(tmp_path / "in", tree(classes=[*map(str, range(43))], n=3))
    both = [
        registry.read_raw("gtsrb", folder, workspace, class_order=o) for o in ("number", "text")
    ]
    a, b = both
    assert a.class_names != b.class_names and b.class_names[2] == a.class_names[10]
    of_places = [
        {n: r.class_names[k] for (_, n), k in zip(r.places, r.labels, strict=True)} for r in both
    ]
    assert of_places[0] == of_places[1]
    np.savez(tmp_path / "a.npz", x=np.full((22, 4, 4), 200), y=np.arange(22) % 11)
    raw = open_raw(tmp_path / "a.npz", Options("text"))
    assert raw.class_names == [*map(str, range(11))] and raw.labels[10] == 10


def test_what_is_in_no_class_is_left_out_with_a_note():
    names = [*tree("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/1.jpg", "x.png"]
    found = arrange(names)
    assert len(found.names) == 24
    assert found.notes == [
        "2 images in no folder of train, val or test, such as seg_pred/seg_pred/1.jpg, were left "
        "out"
    ]
    unlabeled_test = arrange([*tree("Final_Training/Images"), "Final_Test/Images/00000.png"])
    assert set(unlabeled_test.parts) == {"train"}
    assert unlabeled_test.notes == [
        "1 images that lie in no class folder, such as Final_Test/Images/00000.png, were left out"
    ]


def test_an_archive_that_holds_all_twice_is_read_once():
    found = arrange([*tree("Train", "Test"), *tree("train", n=3), *tree("test", n=3)])
    assert sorted(found.parts.tolist()) == ["test"] * 12 + ["train"] * 12
    assert found.notes == [
        f"9 images in a second folder of {part} images, such as {part}/blue/0.png, were left out"
        for part in ("train", "test")
    ]


def test_tracks_are_understood():
    names = tree("train", names="00003_{i:05}.png")
    found = arrange([*names, *tree("test", names="{i:05}.png")])
    tracks = found.tracks[found.parts == "train"]
    assert len(set(tracks)) == 3 and (tracks >= 0).all()  # one track number in each of 3 classes
    assert (found.tracks[found.parts == "test"] == -1).all()
    kaggle = arrange(
        [f"Train/{c}/{c:05}_{t:05}_{i:05}.png" for c in (0, 1) for t in (0, 1) for i in (0, 1)]
    )
    assert len(set(kaggle.tracks)) == 4
    assert arrange(list(tree())).tracks is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "2.png"], "at least 2 classes with images, got none"),
        (["cat/1.png", "cat/2.png"], "at least 2 classes with images, got only cat"),
        ([*tree("train"), *tree("test"), "test/cyan/1.png"], "test images of class cyan"),
        ([*tree("train"), *tree("test", classes=["Blue", "Red"])], "test images of class Blue"),
    ],
)
def test_bad_layouts_are_explained(names, message):
    with pytest.raises(ValueError, match=message):
        arrange(names)


def test_hidden_and_other_files_are_ignored(tmp_path):
    junk = {
        ".DS_Store": b"",
        "red/.DS_Store": b"",
        "red/Thumbs.db": b"",
        "red/._1.png": b"",
        "__MACOSX/red/1.png": b"",
        ".git/red/1.png": b"",
        "red/notes.txt": b"",
        "a.csv": b"",
    }
    for path in (
        write_folder(tmp_path / "in", {**tree(), **junk}),
        write_zip(tmp_path / "a.zip", {**tree(), **junk}),
    ):
        raw = open_raw(path)
        assert len(raw.labels) == 12
        assert raw.notes[:2] == [
            "1 images in __MACOSX, such as __MACOSX/red/1.png, were left out",
            "files that are no images: 1 .csv, 1 .db, 1 .txt",
        ]
        assert "hidden files" in raw.notes[2] and len(raw.notes) == 3
    assert is_image("A/B.JPG") and not is_image("a/b.txt") and not is_image("a/.b/c.png")


def test_empty_class_folders_are_left_out_and_said(tmp_path):
    path = write_folder(tmp_path / "in", tree())
    (path / "yellow").mkdir()
    raw = open_raw(path)
    assert raw.class_names == list(CLASSES)
    assert raw.notes == ["folders without files were left out: yellow"]


def test_unicode_names_and_linked_folders(tmp_path):
    names = ("größe", "日本", "a b")
    path = write_folder(tmp_path / "in", tree(classes=names))
    for raw in (
        open_raw(path),
        open_raw(write_zip(tmp_path / "a.zip", tree(classes=names))),
        open_raw(write_tar(tmp_path / "a.tar.gz", tree(classes=names))),
    ):
        assert raw.class_names == sorted(names)
    os.symlink(path / "日本", path / "linked", target_is_directory=True)  # made by the user
    os.symlink(path, path / "loop", target_is_directory=True)
    (path / "größe").rename(path / "z")
    os.symlink(path / "z", path / "a", target_is_directory=True)  # sorts before it
    assert open_raw(path).class_names == sorted(["z", "日本", "a b"])  # each folder once


def test_images_of_several_sizes_become_squares_of_the_median(tmp_path):
    sizes = [(10, 8), (20, 30), (12, 12)]
    path = write_folder(
        tmp_path / "in",
        {
            f"{name}/{size[0]}.png": encoded(picture(label, 0, size))
            for label, name in enumerate(CLASSES)
            for size in sizes
        },
    )
    raw = open_raw(path)
    assert raw.found_shape() == (12, 12, 3)
    assert registry.image_shape("mine", raw) == (12, 12, 3)
    assert registry.image_shape("mine", raw, 16) == (16, 16, 3)
    assert registry.image_shape("mine", raw, 16, "gray") == (16, 16, 1)
    assert registry.image_shape("cifar", raw) == (32, 32, 1)
    assert registry.image_shape("cifar", raw, 0, "rgb") == (32, 32, 3)


# --- arrays ---


def idx(values):
    sizes = np.array(values.shape, ">u4")
    return bytes([0, 0, 8, values.ndim]) + sizes.tobytes() + values.tobytes()


def idx_folder(root, packed=True):
    rng = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (30, 5, 4), dtype=np.uint8),
        "train-labels-idx1-ubyte": (np.arange(30) % 3).astype(np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (9, 5, 4), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": (np.arange(9) % 3).astype(np.uint8),
    }
    files = {name: idx(values) for name, values in arrays.items()}
    if packed:
        files = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    return write_folder(root, files), arrays


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files(tmp_path, packed):
    folder, arrays = idx_folder(tmp_path / "raw", packed)
    raw = open_raw(folder)
    assert counts(raw) == {"test": 9, "train": 30}
    images, _ = raw.read(np.arange(39), raw.found_shape())
    assert np.array_equal(images[:30, ..., 0] * 255, arrays["train-images-idx3-ubyte"])
    one = next(p for p in folder.iterdir() if "train-labels" in p.name)
    assert len(open_raw(one).labels) == 39  # one of the four files stands for all
    one.write_bytes(one.read_bytes()[:-4])
    with pytest.raises(ValueError, match="IDX file"):
        open_raw(folder)
    one.unlink()
    with pytest.raises(ValueError, match=r"IDX file train-labels-.* is missing"):
        open_raw(folder)


def test_arrays_change_colours_and_size(tmp_path):
    pixels = np.stack([np.asarray(picture(i % 3, i)) for i in range(9)])
    for name, x in {"rgb": pixels, "floats": pixels / 255.0, "deep": pixels.astype(np.uint16) * 257,
                    "clear": np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], 3)}.items():  # fmt: skip # noqa: E501
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(9) % 3)
        raw = open_raw(tmp_path / f"{name}.npz")
        assert raw.found_shape() == (10, 8, 3)
        same, _ = raw.read(np.arange(9), (10, 8, 3))
        assert np.allclose(same, pixels / 255, atol=1e-6), name
        gray, _ = raw.read(np.array([4]), (10, 8, 1))
        assert np.allclose(gray[0, ..., 0], pixels[4] / 255 @ [0.299, 0.587, 0.114], atol=1e-6)
        small, _ = raw.read(np.arange(9), (5, 4, 3))
        assert np.allclose(small.mean((1, 2)), (pixels / 255).mean((1, 2)), atol=0.02)
    np.savez(tmp_path / "gray.npz", x=pixels[..., 0], y=np.arange(9) % 3)
    raw = open_raw(tmp_path / "gray.npz")
    assert raw.read(np.arange(9), (10, 8, 3))[0].shape == (9, 10, 8, 3)


def huge(path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000, 9), }\n"
    content = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header
    write_zip(path, {"x.npy": content, "y.npy": b""})


def encrypted(path):
    write_zip(path, {"x.npy": b"1", "y.npy": b"1"})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag of an encrypted member, in its own header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (huge, "not a readable .npz file"),
        (encrypted, "not a readable .npz file"),
        (lambda path: write_zip(path, {"x": b"abc", "y": b"abc"}), "x is no array"),
        (lambda path: np.savez(path, x=np.ones((3, 4, 4)), y=np.arange(3), class_names=list("aab")),
         "expected different class_names, got a, a, b"),
        (lambda path: np.savez(path, z=np.ones(3)), "got z"),
    ],
)  # fmt: skip
def test_bad_npz_files_are_explained(tmp_path, write, message):
    write(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=message) as error:
        open_raw(tmp_path / "a.npz")
    assert "a.npz" in str(error.value) and "\n" not in str(error.value)


def test_arrays_that_fill_the_memory_are_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((99, 64, 64)), y=np.arange(99) % 3)
    folder, _ = idx_folder(tmp_path / "idx")
    free = psutil.virtual_memory()._replace(available=500)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    for path in (tmp_path / "a.npz", folder):
        with pytest.raises(ValueError, match="are free"):
            open_raw(path)


def test_class_names_may_be_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((3, 4, 4)), y=[0, 1, 2], class_names=[b"a", b"b", b"c"])
    assert open_raw(tmp_path / "a.npz").class_names == ["a", "b", "c"]


def test_parts_of_an_npz_file_are_kept_or_joined(tmp_path):
    x, y = np.full((30, 8, 8), 200, np.uint8), np.arange(30) % 10
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    workspace = Workspace(tmp_path)
    assert counts(registry.read_raw("mine", tmp_path / "a.npz", workspace)) == {
        "test": 30,
        "train": 30,
    }
    assert counts(registry.read_raw("mnist", tmp_path / "a.npz", workspace)) == {"": 60}


# --- where it lies, and downloads ---


def test_raw_images_are_found_in_the_workspace(tmp_path):
    workspace = Workspace(tmp_path)
    assert locate("mine", "", workspace) is None
    write_folder(workspace.raw("x"), {})
    path = workspace.raw("mine").with_suffix(".tar.gz")
    path.parent.mkdir(parents=True)
    write_tar(path, tree())
    assert locate("mine", "", workspace) == path
    assert len(registry.read_raw("mine", "", workspace).labels) == 12
    write_folder(workspace.raw("other"), {"kaggle.zip": b""})
    write_zip(workspace.raw("other") / "kaggle.zip", tree())
    assert len(registry.read_raw("other", "", workspace).labels) == 12
    write_folder(workspace.raw("third"), {"my.npz": b""})
    np.savez(workspace.raw("third") / "my.npz", x=np.zeros((9, 4, 4)), y=np.arange(9) % 3)
    assert len(registry.read_raw("third", "", workspace).labels) == 9
    path = write_zip(workspace.raw("fourth").with_suffix(".zip"), tree())
    workspace.raw("fourth").mkdir()
    assert locate("fourth", "", workspace) == path  # an empty folder beside it hides nothing


def test_names_and_numbers_of_classes_are_the_registrys(tmp_path):
    workspace = Workspace(tmp_path)
    numbered = write_folder(tmp_path / "in", tree(classes=[*map(str, range(10))], n=3))
    assert registry.read_raw("fashion", numbered, workspace).class_names[0] == "T-shirt/top"
    named = write_folder(tmp_path / "named", tree(classes=registry.DATASETS["cifar"].class_names))
    assert registry.read_raw("cifar", named, workspace).class_names[-1] == "truck"
    with pytest.raises(ValueError, match="expected the 43 classes of gtsrb, got 10"):
        registry.read_raw("gtsrb", numbered, workspace)


def test_nothing_understood_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    for path, message in [
        ("empty", "no images found; expected train/<class>/<image>"),
        ("a.txt", "expected a folder, an .npz file"),
        ("none", "not found"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            open_raw(tmp_path / path)
        assert "\n" not in str(error.value)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Stands for Keras and kagglehub: a function that says what their functions do."""

    def write(load_data, dataset_download):
        keras = f"import numpy as np\ndef load_data():\n    {load_data}"
        names = ("cifar10", "mnist", "fashion_mnist", "__init__")
        files = {f"keras/datasets/{name}.py": keras.encode() for name in names}
        files["keras/__init__.py"] = b"from keras import config"
        files["keras/config.py"] = b"def set_image_data_format(_): pass"
        kaggle = f"def dataset_download(name):\n    {dataset_download}"
        root = write_folder(tmp_path / "packages", {**files, "kagglehub.py": kaggle.encode()})
        monkeypatch.setenv("PYTHONPATH", str(root))
        monkeypatch.syspath_prepend(root)
        monkeypatch.delitem(sys.modules, "kagglehub", raising=False)

    return write


@pytest.fixture
def offline(monkeypatch, packages):
    """No connection, whatever this machine has."""

    def fail(*_, **__):
        raise OSError("no connection")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", fail)
    packages(*["raise OSError('no connection')"] * 2)


@pytest.mark.parametrize("dataset", downloads.DOWNLOADS)
def test_without_a_connection_one_line_names_what_to_do(tmp_path, offline, dataset):
    with pytest.raises(ValueError) as error:
        registry.read_raw(dataset, "", Workspace(tmp_path / "w"))
    text = str(error.value)
    assert "\n" not in text and "no connection" in text
    assert f"no raw images in {tmp_path / 'w/data/raw' / dataset}" in text  # what was looked for
    assert "; get " in text and "https://" in text  # where to get it
    assert "put it there" in text and f"--raw {dataset}=PATH" in text  # where to put it
    assert not (tmp_path / "w").exists()


def test_a_download_is_checked_and_kept(tmp_path, monkeypatch):
    signs = tree("GTSRB/Final_Training/Images", n=3, classes=[f"{i:05}" for i in range(43)])
    packed = write_zip(tmp_path / "GTSRB_Final_Training_Images.zip", signs)
    monkeypatch.setattr(downloads, "GTSRB_URL", packed.as_uri())
    workspace, said = Workspace(tmp_path / "w"), []
    with pytest.raises(ValueError, match=r"came with MD5 .*, expected f33fd80a"):
        registry.read_raw("gtsrb", "", workspace, said.append)
    assert not workspace.root.exists()
    md5 = hashlib.md5(packed.read_bytes()).hexdigest()
    monkeypatch.setattr(downloads, "GTSRB_MD5", md5)
    raw = registry.read_raw("gtsrb", "", workspace, said.append)
    assert len(raw.labels) == 129 and raw.class_names[14] == "stop"
    monkeypatch.setattr(downloads, "GTSRB_URL", "file:///none")
    assert len(registry.read_raw("gtsrb", "", workspace).labels) == 129  # from the workspace
    assert said == ["downloading gtsrb", "downloading gtsrb"]


def test_keras_and_kaggle_downloads_are_kept(tmp_path, packages):
    kaggle = write_folder(
        tmp_path / "cache",
        tree(
            "seg_train/seg_train",
            "seg_test/seg_test",
            classes=registry.DATASETS["intel"].class_names,
        ),
    )
    one = "np.full((30, 28, 28), 200, np.uint8), np.arange(30) % 10"
    packages(f"return ({one}), ({one})", f"return {str(kaggle)!r}")
    workspace = Workspace(tmp_path / "w")
    assert len(registry.read_raw("mnist", "", workspace).labels) == 60
    assert (workspace.raw("mnist") / "mnist.npz").exists()
    assert counts(registry.read_raw("intel", "", workspace)) == {"test": 24, "train": 24}
    packages("raise OSError", "raise OSError")  # not asked again
    assert len(registry.read_raw("mnist", "", workspace).labels) == 60


# --- links, pipes ---


def test_links_are_followed_as_long_as_they_stay_in_the_folder(tmp_path):
    secret = write_folder(tmp_path / "secret", {"a.png": b"secret", "more/b.png": b"secret"})
    path = write_folder(tmp_path / "in", {**tree(), "hidden/.store/x.png": tree()["red/0.png"]})
    (path / "red" / "out.png").symlink_to(secret / "a.png")
    (path / "red" / "up.png").symlink_to("../../secret/a.png")
    (path / "folder").symlink_to(secret)
    (path / "chain").symlink_to(path / "folder" / "more")
    (path / "red" / "own.png").symlink_to(path / "hidden" / ".store" / "x.png")
    (path / "red" / "nothing.png").symlink_to(path / "gone.png")
    os.mkfifo(path / "red" / "pipe.png")
    (tmp_path / "link").symlink_to(path)  # what the user names may be a link itself
    for named in (path, tmp_path / "link"):
        raw = open_raw(named)
        names = [name for _, name in raw.places if name.startswith("red/")]
        assert names == [f"red/{n}.png" for n in (0, 1, 2, 3, "nothing", "own")]
        assert raw.notes[:2] == [
            "4 links that lead out of the folder were left out",
            "1 devices, pipes or sockets were left out",
        ]
        _, broken = raw.read(np.arange(len(raw.labels)), (10, 8, 3), 1)
        assert [b.name for b in broken.values()] == ["red/nothing.png"]
