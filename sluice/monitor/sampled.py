"""Rows of a prediction log that a diagnosis looks at itself: evenly spaced over the log, so many at most."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sluice.fields import field_of
from sluice.fields.parts import numbers
from sluice.monitor.faults import Cause, Numbers, of_categories, of_numbers

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
#: Rows looked at, and such before a change below which the training profile stands in for them.
MOST, _ENOUGH = 40_000, 200
_SEED = 17


@dataclasses.dataclass
class Sample:
    """Rows in the order of the log.

    Attributes:
        at: each one's place in the log, int64 [rows]. times: microseconds since 1970, 0 where not told. columns: feature -> values.
    """

    at: NDArray[np.int64]
    times: NDArray[np.int64]
    columns: dict[str, list[Any]]

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch], features: Sequence[str], total: int, most: int = MOST) -> Sample:
        """Every so-manieth row.

        Args:
            batches: of the log, with ``features`` and ``time``. total: rows they have, all together.
        """
        from sluice.monitor.labels import microseconds
        from sluice.monitor.rows import Batch

        stride, start = max(1, -(-total // most)), 0
        at: list[int] = []
        times: list[int] = []
        columns: dict[str, list[Any]] = {name: [] for name in features}
        for batch in batches:
            chosen = np.arange((-start) % stride, batch.num_rows, stride)
            start += batch.num_rows
            if not len(chosen):
                continue
            taken = batch.take(_indices(chosen))
            rows = Batch(taken, list(features))
            at += (chosen + start - batch.num_rows).tolist()
            times += microseconds(taken)
            for name in features:
                column = rows.feature(name)
                columns[name] += column.to_pylist() if column is not None else [None] * len(chosen)
        return cls(np.array(at, np.int64), np.array(times, np.int64), columns)

    def numbers(self, name: str) -> Floats:
        """A numeric feature, NaN where missing."""
        return numbers(self.columns[name])

    def __len__(self) -> int:
        return len(self.at)


def _indices(chosen: NDArray[np.int64]) -> Any:
    import pyarrow as pa

    return pa.array(chosen)


def causes(sample: Sample, profile: Mapping[str, Any], since: Mapping[str, tuple[int, int]]) -> dict[str, Cause]:
    """What became of each feature that moved.

    Args:
        since: feature -> the row up to which the log is as it was, and the row from which all is as it is now.
    """
    kinds = {name: field_of(f["kind"], name) for name, f in profile["features"].items()}
    first = min(before for before, _ in since.values())
    quantities: dict[str, Numbers] = {}
    counts: dict[str, tuple[Counter[str], Counter[str]]] = {}
    usual = max(after for _, after in since.values())
    for name, field in kinds.items():
        if name not in sample.columns:
            continue
        before, after = sample.at < first, sample.at >= since.get(name, (0, usual))[1]
        part = (profile["features"][name].get("parts") or {}).get("value") or {}
        if field.quantity:
            values = sample.numbers(name)
            told = values[before] if before.sum() >= _ENOUGH else as_trained(profile["features"][name])
            quantities[name] = Numbers(told, values[after])
        elif field.category:
            cells = np.array(["" if v is None else str(v) for v in sample.columns[name]], dtype=object)
            known = Counter(cells[before].tolist())
            if before.sum() < _ENOUGH and "values" in part:
                known = Counter(dict(zip([*map(str, part["values"]), "(other)", ""], part["counts"], strict=False)))
            counts[name] = known, Counter(cells[after].tolist())
    found = {}
    for name in since:
        if name in quantities:
            found[name] = of_numbers(name, quantities)
        elif name in counts:
            found[name] = of_categories(name, counts)
        else:
            found[name] = Cause("shift", False, "has moved")
    return found


def as_trained(feature: Mapping[str, Any]) -> Floats:
    """Values such as the training rows had, by a profile's bins: evenly within each, the outer ones up to the least and the largest."""
    part = (feature.get("parts") or {}).get("value") or {}
    edges, counts = part.get("edges") or [], part.get("counts") or []
    low, high = feature.get("min"), feature.get("max")
    if not edges or low is None or high is None or len(counts) < len(edges) + 1:
        return np.empty(0)
    ends = np.array([min(low, edges[0]), *edges, max(high, edges[-1])], dtype=np.float64)
    rng = np.random.default_rng(_SEED)
    whole = max(sum(counts[: len(ends) - 1]), 1)
    out = [
        rng.uniform(a, b, round(4000 * n / whole)) if b > a else np.full(round(4000 * n / whole), a)
        for a, b, n in zip(ends, ends[1:], counts, strict=False)
    ]
    missing = feature.get("nulls") or 0
    return np.concatenate([*out, np.full(round(4000 * missing / max(feature.get("rows") or whole, 1)), np.nan)])
