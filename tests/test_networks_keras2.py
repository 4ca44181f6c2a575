"""Files that Keras 2 wrote: read where its layers mean the same, else refused with the reason."""

from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
import pytest

from utils.networks import files
from utils.networks.keras2 import in_new_terms, is_meant

IMAGES = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
pytestmark = [
    pytest.mark.usefixtures("keras"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def as_of_keras2(path, change=lambda layers: None):
    """Make an HDF5 file what Keras 2.15 would have written, as far as the reader looks at it."""
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = "2.15.0"
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.parametrize(
    ("kind", "more"),
    [("DepthwiseConv2D", {}), ("Conv2DTranspose", {}),
     ("SeparableConv2D", {"kernel_regularizer": None, "kernel_constraint": None,
                          "kernel_initializer": {"class_name": "GlorotUniform", "config": {}}})],
)  # fmt: skip
def test_settings_that_were_never_used_are_left_out(keras, tmp_path, kind, more):
    layers = keras.layers
    args = (3,) if kind == "DepthwiseConv2D" else (4, 3)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), getattr(layers, kind)(*args), layers.Flatten(), layers.Dense(3)]
    )
    model.save(tmp_path / "own.h5")

    def change(listed):
        (found,) = (layer for layer in listed if layer["class_name"] == kind)
        found["config"] |= {"groups": 1, **more}

    as_of_keras2(tmp_path / "own.h5", change)
    np.testing.assert_array_equal(files.load(tmp_path / "own.h5")(IMAGES), model(IMAGES))


def operation(name, function, source, **options):
    return {
        "class_name": "TFOpLambda",
        "name": name,
        "config": {"name": name, "trainable": True, "dtype": "float32", "function": function},
        "inbound_nodes": [[source, 0, 0, {"name": None, **options}]],
    }


OPERATIONS = {
    "math.multiply": lambda x: x * 3,
    "math.truediv": lambda x: x / 3,
    "math.add": lambda x: x + 3,
    "__operators__.add": lambda x: x + 3,
    "math.subtract": lambda x: x - 3,
}


@pytest.mark.parametrize("function", OPERATIONS)
def test_operations_with_a_number_become_layers(keras, tmp_path, function):
    layers, images = keras.layers, keras.Input((8, 8, 3), name="images")
    dense = layers.Dense(3)
    passed = layers.Rescaling(1.0, name="stand_in")(images)
    model = keras.Model(images, dense(layers.Flatten()(passed)))
    model.save(tmp_path / "own.h5")

    def change(listed):
        (place,) = (i for i, layer in enumerate(listed) if layer["name"] == "stand_in")
        listed[place] = operation("stand_in", function, "images", y=3)

    as_of_keras2(tmp_path / "own.h5", change)
    changed = OPERATIONS[function](IMAGES).astype(np.float32)
    expected = dense(changed.reshape(4, -1))
    found = files.load(tmp_path / "own.h5")(IMAGES, training=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"y": [1.0, 2.0]}, {"y": ["other", 0, 0]}, {"y": 0}, {"y": True}, {"y": 2, "more": 1}, {}],
)
def test_other_operations_are_left_as_they_are(options):
    layer = operation("a", "math.truediv", "images", **options)
    assert in_new_terms({"layers": [layer]}) == {"layers": [layer]}
    other = operation("a", "math.reduce_std", "images", y=2)
    assert in_new_terms(other) == other


def refused(path):
    with pytest.raises(ValueError) as error:
        files.load(path)
    text = str(error.value)
    assert "\n" not in text and len(text) < 700 and f"{path} was written by Keras 2.15.0" in text
    return text


def test_what_keras_3_does_not_know_is_refused_with_the_version(keras, tmp_path):
    images = keras.Input((8, 8, 3), name="images")
    passed = keras.layers.Rescaling(1.0, name="stand_in")(images)
    model = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(passed)))
    for kind in ("TFOpLambda", "SlicingOpLambda", "LocallyConnected2D"):
        model.save(tmp_path / "own.h5")

        def change(listed, kind=kind):
            (place,) = (i for i, layer in enumerate(listed) if layer["name"] == "stand_in")
            listed[place] = operation("stand_in", "math.log", "images") | {"class_name": kind}

        assert kind in refused(as_of_keras2(tmp_path / "own.h5", change))


def test_a_keras_file_of_keras_2_is_refused_with_the_version(keras, tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as old,
        zipfile.ZipFile(tmp_path / "own.keras", "w") as file,
    ):
        for name in old.namelist():
            content = json.dumps({"keras_version": "2.15.0"}) if "meta" in name else old.read(name)
            file.writestr(name, content)
    assert "whose .keras files Keras 3 does not read" in refused(tmp_path / "own.keras")


@pytest.mark.parametrize(
    ("version", "old"),
    [("2.15.0", True), ("2.4.3", True), ("2.3.0-tf", True), ("1.2", True), ("3.0.0", False),
     ("3.15.1", False), ("", False), ("20.1", False)],
)  # fmt: skip
def test_versions(version, old):
    assert is_meant(version) == old
