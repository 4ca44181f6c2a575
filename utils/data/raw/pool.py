"""Decoding many images, on all cores, to one scale."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process

import numpy as np

from utils.core.text import readable
from utils.data.raw.base import Broken, Shape, Tell
from utils.data.raw.images import reason, values
from utils.data.raw.scale import Stored, apply, check_mixed, over, scale_of
from utils.machine.provenance import usable_cpus

BATCH, BATCH_BYTES = 256, 32 * 2**20
"""Images a task of the process pool, and the size of their files from which on they are enough."""
FEW = 2 * BATCH
"""Up to so many images, starting processes takes longer than decoding."""

Numbered = tuple[int, bytes]
Decoded = tuple[list[int], np.ndarray, list[Stored], dict[int, str]]


def decode_all(
    contents: Iterable[Numbered],
    shape: Shape,
    into: np.ndarray,
    name_of: Callable[[int], str],
    max_broken: int,
    tell: Tell | None = None,
    resize: str = "pillow",
    white: float = 0.0,
) -> tuple[dict[int, Broken], list[str]]:
    """Decode many images, each to its number's place in `into`, (n, h, w, c) float32.

    Returns
    -------
    broken : dict of int to Broken
        The images that could not be decoded, by number.
    notes : list of str
        Which values were taken for white, where the files do not define it.

    Raises
    ------
    ValueError
        If more than `max_broken` are broken, or values are beyond what `scale_of` allows.
    """
    broken: dict[int, Broken] = {}
    stored: dict[int, Stored] = {}
    missing, last, reported = np.ones(len(into), bool), time.monotonic(), False
    for numbers, images, ranges, failures in _decoded(contents, shape, len(into), resize):
        into[numbers] = images
        stored |= zip(numbers, ranges, strict=True)
        missing[[*numbers, *failures]] = False
        broken |= {n: _broken(name_of(n), why) for n, why in failures.items()}
        _not_too_many(broken, max_broken)
        if tell and time.monotonic() - last > 3:
            tell(f"{len(into) - missing.sum():,} of {len(into):,} images decoded")
            last, reported = time.monotonic(), True
    if tell and reported:
        tell(f"{len(into):,} of {len(into):,} images decoded")
    for number in map(int, np.flatnonzero(missing)):
        broken[number] = _broken(name_of(number), "no longer there")
    _not_too_many(broken, max_broken)
    return broken, _scale(into, stored, white)


def _scale(into: np.ndarray, stored: Mapping[int, Stored], white: float) -> list[str]:
    """Bring all images into [0, 1], those of a kind alike; return what was assumed, in words."""
    numbers: dict[tuple[str, float], list[int]] = defaultdict(list)
    for number, image in stored.items():
        numbers[image.kind, image.white].append(number)
    notes = []
    for key, whole in over(stored.values()).items():
        scale = scale_of(whole, white)
        if not white:
            check_mixed(np.array([stored[n].high for n in numbers[key]]), whole.kind, scale)
        if not scale.is_done(whole):  # by far the most images are: no copy of them
            into[numbers[key]] = apply(scale, whole, into[numbers[key]])
        notes += [f"{len(numbers[key]):,} images of {scale.note}"] if scale.note else []
    return notes


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
    n_workers = usable_cpus()
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

    parent = parent_process()
    assert parent is not None  # it was started by one

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _decode_batch(batch: list[Numbered], shape: Shape, resize: str) -> Decoded:
    numbers: list[int] = []
    ranges: list[Stored] = []
    failures: dict[int, str] = {}
    images = np.empty((len(batch), *shape), np.float32)
    for number, content in batch:
        try:
            images[len(numbers)], stored = values(content, shape, resize)
            ranges.append(stored)
            numbers.append(number)
        except Exception as error:  # what Pillow raises for a damaged file depends on its format
            failures[number] = reason(error, content)
    return numbers, images[: len(numbers)], ranges, failures
