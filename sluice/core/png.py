"""Pixels as a PNG file, without an imaging library."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Colour types of the format by the number of channels.
_COLOUR = {1: 0, 3: 2}


def png(pixels: Any) -> bytes:
    """An 8-bit image as PNG, stored without compression: the same bytes with every zlib.

    Format: PNG (Third Edition), W3C Recommendation 2025.

    Args:
        pixels: whole numbers in 0..255, [height, width] of grey or [height, width, 1 or 3].
    """
    values = np.asarray(pixels, dtype=np.uint8)
    values = values[:, :, None] if values.ndim == 2 else values
    height, width, channels = values.shape
    raw = np.concatenate([np.zeros((height, 1), np.uint8), values.reshape(height, -1)], axis=1).tobytes()

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR[channels], 0, 0, 0)
    return SIGNATURE + part(b"IHDR", head) + part(b"IDAT", zlib.compress(raw, 0)) + part(b"IEND", b"")
