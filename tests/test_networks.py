"""Architectures, weights by seed, logits, saving and loading."""

import subprocess
import sys
import time

import numpy as np
import pytest

from utils.core.paths import ROOT
from utils.networks import architectures, files, runtime
from utils.networks.ends import logits_of

pytestmark = pytest.mark.usefixtures("keras")


def test_mnist_layers_and_parameters():
    model = architectures.build(architectures.ARCHITECTURES["mnist"], (28, 28, 1), 10)
    kinds = "Conv2D Conv2D MaxPooling2D Dropout Flatten Dense Dropout Dense"
    assert [type(layer).__name__ for layer in model.layers] == kinds.split()
    # Kernel and bias: 3*3*1*32 + 32 = 320; 3*3*32*64 + 64 = 18,496; 14*14*64 = 12,544 values go
    # into 128 neurons: 12,544*128 + 128 = 1,605,760; 128*10 + 10 = 1,290. Together 1,625,866.
    counts = [layer.count_params() for layer in model.layers if layer.weights]
    assert counts == [320, 18496, 1605760, 1290]
    assert model.count_params() == 1625866
    assert model.layers[3].rate == 0.25 and model.layers[6].rate == 0.5
    assert type(model.optimizer).__name__ == "RMSprop"


@pytest.mark.parametrize(
    ("dataset", "shape", "classes"),
    [("gtsrb", (48, 48, 1), 43), ("intel", (48, 48, 1), 6), ("cifar", (32, 32, 1), 10),
     ("fashion", (28, 28, 1), 10), ("digits", (8, 8, 1), 10), ("own", (5, 7, 3), 2),
     ("own", (64, 40, 3), 30)],
)  # fmt: skip
def test_every_data_set_has_a_network_that_fits(dataset, shape, classes):
    architecture = architectures.architecture_for(dataset, shape, classes)
    model = architectures.build(architecture, shape, classes)
    probabilities = model(np.zeros((2, *shape), np.float32)).numpy()
    assert probabilities.shape == (2, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_seed_alone_fixes_weights_and_dropout(keras):
    def trained(seed):
        model = architectures.build("4 P D.5 | 8 D.5", (8, 8, 1), 3, seed=seed)
        rng = np.random.default_rng(0)
        images, labels = rng.random((32, 8, 8, 1), dtype=np.float32), rng.integers(3, size=32)
        begin = model.get_weights()
        model.fit(images, labels, epochs=2, shuffle=False, verbose=0)
        return begin, model.get_weights()

    first = trained(1)
    keras.utils.set_random_seed(99)  # neither this nor another model may matter
    architectures.build("4 | 4", (8, 8, 1), 3, seed=5)
    second, other = trained(1), trained(2)
    for one, two in zip(first[0] + first[1], second[0] + second[1], strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0][0], other[0][0])


@pytest.mark.parametrize(
    ("architecture", "message"),
    [("32 X | 8", "cannot read 'X'"), ("8 P P P P | 8", "pools more often"),
     ("8 | P 8", "cannot read 'P'"), ("8 | 8 | 8", r"cannot read '\|'"), ("0 | 8", "cannot read")],
)  # fmt: skip
def test_architecture_errors(architecture, message):
    with pytest.raises(ValueError, match=message):
        architectures.build(architecture, (8, 8, 1), 3)


def ending(keras, kind):
    """A small classifier with the given end."""
    ends = {
        "dense": [keras.layers.Dense(3, activation="softmax")],
        "activation": [keras.layers.Dense(3), keras.layers.Activation("softmax")],
        "layer": [keras.layers.Dense(3), keras.layers.Softmax()],
        "nested": [architectures.build("| 5", (4, 4, 1), 3)],
        "logits": [keras.layers.Dense(3)],
        "sigmoid": [keras.layers.Dense(3, activation="sigmoid")],
    }
    flat = [] if kind == "nested" else [keras.layers.Flatten()]
    return keras.Sequential([keras.Input((4, 4, 1)), *flat, *ends[kind]])


@pytest.mark.parametrize("kind", ["dense", "activation", "layer", "nested", "logits"])
def test_logits_of_undoes_the_softmax_and_follows_the_weights(keras, kind):
    model, images = ending(keras, kind), np.random.default_rng(0).random((6, 4, 4, 1), np.float32)
    logits = logits_of(model)
    for _ in range(2):
        values = logits(images).numpy()
        expected = model(images).numpy()
        if kind == "logits":
            np.testing.assert_array_equal(values, expected)
        else:
            assert not np.allclose(values.sum(axis=1), 1)
            powers = np.exp(values)
            np.testing.assert_allclose(
                powers / powers.sum(axis=1, keepdims=True), expected, rtol=1e-5
            )
        model.set_weights([2 * weight for weight in model.get_weights()])
        assert not np.allclose(logits(images).numpy(), values)


def test_logits_of_refuses_what_it_cannot_read(keras):
    with pytest.raises(
        ValueError, match=r"soft-max, or in logits, got 'dense.* with sigmoid; its layers: "
    ):
        logits_of(ending(keras, "sigmoid"))

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="expected a built sequential or functional"):
        logits_of(Own())


def test_save_and_load_give_the_same_model(tmp_path):
    model = architectures.build("4 P | 8 D.5", (8, 8, 1), 3)
    images = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    files.save(model, tmp_path / "folder" / "model.keras")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["model.keras"]
    again = files.load(tmp_path / "folder" / "model.keras")
    np.testing.assert_array_equal(again(images).numpy(), model(images).numpy())
    assert architectures.compile_model(again).optimizer is not None


def test_load_refuses_unsafe_and_broken_files(keras, tmp_path):
    unsafe = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: 2 * x)])
    unsafe.save(tmp_path / "unsafe.keras")
    with pytest.raises(ValueError, match="cannot be loaded safely"):
        files.load(tmp_path / "unsafe.keras")
    (tmp_path / "broken.keras").write_text("no zip file")
    with pytest.raises(ValueError, match=r"expected a \.keras or \.h5 file"):
        files.load(tmp_path / "broken.keras")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        files.load(tmp_path / "none.keras")
    with pytest.raises(ValueError, match=r"ending in \.keras"):
        files.save(unsafe, tmp_path / "model.h5")


def test_start_warns_when_threads_can_no_longer_change():
    runtime.start(threads=1)
    np.asarray(architectures.build("| 4", (2, 2, 1), 2)(np.zeros((1, 2, 2, 1), np.float32)))
    with pytest.warns(RuntimeWarning, match="already runs with"):
        runtime.start(threads=7)
    with pytest.raises(ValueError, match="threads: expected at least 1"):
        runtime.start(threads=0)


@pytest.mark.slow
def test_start_is_quiet_and_importing_is_cheap():
    code = (
        "import sys, utils.attacks, utils.networks.runtime; "
        "assert 'tensorflow' not in sys.modules; "
        "assert 'keras' not in sys.modules; utils.networks.runtime.start()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_equal_models_give_equal_files(tmp_path):
    for name in ("a", "b"):
        model = architectures.build("4 P | 8 D.5", (8, 8, 1), 3, seed=1)
        files.save(model, tmp_path / f"{name}.keras")
        time.sleep(2.1)  # the dates in a zip archive are even seconds
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    assert files.load(tmp_path / "a.keras").count_params() > 0
