"""What is checked of a network before any work: which layer is traced, and in which network."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from utils.core.paths import Workspace
from utils.networks import runtime
from utils.plan import requests
from utils.plan.freshness import Status
from utils.plan.jobs import plan
from utils.plan.steps import steps_named


@pytest.fixture
def pooled(tmp_path):
    """The file of a network for digits that does not show which layer is its last hidden one."""
    runtime.start(seed=0, threads=1)
    import keras

    layers = [
        keras.layers.Conv2D(10, 3, name="last"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Softmax(),
    ]
    keras.Sequential([keras.Input((8, 8, 1)), *layers]).save(tmp_path / "pooled.keras")
    return tmp_path / "pooled.keras"


@pytest.mark.parametrize(
    ("steps", "layer", "message"),
    [
        (["0", "1"], "", None),
        (["0.0"], "", None),
        (["0", "1.1"], "last", None),
        (["0", "1"], "lost", "no layer 'lost'"),
        (["0.0", "0.1"], "Last", "no layer 'Last'"),
        (["0", "1", "2"], "last", None),
        (["0", "1", "2"], "", "name the layer to trace"),
        (["0", "1", "2", "3", "4", "5"], "lost", "no layer 'lost'"),
    ],
)
def test_a_layer_is_asked_for_where_it_is_traced(pooled, tmp_path, steps, layer, message):
    given = {"digits": {"own_model": str(pooled), "layer": layer, "points": 2}}
    everything = plan(Workspace(tmp_path / "w"), ["digits"], [0], [2], given)
    jobs = [job for job in everything if job.step in steps_named(steps)]
    refused = pytest.raises(ValueError, match=message) if message else nullcontext()
    with refused:
        requests.inputs(everything, jobs, "content")


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (
            lambda x, keras: keras.ops.round(16 * x) / 16,
            "has no gradient with respect to its images",
        ),
        (lambda x, keras: keras.ops.sign(x - 0.5), r"the gradient of .* is 0 for 8 of 8 images"),
    ],
)
@pytest.mark.parametrize("configuration", [2, 4])
def test_a_network_that_no_gradient_passes_is_refused_before_any_work(
    tmp_path, stop, message, configuration
):
    runtime.start(seed=0, threads=1)
    import keras

    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(9, "relu")(keras.layers.Flatten()(stop(image, keras)))
    keras.Model(image, keras.layers.Dense(10, "softmax")(hidden)).save(tmp_path / "own.keras")
    given = {"digits": {"own_model": str(tmp_path / "own.keras"), "points": 2}}
    jobs = plan(Workspace(tmp_path / "w"), ["digits"], [0], [configuration], given)
    with pytest.raises(ValueError, match=message) as error:
        requests.inputs(jobs, jobs, "content")
    assert "\n" not in str(error.value) and not (tmp_path / "w").exists()


@pytest.mark.parametrize(("layer", "fine"), [("last", True), ("conv_1", False), ("x", False)])
def test_a_layer_is_looked_for_in_the_network_that_is_there(
    pooled, tmp_path, monkeypatch, layer, fine
):
    """Steps 0 and 1 have run, and only later ones are chosen."""
    given = {"digits": {"own_model": str(pooled), "layer": layer, "points": 2}}
    workspace = Workspace(tmp_path / "w")
    everything = plan(workspace, ["digits"], [0], [2], given)
    before = [job.name for job in everything if job.step.id < "2"]

    def status(job, *arguments, **options):
        known = job.name in before
        return Status(known, "up to date" if known else "has not run yet")

    monkeypatch.setattr(requests, "status", status)
    about = {
        "n_images": dict.fromkeys(("train", "val", "test"), 99),
        "image_shape": (8, 8, 1),
        "class_names": list("0123456789"),
    }
    monkeypatch.setattr(requests, "describe", lambda *arguments: about)
    jobs = [job for job in everything if job.step in steps_named(["2", "3"])]
    with nullcontext() if fine else pytest.raises(ValueError, match=f"no layer '{layer}'"):
        requests.inputs(everything, jobs, "content")
