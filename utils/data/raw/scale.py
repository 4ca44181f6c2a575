"""Which stored value is white: as its format defines, else from what a data set holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

SLACK = 0.01
"""Floats may exceed their range by this share of it, as after interpolation; they are clipped."""
LEAST = 128
"""Whole numbers of which none is so large are hardly values of pixels from 0 to 255."""

DARK = 16
"""Where no value is above this part of white, something else is white: 12 bits in 16, 0 and 1 in 8,
floats that were divided twice."""
MIXED = 0.05
"""From this share of such images on, images of several scales are mixed in a data set."""

EXACT, DEEP, FLOAT, UPPER = "exact", "deep", "float", "upper"
"""Kinds: the format defines which value is white; whole numbers of more than 8 bits; floats; and
16-bit colours, of which Pillow reads the upper 8 bits only."""


class Stored(NamedTuple):
    """What an image, or many, hold in their file, before any scaling."""

    kind: str
    low: float
    high: float
    white: float = 0.0
    """Where the format defines which value is white, this value."""


class Scale(NamedTuple):
    """Values from `black` to `white` become 0 to 1."""

    black: float
    white: float
    note: str

    def is_done(self, stored: Stored) -> bool:
        """Whether decoding has brought the images into 0..1 already."""
        return not self.black and self.white == stored.white


def over(images: Iterable[Stored]) -> dict[tuple[str, float], Stored]:
    """The range of all images of each kind and white."""
    found: dict[tuple[str, float], Stored] = {}
    for image in images:
        key = image.kind, image.white
        low, high = (found[key].low, found[key].high) if key in found else (image.low, image.high)
        found[key] = image._replace(low=min(low, image.low), high=max(high, image.high))
    return found


def apply(scale: Scale, stored: Stored, pixels: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1] from those as stored, or in 0..1 already if `stored` defines white."""
    if scale.is_done(stored):
        return pixels
    pixels = pixels * np.float32(stored.white or 1) - np.float32(scale.black)
    return np.clip(pixels / np.float32(scale.white - scale.black), 0, 1)


def scale_of(stored: Stored, white: float = 0.0) -> Scale:
    """Which values are black and white in a data set.

    Parameters
    ----------
    stored : Stored
        The range of all images that are read. The number of bits is a fact of its format, as the
        largest value of a single image, or of some, would give images of one set several scales;
        so test images count, too, and nothing is learned from them.
    white : float, default=0.0
        The user's choice; 0: by content. Of 10, 12, 14 or 16 bits the fewest that hold the
        largest value are taken; 8 where that is at most 255; floats are in 0..1, else in -1..1,
        else like whole numbers.

    Raises
    ------
    ValueError
        If values are below black or above white.
    """
    kind, low, high, own = stored
    shown = f"{low:.8g} to {high:.8g}"
    if not (low > -float("inf") and high < float("inf")):  # also for NaN
        raise ValueError(f"expected image values in [0, 1] and no NaN, got {shown}")
    if white:
        slack = SLACK * white if kind == FLOAT else 0
        if low < -slack or high > white + slack:
            raise ValueError(f"white: got {white:g}, but image values are {shown}")
        return Scale(0, white, f"values from {shown}: {white:g} is white, as set")
    if kind == EXACT:
        _not_dark(low, high, own)
        return Scale(0, own, "")
    if kind == UPPER:
        if high < 64 * 257:
            raise ValueError(
                f"16-bit colours whose largest value is about {high:,.0f}: only their upper 8 bits "
                "can be read, which is too coarse; save them with 8 bits a channel, or as arrays "
                "in an .npz file"
            )
        return Scale(0, 65535, "")
    if kind == FLOAT and low >= -SLACK and high <= 1 + SLACK:
        _not_dark(low, high, 1)
        over_by = max(high - 1, -low)
        note = f"floats of {shown}: clipped to 0..1" if over_by > 0 else ""
        return Scale(0, 1, note)
    if kind == FLOAT and -1 - SLACK <= low < -0.75 and high <= 1 + SLACK:
        return Scale(-1, 1, f"floats of {shown}: taken as -1..1, -1 is black")
    name = "floats" if kind == FLOAT else "whole numbers"
    slack = 1 + SLACK if kind == FLOAT else 1
    if low < (-SLACK * high if kind == FLOAT else 0):
        raise ValueError(
            f"expected image values in 0..1, 0..255 or 0..65535, got {shown} ({name}); shift "
            "them so that 0 is black"
        )
    if high > 65535 * slack or high < LEAST:
        span = "[0, 1] and no NaN" if kind == FLOAT else "0..255 or 0..65535"
        raise ValueError(
            f"expected image values in {span}, got {shown} ({name}); say which value is white "
            "with --set white=N, or save values in 0..1"
        )
    bits = next(b for b in (8, 10, 12, 14, 16) if high <= (2**b - 1) * slack)
    found = 2**bits - 1
    usual = kind == DEEP and bits == 16
    note = f"{name} whose largest is {high:,.6g}: taken as {bits}-bit, {found:,} is white"
    return Scale(0, found, "" if usual else f"{note}; --set white=N says otherwise")


def _not_dark(low: float, high: float, white: float) -> None:
    if low < high < white / DARK:
        raise ValueError(
            f"expected image values from 0 to {white:g}, got {low:.8g} to {high:.8g}: nearly "
            "black; say which value is white with --set white=N, "
            f"white={white:g} if they are that dark"
        )


def check_mixed(highs: np.ndarray, kind: str, scale: Scale) -> None:
    """Doubt that images, of which `highs` are the largest values, have one scale.

    Raises
    ------
    ValueError
        If many are nearly black by the scale of all: these had another one before.
    """
    if kind not in (DEEP, FLOAT) or scale.black or scale.white < LEAST:
        return
    eight = scale.white == 255
    if eight and kind == DEEP:  # dark images of 8 bits are nothing odd
        return
    dark = (highs > 0) & (highs < (1 + 2 * SLACK if eight else scale.white / DARK))
    if dark.sum() >= max(MIXED * len(highs), 1) and not dark.all():
        raise ValueError(
            f"{dark.sum():,} of {len(highs):,} images hold no value above {highs[dark].max():.6g}, "
            f"others up to {highs.max():,.6g}: several scales seem to be mixed; bring all to one, "
            f"or say with --set white={scale.white:g} that these are just dark"
        )
