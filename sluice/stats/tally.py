"""How often each number of a column stands: its distinct values, rising, with their counts. All that is said of a column of numbers is said of these.

Two tallies add up to that of both columns, so parts of a column are counted apart, on any number of machines. What does not
fit into memory is sorted in runs that are merged in files; figures do not depend on how the column was cut, bit for bit.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Distinct values of a chunk: sums are taken over each alone and added exactly, so a figure is the same in memory and from files.
CHUNK = 1 << 16
#: Values that are held before they are sorted into a run.
HELD = 1 << 24


_HELD: contextvars.ContextVar[int] = contextvars.ContextVar("sluice-tally-held", default=HELD)


@contextlib.contextmanager
def held(values: int) -> Iterator[None]:
    """Within: so many values are held before they are sorted into a run."""
    token = _HELD.set(max(values, CHUNK))
    try:
        yield
    finally:
        _HELD.reset(token)


class Tally:
    """Distinct finite values, rising, and how often each stands.

    Attributes:
        distinct: how many there are. total: how many values they were. nulls: NaN among them. infinite: infinite ones.
        least, most: the smallest and the largest, infinite ones too; NaN where there is none.
    """

    def __init__(self, values: NDArray[Any] | _File, counts: NDArray[np.int64] | _File, total: int, nulls: int = 0, ends: Any = None):
        self._values, self._counts = values, counts
        self.distinct, self.total, self.nulls = len(values), total, nulls
        low, high, infinite = ends or (np.nan, np.nan, 0)
        self.infinite: int = infinite
        inside = (self.first, self.last) if self.distinct else (np.nan, np.nan)
        self.least, self.most = np.fmin(low, inside[0]), np.fmax(high, inside[1])

    @classmethod
    def of(cls, values: ArrayLike | Tally) -> Tally:
        """Of an array, float64 or whole numbers, [rows]."""
        if isinstance(values, Tally):
            return values
        counted = Tallier()
        counted.add(np.asarray(values))
        return counted.done()

    @property
    def first(self) -> float:
        """The smallest finite value."""
        return float(self._values[0:1][0])

    @property
    def last(self) -> float:
        """The largest finite value."""
        return float(self._values[self.distinct - 1 : self.distinct][0])

    def chunks(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Values and their counts, `CHUNK` at a time."""
        for at in range(0, self.distinct, CHUNK):
            yield self._values[at : at + CHUNK], self._counts[at : at + CHUNK]

    @functools.cached_property
    def _before(self) -> NDArray[np.int64]:
        """Values in all chunks before each, and in all: int64 [chunks + 1]."""
        return np.concatenate([[0], np.cumsum([int(c.sum()) for _, c in self.chunks()], dtype=np.int64)]).astype(np.int64)

    def at(self, ranks: ArrayLike) -> NDArray[Any]:
        """The values that stand at these places (from 0) of the sorted column."""
        wanted = np.asarray(ranks, np.int64)
        chunk = np.searchsorted(self._before, wanted, side="right") - 1
        out = np.empty(len(wanted), np.asarray(self._values[0:1]).dtype)
        for i in np.unique(chunk):
            mine = chunk == i
            ends = np.cumsum(self._counts[i * CHUNK : (i + 1) * CHUNK])
            out[mine] = self._values[i * CHUNK : (i + 1) * CHUNK][np.searchsorted(ends, wanted[mine] - self._before[i], side="right")]
        return out

    def quantile(self, q: float) -> float:
        """An observed value: the nearest rank."""
        return float(self.at([min(self.total - 1, int(q * self.total))])[0])

    def below(self, edges: ArrayLike) -> NDArray[np.int64]:
        """How many values are smaller than each edge: int64 [edges]."""
        e = np.asarray(edges, np.float64)
        out = np.zeros(len(e), np.int64)
        for values, counts in self.chunks():
            out += np.concatenate([[0], np.cumsum(counts)])[np.searchsorted(values, e, side="left")]
        return out

    def counts(self, edges: ArrayLike) -> NDArray[np.int64]:
        """As `sluice.stats.drift.numeric_counts` counts them."""
        below = self.below(edges)
        return np.concatenate([np.diff(np.concatenate([[0], below, [self.total]])), [self.nulls + self.infinite]]).astype(np.int64)

    @functools.cached_property
    def whole(self) -> bool:
        """Whether all are whole numbers."""
        return all(bool((v == np.floor(v)).all()) for v, _ in self.chunks())

    @functools.cached_property
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation; scaled on the way, so that squares of very large numbers stay finite."""
        scale = max(abs(self.first), abs(self.last)) or 1.0
        mean = math.fsum(float((v / scale * n).sum()) for v, n in self.chunks()) / self.total
        squares = math.fsum(float(((v / scale - mean) ** 2 * n).sum()) for v, n in self.chunks()) / self.total
        return mean * scale, math.sqrt(squares) * scale

    def narrow(self, middle: float = 0.0) -> tuple[int, tuple[float, float] | None]:
        """How many 32-bit numbers the values are with `middle` taken away, and the first two that become one."""
        found, before, pair = 0, None, None
        for values, _ in self.chunks():
            with np.errstate(over="ignore"):
                small = (values - middle).astype(np.float32)
            if before is not None:
                values, small = np.concatenate([[before[0]], values]), np.concatenate([[before[1]], small])
            same = small[1:] == small[:-1]
            found += int((~same).sum()) + (before is None)
            if pair is None and same.any():
                at = int(np.argmax(same))
                pair = (float(values[at]), float(values[at + 1]))
            before = (values[-1], small[-1])
        return found, pair

    def merged_into(self, other: Tallier) -> None:
        """Add all of it to what is being counted."""
        other.take(self)


class Tallier:
    """Counts numbers. `add` in any number of arrays, then `done`.

    Args:
        held: values held in memory before they become a sorted run in a file; null: as `held` says.
    """

    def __init__(self, held: int | None = None):
        self._most, self._held, self._rows = held or _HELD.get(), list[NDArray[Any]](), 0
        self._runs: list[tuple[NDArray[Any] | _File, NDArray[np.int64] | _File]] = []
        self._nulls, self._ends = 0, (np.nan, np.nan, 0)

    def add(self, values: NDArray[Any]) -> None:
        """Take values, [n]; NaN are counted as missing."""
        if values.dtype.kind == "f":
            fine = np.isfinite(values)
            if not fine.all():
                infinite = values[np.isinf(values)]
                self._nulls += len(values) - int(fine.sum()) - len(infinite)
                self._see(infinite)
                values = values[fine]
            values = values + 0.0  # one zero
        self._held.append(values)
        self._rows += len(values)
        if self._rows >= self._most:
            self._close_run()

    def take(self, tally: Tally) -> None:
        """Take what was counted elsewhere."""
        self._nulls += tally.nulls
        self._ends = (np.fmin(self._ends[0], tally.least), np.fmax(self._ends[1], tally.most), self._ends[2] + tally.infinite)
        self._runs.append((tally._values, tally._counts))

    def done(self) -> Tally:
        """What was counted."""
        if self._held or not self._runs:
            self._runs.append(_counted(self._held))
            self._held = []
        more = (self._nulls, self._ends)
        if len(self._runs) == 1:
            values, counts = self._runs[0]
            return Tally(values, counts, _sum(counts), *more)
        if sum(len(v) for v, _ in self._runs) <= self._most:
            made = _merged([(v[:], c[:]) for v, c in self._runs])
            return Tally(*made, int(made[1].sum()), *more)
        values, counts, total = _File(self._runs[0][0].dtype), _File(np.dtype(np.int64)), 0
        for v, c in _merge(self._runs):
            values.write(v)
            counts.write(c)
            total += int(c.sum())
        return Tally(values, counts, total, *more)

    def _see(self, infinite: NDArray[Any]) -> None:
        if len(infinite):
            low, high, n = self._ends
            self._ends = (np.fmin(low, infinite.min()), np.fmax(high, infinite.max()), n + len(infinite))

    def _close_run(self) -> None:
        values, counts = _counted(self._held)
        self._held, self._rows = [], 0
        last = self._runs[-1] if self._runs else None
        if last is not None and isinstance(last[0], np.ndarray):  # columns of few values stay in memory
            self._runs.pop()
            values, counts = _merged([(last[0], last[1][:]), (values, counts)])
        if len(values) * 4 <= self._most:
            self._runs.append((values, counts))
            return
        files = _File(values.dtype), _File(np.dtype(np.int64))
        files[0].write(values)
        files[1].write(counts)
        self._runs.append(files)


class _File:
    """An array in a file that is gone when nobody holds it; what is read of it are slices."""

    def __init__(self, dtype: np.dtype[Any]):
        self.dtype, self._rows = dtype, 0
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="sluice-tally-")  # noqa: SIM115 - lives as long as the array

    def write(self, values: NDArray[Any]) -> None:
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(values).data)
        self._rows += len(values)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, which: slice) -> NDArray[Any]:
        at, end, _ = which.indices(self._rows)
        self._file.seek(at * self.dtype.itemsize)
        return np.frombuffer(self._file.read(max(0, end - at) * self.dtype.itemsize), self.dtype)


def _counted(held: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    values = np.concatenate(held) if held else np.empty(0)
    held.clear()
    if not values.flags.owndata:
        values = values.copy()
    values.sort()
    if not len(values):
        return values, np.zeros(0, np.int64)
    new = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[new], np.diff(np.append(new, len(values)))


def _merged(runs: Iterable[tuple[NDArray[Any], NDArray[np.int64]]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    parts = list(runs)
    values, counts = np.concatenate([v for v, _ in parts]), np.concatenate([c for _, c in parts])
    if not len(values):
        return values, counts
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    new = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[new], np.add.reduceat(counts, new)


def _merge(runs: list[tuple[Any, Any]]) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """Sorted runs as one, piece by piece: up to the smallest of the runs' last values that are read, all are known."""
    places = [0] * len(runs)
    read: list[tuple[Any, Any]] = [(v[:CHUNK], c[:CHUNK]) for v, c in runs]
    while any(len(v) for v, _ in read):
        bound = min(v[-1] for v, _ in read if len(v))
        pieces = []
        for i, (v, c) in enumerate(read):
            n = int(np.searchsorted(v, bound, side="right"))
            if n:
                pieces.append((v[:n], c[:n]))
                places[i] += n
                rest = v[n:], c[n:]
                more = slice(places[i] + len(rest[0]), places[i] + CHUNK)
                read[i] = tuple(np.concatenate([r, whole[more]]) for r, whole in zip(rest, runs[i], strict=True))  # type: ignore[assignment]
        yield _merged(pieces)


def _sum(counts: Any) -> int:
    return sum(int(counts[at : at + CHUNK].sum()) for at in range(0, len(counts), CHUNK))
