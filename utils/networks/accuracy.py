"""The accuracy of the original network, and the refusal of one that only guesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from utils.data.arrays import SPLITS
from utils.networks.activations import predict

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from utils.data.arrays import Splits

GUESSING_LEVEL = 0.01
"""Level of the test for guessing: how often a network that only guesses passes for one that does
not."""
GUESSING = "no better than guessing"
"""Reported of a network that is not clearly better than the most frequent class."""


@dataclass(frozen=True)
class Accuracy:
    """What `measure` found.

    Attributes
    ----------
    shares : dict of str to float
        By split: the share of its images that are classified right.
    n_validation : int
        Validation images.
    guesses : bool
        Whether the network is right about no more validation images than by chance; see
        `beyond_guessing`.
    """

    shares: dict[str, float]
    n_validation: int
    guesses: bool

    def table(self) -> pd.DataFrame:
        """A row a split."""
        import pandas as pd

        return pd.DataFrame({"accuracy": self.shares}).round(4)

    def announcement(self, how_used: str = "") -> str:
        """One line for the page; `how_used`: the way in which a network of yours is used."""
        doubt = f", {GUESSING}" if self.guesses else ""
        return f"test accuracy {self.shares['test']:.3f}{doubt}{how_used and f'; {how_used}'}"

    def refuse_guessing(self, accept_weak: bool) -> None:
        """ValueError if the network only guesses, unless that is accepted."""
        if self.guesses and not accept_weak:
            raise ValueError(
                f"original model: {self.shares['val']:.3f} of {self.n_validation} validation "
                "images are classified right, no more than by guessing; see which classes are "
                "confused, train longer, or take another network; --set accept_weak=true goes on "
                "all the same"
            )


def measure(model: keras.Model, data: Splits) -> Accuracy:
    """Accuracy of a network on the images of every split."""
    answers = {name: predict(model, getattr(data, f"x_{name}")).argmax(axis=1) for name in SPLITS}
    right = {name: answers[name] == getattr(data, f"y_{name}") for name in SPLITS}
    return Accuracy(
        {name: float(right[name].mean()) for name in SPLITS},
        len(data.y_val),
        not beyond_guessing(data.y_val, answers["val"]),
    )


def beyond_guessing(labels: np.ndarray, predicted: np.ndarray) -> bool:
    """Whether predictions agree with the labels more often than by chance.

    By chance means: as often as if they were shuffled, so that always naming the most common class
    is chance, too, and finding a rare class counts (the null hypothesis of Cohen's kappa).

    Returns
    -------
    bool
        Of a binomial test at the level `GUESSING_LEVEL`.
    """
    from scipy.stats import binomtest

    classes = max(labels.max(), predicted.max()) + 1
    shares = [np.bincount(of, minlength=classes) / len(labels) for of in (labels, predicted)]
    expected = float(np.dot(*shares))
    hits = int(np.count_nonzero(labels == predicted))
    p = binomtest(hits, len(labels), min(expected, 1.0), "greater").pvalue
    return bool(p < GUESSING_LEVEL)
