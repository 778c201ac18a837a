"""A field of numbers: float64 in a dataset, null where one is missing."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import InputError, PackageError
from sluice.core.numerals import Numerals
from sluice.fields.base import setting
from sluice.fields.centre import centre
from sluice.fields.column import Column, ColumnField

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.changes.disturbances import Disturbance
    from sluice.fields.parts import Rows
    from sluice.fields.summaries import Cells


_PLAIN = frozenset({int, float, bool, type(None), np.float64})
_LARGEST = float(np.finfo(np.float32).max)
_FAR = 1e140


class Number(ColumnField):
    """Numbers on a line."""

    kind = "numeric"
    plain = True
    quantity = True
    checks = frozenset({"finite", "ranges", "constant", "precision", "identifier", "predictive", "shift"})
    column_type = "double"
    options = ("numerals", "centre")

    def disturbances(self) -> Mapping[str, Disturbance]:
        """Noise within a fraction of the column's deviation; a missing cell."""
        from sluice.fields.changes.disturbances import NUMBERS

        return NUMBERS

    @property
    def arrow(self) -> pa.DataType:
        """float64."""
        import pyarrow as pa

        return pa.float64()

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, moments, quantiles, a histogram of the finite values."""
        from sluice.fields.summaries import QUANTILES, histogram, moments

        found = cells.numbers
        out = {"name": self.name, "type": self.kind, "rows": cells.rows, "nulls": found.nulls, "distinct": found.distinct}
        if not found.total:
            return out
        quantiles = {str(q): found.quantile(q) for q in QUANTILES}
        return {**out, **moments(found), "quantiles": quantiles, "histogram": histogram(found)}

    def reference(self, rows: Rows) -> dict[str, Any]:
        """Moments, the part ``value``, and ``fine``: finer bins within it."""
        from sluice.fields import parts

        found = parts.tally(b.column(0) for b in rows.batches("train", [self.name], 1 << 16))
        part = parts.numeric_part(found)
        return {
            "kind": self.kind,
            "rows": found.total + found.nulls + found.infinite,
            "nulls": found.nulls,
            **parts.moments(found),
            "parts": {"value": part},
            "fine": parts.fine_part(found, part["edges"]),
        }

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of ``value``."""
        from sluice.fields.parts import numbers
        from sluice.stats.drift import numeric_counts

        return {"value": numeric_counts(numbers(values), reference["parts"]["value"]["edges"])}

    def grid(self, reference: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """``value`` in the finer bins; of profiles of before, in its own and the ends of its range."""
        if "fine" in reference:
            return {"value": reference["fine"]}
        known, low, high = reference["parts"]["value"], reference["min"], reference["max"]
        if low is None:
            return {"value": known}
        edges, at = known["edges"], [low, float(np.nextafter(high, np.inf))]
        inner = [e for e in edges if low < e < at[1]]
        # A bin below the smallest value is empty in every reference.
        counts = [n for n, end in zip(known["counts"][:-1], [*edges, np.inf], strict=True) if end > low]
        return {
            "value": {"edges": [low, *inner, at[1]], "counts": [0, *counts, *[0] * (len(inner) + 2 - len(counts)), known["counts"][-1]]}
        }

    def counted(self, reference: Mapping[str, Any], column: pa.Array, bounds: Sequence[int]) -> dict[str, NDArray[np.int64]]:
        """Of ``value``, as `grid` has it."""
        from sluice.fields.parts import sorted_counts

        return {"value": sorted_counts(_floats(column), np.asarray(self.grid(reference)["value"]["edges"], dtype=np.float64), bounds)}

    def totals(self, column: pa.Array, bounds: Sequence[int]) -> NDArray[np.float64]:
        """Of the finite ones; what lies beyond `_FAR` counts as that, so that sums of squares stay numbers."""
        values = _floats(column)[: bounds[-1]]
        fine = np.isfinite(values)
        whole = bool(fine.all())
        x = np.clip(values if whole else np.where(fine, values, 0.0), -_FAR, _FAR)
        if len(bounds) < 2 or bounds[-1] == bounds[0]:
            return np.zeros((max(len(bounds) - 1, 0), 3))
        starts = np.minimum(np.asarray(bounds[:-1]), len(x) - 1)
        counts = np.diff(bounds).astype(np.float64) if whole else np.add.reduceat(fine.astype(np.float64), starts)
        found = np.stack([counts, np.add.reduceat(x, starts), np.add.reduceat(x * x, starts)], axis=1)
        found[np.diff(bounds) == 0] = 0.0
        return found

    def drawn(self, reference: Mapping[str, Any], rows: int, rng: np.random.Generator) -> list[float | None]:
        """Evenly inside a bin."""
        from sluice.stats.drift import drawn

        known, low, high = reference["parts"]["value"], reference["min"], reference["max"]
        if low is None:
            return [None] * rows
        ends = [low, *known["edges"], max(high, *known["edges"]) if known["edges"] else high]
        at = drawn(known["counts"], rows, rng)
        spread = rng.random(rows)
        return [
            None if i >= len(ends) - 1 else min(high, ends[i] + u * (ends[i + 1] - ends[i]))
            for i, u in zip(at, spread.tolist(), strict=True)
        ]

    @classmethod
    def load(cls, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        """``numerals`` (`Numerals` as an object) and ``centre``."""
        try:
            numerals = Numerals.load(setting(spec, "numerals", dict, where)) if "numerals" in spec else None
        except (TypeError, ValueError) as e:
            raise PackageError(f"cannot be read: {e}", field=f"{where}.numerals", value=spec["numerals"]) from e
        middle = spec.get("centre", 0.0)
        if isinstance(middle, bool) or not isinstance(middle, int | float) or not math.isfinite(middle):
            raise PackageError("must be a finite number", field=f"{where}.centre", value=middle)
        return {"numerals": numerals, "centre": float(middle)}

    def fit(self, rows: Rows) -> dict[str, Any]:
        """``centre``: where 32 bits would lose what the numbers differ by."""
        return {"centre": centre(rows.read("train", [self.name]).column(self.name).to_numpy())}

    def seen(self, column: Column, cells: pa.Array) -> dict[str, np.ndarray]:
        """In 64 bits, the centre taken away."""
        return {column.tensor: cells.to_numpy(zero_copy_only=False) - column.centre}

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """One FP32."""
        return [(column.tensor, "FP32")]

    def sent(self, column: Column) -> str:
        """FP64 where 32 bits would lose what the centre keeps."""
        return "FP64" if column.centre else "FP32"

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """Numbers and booleans (1 and 0), and texts as the training rows write numbers."""
        return {column.tensor: _numbers(values, rows, column.name, column.numerals, column.centre)}

    def log(self, column: Column, values: Sequence[Any]) -> list[float | None]:
        """Floats."""
        found = [_number(v, i, column.name, column.numerals) for i, v in enumerate(values)]
        return [None if math.isnan(v) else v for v in found]


def _floats(column: pa.Array) -> NDArray[np.float64]:
    import pyarrow as pa

    from sluice.fields.parts import floats, numbers

    plain = pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)
    return floats(column) if plain else numbers(column.to_pylist())


def _numbers(values: Sequence[Any] | None, rows: int, name: str, numerals: Numerals | None, centre: float = 0.0) -> np.ndarray:
    if values is None:
        return np.full((rows, 1), np.nan, dtype=np.float32)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        wide = values.astype(np.float64)
    elif _PLAIN.issuperset(map(type, values)):
        try:
            wide = np.array(values, dtype=np.float64)
        except OverflowError:
            wide = np.array([_number(v, i, name, numerals) for i, v in enumerate(values)], dtype=np.float64)
    else:
        wide = np.array([_number(v, i, name, numerals) for i, v in enumerate(values)], dtype=np.float64)
    if centre:
        wide = wide - centre
    over = np.abs(wide) > _LARGEST
    if over.any():
        i = int(np.argmax(over))
        raise InputError(
            "is not a finite 32-bit number", field=f"rows[{i}].{name}", value=float(wide[i] + centre), fix="send a finite number, or null"
        )
    return wide.astype(np.float32).reshape(rows, 1)


def _number(value: Any, i: int, name: str, numerals: Numerals | None = None) -> float:
    if value is None:
        return math.nan
    if isinstance(value, numbers.Real | np.bool_ | Decimal):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if numerals is not None and isinstance(value, str):
        found = numerals.parse(value)
        if found is not None:
            return found
        raise InputError(
            "is not a number as the training rows write it",
            field=f"rows[{i}].{name}",
            value=value,
            fix=f"send a number, or a text with {numerals.words()}",
        )
    raise InputError("is not a number", field=f"rows[{i}].{name}", value=value, fix="send a number, or null when it is missing")
