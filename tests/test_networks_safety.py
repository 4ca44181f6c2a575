"""Model files that a stranger made: no code of theirs runs, no other file is read."""

from __future__ import annotations

import json
import random
import re
import sys
import zipfile

import h5py
import numpy as np
import pytest

from utils.networks.files import load
from utils.networks.own import read_own_model
from utils.networks.safety import check

WEIGHTS = "model.weights.h5"
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")


@pytest.fixture(params=[".keras", ".h5"])
def path(request, keras, tmp_path):
    """A good model file of each kind."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, "relu")])
    model.save(tmp_path / f"own{request.param}")
    return tmp_path / f"own{request.param}"


def unpacked(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, files, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def with_config(path, change):
    """Change what the file says of its layers, as text: the two kinds differ in their details."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
    else:
        files = unpacked(path)
        config = change(json.loads(files["config.json"]))
        packed(path, files | {"config.json": json.dumps(config).encode()})


def with_weights(path, change):
    """Change the HDF5 file that holds the weights."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            change(file["model_weights"])
    else:
        files, weights = unpacked(path), path.with_name("weights")
        weights.write_bytes(files[WEIGHTS])
        with h5py.File(weights, "r+") as file:
            change(file)
        packed(path, files | {WEIGHTS: weights.read_bytes()})


def refused(path):
    with pytest.raises(ValueError) as error:
        load(path)
    text = str(error.value)
    assert text.startswith("model file: ") and text.isprintable() and len(text) < 1500
    return text


def test_good_files_load(path, keras):
    outputs = load(path)(np.ones((1, 8, 8, 1))).numpy()
    assert outputs.shape == (1, 3)
    if path.suffix == ".keras":  # packed again by a person
        packed(path, unpacked(path), zipfile.ZIP_DEFLATED)
        np.testing.assert_array_equal(load(path)(np.ones((1, 8, 8, 1))).numpy(), outputs)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_models_of_many_kinds_of_layers_load(keras, tmp_path):
    layers, ops = keras.layers, keras.ops
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    inner.compile("adam", "mse")  # which Keras saves, too
    scale = layers.Normalization()
    scale.adapt(np.random.default_rng(0).random((4, 8, 8, 1)))
    images = keras.Input((8, 8, 1))
    found = layers.RandomFlip()(scale(images))
    found = layers.SpectralNormalization(layers.Conv2D(2, 3))(inner(found))
    found = ops.nn.relu(found * 2 + ops.mean(found, axis=-1, keepdims=True))[:, :3]
    found = layers.Flatten()(layers.LayerNormalization()(layers.Activation("swish")(found)))
    found = layers.Dropout(0.5)(layers.Dense(3, keras.activations.gelu)(found))
    model = keras.Model(images, layers.Dense(3, "softmax", kernel_regularizer="l2")(found))
    model.save(tmp_path / "own.keras")
    some = np.random.default_rng(0).random((2, 8, 8, 1))
    loaded = load(tmp_path / "own.keras")  # without `training`, it would flip images at random
    np.testing.assert_array_equal(loaded(some, training=False), model(some, training=False))


def function(module, name):
    return {"class_name": "function", "module": module, "config": name, "registered_name": name}


def layer(name, module="keras.layers", **config):
    return {"class_name": name, "module": module, "config": config, "registered_name": None}


CODE = {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None, "closure": None}}
LAYERS = {
    "a program": layer("system", "os", command="touch own"),
    "a module": layer("Evil", "evil_module"),
    "a module of another library": layer("Evil", "keras_hub.evil_module"),
    "marshalled code": layer("Lambda", function=CODE),
    "marshalled code of old": layer("Lambda", function=["4wAAAA==", None, None]),
    "a function of Keras": layer("Lambda", function=function("keras.utils", "get_file")),
    "a function that writes": layer("Activation", activation=function("keras.utils", "plot_model")),
    "a function that loads": layer(
        "Activation", activation=function("keras.src.saving.saving_api", "load_model")
    ),
    "code as an activation": layer("Dense", units=3, activation=CODE),
    "code within": layer("TimeDistributed", layer=layer("Lambda", function=CODE)),
    "the unsafe switch": layer("enable_unsafe_deserialization", "keras.config"),
    "a file of words": layer("StringLookup", vocabulary="/etc/passwd"),
    "a file of numbers": layer("IntegerLookup", vocabulary="/etc/passwd"),
    "words": layer("TextVectorization", vocabulary="/etc/passwd"),
    "a saved model": layer("TFSMLayer", filepath="/tmp", call_endpoint="serve"),
    "a pickle": layer("TorchModuleWrapper", module="gASVBQAAAAAAAABLAS4="),
    "a name that is none": {"class_name": ["Dense"], "module": "keras.layers", "config": {}},
    "a loader": layer("deserialize", config=layer("Dense", units=3)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_code_is_refused_before_keras_sees_it(path, case, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("open('own', 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def change(config):
        config["config"]["layers"].append(LAYERS[case])
        return config

    with_config(path, change)
    assert "cannot be loaded safely: it asks for " in refused(path)
    assert not (tmp_path / "own").exists() and "evil_module" not in sys.modules


def test_names_that_only_look_like_keras_are_refused(path):
    def change(config):
        config["config"]["layers"][-1] |= {"registered_name": "os>system", "module": "kerasx"}
        return config

    with_config(path, change)
    assert "asks for kerasx.Dense" in refused(path)


WEIGHT_CHANGES = {
    "another file": ("links to", lambda w, p: w.__setitem__("x", h5py.ExternalLink(p, "/"))),
    "a link": ("links to", lambda w, p: w.__setitem__("x", h5py.SoftLink("/"))),
    "bytes of another file": (
        "reads another file",
        lambda w, p: w.create_dataset("x", (4,), "u1", external=[(str(p), 0, 4)]),
    ),
    "arrays of another file": (
        "reads another file",
        lambda w, p: w.create_virtual_dataset("x", virtual(p)),
    ),
    "a tebibyte": (
        "unpacks to more than 64 MiB",
        lambda w, p: w.create_dataset("x", (2**38,), "f4", chunks=(2**16,), compression="gzip"),
    ),
}


def virtual(path):
    source = h5py.VirtualSource(path, "x", (4,), "u1")
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = source
    return layout


@pytest.mark.parametrize("case", WEIGHT_CHANGES)
def test_weights_that_are_elsewhere_or_too_large_are_refused(path, case, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(4, dtype=np.uint8)
    message, change = WEIGHT_CHANGES[case]
    with_weights(path, lambda weights: change(weights, tmp_path / "secret.h5"))
    assert f"cannot be loaded safely: it {message}" in refused(path)


@pytest.mark.parametrize("path", [".keras"], indirect=True)
@pytest.mark.parametrize("name", ["assets/../../evil", "/evil", "model.weights.npz", "a\n\x1b"])
def test_files_that_are_no_part_of_a_model_are_refused(path, name):
    packed(path, unpacked(path) | {name: b"evil"})
    assert re.search(r"it holds \S+, which is no part of a model", refused(path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("path", [".keras"], indirect=True)
def test_zip_tricks_are_refused(path):
    files = unpacked(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    assert "holds a part twice" in refused(path)
    packed(path, files | {WEIGHTS: bytes(2**27)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    assert "unpacks to more than 64 MiB" in refused(path)


def test_layers_larger_than_the_file_are_refused_before_they_are_made(path):
    def change(config):
        config["config"]["layers"][-1]["config"]["units"] = 10**6
        return config

    with_config(path, change)
    assert "unpacks to more than 64 MiB, far more than its size" in refused(path)


@pytest.mark.parametrize(
    "hide", [lambda c: {"a": c}, lambda c: [c], lambda c: {**c, "class_name": "Dense"}]
)
def test_models_in_disguise_are_refused(path, hide):
    """Keras would make what a mapping or a list holds, too."""
    with_config(path, hide)
    assert "holds no model that is one of Sequential, Functional, Model" in refused(path)


@pytest.mark.parametrize("path", [".keras"], indirect=True)
def test_models_that_are_built_late_are_counted(path):
    def change(config):
        layers = config["config"]["layers"]
        config["config"] = {"name": "late", "layers": [layers[-1] | {"build_config": None}]}
        config["build_config"] = {"input_shape": [None, 10**8]}
        return config

    with_config(path, change)
    assert "unpacks to more than 64 MiB, far more than its size" in refused(path)


FAILING = {
    "a number without a row": lambda L: [L.Rescaling(9.0), L.Embedding(2, 3), L.Flatten()],
    "more memory than there is": lambda L: [L.ZeroPadding2D(10**6), L.GlobalMaxPooling2D()],
}


CASES = [
    "a number without a row",
    pytest.param("more memory than there is", marks=pytest.mark.slow),
]
"""TensorFlow waits for memory for ten seconds."""


@pytest.mark.parametrize("case", CASES)
def test_what_fails_on_a_few_images_is_refused(keras, tmp_path, case):
    layers = keras.layers
    model = keras.Sequential([keras.Input((8, 8, 1)), *FAILING[case](layers), layers.Dense(3)])
    model.save(tmp_path / "own.keras")
    with pytest.raises(ValueError, match=r"own\.keras fails on a few images \("):
        read_own_model(tmp_path / "own.keras", (8, 8, 1), 3)


def test_looking_at_a_file_changes_no_later_draw(path):
    random.seed(0)
    expected = random.random()
    random.seed(0)
    check(path)
    assert random.random() == expected


def test_configurations_without_end_are_refused(path):
    with_config(path, lambda config: config | {"config": {"layers": "[" * 9}})
    refused(path)
    if path.suffix == ".keras":
        packed(path, unpacked(path) | {"config.json": b"[" * 99_999})
        refused(path)
