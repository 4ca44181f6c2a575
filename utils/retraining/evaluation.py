"""What one network is worth: the quality columns of a row of the results table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from utils.attacks.robustness import withstands
from utils.core.seeds import rng
from utils.networks.activations import NoNumbers
from utils.networks.training import Trainer
from utils.retraining.inputs import RetrainingData
from utils.retraining.outcomes import join, pack

NO_NUMBERS = "the network gives no numbers"
NONE_ATTACKED = "the network gives no numbers where it is attacked"


@dataclass(frozen=True)
class FreshAttack:
    """How each retrained network is attacked anew, with projected gradient descent.

    Parameters
    ----------
    epsilon : float
        Largest change of a pixel; pixels range over [0, 1].
    steps : int, default=10
        Gradient steps.
    images : int, default=500
        Test images, and validation images, to attack: the same at every point and for all metrics.
    """

    epsilon: float = 0.05
    steps: int = 10
    images: int = 500


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """On the test or the validation set: clean images first, then fixed adversarial ones."""

    losses: np.ndarray
    classes: np.ndarray
    right: np.ndarray
    n_clean: int
    picked: np.ndarray
    """Clean images in the order in which they are picked to be attacked."""
    fresh: np.ndarray
    """Which of the first of these withstand the attack."""
    seconds: float
    """What the attack took."""
    problem: str
    """Why the network is of no use, or nothing."""

    @property
    def robust(self) -> tuple[np.ndarray, np.ndarray]:
        return self.right[: self.n_clean][self.picked], self.fresh


def evaluate(
    trainer: Trainer, data: RetrainingData, fresh: FreshAttack, seed: int, one_step: bool = False
) -> dict[str, float | str]:
    """Quality, validation and outcome columns of a row, the seconds of the attacks, the problem.

    Only with `one_step` is there a number in ``val_accuracy_one_step``.
    """
    from sklearn.metrics import precision_recall_fscore_support

    test, val = (_outcomes(trainer, data, split, fresh, seed) for split in ("test", "val"))
    labels = np.concatenate([data.y_test, data.y_adv_test])
    precision, recall, _, _ = precision_recall_fscore_support(
        labels, test.classes, labels=np.unique(labels), average="macro", zero_division=0
    )
    adversarial = test.right[test.n_clean :]
    row = {
        "loss": test.losses.mean(),
        "accuracy": test.right.mean(),
        "precision": precision,
        "recall": recall,
        "accuracy_clean": test.right[: test.n_clean].mean(),
        "accuracy_adversarial": adversarial.mean(),
        "val_loss": val.losses.mean(),
        "val_accuracy": val.right.mean(),
        "attack_seconds": test.seconds + val.seconds,
    }
    for attack in np.unique(data.attack_adv_test):
        row[f"accuracy_{attack}"] = adversarial[data.attack_adv_test == attack].mean()
    row["val_accuracy_one_step"] = np.nan
    if one_step:
        began, few, weak = perf_counter(), val.picked[: fresh.images], replace(fresh, steps=1)
        withstood, _ = _withstands(
            trainer, data.x_val[few], data.y_val[few], val.classes, weak, seed
        )
        row["val_accuracy_one_step"] = withstood.mean()
        row["attack_seconds"] += perf_counter() - began
    texts = {"problem": test.problem or val.problem}
    for prefix, part in (("", test), ("val_", val)):
        texts[f"{prefix}right"] = pack(part.right)
        texts[f"{prefix}right_robust"] = join(*part.robust)
        row[f"{prefix}accuracy_fresh"] = part.fresh.mean()
        row[f"{prefix}accuracy_robust"] = np.mean([each.mean() for each in part.robust])
    return {column: float(value) for column, value in row.items()} | texts


def _outcomes(
    trainer: Trainer, data: RetrainingData, split: str, fresh: FreshAttack, seed: int
) -> _Outcomes:
    x, y = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
    x_adv, y_adv = getattr(data, f"x_adv_{split}"), getattr(data, f"y_adv_{split}")
    parts = [trainer.predict(x, y), trainer.predict(x_adv, y_adv)]
    losses, classes = (np.concatenate(each) for each in zip(*parts, strict=True))
    if not all(np.isfinite(weights).all() for weights in trainer.model.get_weights()):
        classes[:] = -1  # some activations turn NaN into a number
    began = perf_counter()
    picked = rng(seed, f"attacked {split} images").permutation(len(y))
    few = picked[: fresh.images]
    withstood, problem = _withstands(trainer, x[few], y[few], classes, fresh, seed)
    seconds = perf_counter() - began
    right = classes == np.concatenate([y, y_adv])
    return _Outcomes(losses, classes, right, len(y), picked, withstood, seconds, problem)


def _withstands(
    trainer: Trainer,
    x: np.ndarray,
    y: np.ndarray,
    classes: np.ndarray,
    fresh: FreshAttack,
    seed: int,
) -> tuple[np.ndarray, str]:
    """Which images withstand the attack; if the network gives no numbers, none, and where."""
    none = np.zeros(len(y), bool)
    if (classes < 0).any():  # there is no gradient to follow
        return none, NO_NUMBERS
    try:
        return withstands(trainer.model, x, y, fresh.epsilon, fresh.steps, seed=seed), ""
    except NoNumbers:
        return none, NONE_ATTACKED
