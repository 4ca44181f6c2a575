"""What a network of the user's own expects of its inputs, found by measuring it on real images.

Files of networks don't record how pixels were scaled, in which order colours and classes come, or
how images were resized. A network that is given something else answers without an error, as if it
had learned nothing. So it is measured under the conventions that people use.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from utils.core.seeds import rng
from utils.data.raw.base import Tell
from utils.networks.activations import predict
from utils.networks.conventions import COLOR_ORDERS, PIXEL_RANGES, Convention, in_front, shown

if TYPE_CHECKING:
    import keras

N_IMAGES = 300
"""At most so many training images are shown to the network, once for each convention."""
CLEAR_LEVEL = 0.001
"""Level of the tests for a convention that is clearly better: the network is used so."""
DOUBT_LEVEL = 0.05
"""Level of the test for a convention that may be better: a doubt that is printed, no more."""
LEAST_GAIN = 0.02
"""A convention that gains less accuracy than this is not clearly better, however sure."""
OTHER = "another"
"""An order of the classes that has no name: the one in which the network is right."""


class Trial(NamedTuple):
    """A network under several conventions."""

    given: Convention
    """The one that holds unless another is clearly better."""
    right: dict[Convention, np.ndarray]
    """Which images are classified right, (n,) bool, the same images under each."""
    guessing: float
    """Share of the images that are of the most common class."""
    other_order: tuple[int, ...] = ()
    """Under the best convention, the label that each output of the network stands for."""

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.right[self.given])

    @property
    def best(self) -> Convention:
        """The given convention, or one that is clearly better, with no more changes than needed.

        That is the first one, by the number of changes, above all of those that are settings of
        step 0.0, that is clearly better than the given one, and than which none is clearly better.
        """
        top = max(self.right, key=lambda c: self.right[c].mean())

        def changes(convention: Convention) -> tuple[int, int, float]:
            changed = [a != b for a, b in zip(convention, self.given, strict=True)]
            return sum(changed[2:]), sum(changed), -self.right[convention].mean()

        for convention in sorted(self.right, key=changes):
            better = convention == self.given or self._clearly(convention, self.given)
            if better and not self._clearly(top, convention):
                return convention
        return self.given

    def _clearly(self, one: Convention, other: Convention) -> bool:
        """Whether one convention is clearly better than the other.

        By at least `LEAST_GAIN`, in McNemar's exact test at `CLEAR_LEVEL`, corrected for the number
        of conventions (Bonferroni), and, at that level, than always naming the most common class.
        """
        from scipy.stats import binomtest

        mine, others = self.right[one], self.right[other]
        if mine.mean() - others.mean() < LEAST_GAIN:
            return False
        p = max(
            self._p_value(one, other),
            binomtest(mine.sum(), len(mine), self.guessing, "greater").pvalue,
        )
        return bool(p * (len(self.right) - 1) < CLEAR_LEVEL)

    def _p_value(self, one: Convention, other: Convention) -> float:
        """Of McNemar's exact test, one-sided: is `one` right more often than `other`?"""
        from scipy.stats import binomtest

        mine, others = self.right[one], self.right[other]
        won, lost = np.count_nonzero(mine & ~others), np.count_nonzero(others & ~mine)
        return binomtest(won, won + lost, alternative="greater").pvalue if won else 1.0

    @property
    def settled(self) -> Trial:
        """Only with the order of classes and the way of resizing that are given."""
        return self._replace(right={c: r for c, r in self.right.items() if c[2:] == self.given[2:]})

    def convention_in_words(self) -> str:
        """How the network is shown images, if not as they are, or what is in doubt; else empty."""
        given, best = self.given, self.best
        other = max(self.right, key=lambda c: (self.right[c].mean(), c == given))
        if best == given and not self._maybe_better(other):
            return ""
        other = other if best == given else best
        colours = given.color_order != other.color_order

        def as_set(convention: Convention) -> str:
            names = ("pixel_range", "color_order", "class_order", "resize")
            return " ".join(
                f"{n}={getattr(convention, n)}"
                for n in names
                if getattr(given, n) != getattr(other, n)
            )

        def shown_as(convention: Convention) -> str:
            text = f"pixel values {PIXEL_RANGES[convention.pixel_range].meaning}"
            return text + (f" in the order {convention.color_order}" if colours else "")

        right = {c: f"{self.right[c].mean():.3f}" for c in (given, other)}
        if best == given:
            return (
                f"maybe misread: {right[given]} of {self.n_images} training images are classified "
                f"right, with {as_set(other)} {right[other]}, too close to tell; set what it was "
                "trained with"
            )
        return (
            f"the network is shown {shown_as(best)}: so {right[best]} of {self.n_images} training "
            f"images are classified right, with {shown_as(given)} {right[given]}; "
            f"{as_set(given)} shows it these"
        )

    def _maybe_better(self, other: Convention) -> bool:
        """Whether there is a doubt that `other`, which is not clearly better, is the right one."""
        gain = self.right[other].mean() - self.right[self.given].mean()
        doubt = gain >= LEAST_GAIN and self._p_value(other, self.given) < DOUBT_LEVEL
        return bool(doubt and other.class_order != OTHER)

    def table(self) -> pd.DataFrame:
        """A row for each convention, the most accurate first, for people."""
        rows = [{**c._asdict(), "accuracy": right.mean()} for c, right in self.right.items()]
        table = pd.DataFrame(rows).sort_values("accuracy", ascending=False, kind="stable")
        return table.round(3).set_index(list(Convention._fields))


def sample_of(n: int) -> np.ndarray:
    """Positions of at most `N_IMAGES` out of `n` training images, always the same."""
    return np.sort(rng(0, "conventions").permutation(n)[:N_IMAGES])


def try_conventions(
    model: keras.Model,
    images: Mapping[str, np.ndarray],
    labels: np.ndarray,
    orders: Mapping[str, Sequence[int]],
    pixel_range: str = "auto",
    color_order: str = "auto",
    tell: Tell = print,
) -> Trial:
    """Measure a network under every convention that is not settled.

    All are tried with each other: a network may be at chance unless two of them are right.

    Parameters
    ----------
    model : keras.Model
        As the user brought it.
    images : mapping of str to ndarray of shape (n, height, width, channels)
        Training images in [0, 1] by the way in which they were resized, the present one first.
    labels : ndarray of shape (n,), dtype=int64
    orders : mapping of str to sequence of int
        See `utils.data.class_order.orders_of`, the present one first. An order without a name
        is tried, too.
    pixel_range, color_order : str, default="auto"
        What the user gave: a key of `PIXEL_RANGES`, one of `COLOR_ORDERS`; "auto" tries all.
    tell : callable
        Gets a line where it takes longer than ten seconds.

    Returns
    -------
    Trial
    """
    colours = next(iter(images.values())).shape[-1] == 3
    ranges = [pixel_range] if pixel_range != "auto" else list(PIXEL_RANGES)[: 5 if colours else 3]
    sequences = [color_order] if color_order != "auto" else COLOR_ORDERS[: 2 if colours else 1]
    right: dict[Convention, np.ndarray] = {}
    other: dict[Convention, tuple[int, ...]] = {}
    ways, began = list(product(images, ranges, sequences)), time.monotonic()
    for number, (resize, pixels, colors) in enumerate(ways):
        given = predict(model, shown(images[resize], pixels, colors), finite=False)
        outputs, numbers = given.argmax(axis=1), np.isfinite(given).all(axis=1)
        for name, order in orders.items():
            hits = np.asarray(order)[outputs] == labels
            right[Convention(pixels, colors, name, resize)] = hits & numbers
        if not numbers.all():
            continue
        if found := _in_another_order(outputs, labels):
            convention = Convention(pixels, colors, OTHER, resize)
            right[convention], other[convention] = found
        seconds = (time.monotonic() - began) / (number + 1) * (len(ways) - number - 1)
        if number == 1 and seconds > 10:
            tell(
                f"own_model: trying what the network takes, {len(ways)} ways; {seconds:.0f} s left"
            )
    trial = Trial(next(iter(right)), right, np.bincount(labels).max() / len(labels))
    return trial._replace(other_order=other.get(trial.best, ()))


def _in_another_order(
    outputs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """Which images are right in the order of classes that fits best, and that order.

    None, unless each output stands for a class of its own in most of the images that have it: an
    order can be found that suits any network a little. For each half of the images the order is
    taken from the other half, so that what fits by chance gains nothing.
    """
    n, right = max(outputs.max(), labels.max()) + 1, np.zeros(len(labels), bool)
    halves = np.array_split(rng(0, "halves").permutation(len(labels)), 2)
    counts = []
    for part in [np.arange(len(labels)), *halves]:
        counts.append(np.zeros((n, n), int))
        np.add.at(counts[-1], (outputs[part], labels[part]), 1)
    orders = [count.argmax(axis=1) for count in counts]
    most = counts[0].max(axis=1) > counts[0].sum(axis=1) / 2
    if not most.all() or any(len(set(order)) < n for order in orders):
        return None
    for part, order in zip(halves, orders[:0:-1], strict=True):
        right[part] = order[outputs[part]] == labels[part]
    return right, tuple(map(int, orders[0]))


def fitted(model: keras.Model, trial: Trial, class_folders: Sequence[str] = ()) -> keras.Model:
    """`model` so that it takes images in [0, 1], as it did best.

    Parameters
    ----------
    model : keras.Model
    trial : Trial
    class_folders : sequence of str, default=()
        See `utils.data.class_order.orders_of`.

    Raises
    ------
    ValueError
        If classes in another order, or images resized in another way, are clearly better: these
        are settings of step 0.0.
    """
    given, best = trial.given, trial.best
    settings = {
        name: getattr(best, name)
        for name in ("class_order", "resize")
        if getattr(best, name) != getattr(given, name)
    }
    if not settings:
        return in_front(model, best.pixel_range, best.color_order)
    before, after = (f"{trial.right[c].mean():.3f}" for c in (trial.settled.best, best))
    found = f"own_model: {before} of {trial.n_images} training images are classified right, but"
    if settings.get("class_order") == OTHER:
        if not class_folders:
            order = " ".join(map(str, trial.other_order))
            raise ValueError(
                f"{found} {after} if the network's outputs 0, 1, ... stand for the labels {order}; "
                "number the labels as the network does, or, if they are so, add --set "
                "accept_weak=true to go on as it is"
            )
        settings["class_order"] = ",".join(class_folders[i] for i in trial.other_order)
    options = " ".join(f"{name}={value}" for name, value in settings.items())
    raise ValueError(
        f"{found} {after} with {options}; add --set {options}, or accept_weak=true to go on as it "
        "is"
    )
