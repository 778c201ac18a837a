"""Equal values found in any number of rows: 128 bits of hash a row, kept in memory up to a bound and on disk beyond it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.data.digests import plain, row_ids

#: Rows whose hashes are held before they go to files (24 bytes each), and the number of those files.
_HELD, _PARTS = 1 << 23, 64
_ROW = np.dtype([("a", "<u8"), ("b", "<u8"), ("row", "<i8")])
#: Keys of SipHash, 16 bytes each: two hashes of 64 bits are one of 128.
_KEYS = ("sluice-rows-key-a", "sluice-rows-key-b")
_ODD = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


def hashes(columns: Sequence[pa.ChunkedArray]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Two numbers a row, equal where all values are: uint64 [rows] each. 1 and 1.0 are equal, as 0.0 and -0.0 are; null equals null.

    Two rows that differ have equal numbers with probability 2^-128. Texts: SipHash (Aumasson, Bernstein 2012) of pandas;
    numbers: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
    """
    a = np.zeros(len(columns[0]), np.uint64)
    b = a.copy()
    for column in columns:
        x, y = _hashed(column)
        a, b = _mixed(a * _ODD[0] + x, 0), _mixed(b * _ODD[1] + y, 1)
    return a, b


def _hashed(column: pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    null = np.asarray(pc.is_null(column))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        x = _bits(column)
        x, y = _mixed(x, 0), _mixed(x, 1)
    elif pa.types.is_temporal(kind):
        x = np.asarray(pc.fill_null(column.cast(pa.timestamp("us")).cast(pa.int64()), 0)).view(np.uint64)
        x, y = _mixed(x, 0), _mixed(x, 1)
    elif pa.types.is_null(kind):
        x = y = np.zeros(len(column), np.uint64)
    elif pa.types.is_string(kind):
        x, y = _texts(column)
    else:
        x, y = _others(column)
    return np.where(null, np.uint64(1), x), np.where(null, np.uint64(2), y)


def _bits(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """A number's own 64 bits: of whole ones as an integer, so that 1 and 1.0 are one value."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_integer(column.type):
        return np.asarray(pc.fill_null(column, 0)).astype(np.int64 if column.type != pa.uint64() else np.uint64).view(np.uint64)
    x = np.asarray(pc.fill_null(column.cast(pa.float64()), 0.0)) + 0.0
    whole = (np.floor(x) == x) & (np.abs(x) < 2.0**53)
    return np.where(whole, np.where(whole, x, 0).astype(np.int64).view(np.uint64), x.view(np.uint64))


def _texts(column: pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    from pandas.util import hash_array

    coded = column.combine_chunks()
    coded = (coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded).dictionary_encode()
    words = coded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    if not len(words):
        return np.zeros(len(column), np.uint64), np.zeros(len(column), np.uint64)
    at = np.asarray(pc.fill_null(coded.indices, 0))
    x, y = (hash_array(words, encoding="utf8", hash_key=key[:15] + key[-1], categorize=False)[at] for key in _KEYS)
    return x, y


def _others(column: pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Bytes and lists: of the digest that row ids are made of."""
    import hashlib

    ids = row_ids(plain(pa.table({"x": column})), ["x"]).to_pylist()
    x = np.array([int(i, 16) for i in ids], np.uint64)
    y = np.array([int.from_bytes(hashlib.blake2b(i.encode(), digest_size=8).digest(), "big") for i in ids], np.uint64)
    return x, y


def _mixed(x: NDArray[np.uint64], which: int) -> NDArray[np.uint64]:
    x = x + _ODD[which]
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Seen:
    """Rows by the hash of their values. `add` in any number of batches, then `repeats`; `close` when done."""

    def __init__(self, held: int = _HELD):
        self._held: list[NDArray[np.void]] = []
        self._most, self._rows = held, 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, columns: Sequence[pa.ChunkedArray], first: int, use: NDArray[np.bool_] | None = None) -> None:
        """Take rows: `first` is the number of the first of them, `use` says which count."""
        a, b = hashes(columns)
        made = np.empty(len(a), _ROW)
        made["a"], made["b"], made["row"] = a, b, np.arange(first, first + len(a))
        self._held.append(made if use is None else made[use])
        self._rows += len(self._held[-1])
        if self._rows > self._most:
            self._spill()

    def parts(self) -> Iterator[NDArray[np.void]]:
        """All rows, those with equal hashes in one part, each part sorted by hash and row."""
        if self._folder is None:
            yield _sorted(np.concatenate(self._held)) if self._held else np.empty(0, _ROW)
            return
        self._spill()
        for path in sorted(Path(self._folder.name).iterdir()):
            yield _sorted(np.fromfile(path, _ROW))

    def repeats(self, most: int) -> tuple[int, list[tuple[int, int]], int]:
        """How many rows repeat an earlier one; the first of them, each with the row it repeats; how many differ."""
        total, distinct, first = 0, 0, list[tuple[int, int]]()
        for part in self.parts():
            if not len(part):
                continue
            same = np.concatenate([[False], (part["a"][1:] == part["a"][:-1]) & (part["b"][1:] == part["b"][:-1])])
            total += int(same.sum())
            distinct += int((~same).sum())
            again = np.flatnonzero(same)
            if len(again):
                head = np.maximum.accumulate(np.where(same, 0, np.arange(len(part))))
                order = again[np.argsort(part["row"][again])[:most]]
                first += [(int(part["row"][i]), int(part["row"][head[i]])) for i in order]
        return total, sorted(first)[:most], distinct

    def close(self) -> None:
        """Remove what lies on disk."""
        self._held = []
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="sluice-rows-")
        rows = np.concatenate(self._held) if self._held else np.empty(0, _ROW)
        part = (rows["a"] >> np.uint64(58)).astype(np.int64)
        for i in range(_PARTS):
            with (Path(self._folder.name) / f"{i:02d}").open("ab") as f:
                rows[part == i].tofile(f)
        self._held, self._rows = [], 0


def _sorted(rows: NDArray[np.void]) -> NDArray[np.void]:
    return rows[np.lexsort((rows["row"], rows["b"], rows["a"]))]
