"""The inputs of the benchmarks: images, a network trained on them, its traces. Made once, kept.

Real MNIST if the environment variable GUIDED_RETRAINING_RAW names a folder with ``mnist.npz``;
otherwise scikit-learn's digits, enlarged, shifted and with noise.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from joblib import Memory

from tests.benchmarks.harness import Setting, log, own_process
from utils.attacks.norm_ball import fgsm
from utils.core.seeds import rng
from utils.data.arrays import Splits
from utils.data.registry import read_raw, read_splits, split
from utils.machine.provenance import usable_cpus
from utils.networks import runtime
from utils.networks.activations import activations
from utils.networks.architectures import ARCHITECTURES, build
from utils.networks.training import train

if TYPE_CHECKING:
    import keras

CORES = usable_cpus()

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Inputs:
    """Arrays that are files, until they are asked for.

    `clean` and `adversarial` (FGSM) are traces float32 (n, 128) and predicted classes of all
    images, in their order.
    """

    source: str
    weights: list[np.ndarray]
    all_images: Pair
    clean: Pair
    adversarial: Pair

    def images(self, rows: slice) -> Pair:
        """Copies of images float32 (n, 28, 28, 1) and labels int64 (n,)."""
        x, y = (np.array(array[rows]) for array in self.all_images)
        return x, y

    def splits(self, *sizes: int) -> Splits:
        """The first images as training, validation and test images."""
        ends = np.cumsum([0, *sizes])
        return Splits(*(a for between in pairwise(ends) for a in self.images(slice(*between))))

    def network(self) -> keras.Model:
        """The trained network; TensorFlow then uses all cores, in every contender alike."""
        runtime.start(threads=CORES)
        network = build(ARCHITECTURES["mnist"], (28, 28, 1), 10)
        network.set_weights(self.weights)
        return network


def load(setting: Setting) -> Inputs:
    """The inputs, made in a process of its own if they are not there yet."""
    raw = Path(os.environ.get("GUIDED_RETRAINING_RAW") or ".") / "mnist.npz"
    real = raw.is_file() and not setting.quick
    sizes = setting.size(70_000, 1200), setting.size(20_000, 800)
    asked = (ARCHITECTURES["mnist"], raw if real else None, *sizes)
    make = Memory(setting.out / "inputs", mmap_mode="r", verbose=0).cache(_make)
    if not make.check_call_in_cache(*asked):
        log("making images, network and traces ...")
        with own_process() as process:
            process.submit(make.call_and_shelve, *asked).result()
    return Inputs("mnist" if real else "digits, enlarged to 28 x 28", *make(*asked))


def _make(
    architecture: str, raw: Path | None, n: int, n_train: int
) -> tuple[list[np.ndarray], Pair, Pair, Pair]:
    """All but the source of `Inputs`; the network is trained on the first images."""
    runtime.start(threads=CORES)
    network = build(architecture, (28, 28, 1), 10)
    parts = whole("mnist", (28, 28, 1), raw) if raw else whole("digits", (8, 8, 1))
    x, y = np.concatenate(parts[::2]), np.concatenate(parts[1::2])
    if not raw:
        x, y = _enlarged(x, y, n)
    train(network, x[:n_train], y[:n_train], x[-200:], y[-200:], epochs=2, progress=log)
    found = (activations(network, images) for images in (x, fgsm(network, x, y)))
    pairs = [(traces, probabilities.argmax(axis=1)) for traces, probabilities in found]
    return network.get_weights(), (x, y), *pairs


def whole(dataset: str, shape: tuple[int, int, int], raw: Path | None = None, n: int = 0) -> Splits:
    """All images of a data set (or `n` of them) at their own size."""
    found = read_raw(dataset, raw) if raw else read_raw(dataset)
    return read_splits(found, split(dataset, found, n_images=n), shape)[0]


def _enlarged(x: np.ndarray, y: np.ndarray, n: int) -> Pair:
    """`n` images of 28 x 28 from images of 8 x 8: drawn, shifted by up to two pixels, noisy."""
    random = rng(0, "enlarged digits")
    rows = random.integers(len(x), size=n)
    large = np.zeros((n, 28, 28, 1), np.float32)
    for image, row, (down, right) in zip(large, rows, random.integers(5, size=(n, 2)), strict=True):
        image[down : down + 24, right : right + 24] = x[row].repeat(3, 0).repeat(3, 1)
    large += 0.05 * random.standard_normal(large.shape, np.float32)
    return np.clip(large, 0, 1, out=large), y[rows]
