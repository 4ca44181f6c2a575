"""Pixel values, colours, order of classes and resizing of a network of the user's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.own_networks import outputs_of
from utils.data.class_order import orders_of
from utils.networks import files, trials
from utils.networks.accuracy import beyond_guessing
from utils.networks.activations import activations, predict
from utils.networks.conventions import PIXEL_RANGES, Convention, in_front, shown
from utils.networks.graph import places
from utils.networks.trials import OTHER, Trial, fitted, try_conventions

pytestmark = pytest.mark.usefixtures("keras")

N_CLASSES = 12
FOLDERS = [str(number) for number in range(N_CLASSES)]


def images_of(channels=3, n=480, side=8, noise=0.35):
    """Each class is a pattern of its own; (n, side, side, channels) in [0, 1], and labels."""
    rng = np.random.default_rng(channels)
    patterns = rng.random((N_CLASSES, side, side, channels)) - 0.5
    patterns = 0.5 + patterns * np.linspace(0.4, 1, N_CLASSES)[:, None, None, None]  # contrasts
    labels = np.arange(n) % N_CLASSES
    images = patterns[labels] + rng.normal(0, noise, (n, side, side, channels))
    return np.clip(images, 0, 1).astype(np.float32), labels


def network(keras, images, labels, pixel_range="1", color_order="rgb", order=None):
    """The nearest class mean, as a dense layer: right where it is given what it was made from.

    Its output k stands for the label ``order[k]``.
    """
    given = shown(images, pixel_range, color_order).reshape(len(images), -1).astype(np.float64)
    means = np.stack([given[labels == label].mean(axis=0) for label in order or range(N_CLASSES)])
    scale = 20 / np.square(means).sum(axis=1).mean()
    dense = keras.layers.Dense(N_CLASSES, activation="softmax")
    model = keras.Sequential([keras.Input(images.shape[1:]), keras.layers.Flatten(), dense])
    dense.set_weights([2 * scale * means.T, -scale * np.square(means).sum(axis=1)])
    return model


def accuracy(model, images, labels):
    return (outputs_of(model, images).argmax(axis=1) == labels).mean()


CONVENTIONS = list(itertools.product(PIXEL_RANGES, ("rgb", "bgr")))


@pytest.mark.parametrize(("pixel_range", "color_order"), CONVENTIONS)
def test_pixel_values_and_colours_are_found_and_made(keras, pixel_range, color_order):
    images, labels = images_of()
    model = network(keras, images, labels, pixel_range, color_order)
    trial = try_conventions(model, {"pillow": images}, labels, orders_of(FOLDERS, N_CLASSES))
    assert trial.best == (pixel_range, color_order, "number", "pillow")
    right = fitted(model, trial, FOLDERS)
    assert accuracy(right, images, labels) == trial.right[trial.best].mean() > 0.8
    if trial.best != trial.given:
        assert PIXEL_RANGES[pixel_range].meaning in trial.convention_in_words()
    else:
        assert right is model and not trial.convention_in_words()


@pytest.mark.parametrize("pixel_range", ["1", "255", "-1..1"])
def test_gray_networks_have_fewer(keras, pixel_range):
    images, labels = images_of(channels=1)
    model = network(keras, images, labels, pixel_range)
    trial = try_conventions(model, {"pillow": images}, labels, orders_of([], N_CLASSES))
    assert trial.best.pixel_range == pixel_range
    assert {c.color_order for c in trial.right} == {"rgb"} and len(trial.right) <= 3 * 2


@pytest.mark.parametrize("name", ["images", "pixel_range", "own", "x_behind_pixel_range"])
def test_layers_are_called_as_in_the_network_itself(keras, name):
    images, labels = images_of()
    own = network(keras, images, labels, "255")
    hidden = keras.layers.Dense(5, name="pixel_range")
    own = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            keras.layers.Flatten(),
            hidden,
            keras.layers.Dense(N_CLASSES),
        ],
        name=name,
    )
    model = in_front(own, "255", "bgr")
    traces = activations(model, images, "pixel_range")[0]
    expected = shown(images, "255", "bgr").reshape(len(images), -1) @ hidden.kernel.numpy()
    np.testing.assert_allclose(traces, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("gain", [0.0, 0.01, 0.03, 0.5])
def test_what_is_close_is_said(gain):
    ways = [Convention(pixels, "rgb", "number", "pillow") for pixels in ("1", "imagenet")]
    n = np.arange(300)
    trial = Trial(ways[0], dict(zip(ways, (n < 140, n < 140 + 300 * gain), strict=True)), 0.1)
    words = trial.convention_in_words()
    assert (trial.best == ways[1]) == (gain == 0.5)
    assert ("maybe misread" in words) == (gain == 0.03)
    assert ("pixel_range=imagenet" in words) == (gain == 0.03)
    assert ("pixel_range=1 shows" in words) == (gain == 0.5)


def test_what_is_no_number_is_no_class(keras):
    """A network that divides by the brightness of the image, and images that are black."""
    images, labels = images_of()
    black = labels == 0
    images[black] = 0
    tensor = keras.Input(images.shape[1:])
    flat = keras.layers.Flatten()(tensor)
    flat = flat / keras.ops.sum(flat, axis=-1, keepdims=True)
    model = keras.Model(tensor, keras.layers.Dense(N_CLASSES, activation="softmax")(flat))
    trial = try_conventions(model, {"pillow": images}, labels, orders_of([], N_CLASSES), "1", "rgb")
    assert not trial.right[trial.given][black].any()
    with pytest.raises(ValueError, match=f"not finite .* for {black.sum()} of 480 images"):
        predict(model, images)
    with pytest.raises(ValueError, match="not finite"):
        activations(model, images)


def test_what_is_set_is_taken(keras):
    images, labels = images_of()
    model = network(keras, images, labels, "255")
    orders = orders_of(FOLDERS, N_CLASSES)
    trial = try_conventions(model, {"pillow": images}, labels, orders, "-1..1", "bgr")
    assert trial.best == trial.given == ("-1..1", "bgr", "number", "pillow")


@pytest.mark.parametrize("pixel_range", ["1", "255"])
def test_text_order_is_found_and_refused_with_the_setting(keras, pixel_range):
    images, labels = images_of()
    text = [FOLDERS.index(name) for name in sorted(FOLDERS)]
    model = network(keras, images, labels, pixel_range, order=text)
    trial = try_conventions(model, {"pillow": images}, labels, orders_of(FOLDERS, N_CLASSES))
    assert trial.best == (pixel_range, "rgb", "text", "pillow")
    with pytest.raises(ValueError, match=r"right, but [01]\.\d+ with class_order=text; add --set"):
        fitted(model, trial, FOLDERS)


def test_numbers_are_found_where_text_is_set(keras):
    images, labels = images_of()
    folders = sorted(FOLDERS)  # what step 0.0 made with class_order=text
    numbers = [folders.index(name) for name in FOLDERS]
    trial = try_conventions(
        network(keras, images, labels, order=numbers),
        {"pillow": images},
        labels,
        orders_of(folders, N_CLASSES),
    )
    assert trial.given.class_order == "text" and trial.best.class_order == "number"


def test_an_order_without_a_name_is_found(keras):
    images, labels = images_of(noise=0.1)
    order = np.random.default_rng(3).permutation(N_CLASSES).tolist()
    model = network(keras, images, labels, order=order)
    names = [f"class {letter}" for letter in "fedcbajihglk"]
    trial = try_conventions(model, {"pillow": images}, labels, orders_of(names, N_CLASSES))
    assert trial.best.class_order == OTHER and list(trial.other_order) == order
    listed = ",".join(names[label] for label in order)
    with pytest.raises(ValueError, match=f"add --set class_order={listed}, or accept_weak=true"):
        fitted(model, trial, names)
    trial = try_conventions(model, {"pillow": images}, labels, orders_of([], N_CLASSES))
    with pytest.raises(ValueError, match=f"the labels {' '.join(map(str, order))}; number the lab"):
        fitted(model, trial)


def test_another_way_of_resizing_is_found_with_other_pixel_values(keras):
    images, labels = images_of()
    other = np.random.default_rng(0).random(images.shape, np.float32)
    model = network(keras, images, labels, "255")
    trial = try_conventions(
        model, {"pillow": other, "keras": images}, labels, orders_of(FOLDERS, N_CLASSES)
    )
    assert trial.best == ("255", "rgb", "number", "keras")
    with pytest.raises(ValueError, match="add --set resize=keras"):
        fitted(model, trial, FOLDERS)


def test_a_network_that_knows_nothing_stays_as_it_is(keras):
    images, labels = images_of()
    model = network(keras, images, labels)
    for seed in range(20):
        noise = np.random.default_rng(seed).random(images.shape, np.float32)
        trial = try_conventions(model, {"pillow": noise}, labels, orders_of(FOLDERS, N_CLASSES))
        assert trial.best == trial.given


def test_no_more_is_changed_than_needed(keras):
    """Other pixel values alone may do, whatever is a little better with another resizing, too."""
    images, labels = images_of()
    other = np.clip(images + np.random.default_rng(0).normal(0, 0.02, images.shape), 0, 1)
    model = network(keras, images, labels, "255")
    versions = {"pillow": other.astype(np.float32), "keras": images}
    trial = try_conventions(model, versions, labels, orders_of(FOLDERS, N_CLASSES))
    assert trial.best == ("255", "rgb", "number", "pillow")
    assert fitted(model, trial, FOLDERS) is not model


def test_a_refusal_compares_with_what_could_be_had_without(keras):
    images, labels = images_of()
    text = [FOLDERS.index(name) for name in sorted(FOLDERS)]
    model = network(keras, images, labels, "255", order=text)
    trial = try_conventions(model, {"pillow": images}, labels, orders_of(FOLDERS, N_CLASSES))
    settled = trial.right[trial.settled.best].mean()
    with pytest.raises(ValueError, match=f"own_model: {settled:.3f} of 480 training images are"):
        fitted(model, trial, FOLDERS)


def test_a_confused_network_has_no_other_order():
    """Two classes of ten are often taken for each other, and little is right."""
    rng, labels = np.random.default_rng(0), np.arange(300) % 10
    for _ in range(50):
        outputs = np.where(rng.random(300) < 0.3, labels, rng.integers(10, size=300))
        swapped = np.where(labels < 2, 1 - labels, labels)
        outputs = np.where((labels < 2) & (rng.random(300) < 0.5), swapped, outputs)
        assert trials._in_another_order(outputs, labels) is None


def trial_of(won, lost, both, neither, others=1):
    """Two conventions, with how many images each alone classifies right."""
    a, b = Convention("1", "rgb", "number", "x"), Convention("255", "rgb", "number", "x")
    mine = np.repeat([True, False, True, False], [won, lost, both, neither])
    given = np.repeat([False, True, True, False], [won, lost, both, neither])
    more = {Convention(str(i), "rgb", "number", "x"): given for i in range(others - 1)}
    return Trial(a, {a: given, b: mine} | more, 0.1), a, b


def test_clearly_better_is_mcnemars_exact_test_and_more_than_guessing():
    trial, given, other = trial_of(10, 0, 40, 50)
    assert trial.best == other  # p = 1/1024 < 0.001
    assert trial_of(9, 0, 40, 50)[0].best == given  # p = 1/512
    assert trial_of(10, 0, 40, 50, others=2)[0].best == given  # two tests: 2/1024
    assert trial_of(12, 1, 40, 50)[0].best == given  # p = 14/8192
    assert trial_of(15, 1, 40, 50)[0].best == other  # p = 17/65536
    assert trial_of(20, 0, 0, 150)[0].best == given  # 20 of 170 are no more than a tenth
    assert trial_of(15, 0, 1000, 0)[0].best == given  # sure, but by less than 0.02


def test_layers_in_front_do_what_is_shown(keras, tmp_path):
    images, labels = images_of()
    for pixel_range, color_order in CONVENTIONS:
        model = network(keras, images, labels, pixel_range, color_order)
        path = tmp_path / "own.keras"
        files.save(in_front(model, pixel_range, color_order), path)
        given = shown(images, pixel_range, color_order)
        expected = outputs_of(model, given)
        got = outputs_of(files.load(path), images)
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("pixel_range", "color_order"), [("255", "rgb"), ("1", "bgr"), ("caffe", "bgr")]
)
def test_layers_keep_the_names_of_the_users_file(keras, tmp_path, pixel_range, color_order):
    images, _ = images_of(n=24)
    layers, inner = keras.layers, keras.Input((8, 8, 3))
    base = keras.Model(inner, layers.Conv2D(2, 3, name="conv")(inner), name="base")
    hidden = layers.Dense(4, "relu", name="hidden")(layers.Flatten()(base(inner)))
    model = keras.Model(inner, layers.Dense(N_CLASSES, "softmax")(hidden))
    files.save(in_front(model, pixel_range, color_order), tmp_path / "own.keras")
    behind = files.load(tmp_path / "own.keras")
    assert list(places(behind)) == list(places(model))
    given = shown(images, pixel_range, color_order)
    for name in ("", "hidden", "base", "base/conv"):
        for found, expected in zip(
            activations(behind, images, name), activations(model, given, name), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="no layer 'pixel_range'; it has base, base/conv, "):
        activations(behind, images, "pixel_range")


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_pixel_values_are_those_of_keras(keras, mode):
    images, _ = images_of()
    of_mode = {"tf": ("-1..1", "rgb"), "torch": ("imagenet", "rgb"), "caffe": ("caffe", "bgr")}
    expected = keras.applications.imagenet_utils.preprocess_input(images * 255, mode=mode)
    np.testing.assert_allclose(shown(images, *of_mode[mode]), expected, rtol=1e-4, atol=1e-3)


GUESSES = {
    "the most common class of two": ([0] * 90 + [1] * 10, [0] * 100, False),
    "the rare class found": ([0] * 90 + [1] * 10, [0] * 80 + [1] * 20, True),
    "all right, few images": ([0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2], True),
    "all right, two images": ([0, 1], [0, 1], False),
    "0.12 of ten classes": (np.arange(500) % 10, np.where(np.arange(500) < 10, np.arange(500) % 10,
                            (np.arange(500) * 7 + 3) % 10), False),
    "a class that never occurs": ([0, 1] * 20, [2] * 40, False),
    "one in five right of ten": (np.arange(500) % 10, np.where(np.arange(500) % 5 == 0,
                                 np.arange(500) % 10, (np.arange(500) + 1) % 10), True),
}  # fmt: skip


@pytest.mark.parametrize("case", GUESSES)
def test_chance(case):
    labels, predicted, beyond = GUESSES[case]
    assert beyond_guessing(np.array(labels), np.array(predicted)) is beyond


def test_chance_is_that_of_shuffled_answers():
    rng = np.random.default_rng(0)
    labels = rng.choice(5, 300, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    predicted = rng.choice(5, 300, p=[0.6, 0.1, 0.1, 0.1, 0.1])
    wrongly = sum(beyond_guessing(labels, rng.permutation(predicted)) for _ in range(1000))
    assert wrongly < 30  # 10 are expected


def test_the_sample_is_always_the_same_and_small():
    assert len(trials.sample_of(10_000)) == 300 and len(trials.sample_of(20)) == 20
    assert np.array_equal(trials.sample_of(10_000), trials.sample_of(10_000))
