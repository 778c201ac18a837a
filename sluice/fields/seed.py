"""A field of seeds: a whole number that stands for all that chance decides of an answer, so that the same number gives the same answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import InputError
from sluice.fields.column import Column, ColumnField

if TYPE_CHECKING:
    import pyarrow as pa

#: Seeds are below this. A graph takes them as two numbers of half the bits, which FP32 holds exactly.
LIMIT = 1 << 48
HALF = 1 << 24
_FIX = f"send a whole number of at least 0 and below {LIMIT}"


class Seed(ColumnField):
    """Whole numbers in 0..2^48 - 1. Which ones are asked for says nothing about the world, so there is no drift of them."""

    kind = "seed"
    plain = True
    lacks = "no seed (null)"
    column_type = "long"

    @property
    def arrow(self) -> pa.DataType:
        """int64."""
        import pyarrow as pa

        return pa.int64()

    @property
    def logged(self) -> pa.DataType:
        """int64."""
        return self.arrow

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """The upper and the lower 24 bits, FP32 each."""
        return [(f"{column.tensor}.high", "FP32"), (f"{column.tensor}.low", "FP32")]

    def sent(self, column: Column) -> str:
        """INT64."""
        return "INT64"

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """Whole numbers, also where they come as 7.0 or "7". Raises `InputError`: a seed is missing or none."""
        given = [None] * rows if values is None else values
        seeds = np.array([_seed(v, i, column.name) for i, v in enumerate(given)], dtype=np.int64).reshape(rows, 1)
        high, low = (name for name, _ in self.inputs(column))
        return {high: (seeds // HALF).astype(np.float32), low: (seeds % HALF).astype(np.float32)}

    def log(self, column: Column, values: Sequence[Any]) -> list[int]:
        """Whole numbers."""
        return [_seed(v, i, column.name) for i, v in enumerate(values)]


def _seed(value: Any, i: int, name: str) -> int:
    found = _whole(value)
    if found is None or not 0 <= found < LIMIT:
        raise InputError("is missing" if value is None else "is no seed", field=f"rows[{i}].{name}", value=value, fix=_FIX)
    return found


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating | Decimal):
        return None
    return int(value) if math.isfinite(value) and value == int(value) else None
