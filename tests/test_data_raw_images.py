"""Every kind of picture comes out with the right values; broken ones are counted."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from tests.pictures import encoded, picture, tree, write_folder
from utils.data.raw import images, pool
from utils.data.raw.images import decode, look
from utils.data.raw.sources import open_raw

RGB = np.asarray(picture(1, 0))
H, W = RGB.shape[:2]
LUMA = (RGB @ [0.299, 0.587, 0.114]) / 255


def near(a, b, tolerance=0.6 / 255):
    return np.abs(a - b).max() <= tolerance


def test_grayscale_and_colour():
    assert near(decode(encoded(Image.fromarray(RGB)), (H, W, 3)), RGB / 255, 1e-6)
    assert near(decode(encoded(Image.fromarray(RGB)), (H, W, 1))[..., 0], LUMA)
    gray = RGB[..., 0]
    for channels in (1, 3):
        got = decode(encoded(Image.fromarray(gray)), (H, W, channels))
        assert got.dtype == np.float32 and near(got, gray[..., None] / 255, 1e-6)


def test_transparency_is_shown_on_white():
    alpha = np.linspace(0, 255, H * W).astype(np.uint8).reshape(H, W)
    got = decode(encoded(Image.fromarray(np.dstack([RGB, alpha]))), (H, W, 3))
    a = alpha[..., None] / 255
    assert near(got, RGB / 255 * a + 1 - a, 1.1 / 255)
    opaque = np.dstack([RGB, np.full((H, W), 255, np.uint8)])
    assert near(decode(encoded(Image.fromarray(opaque)), (H, W, 3)), RGB / 255, 1e-6)
    gray_alpha = Image.fromarray(np.dstack([RGB[..., 0], alpha]), "LA")
    assert near(decode(encoded(gray_alpha), (H, W, 1)), RGB[..., :1] / 255 * a + 1 - a, 1.1 / 255)


def test_palettes_with_and_without_transparency():
    image = Image.fromarray(RGB).quantize(256)
    assert near(decode(encoded(image), (H, W, 3)), RGB / 255, 0.06)
    flat = Image.new("P", (W, H), 1)
    flat.putpalette([0, 0, 0, 200, 100, 50])
    assert near(decode(encoded(flat), (H, W, 3)), np.array([200, 100, 50]) / 255, 1e-6)
    seen_through = decode(encoded(flat, transparency=1), (H, W, 3))
    assert seen_through.min() == 1


def test_16_bits_keep_their_precision():
    deep = (np.arange(H * W).reshape(H, W) * 700).astype(np.uint16)
    for format in ("PNG", "TIFF", "PPM"):
        for channels in (1, 3):
            got = decode(encoded(Image.fromarray(deep), format), (H, W, channels))
            assert near(got, deep[..., None] / 65535, 1e-6), format
    half = decode(encoded(Image.fromarray(np.full((8, 8), 32768, np.uint16))), (4, 4, 1))
    assert near(half, 32768 / 65535, 1e-6)
    floats = np.random.default_rng(0).random((H, W), np.float32)
    assert near(decode(encoded(Image.fromarray(floats), "TIFF"), (H, W, 1))[..., 0], floats, 1e-6)
    with pytest.raises(ValueError, match="say which value is white"):
        decode(encoded(Image.fromarray(floats * 9), "TIFF"), (H, W, 1))


def test_cmyk_one_bit_and_jpeg():
    cmyk = decode(encoded(Image.new("CMYK", (W, H), (0, 255, 255, 0)), "TIFF"), (H, W, 3))
    assert near(cmyk, [1, 0, 0], 0.02)
    bits = np.arange(H * W).reshape(H, W) % 2 == 0
    assert near(decode(encoded(Image.fromarray(bits)), (H, W, 1))[..., 0], bits, 0)
    flat = Image.new("RGB", (W, H), (200, 100, 50))
    assert near(decode(encoded(flat, "JPEG", quality=95), (H, W, 3)), [200 / 255, 100 / 255, 50 / 255], 0.02)  # fmt: skip # noqa: E501


def test_sizes_change_by_averaging():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255  # a resize that skips columns would give black or white
    assert near(decode(encoded(Image.fromarray(stripes)), (8, 8, 1)), 0.5, 0.02)
    assert decode(encoded(Image.fromarray(RGB)), (20, 30, 3)).shape == (20, 30, 3)
    big = Image.new("RGB", (3000, 2000), (10, 200, 30))
    assert near(decode(encoded(big, "JPEG"), (32, 32, 3)), np.array([10, 200, 30]) / 255, 0.02)


def test_orientation_tags_are_followed():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    content = encoded(Image.fromarray(RGB), exif=exif)
    assert look(content)[:2] == (W, H)
    assert near(decode(content, (W, H, 3)), np.rot90(RGB, -1) / 255, 1e-6)


def test_looking_tells_size_and_colours():
    assert look(encoded(Image.fromarray(RGB)))[:3] == (H, W, True)
    assert look(encoded(Image.fromarray(RGB[..., 0])))[:3] == (H, W, False)
    gray_as_rgb = Image.fromarray(RGB[..., 0]).convert("RGB")
    assert look(encoded(gray_as_rgb, "JPEG"))[:3] == (H, W, False)


BROKEN = {
    "blue/cut.jpg": (encoded(picture(0, 0, (60, 60)), "JPEG")[:-200], "truncated"),
    "blue/text.png": (b"no image at all", "not an image"),
    "blue/nothing.png": (b"", "empty or unreadable"),
}


def with_broken(tmp_path):
    contents = {name: content for name, (content, _) in BROKEN.items()}
    return open_raw(write_folder(tmp_path / "in", {**tree(n=6), **contents}))


def test_broken_images_are_counted_listed_and_skipped_up_to_a_limit(tmp_path):
    raw = with_broken(tmp_path)
    order = np.arange(len(raw.labels))[::-1]
    got, broken = raw.read(order, (10, 8, 3), max_broken=3)
    assert {b.name for b in broken.values()} == set(BROKEN)
    for place, (name, why) in broken.items():
        assert raw.places[order[place]][1] == name
        assert BROKEN[name][1] in why and "\n" not in why and "0x" not in why
    assert len(got) == 21
    with pytest.raises(ValueError, match=r"max_broken: more than 2 images can't be decoded: .*"):
        raw.read(order, (10, 8, 3), max_broken=2)


def test_the_pool_gives_what_one_process_gives(tmp_path, monkeypatch):
    raw = with_broken(tmp_path)
    order = np.random.default_rng(0).permutation(len(raw.labels))
    alone, broken_alone = raw.read(order, (5, 6, 1), max_broken=3)
    monkeypatch.setattr(pool, "FEW", 0)
    monkeypatch.setattr(pool, "BATCH", 4)
    said = []
    pooled, broken = raw.read(order, (5, 6, 1), max_broken=3, tell=said.append)
    whole = [i for i in range(len(order)) if i not in broken]
    assert broken == broken_alone and np.array_equal(alone[whole], pooled[whole])


def test_a_wrong_suffix_does_not_matter_and_bombs_are_broken(tmp_path, monkeypatch):
    assert decode(encoded(Image.fromarray(RGB), "JPEG"), (H, W, 3)).shape == (H, W, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    for size in (H * W, 3000):  # a warning of Pillow's, an error
        content = encoded(Image.new("L", (1, size)))
        with pytest.raises((Image.DecompressionBombError, Image.DecompressionBombWarning)) as error:
            decode(content, (4, 4, 1))
        assert images.reason(error.value, content) == "more than 50 pixels"


def test_no_program_is_run_for_an_image(tmp_path, monkeypatch):
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n"
    with pytest.raises(UnidentifiedImageError):
        images.decode(drawing, (8, 8, 3))
    assert not (tmp_path / "ran").exists()


def test_what_is_gone_when_it_is_read_counts_as_broken():
    into = np.empty((3, 8, 8, 3), np.float32)
    given = [(1, encoded(picture(0, 0)))]
    broken, _ = pool.decode_all(given, (8, 8, 3), into, "{}.png".format, max_broken=2)
    assert {number: entry.reason for number, entry in broken.items()} == {
        0: "no longer there",
        2: "no longer there",
    }
    with pytest.raises(ValueError, match="max_broken: more than 1 images"):
        pool.decode_all(given, (8, 8, 3), into, "{}.png".format, max_broken=1)


def test_a_batch_of_large_files_is_short(monkeypatch):
    monkeypatch.setattr(pool, "BATCH_BYTES", 100)
    sizes = [len(batch) for batch in pool._batches((i, bytes(30)) for i in range(9))]
    assert sizes == [4, 4, 1]


def interpolated(row, n):
    """Bilinear interpolation of a line of pixels, half a pixel in from the border."""
    centres = (np.arange(n) + 0.5) * len(row) / n - 0.5
    return np.interp(centres, np.arange(len(row)), row)


@pytest.mark.parametrize("n", [4, 7, 16, 40])
def test_sizes_change_without_antialiasing(n):
    row = np.random.default_rng(n).integers(0, 256, 16).astype(np.uint8)
    image = Image.fromarray(np.tile(row, (16, 1)))
    got = decode(encoded(image), (16, n, 1), "keras")
    assert near(got[5, :, 0], interpolated(row, n) / 255, 1e-5)  # not rounded to 8 bits
    got = decode(encoded(image.convert("RGB")), (16, n, 3), "keras")
    assert near(got[5, :, 1], interpolated(row, n) / 255, 1e-5)
    deep = Image.fromarray(np.tile(row, (16, 1)).astype(np.uint16) * 257)
    got = decode(encoded(deep), (16, n, 1), "keras")
    assert near(got[5, :, 0], interpolated(row, n) / 255, 1e-5)


@pytest.mark.parametrize("n", [4, 8, 32])
def test_the_nearest_pixel_may_be_taken(n):
    row = np.random.default_rng(n).integers(0, 256, 16).astype(np.uint8)
    got = decode(encoded(Image.fromarray(np.tile(row, (16, 1)))), (16, n, 1), "nearest")
    assert near(got[5, :, 0], row[((np.arange(n) + 0.5) * 16 / n).astype(int)] / 255, 1e-6)


@pytest.mark.parametrize("side", [5, 16, 23])
def test_keras_resizes_so(side):
    from keras import ops

    pixels = np.random.default_rng(side).integers(0, 256, (18, 16, 3)).astype(np.uint8)
    expected = ops.image.resize(pixels[None].astype(np.float32), (side, side)).numpy()[0] / 255
    got = decode(encoded(Image.fromarray(pixels)), (side, side, 3), "keras")
    assert near(got, expected, 1e-3)
