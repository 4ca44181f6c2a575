"""Data sets of the user's own, end to end: colour images in an .npz file, a folder of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import run_all
from tests.pictures import picture, tree, write_folder
from utils.datasets import describe, load_splits
from utils.results import read_results
from utils.workspace import Workspace, read_json

QUICK = ["--preset", "smoke", "--configurations", 2, "--metrics", "deepgini", "random",
         "--attacks", "fgsm", "--jobs", 2]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Both data sets in one run: the first by --raw, the second found in the workspace."""
    place = Workspace(tmp_path_factory.mktemp("own"))
    x = np.stack([np.asarray(picture(i % 3, i)) for i in range(120)])
    np.savez(place.root / "colours.npz", x=x, y=np.arange(120) % 3, class_names=["b", "g", "r"])
    files = {**tree("train", n=30), **tree("test", n=10), "train/red/broken.jpg": b"\xff\xd8"}
    write_folder(place.raw("folder"), files)
    result = run_all("--datasets", "colours", "folder", "--raw",
                     f"colours={place.root / 'colours.npz'}", "--workspace", place.root,
                     "--set", "image_size=12", *QUICK)  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return place


@pytest.mark.parametrize("dataset", ["colours", "folder"])
def test_every_step_runs(place, dataset):
    assert load_splits(dataset, place).x_train.shape[1:] == (12, 12, 3)
    results = read_results([place.results(dataset, 0, 2)])
    assert len(results) == 2 * 3  # metrics, points 0 to 2
    assert results["accuracy"].between(0, 1).all()


def test_the_report_says_what_was_split_and_skipped(place):
    about = describe("folder", place)
    assert about["n_images"]["test"] == 30 and about["class_names"] == ["blue", "green", "red"]
    assert "test images as the data set has them" in about["split"]
    assert about["broken"] == [["train/red/broken.jpg", "not an image"]]
    page = place.reports("folder") / "0.0.1-folder-preprocessing.html"
    text = page.read_text(encoding="utf-8")
    assert about["split"] in text and "train/red/broken.jpg" in text
    assert read_json(page.with_suffix(".json"))["state"] == "done"


def test_a_new_picture_makes_the_first_step_stale(place):
    options = ["--datasets", "folder", "--workspace", place.root, "--set", "image_size=12", *QUICK]
    result = run_all(*options, "--steps", "0", "--plan")
    assert "skip  folder/0.0.1-folder-preprocessing" in result.stdout
    picture(0, 99).save(place.raw("folder") / "train" / "blue" / "new.png")
    result = run_all(*options, "--steps", "0", "--plan")
    assert "run   folder/0.0.1-folder-preprocessing" in result.stdout
    assert "input raw changed" in result.stdout
