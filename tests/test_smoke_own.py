"""What the user brings, end to end: an .npz file with a trained network, a folder of pictures."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.conftest import run_all
from tests.pictures import picture, tree, write_folder
from utils.core.files import read_json
from utils.core.paths import Workspace
from utils.data.arrays import describe, load_splits
from utils.networks import files, runtime
from utils.retraining.results import read_results

pytestmark = pytest.mark.slow  # whole runs

QUICK = (
    "--preset smoke --configurations 2 --metrics deepgini random --attacks fgsm --jobs 2 "
    "--set image_size=12"
).split()


def own_network():
    runtime.start()
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.GlobalMaxPooling2D(),
            layers.Dense(8, "relu"),
            layers.Dense(3),
        ]
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Both data sets in one run: the first by --raw, the second found in the workspace.

    The network has learned nothing, which the run is set to accept.
    """
    workspace = Workspace(tmp_path_factory.mktemp("own"))
    x = np.stack([np.asarray(picture(i % 3, i)) for i in range(120)])
    np.savez(workspace.root / "colours.npz", x=x, y=np.arange(120) % 3, class_names=["b", "g", "r"])
    files = {**tree("test", n=10), **tree("", "train", n=30), "train/red/broken.jpg": b"\xff\xd8"}
    files = {name: content for name, content in files.items() if name[0] == "t"}  # in a part
    write_folder(workspace.raw("folder"), files)
    own_network().save(workspace.root / "own.keras")
    result = run_all(
        *"--datasets colours folder --set accept_weak=true --raw".split(),
        f"colours={workspace.root / 'colours.npz'}",
        *("--workspace", workspace.root),
        *("--model", f"colours={workspace.root / 'own.keras'}"),
        *QUICK,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return workspace


@pytest.mark.parametrize("dataset", ["colours", "folder"])
def test_every_step_runs(workspace, dataset):
    assert load_splits(dataset, workspace).x_train.shape[1:] == (12, 12, 3)
    results = read_results([workspace.results(dataset, 0, 2)])
    assert len(results) == 2 * 3  # metrics, points 0 to 2
    assert results["accuracy"].between(0, 1).all()


def test_the_own_network_is_the_original_model(workspace):
    own = files.load(workspace.root / "own.keras").get_weights()
    original = files.load(workspace.original_model("colours", 0)).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(own, original, strict=True))
    assert not (workspace.models("colours", 0) / "history.csv").exists()
    assert (workspace.models("folder", 0) / "history.csv").exists()


def test_another_model_makes_its_jobs_stale(workspace):
    raw = f"colours={workspace.root / 'colours.npz'}"
    options = [*"--datasets colours --set accept_weak=true --steps 0 --raw".split(), raw]
    options += ["--workspace", workspace.root, *QUICK]
    same = run_all(*options, "--model", workspace.root / "own.keras", "--plan")
    assert "skip  colours/seed-0/0.1.1-colours-original_model_training" in same.stdout
    none = run_all(*options, "--plan")
    assert re.search(r"run   colours/seed-0/0.1.1.*\(own_model: /.* -> nothing\)", none.stdout)
    own_network().save(workspace.root / "own.keras")
    other = run_all(*options, "--model", workspace.root / "own.keras", "--plan")
    assert "input own_model changed" in other.stdout


def test_what_is_made_needs_no_raw_images_any_more(workspace):
    (workspace.root / "colours.npz").rename(workspace.root / "away.npz")
    options = ["--datasets", "colours", "--workspace", workspace.root, "--steps", "0.0"]
    trusted = run_all(*options, "--trust-existing")
    asked = run_all(*options)
    (workspace.root / "away.npz").rename(workspace.root / "colours.npz")
    assert trusted.returncode == 0 and "up to date" in trusted.stdout
    assert asked.returncode == 2 and "bring it with --raw colours=PATH" in asked.stderr


def test_the_report_tells_what_was_split_and_skipped(workspace):
    about = describe("folder", workspace)
    assert about["n_images"]["test"] == 30 and about["class_names"] == ["blue", "green", "red"]
    assert "test images as the data set has them" in about["split"]
    assert about["broken"] == [["train/red/broken.jpg", "not an image"]]
    page = workspace.reports("folder") / "0.0.1-folder-preprocessing.html"
    text = page.read_text(encoding="utf-8")
    assert about["split"] in text and "train/red/broken.jpg" in text
    assert read_json(page.with_suffix(".json"))["state"] == "done"


def test_a_new_picture_makes_the_first_step_stale(workspace):
    options = ["--datasets", "folder", "--workspace", workspace.root, *QUICK]
    result = run_all(*options, "--steps", "0", "--plan")
    assert "skip  folder/0.0.1-folder-preprocessing" in result.stdout
    picture(0, 99).save(workspace.raw("folder") / "train" / "blue" / "new.png")
    result = run_all(*options, "--steps", "0", "--plan")
    assert "run   folder/0.0.1-folder-preprocessing" in result.stdout
    assert "input raw changed" in result.stdout


def test_a_network_that_has_learned_nothing_stops_its_run(workspace):
    """With the matrix of what it confuses on its page."""
    with np.load(workspace.root / "colours.npz") as file:
        x, names = file["x"], file["class_names"]
    np.savez(workspace.root / "noise.npz", x=x, y=np.arange(120) // 3 % 3, class_names=names)
    result = run_all(
        *"--datasets noise --steps 0 --raw".split(),
        f"noise={workspace.root / 'noise.npz'}",
        *("--workspace", workspace.root, "--model", workspace.root / "own.keras"),
        *QUICK,
    )
    assert result.returncode == 1
    assert "no more than by guessing" in result.stdout and "accept_weak=true" in result.stdout
    page = workspace.reports("noise", 0) / "0.1.1-noise-original_model_training.html"
    assert "true class" in page.read_text(encoding="utf-8")
