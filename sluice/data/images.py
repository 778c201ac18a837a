"""An image written out: for sources that hold pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence


def png(pixels: Sequence[Sequence[int]]) -> bytes:
    """An 8-bit grey image [height, width] as PNG, stored without compression: the same bytes with every zlib.

    Format: PNG (Third Edition), W3C Recommendation 2025.
    """
    height, width = len(pixels), len(pixels[0])
    raw = b"".join(b"\x00" + bytes(row) for row in pixels)

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(raw, 0)) + part(b"IEND", b"")
