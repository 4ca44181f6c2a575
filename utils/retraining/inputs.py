"""The arrays that a retraining reads: images, labels, adversarial inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.core.files import read_json
from utils.core.paths import Workspace
from utils.data.arrays import SPLITS, describe, load_array, load_pair, missing


@dataclass(frozen=True, eq=False)
class RetrainingData:
    """The arrays of a retraining job: images float32 (n, h, w, c) in [0, 1], labels int64 (n,).

    `attack_adv_test` holds the id of the attack that made each adversarial test input.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_adv_train: np.ndarray
    y_adv_train: np.ndarray
    x_adv_val: np.ndarray
    y_adv_val: np.ndarray
    x_adv_test: np.ndarray
    y_adv_test: np.ndarray
    attack_adv_test: np.ndarray

    def __post_init__(self) -> None:
        shape = self.x_train.shape[1:]
        for part in ("train", "val", "test", "adv_train", "adv_val", "adv_test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if x.shape[1:] != shape or y.shape != (len(x),) or not len(x):
                raise ValueError(
                    f"{part}: expected at least one image of shape {shape} and as many labels, "
                    f"got x {x.shape}, y {y.shape}"
                )
        if self.attack_adv_test.shape != self.y_adv_test.shape:
            raise ValueError(
                f"attack_adv_test: expected shape {self.y_adv_test.shape}, "
                f"got {self.attack_adv_test.shape}"
            )


def load_data(workspace: Workspace, dataset: str, seed: int) -> RetrainingData:
    """Read the arrays that the earlier steps wrote.

    Raises
    ------
    MissingFile, ValueError
        See `utils.data.arrays.load_pair`.
    """
    about, arrays = describe(dataset, workspace), {}
    clean, adversarial = workspace.data(dataset), workspace.adversarial(dataset, seed)
    for split in SPLITS:
        for folder, part, step in ((clean, split, "0.0"), (adversarial, f"adv_{split}", "1.1")):
            arrays[f"x_{part}"], arrays[f"y_{part}"] = load_pair(folder, part, about, step)
    attack = load_array(adversarial / "attack_adv_test.npy", "1.1")
    return RetrainingData(**arrays, attack_adv_test=attack)


def original_accuracy(workspace: Workspace, dataset: str, seed: int) -> float:
    """Accuracy of the original model on the clean test images, as step 0.1 measured it.

    Raises
    ------
    MissingFile
        If it does not exist.
    """
    path = workspace.original_accuracy(dataset, seed)
    if not path.is_file():
        raise missing(path, "0.1")
    return float(read_json(path)["accuracy"]["test"])
