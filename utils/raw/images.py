"""Decoding images with Pillow, on all cores."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from multiprocessing import get_context, parent_process

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.raw.base import Broken, Shape, Tell
from utils.text import readable

BATCH, BATCH_BYTES = 256, 32 * 2**20
"""Images a task of the process pool, and the size of their files from which on they are enough."""
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
"""What is understood. Pillow would try all it knows, EPS too, which is a program to be run."""
FEW = 2 * BATCH
"""Up to so many images, starting processes takes longer than decoding."""

Numbered = tuple[int, bytes]
Decoded = tuple[list[int], np.ndarray, dict[int, str]]


def decode(content: bytes, shape: Shape, resize: str = "antialias") -> np.ndarray:
    """Decode one image.

    Parameters
    ----------
    content : bytes
        A file, in one of `FORMATS`.
    shape : (int, int, int)
        Height, width and channels to give it; 1 channel is gray, 3 are red, green, blue.
    resize : {"antialias", "bilinear"}, default="antialias"
        See `resized`.

    Returns
    -------
    (h, w, c) float32
        In [0, 1].

    Notes
    -----
    Transparent parts are shown on white. 16-bit gray images keep their precision; Pillow reads
    16-bit colour ones with 8 bits. Cameras' orientation tags are followed. Gray is 0.299 red +
    0.587 green + 0.114 blue.
    """
    height, width, channels = shape
    image = _open(content)
    if resize == "antialias":
        image.draft(None, (2 * width, 2 * height))  # a JPEG much too large is decoded in part
    with _quiet():
        image = _plain(image, gray=channels == 1)
    pixels = resized(image, height, width, resize)
    if image.mode != "F":
        pixels = pixels / np.float32(255)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return np.broadcast_to(pixels, shape)


def resized(image: Image.Image, height: int, width: int, how: str = "antialias") -> np.ndarray:
    """Pixels of an image in another size, whatever the aspect ratio.

    Parameters
    ----------
    image : Image
        Of any mode.
    height, width : int
    how : {"antialias", "bilinear"}, default="antialias"
        Linear interpolation. With antialiasing a smaller image is an average of all pixels, as
        Pillow and torchvision resize; without it, of the four nearest, as Keras and TensorFlow do.

    Returns
    -------
    (h, w) or (h, w, c) float32
        In the units of `image`.
    """
    size = (width, height)
    if image.size == size:
        return np.asarray(image, np.float32)
    if how == "antialias":
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
    matrix = (image.width / width, 0, 0, 0, image.height / height, 0)
    planes = [  # as floats: 8 bits would be rounded
        band.convert("F").transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        for band in image.split()
    ]
    return np.stack(planes, -1, dtype=np.float32) if len(planes) > 1 else np.asarray(planes[0])


def look(content: bytes) -> tuple[int, int, bool]:
    """Height and width of an image, and whether it shows colours."""
    with _quiet():
        image = _plain(_open(content), gray=False)
    pixels = np.asarray(image, np.float32)
    spread = np.ptp(pixels, axis=-1).max() if pixels.ndim == 3 else 0
    return image.height, image.width, bool(spread > 16)  # JPEG makes gray a little coloured


def _open(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(BytesIO(content), formats=FORMATS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of damaged tags, several lines an image."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        yield


def _plain(image: Image.Image, gray: bool) -> Image.Image:
    """Mode L or RGB, or F in [0, 1] for gray images of more than 8 bits."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        pixels = np.asarray(image, np.float32) / np.float32(1 if image.mode == "F" else 65535)
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError(f"values beyond the range of mode {image.mode}")
        return Image.fromarray(pixels)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB") if image.mode == "LAB" else image  # it has no way to gray
    return image.convert("L" if gray else "RGB")


def decode_all(
    contents: Iterable[Numbered],
    shape: Shape,
    into: np.ndarray,
    name_of: Callable[[int], str],
    max_broken: int,
    tell: Tell | None = None,
    resize: str = "antialias",
) -> dict[int, Broken]:
    """Decode many images, each to its number's place in `into`, (n, h, w, c) float32.

    Returns
    -------
    dict of int to Broken
        The images that could not be decoded, by number.

    Raises
    ------
    ValueError
        If they are more than `max_broken`.
    """
    broken: dict[int, Broken] = {}
    missing, last, told = np.ones(len(into), bool), time.monotonic(), False
    for numbers, images, failures in _decoded(contents, shape, len(into), resize):
        into[numbers] = images
        missing[[*numbers, *failures]] = False
        broken |= {n: _broken(name_of(n), why) for n, why in failures.items()}
        _not_too_many(broken, max_broken)
        if tell and time.monotonic() - last > 3:
            tell(f"{len(into) - missing.sum():,} of {len(into):,} images decoded")
            last, told = time.monotonic(), True
    if told:
        tell(f"{len(into):,} of {len(into):,} images decoded")
    for number in map(int, np.flatnonzero(missing)):
        broken[number] = _broken(name_of(number), "no longer there")
    _not_too_many(broken, max_broken)
    return broken


def _broken(name: str, why: str) -> Broken:
    return Broken(readable(name, 200), readable(why, 200))


def _not_too_many(broken: Mapping[int, Broken], max_broken: int) -> None:
    if len(broken) > max_broken:
        some = ", ".join(f"{b.name} ({b.reason})" for b in list(broken.values())[:3])
        raise ValueError(
            f"max_broken: more than {max_broken} images can't be decoded: {some}"
            f"{', ...' if len(broken) > 3 else ''}; remove or replace them, or allow more "
            "with --set max_broken=N"
        )


def _decoded(contents: Iterable[Numbered], shape: Shape, n: int, resize: str) -> Iterator[Decoded]:
    """Batches of decoded images; a few at a time wait, so that memory holds no whole archive."""
    batches = _batches(contents)
    n_workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if n <= FEW or n_workers == 1:
        yield from (_decode_batch(batch, shape, resize) for batch in batches)
        return
    # "spawn", because a notebook's kernel has threads, and forking a process with threads can hang
    with ProcessPoolExecutor(n_workers, get_context("spawn"), _end_with_parent) as pool:
        waiting: deque[Future[Decoded]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_decode_batch, batch, shape, resize))
            if len(waiting) > 2 * n_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _batches(contents: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    batch, size = [], 0
    for number, content in contents:
        batch.append((number, content))
        size += len(content)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _end_with_parent() -> None:
    """In a worker: end when the process that started it is gone, however it went."""

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _decode_batch(batch: list[Numbered], shape: Shape, resize: str) -> Decoded:
    numbers, failures = [], {}
    images = np.empty((len(batch), *shape), np.float32)
    for number, content in batch:
        try:
            images[len(numbers)] = decode(content, shape, resize)
            numbers.append(number)
        except Exception as error:  # what Pillow raises for a damaged file depends on its format
            failures[number] = reason(error, content)
    return numbers, images[: len(numbers)], failures


def reason(error: Exception, content: bytes) -> str:
    """Why an image can't be decoded, in a few words."""
    if not content:
        return "empty or unreadable"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    return " ".join(str(error).split()) or type(error).__name__
