"""Decoding an image with Pillow."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from utils.data.raw.base import Shape
from utils.data.raw.scale import DEEP, EXACT, FLOAT, UPPER, Stored, apply, scale_of

RESIZES = ("pillow", "keras", "nearest")
"""Ways to change an image's size, see `resized`."""
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
"""What is understood. Pillow would try all it knows, EPS too, which is a program to be run."""


class Look(NamedTuple):
    """What a glance at an image tells."""

    height: int
    width: int
    coloured: bool
    stored: Stored


def decode(content: bytes, shape: Shape, resize: str = "pillow", white: float = 0.0) -> np.ndarray:
    """Decode one image, as if it were all of a data set; see `decode_all`.

    Returns
    -------
    (h, w, c) float32
        In [0, 1].
    """
    pixels, stored = values(content, shape, resize)
    return apply(scale_of(stored, white), stored, pixels)


def values(content: bytes, shape: Shape, resize: str) -> tuple[np.ndarray, Stored]:
    """Decode one image, but leave its values as they are stored.

    Parameters
    ----------
    content : bytes
        A file, in one of `FORMATS`.
    shape : (int, int, int)
        Height, width and channels to give it; 1 channel is gray, 3 are red, green, blue.
    resize : {"pillow", "keras", "nearest"}
        See `resized`.

    Returns
    -------
    pixels : (h, w, c) float32
        As stored; where the format defines which value is white, in [0, 1].
    stored : Stored
        The range of what is stored.

    Notes
    -----
    Transparent parts are shown on white. 16-bit gray images keep their precision; Pillow reads
    16-bit colour ones with 8 bits. Cameras' orientation tags are followed. Gray is 0.299 red +
    0.587 green + 0.114 blue.
    """
    height, width, channels = shape
    opened = _open(content)
    if resize == "pillow":
        opened.draft(None, (2 * width, 2 * height))  # a JPEG much too large is decoded in part
    with _quiet():
        image, stored = _plain(opened, gray=channels == 1)
    pixels = resized(image, height, width, resize)
    if stored.white:
        pixels = pixels / np.float32(255 if image.mode != "F" else 1)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return np.broadcast_to(pixels, shape), stored


def resized(image: Image.Image, height: int, width: int, how: str = "pillow") -> np.ndarray:
    """Pixels of an image in another size, whatever the aspect ratio.

    Parameters
    ----------
    image : Image
        Of any mode.
    height, width : int
    how : {"pillow", "keras", "nearest"}, default="pillow"
        "pillow": linear interpolation with antialiasing, so that a pixel of a smaller image is an
        average of all that it covers, as Pillow and torchvision resize. "keras": of the four
        nearest, as Keras's ``image_dataset_from_directory`` and TensorFlow do. "nearest": the
        nearest pixel, as Keras's older ``flow_from_directory`` does.

    Returns
    -------
    (h, w) or (h, w, c) float32
        In the units of `image`.
    """
    size = (width, height)
    if image.size == size:
        return np.asarray(image, np.float32)
    if how != "keras":
        filters = {"pillow": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
        return np.asarray(image.resize(size, filters[how]), np.float32)
    matrix = (image.width / width, 0, 0, 0, image.height / height, 0)
    planes = [  # as floats: 8 bits would be rounded
        np.asarray(
            band.convert("F").transform(
                size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
            )
        )
        for band in image.split()
    ]
    return np.stack(planes, -1, dtype=np.float32) if len(planes) > 1 else planes[0]


def look(content: bytes) -> Look:
    """Height and width of an image, whether it shows colours, and what is stored."""
    with _quiet():
        image, stored = _plain(_open(content), gray=False)
    pixels = np.asarray(image, np.float32)
    spread = np.ptp(pixels, axis=-1).max() if pixels.ndim == 3 else 0
    coloured = bool(spread > 16)  # JPEG makes gray a little coloured
    return Look(image.height, image.width, coloured, stored)


def _open(content: bytes) -> ImageFile.ImageFile:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(BytesIO(content), formats=FORMATS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of damaged tags, several lines an image."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        yield


def _plain(opened: ImageFile.ImageFile, gray: bool) -> tuple[Image.Image, Stored]:
    """Mode L or RGB; or F for gray images of more than 8 bits, as stored or in [0, 1]."""
    how: Any = opened.tile[0].args if opened.tile else ""
    netpbm = opened.format == "PPM" and opened.mode == "I" and isinstance(how, tuple)
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I", "F")):
        pixels = np.asarray(image, np.float32)
        low, high = float(pixels.min()), float(pixels.max())
        if not np.isfinite([low, high]).all():
            raise ValueError("holds NaN or infinite values")
        if netpbm:  # the header defines which value is white, and Pillow scales by it
            return Image.fromarray(pixels / np.float32(65535)), Stored(
                EXACT, 0, how[1] * high / 65535, how[1]
            )
        kind = FLOAT if image.mode == "F" else DEEP
        return Image.fromarray(pixels), Stored(kind, low, high)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB") if image.mode == "LAB" else image  # it has no way to gray
    image = image.convert("L" if gray else "RGB")
    if ";16" in str(how):
        return image, Stored(UPPER, 0, 257.0 * np.asarray(image).max(), 65535)
    return image, Stored(EXACT, 0, float(np.asarray(image).max()), 255)


def reason(error: Exception, content: bytes) -> str:
    """Why an image can't be decoded, in a few words."""
    if not content:
        return "empty or unreadable"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    return " ".join(str(error).split()) or type(error).__name__
