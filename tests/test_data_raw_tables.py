"""Tables of labels: which column names images, which their classes, and when that is not clear."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.pictures import encoded, picture, tree, write_folder, write_zip
from utils.data.raw.base import Options
from utils.data.raw.rows import readings
from utils.data.raw.sources import open_raw

ANIMALS = ("cat", "dog", "fish")
PICTURES = [encoded(picture(i % 3, i)) for i in range(24)]


def images(folder, n=12, name="{i}.png"):
    return {f"{folder}/{name.format(i=i)}": PICTURES[i] for i in range(n)}


def table(n=12, name="{i}.png", header="id,label", separator=","):
    rows = (separator.join((name.format(i=i), ANIMALS[i % 3])) for i in range(n))
    return "\n".join([header.replace(",", separator)] * bool(header) + [*rows])


def opened(tmp_path, files, pack=write_folder, **options):
    files = {n: c if isinstance(c, bytes) else c.encode() for n, c in files.items()}
    return open_raw(pack(tmp_path / "in.zip", files), Options(**options))


def labels_of(raw):
    return {place[1]: raw.class_names[k] for place, k in zip(raw.places, raw.labels, strict=True)}


def right(folder, n=12, name="{i}.png", classes=ANIMALS):
    return {f"{folder}/{name.format(i=i)}": classes[i % 3] for i in range(n)}


@pytest.mark.parametrize("pack", [write_folder, write_zip])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.csv", table()),
        ("trainLabels.csv", table(name="{i}")),
        ("train.csv", table(name="train/{i}.png")),
        ("Train.csv", table(name=r"C:\data\train\{i}.png", header="Path,ClassId")),
        ("labels.csv", "\ufeff" + table(name="{i}.png", header="Datei;Klasse", separator=";")),
        ("labels.tsv", table(separator="\t").encode("utf-16")),
        ("labels.txt", table(name="train/{i}.png", header="", separator=" ")),
        ("list.txt", table(name="/somewhere/else/train/{i}.png", header="", separator="  ")),
        ("one_hot.csv", "image,cat,dog,fish\n" + "\n".join(
            f"{i}," + ",".join(f"{float(i % 3 == k)}" for k in range(3)) for i in range(12))),
        ("named.csv", "id,class_id,class_name\n" + "\n".join(
            f"{i},{i % 3},{ANIMALS[i % 3]}" for i in range(12))),
        ("about.csv", "id,age,dx,sex,score\n" + "\n".join(
            f'"{i}",{20 + i % 4},"{ANIMALS[i % 3]}",{"mf"[i % 2]},0.{i}3' for i in range(12))),
    ],
)  # fmt: skip
def test_labels_are_read_from_tables(tmp_path, name, text, pack):
    raw = opened(tmp_path, {**images("train"), name: text}, pack)
    assert labels_of(raw) == right("train")
    assert raw.notes[0].startswith(f"labels are those of {name}, column")


def test_unlabeled_test_images_are_left_out_and_said(tmp_path):
    files = {
        **images("train"),
        **images("test", 5),
        "train.csv": table(),
        "sample_submission.csv": table(5),
    }
    raw = opened(tmp_path, files)
    assert labels_of(raw) == right("train") and set(raw.parts) == {"train"}
    assert "5 images that no label names, such as test/0.png, were left out" in raw.notes


def test_two_folders_of_one_set_and_names_without_suffix(tmp_path):
    files = {
        **images("images_part_1", name="scan_{i}.jpg"),
        **images("images_part_2", name="x{i}.jpg"),
        "metadata.csv": table(name="scan_{i}", header="image_id,dx")
        + "\n"
        + table(name="x{i}", header=""),
    }
    raw = opened(tmp_path, files)
    assert labels_of(raw) == {
        **right("images_part_1", name="scan_{i}.jpg"),
        **right("images_part_2", name="x{i}.jpg"),
    }


@pytest.mark.parametrize(
    "tables",
    [
        {"train.csv": table(9), "test.csv": "id,label\n9.png,cat\n10.png,dog\n11.png,fish"},
        {"train.txt": "\n".join(f"im/{i}.png {i % 3}" for i in range(9)),
         "test.txt": "\n".join(f"im/{i}.png {i % 3}" for i in range(9, 12))},
        {"all.csv": "file,label,split\n" + "\n".join(
            f"{i}.png,{ANIMALS[i % 3]},{'training' if i < 9 else 'TEST'}" for i in range(12))},
    ],
)  # fmt: skip
def test_official_parts_in_tables(tmp_path, tables):
    raw = opened(tmp_path, {**images("im"), **tables})
    assert Counter(raw.parts.tolist()) == {"train": 9, "test": 3}
    assert {place[1] for place, p in zip(raw.places, raw.parts, strict=True) if p == "test"} == {
        "im/9.png",
        "im/10.png",
        "im/11.png",
    }


@pytest.mark.parametrize("prefix", ["", "data/"])
@pytest.mark.parametrize("name", ["{i}.png", "{i}"])
def test_a_table_in_the_folder_of_its_images(tmp_path, name, prefix):
    rows = [f"{name.format(i=i)},{ANIMALS[(i + 1) % 3]}" for i in range(6)]
    other = "\n".join(["id,label", *rows])
    files = {
        **images(f"{prefix}train"),
        f"{prefix}train/metadata.csv": table(name=name),
        **images(f"{prefix}test", 6),
        f"{prefix}test/metadata.csv": other,
    }
    raw = opened(tmp_path, files)
    tested = right(f"{prefix}test", 6, classes=(*ANIMALS[1:], ANIMALS[0]))
    assert labels_of(raw) == {**right(f"{prefix}train"), **tested}
    assert Counter(raw.parts.tolist()) == {"train": 12, "test": 6}


def test_rows_without_image_or_label_are_said(tmp_path):
    text = table(10) + "\n10.png,\n11.png,\ngone.png,cat\n"
    raw = opened(tmp_path, {**images("im"), "labels.csv": text})
    assert labels_of(raw) == right("im", 10)
    assert "1 rows of labels.csv name no image, such as gone.png" in raw.notes
    assert "2 rows of labels.csv have no label; their images were left out" in raw.notes


def test_labels_in_latin_1_with_separators_in_quotes(tmp_path):
    names = ("größe; klein", "bär", "a,b")
    text = "file;label\n" + "\n".join(f'"bild {i}.png";"{names[i % 3]}"' for i in range(12))
    raw = opened(tmp_path, {**images("im", name="bild {i}.png"), "l.csv": text.encode("latin-1")})
    assert labels_of(raw) == right("im", name="bild {i}.png", classes=names)


TWO = "file,colour,shape\n" + "\n".join(
    f"{i}.png,{ANIMALS[i % 3]},{'xy'[i % 2]}" for i in range(12)
)


def numbered(header, suffix=""):
    """A count of rows, the images' own numbers in another order, and labels."""
    rows = [f"{i}{suffix},{11 - i}{suffix},{ANIMALS[i % 3]}" for i in range(12)]
    return "\n".join([header, *rows] if header else rows)


@pytest.mark.parametrize("header", ["row,id,label", ",image,label", "n,file name,label"])
def test_a_count_of_rows_does_not_name_images(tmp_path, header):
    raw = opened(tmp_path, {**images("im"), "a.csv": numbered(header)})
    assert labels_of(raw) == {f"im/{11 - i}.png": ANIMALS[i % 3] for i in range(12)}


def test_a_count_of_rows_that_names_more_images_does_not_name_them(tmp_path):
    text = numbered("row,id,label").replace("\n3,8,", "\n3,77,")  # an image that is missing
    raw = opened(tmp_path, {**images("im"), "a.csv": text})
    assert labels_of(raw) == {f"im/{11 - i}.png": ANIMALS[i % 3] for i in range(12) if i != 3}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": TWO}, "which column holds the labels is not clear: colour, shape; say it with"),
        ({"a.csv": TWO.replace("colour", "class").replace("shape", "category")}, "class, category"),
        ({"a.csv": "f,a,b,c\n" + "\n".join(f"{i},1,{i % 2},0" for i in range(12))}, "got 2 (a, b)"),
        ({"a.csv": table() + "\n0.png,dog\n"}, "1 images have several labels"),
        ({"a.csv": table(), "b.csv": table().replace("cat", "eel")}, "have several labels"),
        (
            {
                "a.csv": "f,label\n"
                + "\n".join(f"{i},{['a', 'b', 'a|b'][i % 3]}" for i in range(12))
            },
            "holds several labels for an image, such as 'a|b'",
        ),
        ({"a.csv": "f,label\n" + "\n".join(f"{i},a" for i in range(12))}, "no names and labels"),
        (
            {
                "a.csv": "f,label\n"
                + "\n".join(f"{i},{['scab', 'rust', 'scab rust'][i % 3]}" for i in range(12))
            },
            "holds 'scab rust', and each of its words, too",
        ),
        (
            {"parts.csv": "f,partition\n" + "\n".join(f"{i}.png,{i % 3}" for i in range(12))},
            "no names and labels of images in parts.csv",
        ),
        (
            {"folds.csv": "f,fold\n" + "\n".join(f"{i}.png,{i % 4}" for i in range(12))},
            "no names and labels of images in folds.csv",
        ),
        (
            {
                "sets.csv": "f,dataset\n"
                + "\n".join(f"{i}.png,{'train' if i % 3 else 'test'}" for i in range(12))
            },
            "no names and labels of images in sets.csv",
        ),
        (
            {
                "a.csv": "one,two,label\n"
                + "\n".join(f"{7 * i % 12},{5 * i % 12},{ANIMALS[i % 3]}" for i in range(12))
            },
            "columns one, two name images, each of them others",
        ),
        ({"a.csv": table(name="z{i}")}, "no names and labels of images in a.csv"),
        ({"a.csv": "id,label\n"}, "no names and labels of images in a.csv"),
        ({"a.csv": "\0\1"}, "no names and labels of images in a.csv"),
        ({}, "got only im"),
        ({"a.csv": numbered("row,number,label")}, "columns row, number name images, each of them"),
        ({"a.csv": numbered("file,path,label", ".png")}, "columns file, path name images, each"),
        ({"a.csv": numbered("")}, "columns 1, 2 name images, each of them others in a row"),
    ],
)
def test_tables_that_are_not_clear_are_refused_in_one_line(tmp_path, files, message):
    with pytest.raises(ValueError) as error:
        opened(tmp_path, {**images("im"), **files})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_user_names_the_column(tmp_path):
    files = {**images("im"), "a.csv": TWO}
    assert opened(tmp_path, files, label_column="Shape").class_names == ["x", "y"]
    assert labels_of(opened(tmp_path, files, label_column="colour")) == right("im")
    with pytest.raises(ValueError, match="got 'size', expected one of colour, shape"):
        opened(tmp_path, files, label_column="size")
    files = {**tree(), "ages.csv": "file,age\n" + "\n".join(f"{c}/{i}.png,{i % 2}" for c in
                                                            ("blue", "green", "red") for i in range(4))}  # fmt: skip # noqa: E501
    assert open_raw(
        write_folder(
            tmp_path / "b", {n: c if isinstance(c, bytes) else c.encode() for n, c in files.items()}
        ),
        Options(label_column="age"),
    ).class_names == ["0", "1"]
    with pytest.raises(ValueError, match=r"label_column: got 'age', but no table"):
        open_raw(write_folder(tmp_path / "c", tree()), Options(label_column="age"))
    files = {**images("im"), "a.csv": table(), "b.csv": table().replace("cat", "eel")}
    assert "eel" in opened(tmp_path / "d", files, leave_out=["a.csv"]).class_names


def test_folders_of_classes_come_before_tables(tmp_path):
    raw = opened(tmp_path, {**tree(), "metadata.csv": "file,kind\nblue/0.png,a\nred/0.png,b\n"})
    assert raw.class_names == ["blue", "green", "red"]


def test_numbers_that_are_names_by_chance_are_no_names(tmp_path):
    rows = [f"{i},im/{11 - i}.png,{ANIMALS[i % 3]}" for i in range(12)]
    text = "\n".join(["index,path,label", *rows])
    raw = opened(tmp_path, {**images("im"), "a.csv": text})
    assert labels_of(raw) == {f"im/{11 - i}.png": ANIMALS[i % 3] for i in range(12)}


@pytest.mark.parametrize("head", ["", "index", "number", "Unnamed: 0"])
def test_a_count_of_rows_names_no_images(tmp_path, head):
    order = [7 * i % 12 for i in range(12)]
    text = "\n".join(
        [f"{head},image_id,label"]
        + [f"{i},{number},{ANIMALS[number % 3]}" for i, number in enumerate(order)]
    )
    raw = opened(tmp_path, {**images("im"), "a.csv": text})
    assert labels_of(raw) == right("im")


def test_an_index_in_any_order_names_no_images(tmp_path):
    rows = [f"{5 * i % 12},{7 * i % 12},{ANIMALS[7 * i % 12 % 3]}" for i in range(12)]
    raw = opened(tmp_path, {**images("im"), "a.csv": "\n".join(["idx,image_id,label", *rows])})
    assert labels_of(raw) == right("im")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a,b\nc,d\n", [["a", "b"], ["c", "d"]]),
        ('"a, b";c\n"d;e";f', [["a, b", "c"], ["d;e", "f"]]),
        ("a\tb c\nd\te f", [["a", "b c"], ["d", "e f"]]),
        ("\n a  b\nc d\n\n", [["a", "b"], ["c", "d"]]),
    ],
)
def test_text_becomes_rows(text, first):
    assert readings(text.encode())[0] == first
