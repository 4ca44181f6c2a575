"""The inputs of the benchmarks: images, a network trained on them, its traces. Made once, kept.

Real MNIST if the environment variable GUIDED_RETRAINING_RAW names a folder with ``mnist.npz``;
otherwise scikit-learn's digits, enlarged, shifted and with noise.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.harness import Setting, tell
from utils.core.files import read_json, write_json
from utils.core.paths import ROOT
from utils.core.seeds import rng
from utils.data.registry import read_raw, read_splits, split

if TYPE_CHECKING:
    import keras

N_IMAGES = 70_000
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Inputs:
    """Files that `load` made, read when they are asked for.

    `clean` and `adversarial` (FGSM) hold traces and probabilities of all images, in their order.
    """

    folder: Path
    source: str

    @cached_property
    def images(self) -> np.ndarray:
        return np.load(self.folder / "images.npy", mmap_mode="r")

    @cached_property
    def labels(self) -> np.ndarray:
        return np.load(self.folder / "labels.npy")

    @cached_property
    def clean(self) -> tuple[np.ndarray, np.ndarray]:
        return self._pair("clean")

    @cached_property
    def adversarial(self) -> tuple[np.ndarray, np.ndarray]:
        return self._pair("adversarial")

    def _pair(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as arrays:
            return arrays["traces"], arrays["probabilities"]

    def network(self) -> keras.Model:
        """The trained network; TensorFlow then uses all cores, in every contender alike."""
        from utils.networks import architectures, files, runtime

        runtime.start(threads=CORES)
        return architectures.compile_model(files.load(self.folder / "network.keras"))


def load(setting: Setting) -> Inputs:
    """The inputs, made in a process of its own if they are not there yet."""
    wanted, folder = _description(setting), _folder(setting)
    made = folder / "made.json"
    if not made.is_file() or read_json(made) != wanted:
        tell("making images, network and traces ...")
        command = [sys.executable, "-m", __name__, str(setting.out), str(int(setting.quick))]
        subprocess.run(command, cwd=ROOT, check=True)
        write_json(made, wanted)
    return Inputs(folder, wanted["source"])


def _folder(setting: Setting) -> Path:
    kind = "quick" if setting.quick else "mnist" if _raw(setting) else "digits"
    return setting.out / f"inputs-{kind}"


def _raw(setting: Setting) -> Path | None:
    path = Path(os.environ.get("GUIDED_RETRAINING_RAW") or ".") / "mnist.npz"
    return path if path.is_file() and not setting.quick else None


def _description(setting: Setting) -> dict:
    from utils.networks.architectures import ARCHITECTURES

    return {
        "source": "mnist" if _raw(setting) else "digits, enlarged to 28 x 28",
        "architecture": ARCHITECTURES["mnist"],
        "n": setting.size(N_IMAGES, 1200),
        "trained_on": setting.size(20_000, 800),
        "epochs": 2,
    }


def _images(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    raw = _raw(setting)
    found = read_raw("mnist", raw) if raw else read_raw("digits")
    splits, _ = read_splits(found, split("mnist", found), (28, 28, 1) if raw else (8, 8, 1))
    x = np.concatenate([splits.x_train, splits.x_val, splits.x_test])
    y = np.concatenate([splits.y_train, splits.y_val, splits.y_test])
    return (x, y) if raw else _enlarged(x, y, setting.size(N_IMAGES, 1200))


def _enlarged(x: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` images of 28 x 28 from images of 8 x 8: drawn, shifted by up to two pixels, noisy."""
    random = rng(0, "enlarged digits")
    rows = random.integers(len(x), size=n)
    large = np.zeros((n, 28, 28, 1), np.float32)
    for i, (row, down, right) in enumerate(
        zip(rows, *random.integers(5, size=(2, n)), strict=True)
    ):
        large[i, down : down + 24, right : right + 24] = x[row].repeat(3, 0).repeat(3, 1)
    for part in np.array_split(large, max(1, n // 1000)):
        part += random.normal(0, 0.05, part.shape).astype(np.float32)
    return np.clip(large, 0, 1, out=large), y[rows]


def _make(setting: Setting) -> None:
    """Write all files; the network is trained on the first images."""
    from utils.attacks.norm_ball import fgsm
    from utils.networks import architectures, files, runtime
    from utils.networks.activations import activations
    from utils.networks.training import train

    runtime.start(threads=CORES)
    facts, folder = _description(setting), _folder(setting)
    folder.mkdir(parents=True, exist_ok=True)
    x, y = _images(setting)
    network = architectures.build(facts["architecture"], (28, 28, 1), 10)
    n, held = facts["trained_on"], slice(-200, None)
    train(network, x[:n], y[:n], x[held], y[held], epochs=facts["epochs"], progress=tell)
    files.save(network, folder / "network.keras")
    np.save(folder / "images.npy", x)
    np.save(folder / "labels.npy", y)
    for name, images in (("clean", x), ("adversarial", fgsm(network, x, y))):
        traces, probabilities = activations(network, images)
        np.savez(folder / f"{name}.npz", traces=traces, probabilities=probabilities)


if __name__ == "__main__":
    _make(Setting(Path(sys.argv[1]), sys.argv[2] == "1"))
