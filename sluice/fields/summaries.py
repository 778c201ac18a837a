"""A column in a few numbers and one picture; what each kind of field says of itself is made of these."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from sluice.fields import recordings as sounds
from sluice.fields.pixels import Probe, probe
from sluice.stats.tally import Tallier, Tally

#: Values of a column that are named, and bins of a histogram.
TOP, BINS = 10, 20
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Characters of a value that are shown.
_SHOWN = 80

#: A column of strings: its distinct values, in the order in which they first stand, and how often each does.
Coded = tuple[pa.Array, NDArray[np.int64]]


class Blocks(Protocol):
    """A column a piece at a time."""

    def __call__(self) -> Iterator[pa.ChunkedArray]: ...


class Mapped(Protocol):
    """What a function says of a column, a piece at a time."""

    def __call__(self, function: Callable[[pa.ChunkedArray], Any], /) -> Iterator[Any]: ...


class Cells:
    """A column's cells, each question about them worked out once.

    Args:
        column: it; or what reads it, where it lies on disk.
        distinct: counts its different values, where the caller can do so cheaply; null: they are counted here.
        blocks: gives it a piece at a time; null: in one piece.
        rows: how many it has, where it lies on disk.
        mapped: asks each piece where it lies, if that is elsewhere.
    """

    def __init__(
        self,
        column: pa.ChunkedArray | Callable[[], pa.ChunkedArray],
        distinct: Callable[[], int] | None = None,
        blocks: Blocks | None = None,
        rows: int | None = None,
        mapped: Mapped | None = None,
    ):
        self._column, self._distinct, self._mapped = column, distinct, mapped
        self._blocks = blocks or (lambda: iter([self.column]))
        self.rows = len(column) if isinstance(column, pa.ChunkedArray) else rows or 0

    @property
    def column(self) -> pa.ChunkedArray:
        """All of it."""
        return self._column if isinstance(self._column, pa.ChunkedArray) else self._column()

    @functools.cached_property
    def numbers(self) -> Tally:
        """Of a quantity."""
        counted = Tallier()
        if self._mapped is not None:
            for tally in self._mapped(tally_of):
                counted.take(tally)
            return counted.done()
        for block in self._blocks():
            counted.add(np.asarray(block.cast(pa.float64()).to_numpy()))
        return counted.done()

    @functools.cached_property
    def coded(self) -> Coded:
        """Of a category."""
        counted = Counted()
        for values, counts in self._mapped(counts_of) if self._mapped is not None else map(counts_of, self._blocks()):
            counted.take(values, counts)
        return counted.values, counted.counts

    @functools.cached_property
    def nulls(self) -> int:
        """How many are null."""
        return sum(block.null_count for block in self._blocks())

    @functools.cached_property
    def probes(self) -> list[Probe]:
        """Of encoded images: what each one's bytes hold. Raises `MissingExtra`."""
        return [p for block in self._blocks() for p in probe(_each(block))]

    @functools.cached_property
    def recordings(self) -> list[sounds.Recording]:
        """Of encoded recordings: what each one's bytes hold."""
        return [r for block in self._blocks() for r in sounds.probe(_each(block))]

    @functools.cached_property
    def bytes(self) -> int:
        """Of encoded files: of all together."""
        return sum(int(pc.sum(pc.binary_length(block)).as_py() or 0) for block in self._blocks())

    @functools.cached_property
    def type(self) -> pa.DataType:
        """Of the column."""
        return next(iter(self._blocks())).type

    @functools.cached_property
    def distinct(self) -> int:
        """How many different values there are, null being one."""
        return len(self.column.unique()) if self._distinct is None else self._distinct()


def _each(block: pa.ChunkedArray) -> Iterator[Any]:
    return (v.as_py() for chunk in block.chunks for v in chunk)


def top(values: pa.Array, counts: NDArray[np.int64], most: int = TOP) -> list[dict[str, Any]]:
    """The commonest values, equally common ones by name."""
    least = np.partition(counts, -most)[-most] if len(counts) > most else 0
    near = np.flatnonzero(counts >= least)
    named = sorted(zip((-counts[near]).tolist(), values.take(pa.array(near)).to_pylist(), strict=True))[:most]
    return [{"value": v if len(v) <= _SHOWN else f"{v[: _SHOWN - 1]}…", "count": -n} for n, v in ((n, str(v)) for n, v in named)]


class Counted:
    """Distinct strings, in the order in which they first stand, and how often each does, of a column that comes in pieces."""

    def __init__(self) -> None:
        self._values, self._counts = pa.array([], pa.string()), np.zeros(0, np.int64)
        self._held, self._size = list[tuple[pa.Array, NDArray[np.int64]]](), 0

    def add(self, block: pa.ChunkedArray) -> None:
        """Take the next rows."""
        self.take(*counts_of(block))

    def take(self, values: pa.Array, counts: NDArray[np.int64]) -> None:
        """Take distinct values of the next rows, and how often each stands there."""
        self._held.append((values, counts.astype(np.int64)))
        self._size += len(values)
        if self._size > max(1 << 16, len(self._values)):
            self._merge()

    def _merge(self) -> None:
        parts = [(self._values, self._counts), *self._held]
        self._held, self._size = [], 0
        found = encoded(pa.chunked_array([v for v, _ in parts]))
        at = np.asarray(found.indices).astype(np.int64)
        counts = np.zeros(len(found.dictionary), np.int64)
        np.add.at(counts, at, np.concatenate([n for _, n in parts]))
        self._values, self._counts = found.dictionary, counts

    @property
    def values(self) -> pa.Array:
        """The strings."""
        if self._held:
            self._merge()
        return self._values

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each stands."""
        if self._held:
            self._merge()
        return self._counts


def tally_of(block: pa.ChunkedArray) -> Tally:
    """A piece of a quantity."""
    return Tally.of(np.asarray(block.cast(pa.float64()).to_numpy()))


def counts_of(block: pa.ChunkedArray) -> Coded:
    """A piece of a category: its distinct values, and how often each stands."""
    found = encoded(block)
    codes = np.asarray(found.indices.drop_null()).astype(np.int64)
    return found.dictionary, np.bincount(codes, minlength=len(found.dictionary))


def encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column of strings as one array of codes and what they stand for."""
    column = column.combine_chunks()
    return (column.chunk(0) if isinstance(column, pa.ChunkedArray) else column).dictionary_encode()


def histogram(found: ArrayLike | Tally, bins: int = BINS) -> dict[str, list[Any]]:
    """Bins of equal width over finite values; few whole numbers have a bin each. k + 1 edges, k counts."""
    tally = Tally.of(found)
    low, high = tally.first, tally.last
    if high - low < bins and abs(low) < 2**50 and tally.whole:
        edges = np.arange(low - 0.5, high + 1)
    elif low == high:
        room = max(0.5, abs(low) * 1e-6)
        largest = np.finfo(np.float64).max
        edges = np.clip([low - room, high + room], -largest, largest)
    elif not np.isfinite(high - low) or (high - low) / bins <= 1e-15 * max(abs(low), abs(high)):  # no room between floats
        edges = np.array([low, high])
    else:
        edges = np.linspace(low, high, bins + 1)
    counts = np.diff(np.concatenate([[0], tally.below(edges[1:-1]), [tally.total]]))
    return {"edges": edges.tolist(), "counts": counts.astype(int).tolist()}


def moments(found: ArrayLike | Tally) -> dict[str, Any]:
    """Ends, mean and standard deviation of finite values."""
    tally = Tally.of(found)
    mean, deviation = tally.moments
    return {"min": tally.first, "max": tally.last, "mean": _round(mean), "std": _round(deviation)}


def _round(value: float) -> float:
    return float(f"{value:.9g}")
