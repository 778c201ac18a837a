"""Images on their way to tensors: sizes, depths, colours, and files that are none."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError
from sluice.fields import ImageProcessor
from tests.unit.packaging.test_processors import QUICK


def picture(size: tuple[int, int] = (5, 7), mode: str = "L", kind: str = "PNG", seed: int = 0, **save: object) -> bytes:
    bands = {"L": (), "RGB": (3,), "RGBA": (4,), "LA": (2,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *bands), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels, mode=mode).save(out, kind, **save)
    return out.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_image_gives_uint8_channels_first_of_the_size_asked_for(channels, mode, kind):
    if kind == "JPEG" and "A" in mode:
        mode = mode[:-1]
    p = ImageProcessor(channels, [4, 6])
    (e,) = p.encode([picture((9, 11), mode, kind)])
    assert e["image"].shape == (channels, 4, 6)
    assert e["image"].dtype == np.uint8
    assert p.batch([e, e])["image"].shape == (2, channels, 4, 6)
    assert p.inputs == (TensorSpec("image", "UINT8", (-1, channels, 4, 6)),)


def test_image_of_the_right_size_keeps_its_exact_pixels():
    raw = picture((5, 7), "RGB")
    expected = np.asarray(Image.open(io.BytesIO(raw))).transpose(2, 0, 1)
    assert np.array_equal(ImageProcessor(3, [7, 5]).encode([raw])[0]["image"], expected)


def test_image_of_sixteen_bits_keeps_the_high_eight():
    deep = np.array([[0, 255, 256, 65535]], dtype=np.uint16)
    out = io.BytesIO()
    Image.fromarray(deep).save(out, "PNG")
    assert ImageProcessor(1, [1, 4]).encode([out.getvalue()])[0]["image"].tolist() == [[[0, 0, 1, 255]]]


def test_image_is_turned_upright_and_laid_over_white():
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).save(out, "PNG", exif=exif)
    assert ImageProcessor(1, [2, 1]).encode([out.getvalue()])[0]["image"].tolist() == [[[0], [255]]]
    out = io.BytesIO()
    Image.fromarray(np.array([[[0, 0, 0, 0], [9, 9, 9, 255]]], dtype=np.uint8), mode="RGBA").save(out, "PNG")
    assert ImageProcessor(1, [1, 2]).encode([out.getvalue()])[0]["image"].tolist() == [[[255, 9]]]


@pytest.mark.parametrize("bad", [None, "text", 7, b"", b"\x89PNG", b"GIF89a" + bytes(50), [1, 2], {"b64": "x"}])
def test_image_names_the_row_that_is_no_image(bad):
    with pytest.raises(InputError) as e:
        ImageProcessor(1, [4, 4]).encode([picture(), bad])
    assert e.value.field == "rows[1]"


def test_image_bombs_are_refused_before_they_are_decoded():
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    with pytest.raises(InputError, match="pixels"):
        ImageProcessor(1, [4, 4]).encode([bomb])


@QUICK
@given(st.data())
def test_image_bytes_changed_anywhere_decode_or_raise_input_errors(data):
    raw = bytearray(picture((6, 6), "RGB", data.draw(st.sampled_from(["PNG", "JPEG"]))))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(1, len(raw)))]
    try:
        assert ImageProcessor(3, [4, 4]).encode([bytes(raw)])[0]["image"].shape == (3, 4, 4)
    except InputError as e:
        assert e.field == "rows[0]"


def deep_png(pixels: np.ndarray, clear: tuple[int, ...], interlaced: bool = False) -> bytes:
    """A 16-bit PNG of pixels [height, width] or [height, width, 3] in which one colour is transparent (tRNS)."""

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    passes = (
        ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
        if interlaced
        else ((0, 0, 1, 1),)
    )
    parts = [pixels[y::dy, x::dx] for x, y, dx, dy in passes]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for p in parts if p.size for row in p)
    head = struct.pack(">IIBBBBB", width, height, 16, 2 if pixels.ndim == 3 else 0, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"tRNS", struct.pack(f">{len(clear)}H", *clear))
        + part(b"IDAT", zlib.compress(rows))
        + part(b"IEND", b"")
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("clear", "other"), [((0x8000,), (0x8001,)), ((0,), (1,)), ((0x80FF, 7, 0xFFFF), (0x80FE, 7, 0xFFFF)), ((0, 0, 0), (0, 0, 255))]
)
def test_the_transparent_colour_of_a_deep_png_is_white_and_none_beside_it(clear, other, channels, interlaced):
    pixels = np.full((9, 8, len(clear)), clear, np.uint16)
    pixels[3, 4] = other
    image = ImageProcessor(channels, (9, 8)).encode([deep_png(pixels[..., 0] if len(clear) == 1 else pixels, clear, interlaced)])[0][
        "image"
    ]
    rgb = [v >> 8 for v in (other if len(other) == 3 else other * 3)]
    expected = rgb if channels == 3 else [(rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16]
    assert image[:, 3, 4].tolist() == expected
    image[:, 3, 4] = 255
    assert (image == 255).all()


def test_a_deep_png_with_a_transparent_colour_is_turned_upright():
    pixels = np.zeros((4, 6), np.uint16)
    pixels[0, :] = 0x4000
    raw = deep_png(pixels, (0,))
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    body = exif.tobytes()
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    image = ImageProcessor(1, (6, 4)).encode([raw[:33] + chunk + raw[33:]])[0]["image"][0]
    assert (image[:, -1] == 0x40).all() and (image[:, :-1] == 255).all()


@pytest.mark.parametrize("raw", [b"abc", b"", b"GIF89a" + b"\0" * 20, b"\x89PNG\r\n\x1a\n" + b"\0" * 30])
def test_an_error_of_an_image_says_nothing_of_our_own_objects(raw):
    with pytest.raises(InputError) as e:
        ImageProcessor(1, (8, 8)).encode([raw])
    assert "<" not in e.value.message and "0x" not in e.value.message
