"""Small pictures, and trees of them, for the tests of raw images."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("blue", "green", "red")


def picture(label: int, seed: int, size: tuple[int, int] = (10, 8)) -> Image.Image:
    """Noise with one bright channel, which is the class."""
    rng = np.random.default_rng([label, seed])
    pixels = rng.integers(0, 90, (*size, 3), dtype=np.uint8)
    pixels[..., 2 - label] += 150
    return Image.fromarray(pixels)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def tree(*parts: str, n: int = 4, names: str = "{i}.png", classes=CLASSES) -> dict[str, bytes]:
    """Names and contents of `n` pictures of each class in each part; "" is no part."""
    return {
        "/".join(filter(None, (part, name, names.format(i=i)))): encoded(
            picture(label % 3, 1000 * p + i)
        )
        for p, part in enumerate(parts or ("",))
        for label, name in enumerate(classes)
        for i in range(n)
    }


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_tar(path: Path, files: dict[str, bytes], *special: tarfile.TarInfo) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '')}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in special:
            archive.addfile(info)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
