"""The configurations: what a retraining starts from, and what it retrains on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from utils.retraining.inputs import RetrainingData

CONFIGURATIONS: dict[int, str] = {
    1: "from scratch, on training and adversarial inputs",
    2: "from the original model, on training and adversarial inputs",
    3: "from the original model, on adversarial inputs only",
}
FRESH_WEIGHTS = {1}
"""Configurations that start from fresh weights; the others start from the original model's."""
ADVERSARIAL_ONLY = {3}
"""Configurations that retrain on adversarial inputs alone."""


def retraining_inputs(data: RetrainingData, configuration: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that a configuration retrains on, in the order of a metric's scores."""
    check_configuration(configuration)
    if configuration in ADVERSARIAL_ONLY:
        return data.x_adv_train, data.y_adv_train
    return (
        np.concatenate([data.x_train, data.x_adv_train]),
        np.concatenate([data.y_train, data.y_adv_train]),
    )


def n_retraining_inputs(configuration: int, n_train: int, n_adversarial: int) -> int:
    """Number of inputs that a configuration retrains on."""
    check_configuration(configuration)
    return n_adversarial + (0 if configuration in ADVERSARIAL_ONLY else n_train)


def check_configuration(configuration: int) -> None:
    """Raise a ValueError if there is no such configuration."""
    if configuration not in CONFIGURATIONS:
        known = ", ".join(map(str, CONFIGURATIONS))
        raise ValueError(f"configuration: expected one of {known}, got {configuration!r}")
