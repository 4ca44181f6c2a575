"""Folders: what is understood, what is left out and said, what is refused."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.pictures import encoded, picture, tree, write_folder, write_zip
from utils.data.raw import doubts
from utils.data.raw.base import Options
from utils.data.raw.doubts import Doubt
from utils.data.raw.layout import arrange
from utils.data.raw.names import are_pieces, masks, part_of, starts_as_image, technical
from utils.data.raw.sources import open_raw


def names(folders, n=3):
    """Paths of `n` images in each of some folders, separated by spaces."""
    return [f"{folder}/{i}.png" for folder in folders.split() for i in range(n)]


@pytest.mark.parametrize(
    ("part", "spellings"),
    [
        ("train", "train Training TRAIN training_set Train_Data trainset TrainingData train_images "
                  "images_train train2017 train1 seg_train Final_Training trainval "
                  "train-val train-image-set"),
        ("val", "val valid Validation dev eval val_images validset Valid-Set images.val"),
        ("test", "test Testing test_set TestImages testset test_data data_test seg_test"),
        ("", "cats contest latest trainer attest evaluate1d invalid developer protest train_test"),
    ],
)  # fmt: skip
def test_names_of_parts_in_any_spelling(part, spellings):
    assert {name: part_of(name) for name in spellings.split()} == dict.fromkeys(
        spellings.split(), (part, ())
    )


def test_other_words_make_a_name_of_a_part_weaker():
    assert part_of("asl_alphabet_train") == ("train", ("asl", "alphabet"))
    assert part_of("rps-test-set") == part_of("rps_test_images_2") == ("test", ("rps",))
    assert part_of("crash_test_images") == ("test", ("crash",))
    assert part_of("train_station") == ("train", ("station",))


@pytest.mark.parametrize(
    ("folders", "classes", "parts"),
    [
        ("training_set/training_set/x training_set/training_set/y test_set/test_set/x", "x y",
         {"train": 6, "test": 3}),
        ("Data/Train_Data/x Data/Train_Data/y Data/Test_Data/x", "x y", {"train": 6, "test": 3}),
        ("trainset/x trainset/y valset/x testset/y", "x y", {"train": 6, "val": 3, "test": 3}),
        ("sign_train/sign_train/x sign_train/sign_train/y sign_test/sign_test", "x y",
         {"train": 6}),
        ("train/x train/y sign_test/x", "x y", {"train": 6, "test": 3}),
        ("wrap/dataset/train/x wrap/dataset/train/y wrap/dataset/dev/x wrap/extra/plots", "x y",
         {"train": 6, "val": 3}),
        ("x/train x/test y/train y/test z/train", "x y z", {"train": 9, "test": 6}),
        ("x/images/train x/images/valid y/images/train", "x y", {"train": 6, "val": 3}),
        ("car train bus", "bus car train", {"": 9}),
        ("car/red train/steam train/diesel bus/old bus/new", "bus car train", {"": 15}),
        ("train_station mall test_kitchen airport", "airport mall test_kitchen train_station",
         {"": 12}),
        ("control test", "control test", {"": 6}),
        ("invalid valid", "invalid valid", {"": 6}),
        ("mask no_mask", "mask no_mask", {"": 6}),
        ("mask nomask", "mask nomask", {"": 6}),
        ("mask withoutmask", "mask withoutmask", {"": 6}),
        ("x/id1 x/id2 y/id3 y/id4", "x y", {"": 12}),
        ("photo sketch cartoon", "cartoon photo sketch", {"": 9}),
        ("x/images y/images z/images", "x y z", {"": 9}),
        ("x/indoor y/indoor y/outdoor z/indoor", "x y z", {"": 12}),
    ],
)  # fmt: skip
def test_what_is_common_is_understood(folders, classes, parts):
    found = arrange(names(folders))
    assert found.class_names == classes.split() and Counter(found.parts.tolist()) == parts


@pytest.mark.parametrize(
    ("folders", "left", "why"),
    [
        ("x/images x/masks y/images y/masks", 6, "in folders named masks"),
        ("x y x/annotations y/annotations", 6, "in folders named annotations"),
        ("x/x x/x_GT y", 3, "in folders named x_GT"),
        ("x/x x/x-Masks y", 3, "in folders named x-Masks"),
        ("x y y/y_copy", 3, "in folders named y_copy"),
        ("images/x images/y labels/x labels/y", 6, "6 images beside images, such as labels/x"),
        ("train/images/x train/images/y train/GroundTruth/x test/images/x", 3, "no class folder"),
        ("x y masks/x masks/y", 6, "in masks"),
        ("original/x original/y augmented/x augmented/y", 6, "6 images beside original, such as"),
        ("x y @eaDir x/@eaDir", 6, "in @eaDir"),
        ("x y $RECYCLE.BIN", 3, "in $RECYCLE.BIN"),
        ("x y __MACOSX/x", 3, "in __MACOSX"),
        ("pets/x pets/y pets/pets/x pets/pets/y", 6, "which copies what lies beside it"),
        ("train/x train/y test/x pets", 3, "in no folder of train, val or test"),
    ],
)
def test_what_is_no_class_is_left_out_and_said(folders, left, why):
    found = arrange(names(folders))
    assert found.class_names == ["x", "y"]
    (note,) = found.notes
    assert note.startswith(f"{left} images ") and why in note
    assert len(found.names) == len(names(folders)) - left


@pytest.mark.parametrize(
    ("folders", "found"),
    [
        ("train test", "test (3 images), train (3 images) are named as parts"),
        ("train val test", "are named as parts"),
        ("digits_train digits_test", "are named as parts"),
        ("fold_0/x fold_0/y fold_1/x fold_1/y", "fold_0, fold_1 look like no class"),
        ("fold1/train/x fold1/train/y fold2/train/x fold2/train/y", "give the path of one"),
        ("40X/x 40X/y 100X/x 100X/y", "100X, 40X look like no class"),
        ("x/40X x/100X y/40X y/100X", "hold the same folders (100X, 40X)"),
        ("red/x red/y blue/x blue/y", "blue, red hold the same folders (x, y)"),
        ("x/left x/right y/left y/right", "x, y hold the same folders (left, right)"),
        ("x y masks", "masks looks like no class"),
        ("images labels", "labels, images look like no class"),
        ("x y augmented", "augmented looks like no class"),
        ("part_1 part_2 part_3", "look like one in pieces"),
        ("scans_batch1 scans_batch2", "look like one in pieces"),
        ("train/x train/y more/x more/y", "beside it lies more"),
        ("train/x train/y sample", "beside it lies sample"),
        ("a/train/x a/train/y b/train/v b/train/w", "give the path of one data set"),
        ("train/x train/y train2/x train2/z", "are no copies of each other"),
        ("x y z pets/x pets/y/new", "are no copies of each other"),
        ("x/train/a x/train/b y", "x holds official parts"),
        ("cat dog test", "test looks like no class"),
        ("cat dog valid", "valid looks like no class"),
        ("cats dogs birds Testing1", "Testing1 looks like no class"),
        ("pet_dataset/x pet_dataset/y old_pet_testset", "old_pet_testset looks like no class"),
        ("photos/x photos/y photos-test-set", "photos-test-set looks like no class"),
        ("cat cat_masks dog dog_masks", "cat_masks, dog_masks look like no class"),
        ("cat dog dog-Copy", "dog-Copy looks like no class"),
        ("x/a_ok x/b_ok y/c_ok y/d_ok", "which are the classes?"),
        ("kits/lung/n kits/lung/aca kits/colon/m kits/colon/scc", "which are the classes?"),
        ("101/0 101/1 102/0 103/0 104/1", "hold the same folders (0, 1)"),
        ("x y test/x test/y", "which also lie beside it: put the latter into a folder train"),
    ],
)
def test_what_is_ambiguous_is_refused_in_one_line(folders, found):
    with pytest.raises(Doubt) as error:
        arrange(names(folders))
    assert found in str(error.value) and "--set leave_out=" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_user_sets_what_is_meant(tmp_path):
    assert arrange(names("x y masks"), leave_out=["masks"]).class_names == ["x", "y"]
    assert arrange(names("x y masks"), leave_out=["none"]).class_names == ["masks", "x", "y"]
    found = arrange(names("fold_0/x fold_0/y fold_1/x fold_1/y"), leave_out=["fold_1"])
    assert found.class_names == ["x", "y"] and len(found.names) == 6
    assert arrange(names("x/left x/right y/left y/right"), leave_out=["none"]).notes == []
    files = {name: encoded(picture(0, i)) for i, name in enumerate(names("x y Old_Masks"))}
    files = {name.replace("Old_", "Old "): content for name, content in files.items()}
    path = write_folder(tmp_path / "in", files)
    assert open_raw(path, Options(leave_out=["old_masks"])).class_names == ["x", "y"]
    with pytest.raises(ValueError, match="leave_out: no folder or file named z in"):
        open_raw(path, Options(leave_out=["z"]))


def test_masks_beside_their_images_are_left_out():
    found = arrange(
        [
            f"{c}/{c} ({i}){end}.png"
            for c in ("benign", "normal")
            for i in range(3)
            for end in ("", "_mask", "_mask_1")
        ]
    )
    assert len(found.names) == 6 and "12 images that are masks" in found.notes[0]
    assert masks(["a/mask.png", "a/the_mask.png", "a/b_seg.png", "c/b.png"]) == []


def test_folders_within_a_class_are_said():
    assert arrange(names("cat dog/husky dog/poodle")).notes == [
        "images in folders within dog are of that class"
    ]
    assert arrange(names("cat/new/id1 cat/new/id2 dog dog/old")).notes == [
        "images in folders within cat, dog are of that class"
    ]


@pytest.mark.parametrize(
    "classes", [("Cat", "cat", "dog"), ("hot dog", "Hot_Dog", "x"), ("é", "e\u0301", "x")]
)
def test_names_of_classes_that_seem_to_be_one_are_refused(tmp_path, classes):
    files = {
        f"{c}/{i}.png": encoded(picture(k, i)) for k, c in enumerate(classes) for i in range(3)
    }
    path = write_folder(tmp_path / "in", files)
    with pytest.raises(ValueError, match="seem to be one; give them one name"):
        open_raw(path)
    assert len(open_raw(path, Options(leave_out=["none"])).class_names) == 3


def test_letters_in_two_cases_are_two_classes():
    assert arrange(names("A a B b")).class_names == ["A", "B", "a", "b"]
    doubts.of_names(["A", "a", "C", "C++"])


def test_words_of_names():
    assert technical(["cat", "Ground Truth", "train_masks", "with_mask"]) == [
        "Ground Truth",
        "train_masks",
    ]
    assert are_pieces(["images_001", "images_002"]) and not are_pieces(["class1", "class2"])
    assert not are_pieces(["0", "1"])


# --- files ---


@pytest.mark.parametrize("pack", [write_folder, write_zip])
@pytest.mark.parametrize(
    "name", ["{i}.jfif", "{i}.JPE", "{i}.jpg_large", "{i}", "{i}.jpg:large", "{i}.image", "v1.{i}"]
)
def test_images_are_known_by_content_where_the_suffix_does_not_tell(tmp_path, name, pack):
    files = {
        f"{c}/{name.format(i=i)}": encoded(picture(k, i), "JPEG")
        for k, c in enumerate("xyz")
        for i in range(4)
    }
    texts = {"x/LICENSE": b"free", "y/notes.large": b"P7 or not", "z/a.txt": b"", "b.heic": b""}
    raw = open_raw(pack(tmp_path / "in.zip", {**files, **texts}))
    assert len(raw.labels) == 12
    assert raw.notes == [
        "images of kinds that are not understood, left out: 1 .heic",
        "files that are no images: 1 .large, 1 .txt, 1 without suffix",
    ]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_every_format_is_known_by_its_first_bytes(format):
    assert starts_as_image(encoded(picture(0, 0), format)[:16])


@pytest.mark.parametrize("head", [b"", b"BM no image at all", b"PK\x03\x04", b"<html>", b"P7\n"])
def test_other_first_bytes_are_no_image(head):
    assert not starts_as_image(head[:16])


def test_files_are_opened_only_where_their_suffix_does_not_tell(tmp_path, monkeypatch):
    path = write_folder(tmp_path / "in", {**tree(), "red/notes.txt": b""})
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file was opened"))
    assert len(open_raw(path).labels) == 12


# --- copies ---


def copied(tmp_path, shared, n=40):
    files = {
        f"{c}/{i}.png": encoded(picture(0, i + (1000 if c == "y" and i >= shared else 0)))
        for c in "xy"
        for i in range(n)
    }
    return open_raw(write_folder(tmp_path / "in", files))


def test_the_same_images_in_two_classes_are_refused_if_many(tmp_path):
    raw = copied(tmp_path, 3)
    with pytest.raises(ValueError, match=r"6 of 80 images equal one of another class") as error:
        raw.check_labels()
    assert "\n" not in str(error.value)
    raw.doubting = False
    raw.check_labels()
    assert raw.notes


@pytest.mark.parametrize(("shared", "noted"), [(0, []), (1, 2), (2, 4)])
def test_a_few_of_them_are_noted(tmp_path, shared, noted):
    raw = copied(tmp_path, shared)
    raw.check_labels()
    assert len(raw.notes) == bool(noted)
    assert not noted or raw.notes[0].startswith(f"{noted} of 80 images equal one of another class")


def test_a_test_part_that_copies_the_training_part_is_refused(tmp_path):
    one = tree("train", n=10)
    both = {**one, **{n.replace("train", "test"): c for n, c in one.items()}}
    raw = open_raw(write_folder(tmp_path / "in", both))
    with pytest.raises(ValueError, match="30 of 30 validation and test images are training images"):
        raw.check_labels()
    raw.doubting = False
    raw.check_labels()
    open_raw(write_folder(tmp_path / "b", tree("train", "test", n=10))).check_labels()
