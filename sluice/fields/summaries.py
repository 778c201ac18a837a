"""A column in a few numbers and one picture; what each kind of field says of itself is made of these."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.fields import recordings as sounds
from sluice.fields.pixels import Probe, probe

#: Values of a column that are named, and bins of a histogram.
TOP, BINS = 10, 20
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Characters of a value that are shown.
_SHOWN = 80

#: A column of strings: its distinct values, how often each stands, and each row's value (-1 where null).
Coded = tuple[pa.Array, NDArray[np.int64], NDArray[np.int64]]


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A numeric column, sorted once for all that is asked of it.

    Attributes:
        values: float64 [rows] in the table's order, NaN where null.
        finite: float64, the finite ones, rising.
        nulls: how many are null.
        distinct: how many different finite values there are.
    """

    values: NDArray[np.float64]
    finite: NDArray[np.float64]
    nulls: int
    distinct: int

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Numbers:
        """A column of numbers of any type; null is NaN."""
        values = np.asarray(column.cast(pa.float64()).to_numpy())
        finite = np.sort(values[np.isfinite(values)])
        distinct = int((finite[1:] != finite[:-1]).sum()) + 1 if len(finite) else 0
        return cls(values, finite, int(np.isnan(values).sum()), distinct)

    def quantile(self, q: float) -> float:
        """An observed value: the nearest rank."""
        return float(self.finite[min(len(self.finite) - 1, int(q * len(self.finite)))])


class Cells:
    """A column's cells, each question about them worked out once.

    Args:
        column: it.
        distinct: counts its different values, where the caller can do so cheaply; null: they are counted here.
    """

    def __init__(self, column: pa.ChunkedArray, distinct: Callable[[], int] | None = None):
        self.column, self.rows, self._distinct = column, len(column), distinct

    @functools.cached_property
    def numbers(self) -> Numbers:
        """Of a quantity."""
        return Numbers.of(self.column)

    @functools.cached_property
    def coded(self) -> Coded:
        """Of a category."""
        column = self.column.combine_chunks()
        column = (column.chunk(0) if isinstance(column, pa.ChunkedArray) else column).dictionary_encode()
        codes = np.asarray(pc.fill_null(column.indices, -1)).astype(np.int64)
        return column.dictionary, np.bincount(codes[codes >= 0], minlength=len(column.dictionary)).astype(np.int64), codes

    @functools.cached_property
    def probes(self) -> list[Probe]:
        """Of encoded images: what each one's bytes hold. Raises `MissingExtra`."""
        return probe(v.as_py() for chunk in self.column.chunks for v in chunk)

    @functools.cached_property
    def recordings(self) -> list[sounds.Recording]:
        """Of encoded recordings: what each one's bytes hold."""
        return sounds.probe(v.as_py() for chunk in self.column.chunks for v in chunk)

    @functools.cached_property
    def distinct(self) -> int:
        """How many different values there are, null being one."""
        return len(self.column.unique()) if self._distinct is None else self._distinct()


def top(values: pa.Array, counts: NDArray[np.int64], most: int = TOP) -> list[dict[str, Any]]:
    """The commonest values, equally common ones by name."""
    least = np.partition(counts, -most)[-most] if len(counts) > most else 0
    near = np.flatnonzero(counts >= least)
    named = sorted(zip((-counts[near]).tolist(), values.take(pa.array(near)).to_pylist(), strict=True))[:most]
    return [{"value": v if len(v) <= _SHOWN else f"{v[: _SHOWN - 1]}…", "count": -n} for n, v in ((n, str(v)) for n, v in named)]


def histogram(finite: NDArray[np.float64], bins: int = BINS) -> dict[str, list[Any]]:
    """Bins of equal width over sorted finite values; few whole numbers have a bin each. k + 1 edges, k counts."""
    low, high = float(finite[0]), float(finite[-1])
    if high - low < bins and abs(low) < 2**50 and bool((finite == np.floor(finite)).all()):
        edges = np.arange(low - 0.5, high + 1)
    elif low == high:
        room = max(0.5, abs(low) * 1e-6)
        largest = np.finfo(np.float64).max
        edges = np.clip([low - room, high + room], -largest, largest)
    elif not np.isfinite(high - low) or (high - low) / bins <= 1e-15 * max(abs(low), abs(high)):  # no room between floats
        edges = np.array([low, high])
    else:
        edges = np.linspace(low, high, bins + 1)
    at = np.searchsorted(finite, edges[1:-1], side="left")
    counts = np.diff(np.concatenate([[0], at, [len(finite)]]))
    return {"edges": edges.tolist(), "counts": counts.astype(int).tolist()}


def moments(finite: NDArray[np.float64]) -> dict[str, Any]:
    """Ends, mean and standard deviation of sorted finite values."""
    # Scaled first, so that the squares of very large numbers stay finite.
    scale = float(np.abs(finite[[0, -1]]).max()) or 1.0
    x = finite / scale
    return {
        "min": float(finite[0]),
        "max": float(finite[-1]),
        "mean": _round(float(x.mean()) * scale),
        "std": _round(float(x.std()) * scale),
    }


def _round(value: float) -> float:
    return float(f"{value:.9g}")
