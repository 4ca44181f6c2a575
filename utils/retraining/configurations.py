"""The configurations: what a retraining starts from, what it retrains on, and how.

Adding one is one entry in `CONFIGURATIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from utils.retraining.inputs import RetrainingData

STUDY = "Guiding the retraining of convolutional neural networks against adversarial inputs, 2023"


@dataclass(frozen=True)
class Configuration:
    """One way to retrain the original model.

    Parameters
    ----------
    id : int
    name : str
        What it does, for people.
    short : str
        The same in two or three words, for figures.
    ordered : tuple of str
        Parts of the inputs that a metric orders and prefixes are taken of: ``train``, the training
        inputs, and ``adv_train``, the adversarial ones; in the order of a metric's scores.
    always : tuple of str, default=()
        Parts that each retraining takes whole, besides its prefix.
    fresh_weights : bool, default=False
        Whether it starts from fresh weights and not from the original model's.
    attacks : bool, default=False
        Whether inputs are attacked anew in every batch, see `utils.retraining.hardening`.
    source : str
        Where it comes from.
    """

    id: int
    name: str
    short: str
    ordered: tuple[str, ...]
    always: tuple[str, ...] = ()
    fresh_weights: bool = False
    attacks: bool = False
    source: str = STUDY

    def takes(self, part: str) -> bool:
        """Whether it retrains on inputs of a part."""
        return part in self.ordered + self.always

    def n_ordered(self, n: Mapping[str, int]) -> int:
        """Number of inputs that a metric orders, from that of each part."""
        return sum(n[part] for part in self.ordered)

    def inputs(self, data: RetrainingData) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels: first what a metric orders, then what always counts.

        Returns
        -------
        x : ndarray of shape (n, height, width, channels), dtype=float32
        y : ndarray of shape (n,), dtype=int64
        """
        parts = [*self.ordered, *self.always]
        if len(parts) == 1:  # no copy
            return getattr(data, f"x_{parts[0]}"), getattr(data, f"y_{parts[0]}")
        x, y = ([getattr(data, f"{name}_{part}") for part in parts] for name in "xy")
        return np.concatenate(x), np.concatenate(y)

    def adversarial(self, n: Mapping[str, int]) -> np.ndarray:
        """Which of what `inputs` returns are adversarial, from the number of each part."""
        parts = [*self.ordered, *self.always]
        return np.concatenate([np.full(n[part], part == "adv_train") for part in parts])

    def scores(self, scores: np.ndarray, n_train: int) -> np.ndarray:
        """Of all inputs' scores, training inputs first, those of the inputs that are ordered."""
        if len(scores) <= n_train:
            raise ValueError(
                f"scores: expected one for each of {n_train} training inputs and each adversarial "
                f"input, got {len(scores)}"
            )
        parts = {"train": scores[:n_train], "adv_train": scores[n_train:]}
        return np.concatenate([parts[part] for part in self.ordered])


CONFIGURATIONS: dict[int, Configuration] = {
    configuration.id: configuration
    for configuration in (
        Configuration(
            1,
            "from scratch, on training and adversarial inputs",
            "from scratch",
            ("train", "adv_train"),
            fresh_weights=True,
        ),
        Configuration(
            2,
            "from the original model, on training and adversarial inputs",
            "both kinds of inputs",
            ("train", "adv_train"),
        ),
        Configuration(
            3,
            "from the original model, on adversarial inputs only",
            "adversarial inputs only",
            ("adv_train",),
        ),
        Configuration(
            4,
            "from the original model, on training inputs attacked anew in every batch",
            "adversarial fine-tuning",
            ("train",),
            attacks=True,
            source="Wong, Rice and Kolter, Fast is better than free, ICLR 2020",
        ),
        Configuration(
            5,
            "from the original model, on all training inputs and the first adversarial ones",
            "all training inputs",
            ("adv_train",),
            always=("train",),
            source="Wang et al., RobOT, ICSE 2021",
        ),
    )
}
"""Configurations by number."""


BEYOND_PREFIX = ("leave_out", "keep")
"""What becomes of the inputs beyond the prefix where inputs are attacked."""


def configuration_of(number: int) -> Configuration:
    """The configuration of a number; a ValueError if there is none."""
    if number not in CONFIGURATIONS:
        known = ", ".join(map(str, CONFIGURATIONS))
        raise ValueError(f"configuration: expected one of {known}, got {number!r}")
    return CONFIGURATIONS[number]
