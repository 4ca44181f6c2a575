"""Which stored value is white: one for a whole data set, by content, and said."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded, write_folder
from utils.data.raw.base import Options
from utils.data.raw.scale import DEEP, FLOAT, Stored, scale_of
from utils.data.raw.sources import open_raw
from utils.data.registry import read_raw, read_splits, split


@pytest.mark.parametrize(
    ("kind", "low", "high", "black", "white"),
    [
        (DEEP, 0, 1023, 0, 1023),  # 10 bits
        (DEEP, 0, 700, 0, 1023),
        (DEEP, 3, 4095, 0, 4095),
        (DEEP, 0, 2048, 0, 4095),
        (DEEP, 0, 4096, 0, 16383),
        (DEEP, 0, 16384, 0, 65535),
        (DEEP, 0, 30_000, 0, 65535),
        (DEEP, 0, 255, 0, 255),
        (DEEP, 0, 200, 0, 255),
        (DEEP, 0, 256, 0, 1023),
        (FLOAT, 0, 1, 0, 1),
        (FLOAT, 0, 0.3, 0, 1),
        (FLOAT, -1e-7, 1 + 1e-7, 0, 1),
        (FLOAT, 0, 1.001, 0, 1),
        (FLOAT, -1, 1, -1, 1),
        (FLOAT, -0.99, 0.97, -1, 1),
        (FLOAT, 0, 255, 0, 255),
        (FLOAT, 0, 180.5, 0, 255),
        (FLOAT, -0.2, 255.4, 0, 255),
        (FLOAT, 0, 4095, 0, 4095),
        (FLOAT, 0, 65535, 0, 65535),
    ],
)
def test_white_is_found_by_content(kind, low, high, black, white):
    scale = scale_of(Stored(kind, low, high))
    assert scale[:2] == (black, white)
    usual = (kind == DEEP and white == 65535) or (kind == FLOAT and 0 <= low and high <= 1)
    assert bool(scale.note) != usual


@pytest.mark.parametrize(
    ("kind", "low", "high", "message"),
    [
        (DEEP, -1024, 3071, "got -1024 to 3071 .*shift them so that 0 is black"),
        (DEEP, -1, 255, "shift"),
        (DEEP, 0, 65536, "--set white=N"),
        (DEEP, 0, 16, "--set white=N"),
        (DEEP, 0, 1, "--set white=N"),
        (FLOAT, 0, 1.3, "--set white=N"),
        (FLOAT, 0, 80, "--set white=N"),
        (FLOAT, -0.5, 0.5, "shift"),
        (FLOAT, -2.1, 2.6, "shift"),
        (FLOAT, -128, 127, "shift"),
        (FLOAT, 0, 1e6, "--set white=N"),
        (FLOAT, float("nan"), float("nan"), "no NaN"),
        (FLOAT, 0, float("inf"), "no NaN"),
    ],
)
def test_what_content_does_not_tell_is_refused(kind, low, high, message):
    with pytest.raises(ValueError, match=message) as error:
        scale_of(Stored(kind, low, high))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("high", "white"), [(16, 16), (3000, 4095), (50_000, 50_000), (1e6, 2e6)])
def test_the_user_sets_what_is_white(high, white):
    assert scale_of(Stored(DEEP, 0, high), white)[:2] == (0, white)
    with pytest.raises(ValueError, match=r"white: got .*, but image values are 0 to"):
        scale_of(Stored(DEEP, 0, high), white / 100)


def ramps(*highs, dtype=np.uint16):
    """Images from 0 to each of some values."""
    return [np.linspace(0, high, 64).reshape(8, 8).astype(dtype) for high in highs]


def stored(tmp_path, arrays, format="TIFF", encode=None, **options):
    """All pixels of three classes of the same images, and the notes."""
    encode = encode or (lambda array: encoded(Image.fromarray(array), format))
    files = {
        f"{c}/{i}.{format.lower()}": encode(array) for c in "abc" for i, array in enumerate(arrays)
    }
    raw = open_raw(write_folder(tmp_path / "in", files), Options(**options))
    images, broken = raw.read(np.arange(len(raw.labels)), raw.found_shape())
    assert not broken and images.dtype == np.float32
    return images[: len(arrays), ..., 0], raw.notes


@pytest.mark.parametrize(
    ("arrays", "format", "white"),
    [
        (ramps(300, 900, 4080), "PNG", 4095),
        (ramps(100, 1000), "TIFF", 1023),
        (ramps(5000, 1100), "PPM", 16383),
        (ramps(30_000, 5000), "PNG", 65535),
        (ramps(100, 250, dtype=np.int32), "TIFF", 255),
        (ramps(5000, 60_000, dtype=np.int32), "TIFF", 65535),
        (ramps(0.1, 1, dtype=np.float32), "TIFF", 1),
        (ramps(2, 255, dtype=np.float32), "TIFF", 255),
        (ramps(5000, 65_000, dtype=np.float32), "TIFF", 65535),
        (ramps(40, 90, dtype=np.uint8), "PNG", 255),  # 8-bit images may be dark
        (ramps(40, 200, dtype=np.uint8), "TIFF", 255),
    ],
)
def test_one_scale_for_all_files_of_a_set(tmp_path, arrays, format, white):
    images, _ = stored(tmp_path, arrays, format)
    assert np.allclose(images, np.stack(arrays) / white, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "format", "white"),
    [
        (ramps(4080, 60_000), "PNG", 65535),
        (ramps(200, 255, 4000), "TIFF", 4095),
        (ramps(250, 60_000, dtype=np.int32), "TIFF", 65535),
        (ramps(1, 255, dtype=np.float32), "TIFF", 255),
    ],
)
def test_several_scales_in_a_set_are_refused(tmp_path, arrays, format, white):
    with pytest.raises(ValueError, match="several scales seem to be mixed") as error:
        stored(tmp_path, arrays, format)
    assert f"--set white={white}" in str(error.value) and "\n" not in str(error.value)
    images, _ = stored(tmp_path, arrays, format, white=white)
    assert np.allclose(images, np.stack(arrays) / white, atol=1e-6)


@pytest.mark.parametrize(
    ("high", "dtype", "white"),
    [(1, np.uint8, 1), (15, np.uint8, 15), (1 / 255, np.float32, 1 / 255), (0.05, np.float32, 1)],
)
def test_a_set_that_is_nearly_black_is_refused(tmp_path, high, dtype, white):
    arrays = ramps(high, high, dtype=dtype)
    with pytest.raises(ValueError, match="nearly black; say which value is white"):
        stored(tmp_path, arrays)
    images, _ = stored(tmp_path, arrays, white=white)
    assert np.allclose(images, np.stack(arrays) / white, atol=1e-6)


@pytest.mark.parametrize(
    ("train", "test"),
    [(np.uint8(200), np.float32(0.8)), (np.float32(255), np.float32(1)),
     (np.uint16(60_000), np.uint8(200))],
)  # fmt: skip
def test_parts_of_several_scales_are_refused(tmp_path, train, test):
    x = [np.linspace(0, top, 6 * 64).reshape(6, 8, 8).astype(top.dtype) for top in (train, test)]
    y = np.arange(6) % 2
    np.savez(tmp_path / "a.npz", x_train=x[0], y_train=y, x_test=x[1], y_test=y)
    with pytest.raises(ValueError, match="6 of 12 images hold no value above"):
        open_raw(tmp_path / "a.npz")


def test_arrays_that_are_not_used_are_said_and_two_sets_refused(tmp_path):
    x, y = np.arange(512, dtype=np.uint8).reshape(8, 8, 8), np.arange(8) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_valid=x, y_valid=y, y_test=y)
    assert open_raw(tmp_path / "a.npz").notes == [
        "arrays that are not used: x_valid, y_valid, y_test"
    ]
    np.savez(tmp_path / "b.npz", x=x, y=y, x_test=x, y_test=y)
    with pytest.raises(ValueError, match="holds x and x_test"):
        open_raw(tmp_path / "b.npz")


def test_deep_and_8_bit_files_beside_each_other(tmp_path):
    arrays = [*ramps(200, dtype=np.uint8), *ramps(4000)]
    images, notes = stored(tmp_path, arrays, "PNG")
    assert np.allclose(images, [arrays[0] / 255, arrays[1] / 4095], atol=1e-6)
    assert notes == [
        "3 images of whole numbers whose largest is 4,000: taken as 12-bit, 4,095 is "
        "white; --set white=N says otherwise"
    ]


@pytest.mark.parametrize("most", [1023, 4095, 16383])
def test_a_header_that_defines_white_is_believed(tmp_path, most):
    def pgm(array):
        return b"P5\n8 8\n%d\n" % most + array.astype(">u2").tobytes()

    arrays = ramps(most // 5, most // 2)
    images, notes = stored(tmp_path, arrays, "PGM", pgm)
    assert np.allclose(images, np.stack(arrays) / most, atol=1e-4) and not notes
    images, _ = stored(tmp_path, arrays, "PGM", pgm, white=most // 2 + 1)
    assert np.allclose(images, np.stack(arrays) / (most // 2 + 1), atol=1e-4)


def test_files_to_which_the_user_sets_white(tmp_path):
    arrays = ramps(40, 90, dtype=np.uint8)
    images, notes = stored(tmp_path, arrays, "PNG", white=100)
    assert np.allclose(images, np.stack(arrays) / 100, atol=1e-6) and "as set" in notes[0]
    with pytest.raises(ValueError, match="white: got 50, but image values are 0 to 90"):
        stored(tmp_path, arrays, "PNG", white=50)


def png_of_16_bit_colours(gray):
    rows = b"".join(b"\0" + np.repeat(r[:, None], 3, 1).astype(">u2").tobytes() for r in gray)

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("high", [1023, 4080, 16_000])
def test_colours_of_which_only_the_upper_bits_are_read_are_refused(tmp_path, high):
    with pytest.raises(ValueError, match="too coarse; save them with 8 bits a channel"):
        stored(tmp_path, ramps(high), "PNG", png_of_16_bit_colours)
    images, notes = stored(tmp_path / "b", ramps(60_000), "PNG", png_of_16_bit_colours)
    assert abs(images.max() - 60_000 / 65535) < 0.005 and not notes


def test_signed_files_are_refused_before_anything_is_decoded(tmp_path):
    with pytest.raises(ValueError, match="shift them so that 0 is black"):
        stored(tmp_path, [*ramps(200, dtype=np.int32), *ramps(-900, dtype=np.int32)])


@pytest.mark.parametrize(
    ("x", "white"),
    [
        (np.uint16(16) * np.arange(256, dtype=np.uint16), 4095),
        (np.arange(256, dtype=np.int64), 255),
        (np.arange(256, dtype=np.int32) * 100, 65535),
        (np.arange(256, dtype=np.float16), 255),
        (np.arange(256) / 255 * 1.0000002, 1),
        (np.arange(201, dtype=np.uint8), 255),
        (np.arange(12) % 2 == 0, 1),
    ],
)
def test_arrays(tmp_path, x, white):
    images = np.resize(x, (30, 16, 16))
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(30) % 3)
    raw = read_raw("mine", tmp_path / "a.npz")
    got, _ = raw.read(np.arange(30), raw.found_shape())
    assert np.allclose(got[..., 0], np.minimum(images.astype(float) / white, 1), atol=1e-6)
    assert bool(raw.notes) == (x.dtype not in (np.uint8, bool) and white != 65535)
    parts = read_splits(raw, split("mine", raw), raw.found_shape())[0]
    assert parts.x_train.min() >= 0 and parts.x_test.max() <= 1


def test_centred_arrays_and_arrays_with_white_set(tmp_path):
    x = np.linspace(-1, 1, 30 * 64).reshape(30, 8, 8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 3)
    raw = read_raw("mine", tmp_path / "a.npz")
    assert np.allclose(raw.read(np.arange(30), (8, 8, 1))[0][..., 0], (x + 1) / 2, atol=1e-6)
    assert raw.notes == ["images are floats of -1 to 1: taken as -1..1, -1 is black"]
    x = np.resize(np.arange(17, dtype=np.uint8), (30, 8, 8))
    np.savez(tmp_path / "b.npz", x=x, y=np.arange(30) % 3)
    with pytest.raises(ValueError, match=r"got 0 to 16 .* --set white=N"):
        read_raw("mine", tmp_path / "b.npz")
    raw = read_raw("mine", tmp_path / "b.npz", white=16)
    assert np.allclose(raw.read(np.arange(30), (8, 8, 1))[0][..., 0], x / 16, atol=1e-6)
