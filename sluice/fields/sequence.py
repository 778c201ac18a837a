"""A field of numbers in the order of time: the newest stands last, and what is too short is filled up at its beginning."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import InputError, PackageError
from sluice.fields.column import Column, ColumnField

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.parts import Rows

_LARGEST = float(np.finfo(np.float32).max)
_LIMIT = 100_000
_NUMBERS = (numbers.Real, np.bool_, Decimal)


class NumberSequence(ColumnField):
    """Lists of numbers, of one length in a dataset; null or NaN where one is missing.

    A package's column has ``length``, how many a row has, and ``least``, how many a client has to send. Of more the last ones count; in front of
    fewer stand missing ones. ``layout`` may tell how a table is laid out that such rows are cut from.
    """

    kind = "sequence"
    column_type = "any"
    options = ("length", "least", "layout")

    @property
    def arrow(self) -> pa.DataType:
        """list<double>."""
        import pyarrow as pa

        return pa.list_(pa.float64())

    @property
    def logged(self) -> pa.DataType:
        """As it is stored."""
        return self.arrow

    def reference(self, rows: Rows) -> dict[str, Any]:
        """Parts ``level`` (the mean of a row's numbers) and ``spread`` (their deviation)."""
        from sluice.fields.parts import numeric_part

        found = rows.read("train", [self.name]).column(self.name)
        parts = _parts(found.to_pylist())
        return {
            "kind": self.kind,
            "rows": len(found),
            "nulls": found.null_count,
            "parts": {name: numeric_part(values) for name, values in parts.items()},
        }

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of each part."""
        from sluice.stats.drift import numeric_counts

        found = _parts(values)
        return {name: numeric_counts(found[name], part["edges"]) for name, part in reference["parts"].items()}

    @classmethod
    def load(cls, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        """``length`` and ``least``."""
        for name, low in (("length", 1), ("least", 0)):
            if type(spec.get(name)) is not int or not low <= spec[name] <= _LIMIT:
                raise PackageError(f"must be a whole number of {low} to {_LIMIT:,}", field=f"{where}.{name}", value=spec.get(name))
        return super().load(spec, where)

    def fit(self, rows: Rows) -> dict[str, Any]:
        """``length``: of the first row; a client has to send one number at least."""
        first = next(iter(rows.batches("train", [self.name], 1))).column(0)[0].as_py()
        return {"own": {"length": len(first), "least": 1}}

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """One FP32."""
        return [(column.tensor, "FP32")]

    def width(self, column: Column) -> int:
        """``length``."""
        return int(column.own["length"])

    def sent(self, column: Column) -> str:
        """FP64: what a series' numbers differ by may be lost in 32 bits."""
        return "FP64"

    def seen(self, column: Column, cells: pa.Array) -> dict[str, np.ndarray]:
        """All the numbers of the rows, one after another."""
        return {column.tensor: np.asarray(cells.flatten().to_numpy(zero_copy_only=False), dtype=np.float64)}

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """Lists of numbers and None, or arrays."""
        out = np.full((rows, self.width(column)), np.nan, dtype=np.float32)
        for i in range(rows):
            found = _numbers(None if values is None else values[i], f"rows[{i}].{column.name}", int(column.own["least"]))
            kept = found[-out.shape[1] :]
            if len(kept):
                out[i, -len(kept) :] = kept
        return {column.tensor: out}

    def log(self, column: Column, values: Sequence[Any]) -> list[list[float | None] | None]:
        """Lists of floats."""
        return [None if v is None else [None if math.isnan(x) else float(x) for x in _numbers(v, column.name, 0)] for v in values]


def _numbers(value: Any, where: str, least: int) -> NDArray[np.float64]:
    """One row's, float64. Raises `InputError`."""
    fix = f"send a list of numbers, the newest last, at least {least}" if least else "send a list of numbers, the newest last"
    if value is None:
        value = ()
    if not isinstance(value, list | tuple | np.ndarray):
        raise InputError("is not a list of numbers", field=where, value=value, fix=fix)
    for k, v in enumerate(value):
        if not (v is None or isinstance(v, _NUMBERS)):
            raise InputError("is not a number", field=f"{where}[{k}]", value=v, fix="send a number, or null where one is missing")
    try:
        found = np.array([math.nan if v is None else float(v) for v in value], dtype=np.float64)
    except OverflowError as e:
        raise InputError("holds a number of more than 32 bits", field=where, fix="send finite numbers") from e
    bad = np.abs(found) > _LARGEST
    if bad.any():
        k = int(np.argmax(bad))
        raise InputError("is not a finite 32-bit number", field=f"{where}[{k}]", value=float(found[k]), fix="send a number, or null")
    known = int(np.isfinite(found).sum())
    if len(found) < least or (least and not known):
        raise InputError(f"has {known} numbers of {len(found)}", field=where, fix=fix)
    return found


def _parts(values: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Mean and deviation of each row's numbers; NaN where a row has none that can be read."""
    level, spread = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for i, value in enumerate(values):
        try:
            found = _numbers(value, "", 0)
        except InputError:
            continue
        found = found[np.isfinite(found)]
        if len(found):
            level[i], spread[i] = found.mean(), found.std()
    return {"level": level, "spread": spread}
