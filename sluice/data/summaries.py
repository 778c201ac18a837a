"""A column in a few numbers and one picture."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.data.images import Probe

#: Values of a column that are named, and bins of a histogram.
TOP, BINS = 10, 20
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Characters of a value that are shown.
_SHOWN = 80


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
        values = np.asarray(column.cast(pa.float64()).to_numpy())
        finite = np.sort(values[np.isfinite(values)])
        distinct = int((finite[1:] != finite[:-1]).sum()) + 1 if len(finite) else 0
        return cls(values, finite, int(np.isnan(values).sum()), distinct)

    def quantile(self, q: float) -> float:
        """An observed value: the nearest rank."""
        return float(self.finite[min(len(self.finite) - 1, int(q * len(self.finite)))])


def numeric(name: str, column: Numbers) -> dict[str, Any]:
    """Type, counts, moments, quantiles, a histogram of the finite values."""
    out = {"name": name, "type": "numeric", "rows": len(column.values), "nulls": column.nulls, "distinct": column.distinct}
    if not len(column.finite):
        return out
    return {
        **out,
        **_moments(column.finite),
        "quantiles": {str(q): column.quantile(q) for q in _QUANTILES},
        "histogram": histogram(column.finite),
    }


def categorical(name: str, values: pa.Array, counts: NDArray[np.int64], rows: int) -> dict[str, Any]:
    """Type, counts, the commonest values. `values` and `counts` leave nulls out."""
    return {
        "name": name,
        "type": "categorical",
        "rows": rows,
        "nulls": rows - int(counts.sum()),
        "distinct": len(values),
        "top": top(values, counts),
    }


def text(name: str, column: pa.ChunkedArray) -> dict[str, Any]:
    """Type, counts, and how long the texts are in characters and words."""
    found = column.drop_null()
    out = {"name": name, "type": "text", "rows": len(column), "nulls": column.null_count, "distinct": pc.count_distinct(found).as_py()}
    if not len(found):
        return out
    characters = np.sort(pc.utf8_length(found).to_numpy()).astype(np.float64)
    words = np.sort(pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(found))).to_numpy()).astype(np.float64)
    return {
        **out,
        "characters": _moments(characters),
        "words": _moments(words),
        "length_histogram": histogram(characters),
        "words_histogram": histogram(words),
    }


def image(name: str, column: pa.ChunkedArray, probes: Sequence[Probe], distinct: int) -> dict[str, Any]:
    """Type, counts, the sizes in pixels (as ``top``) and colour modes."""
    good = [p for p in probes if p.error is None]
    sizes, modes = Counter(f"{p.width}x{p.height}" for p in good), Counter(p.mode for p in good)
    return {
        "name": name,
        "type": "image",
        "rows": len(column),
        "nulls": column.null_count,
        "distinct": distinct,
        "unreadable": len(probes) - len(good),
        "bytes": int(pc.sum(pc.binary_length(column)).as_py() or 0),
        "modes": dict(modes.most_common(TOP)),
        "top": [{"value": s, "count": n} for s, n in sorted(sizes.items(), key=lambda kv: (-kv[1], kv[0]))[:TOP]],
    }


def timestamp(name: str, column: pa.ChunkedArray) -> dict[str, Any]:
    """Type, counts, the first and the last time, and the years (as ``top``)."""
    found = column.drop_null()
    out = {"name": name, "type": "timestamp", "rows": len(column), "nulls": column.null_count, "distinct": pc.count_distinct(found).as_py()}
    if not len(found):
        return out
    ends, years = pc.min_max(found).as_py(), pc.value_counts(pc.year(found))
    return {
        **out,
        "first": ends["min"].isoformat(),
        "last": ends["max"].isoformat(),
        "top": top(years.field("values"), np.asarray(years.field("counts"))),
    }


def other(name: str, kind: str, column: pa.ChunkedArray) -> dict[str, Any]:
    """A column of a plug-in's own kind."""
    return {"name": name, "type": kind, "rows": len(column), "nulls": column.null_count, "distinct": None}


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


def _moments(finite: NDArray[np.float64]) -> dict[str, Any]:
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
