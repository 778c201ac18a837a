"""What drift compares: a column's values counted into bins that the training rows set.

Bins and counts have the layout of `sluice.stats.drift`: intervals or values first, then what the reference did not know
(categories only), then what is missing. Counts of two sets of rows add up to those of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from sluice.stats.drift import numeric_counts, quantile_edges
from sluice.stats.tally import Tallier, Tally

#: Bins of numbers, and of a finer look at them.
BINS, FINE = 10, 40
#: Edges in both tails, where a finer bin would be wide.
_TAILS = (0.0005, 0.002, 0.005, 0.01, 0.99, 0.995, 0.998, 0.9995)


class Rows(Protocol):
    """The rows a reference is taken from (`sluice.data.dataset.Dataset`)."""

    @property
    def times(self) -> Mapping[str, Any]: ...
    def rows(self, split: str) -> int: ...
    def read(self, split: str, columns: list[str] | None = None) -> pa.Table: ...
    def batches(self, split: str, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]: ...


def part(bins: Mapping[str, Any], counts: NDArray[np.int64]) -> dict[str, Any]:
    """Bins, and how many rows and which share of them each holds.

    Args:
        bins: ``{"edges": [...]}``, ``{"values": [...]}`` or ``{"buckets": n}``.
        counts: int64 [bins and more].
    """
    total = int(counts.sum())
    return {**bins, "counts": counts.tolist(), "fractions": [round(int(n) / total, 9) if total else 0.0 for n in counts]}


def numeric_part(values: ArrayLike | Tally) -> dict[str, Any]:
    """Numbers [rows], NaN where one is missing, or what was counted of them, in bins of equal counts."""
    values = Tally.of(values if isinstance(values, Tally) else np.asarray(values, dtype=np.float64))
    edges = quantile_edges(values, BINS)
    return part({"edges": edges.tolist()}, numeric_counts(values, edges))


def fine_part(values: ArrayLike | Tally, edges: ArrayLike) -> dict[str, Any]:
    """Numbers [rows], or what was counted of them, in finer bins, of which those between `edges` are made: both ends of the values are edges, so that what lies outside is counted too.

    ``edges`` and ``counts``; the last count is of what is missing.
    """
    x = Tally.of(values if isinstance(values, Tally) else np.asarray(values, dtype=np.float64))
    if not x.total:
        return {"edges": [], "counts": x.counts([]).tolist()}
    ends = [x.first, np.nextafter(x.last, np.inf)]
    tails = [x.quantile(q) for q in _TAILS]
    fine = np.unique(np.concatenate([np.asarray(edges, dtype=np.float64), quantile_edges(x, FINE), tails, ends]))
    return {"edges": fine.tolist(), "counts": x.counts(fine).tolist()}


def sorted_counts(values: NDArray[np.float64], edges: NDArray[np.float64], bounds: Sequence[int]) -> NDArray[np.int64]:
    """`numeric_counts` of pieces of a column, int64 [pieces, bins]. Sorting a piece and looking the edges up in it is faster than looking up each value.

    Args:
        values: [rows]. edges: rising. bounds: piece i is rows ``bounds[i] .. bounds[i + 1]``.
    """
    at = np.asarray(bounds)
    sizes = np.diff(at)
    if not len(sizes):
        return np.zeros((0, len(edges) + 2), np.int64)
    finite = np.isfinite(values)
    whole = bool(finite.all())
    values = values if whole else np.where(finite, values, np.nan)
    below = np.empty((len(sizes), len(edges)), np.int64)
    # Pieces in a row of one size are sorted together; what is missing is last.
    turns = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
    for i, j in zip(turns, turns[1:], strict=False):
        block = np.sort(values[at[i] : at[j]].reshape(j - i, -1), axis=1) if sizes[i] else np.empty((j - i, 0))
        for k, piece in enumerate(block):
            below[i + k] = piece.searchsorted(edges)
    fine = sizes if whole else np.diff(np.concatenate([[0], np.cumsum(finite)])[at])
    return np.concatenate([np.diff(below, axis=1, prepend=0, append=fine[:, None]), (sizes - fine)[:, None]], axis=1)


def moments(values: NDArray[np.float64] | Tally) -> dict[str, Any]:
    """Mean, deviation and ends of the finite ones; rounded, so that the order in which a sum was taken can never show."""
    x = Tally.of(values)
    if not x.total:
        return {"mean": None, "std": None, "min": None, "max": None}
    mean, deviation = x.moments
    return {"mean": rounded(mean), "std": rounded(deviation), "min": x.first, "max": x.last}


def tally(columns: Iterable[pa.Array]) -> Tally:
    """What stands in a column of numbers that comes in pieces."""
    counted = Tallier()
    for column in columns:
        counted.add(floats(column))
    return counted.done()


def rounded(value: float) -> float:
    """To nine digits."""
    return float(f"{value:.9g}")


def floats(column: pa.Array) -> NDArray[np.float64]:
    """A column as float64 [rows], NaN where null."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    """Raw values as float64 [rows], NaN where one is missing or cannot be read."""
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.array([_number(v) for v in values])


def value_counts(columns: Iterable[Any]) -> Counter[Any]:
    """How often each value stands in columns together."""
    out: Counter[Any] = Counter()
    for column in columns:
        found = column.value_counts()
        out.update(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))
    return out


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
