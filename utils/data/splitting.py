"""Splitting: which image goes to training, validation and test, from labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from utils.core import seeds
from utils.core.text import listed
from utils.data.raw.base import Raw

Shares = tuple[float, float, float]
"""Shares of training, validation and test images."""


class Plan(NamedTuple):
    """Positions of the images of each split, and how they were chosen, in words."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    how: str

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images of each split."""
        return {"train": len(self.train), "val": len(self.val), "test": len(self.test)}


def plan_split(
    raw: Raw,
    shares: Sequence[float],
    n_images: int = 0,
    split_by: str = "image",
    split_seed: int = 0,
) -> Plan:
    """Split at random into training, validation and test, each with the same class shares.

    Validation and test images that the source names as such stay what they are; the shares then
    give how the others are divided among what is left.

    Parameters
    ----------
    raw : Raw
    shares : tuple of 3 floats
        Shares of training, validation and test images.
    n_images : int, default=0
        Keep a stratified subset of at most so many images, some of each class; 0 keeps all.
    split_by : {"image", "track"}
        By track, all images of one track are on the same side, and shares are of tracks.
    split_seed : int, default=0
        The same seed gives the same split.

    Raises
    ------
    ValueError
        If a class has too few training images, a split would be empty or names hold no tracks.
    """
    rng = seeds.rng(split_seed, "split")
    pools = {p: np.flatnonzero(raw.parts == p) for p in ("val", "test")}
    given = [part for part, positions in pools.items() if positions.size]
    pools = {"train": np.flatnonzero(~np.isin(raw.parts, given)), **pools}
    least = 3 - len(given)  # an image of each class for each split that is made here
    _enough(raw, pools["train"], least)
    if 0 < n_images < len(raw.labels):
        pools = _subset(pools, raw.labels, n_images, least, rng)
    groups = _groups(raw, pools["train"], split_by)
    weights = dict(zip(("train", "val", "test"), shares, strict=True))
    weights = {p: w for p, w in weights.items() if p not in given}
    open_, n_groups = pools["train"], len(np.unique(groups))
    chosen = np.full(len(open_), "train", dtype="U5")
    for part in [p for p in ("test", "val") if p in weights]:
        if weights[part] <= 0:
            raise ValueError(f"shares: got none for {part}, and the data set names no such images")
        size = round(n_groups * weights[part] / sum(weights.values()))
        left = np.flatnonzero(chosen == "train")
        taken = _draw(raw.labels[open_[left]], groups[left], size, rng, keep=1)
        chosen[left[taken]] = part
    result = {p: pools[p] if p in given else open_[chosen == p] for p in pools}
    for split, positions in result.items():
        if not positions.size:
            raise ValueError(f"n_images: too few images, none is left for {split}")
    result = {part: rng.permutation(positions) for part, positions in result.items()}
    return Plan(**result, how=_split_in_words(weights, given, split_by))


def understood(dataset: str, raw: Raw, plan: Plan) -> list[str]:
    """What raw images were taken for, in two lines: classes; splits, and what was left out."""
    counts = ", ".join(f"{size:,} {part}" for part, size in plan.sizes.items())
    chosen, n_found = sum(plan.sizes.values()), len(raw.labels)
    if chosen < n_found:
        counts = f"{chosen:,} of them are taken (n_images): {counts}"
    n, classes = len(raw.class_names), listed(raw.class_names, 12)
    return [
        f"{dataset}: {len(raw.labels):,} images of {n} classes in {raw.source}: {classes}",
        "; ".join([f"{dataset}: {counts} images, {plan.how}", *raw.notes]),
    ]


def _enough(raw: Raw, positions: np.ndarray, least: int) -> None:
    if not positions.size:
        raise ValueError(f"{raw.source}: all images are for validation or test, none for training")
    counts = np.bincount(raw.labels[positions], minlength=len(raw.class_names))
    few = np.flatnonzero(counts < least)
    if few.size:
        named = ", ".join(f"{raw.class_names[c]} ({counts[c]})" for c in few[:5])
        if not counts[0] and counts[1:].all() and raw.class_names[0] == "0":
            named += " (do the labels start at 1 instead of 0?)"
        use = "to split them" if least > 1 else "to train on"
        raise ValueError(
            f"{raw.source}: expected at least {least} training image{'s' * (least > 1)} of each "
            f"class {use}; too few of class {named}"
        )


def _subset(
    pools: dict, labels: np.ndarray, n_images: int, least: int, rng: np.random.Generator
) -> dict:
    n = sum(map(len, pools.values()))
    sizes = {part: round(n_images * len(p) / n) for part, p in pools.items()}
    n_classes = len(np.unique(labels[pools["train"]]))
    if sizes["train"] < least * n_classes:
        raise ValueError(
            f"n_images: got {n_images}, too few for {n_classes} classes; expected at least "
            f"{int(np.ceil(least * n_classes * n / len(pools['train'])))}"
        )
    return {
        part: p[
            _draw(
                labels[p],
                np.arange(len(p)),
                sizes[part],
                rng,
                least=least if part == "train" else 0,
            )
        ]
        for part, p in pools.items()
    }


def _groups(raw: Raw, positions: np.ndarray, split_by: str) -> np.ndarray:
    """Images with the same number stay together."""
    if split_by == "image":
        return np.arange(len(positions))
    if raw.tracks is None or (raw.tracks[positions] < 0).any():
        raise ValueError(
            "split_by: got 'track', but not all images have names like 00012_00029.ppm "
            "(track_frame); use 'image'"
        )
    return raw.tracks[positions]


def _draw(
    labels: np.ndarray,
    groups: np.ndarray,
    size: int,
    rng: np.random.Generator,
    keep: int = 0,
    least: int = 0,
) -> np.ndarray:
    """Positions of the images of `size` groups, stratified; all of a group have one label.

    Each class gives in proportion, rounded so that the sum is right, but at least `least` groups,
    and keeps `keep`.
    """
    names, first = np.unique(groups, return_index=True)
    classes, counts = np.unique(labels[first], return_counts=True)
    exact = counts * size / max(len(names), 1)
    targets = np.floor(exact).astype(int)
    most = np.lexsort((rng.random(len(classes)), targets - exact))  # largest remainders first
    targets[most[: size - targets.sum()]] += 1
    while (targets < least).any():  # one more of the rarest class, one less of the most common
        targets[targets.argmin()] += 1
        targets[targets.argmax()] -= 1
    drawn = [
        rng.permutation(names[labels[first] == label])[: min(target, count - keep)]
        for label, target, count in zip(classes, targets, counts, strict=True)
    ]
    return np.flatnonzero(np.isin(groups, np.concatenate([names[:0], *drawn])))


def _split_in_words(weights: dict[str, float], given: Sequence[str], split_by: str) -> str:
    if not weights.keys() - {"train"}:
        return "training, validation and test images as the data set has them"
    total = sum(weights.values())
    shares = "/".join(f"{100 * w / total:.3g}" for w in weights.values())
    names = {"train": "training", "val": "validation", "test": "test"}
    text = f"{shares} % {'/'.join(names[p] for p in weights)}, at random within each class"
    text += ", whole tracks only" if split_by == "track" else ", image by image"
    kept = " and ".join(names[p] for p in given)
    return text + (f"; {kept} images as the data set has them" if given else "")
