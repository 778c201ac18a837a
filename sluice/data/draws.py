"""A row's own uniform number: of its id, which is a sha256, and a seed.

Mixing: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.data.digests import ROW_ID_DIGITS


def id_numbers(row_ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Row ids (16 hex digits) as unsigned numbers, shape [rows]."""
    out = [np.empty(0, np.uint64)]
    for chunk in row_ids.chunks:
        if len(chunk):
            offsets = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset :]
            raw = np.frombuffer(chunk.buffers()[2], np.uint8)[offsets[0] : offsets[len(chunk)]].reshape(len(chunk), ROW_ID_DIGITS)
            digits = np.where(raw >= ord("a"), raw - (ord("a") - 10), raw - ord("0")).astype(np.uint8)
            out.append((digits[:, 0::2] << 4 | digits[:, 1::2]).view(">u8")[:, 0].astype(np.uint64))
    return np.concatenate(out)


def uniform(ids: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each id, of 53 bits, float64 [rows]."""
    with np.errstate(over="ignore"):
        z = ids ^ _mix(np.array([seed & (2**64 - 1)], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        return (_mix(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed(texts: Sequence[str]) -> NDArray[np.uint64]:
    """A number a text, as of an id: the first 64 bits of its sha256."""
    return np.array([int.from_bytes(hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest()[:8]) for t in texts], np.uint64)
