"""A kind of field of one's own: colours such as ``#ff8800``, to a model three numbers in [0, 1].

Installed by its distribution's entry point ``colour = "field_colour:Colour"`` in the group ``sluice.fields``, where projects
are run and where packages are served; a project says ``data: {columns: {kinds: {tint: colour}}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.core.errors import DataError, InputError
from sluice.fields import Column, ColumnField
from sluice.fields.parts import Rows, numeric_part
from sluice.stats.drift import numeric_counts

_COLOUR = re.compile("#[0-9a-fA-F]{6}")
_FIX = "write it as # and six hexadecimal digits, such as #ff8800"
_LIGHT = np.array([0.2126, 0.7152, 0.0722])  # ITU-R BT.709


class Colour(ColumnField):
    """Red, green and blue."""

    kind = "colour"
    column_type = "string"
    checks = frozenset({"constant", "shift"})

    @property
    def arrow(self) -> pa.DataType:
        """As the source writes them."""
        return pa.string()

    def read(self, values: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
        """The source's texts, all of them colours."""
        for row, value in enumerate(values.to_pylist()):
            if value is not None and not _COLOUR.fullmatch(str(value)):
                raise DataError("is no colour", field=f"{where}, row {row + 1}", value=value, fix=_FIX)
        return super().read(values, where)

    def reference(self, rows: Rows) -> dict[str, Any]:
        """How light the colours are."""
        light = _rgb(rows.read("train", [self.name]).column(self.name).to_pylist()) @ _LIGHT
        return {**super().reference(rows), "rows": len(light), "nulls": int(np.isnan(light).sum()), "parts": {"light": numeric_part(light)}}

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, Any]:
        """New colours in the same bins."""
        return {"light": numeric_counts(_rgb(values) @ _LIGHT, reference["parts"]["light"]["edges"])}

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """A number each."""
        return [(f"{column.tensor}.{part}", "FP32") for part in ("red", "green", "blue")]

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """Texts; a missing one is NaN in all three."""
        given = [None] * rows if values is None else list(values)
        for i, value in enumerate(given):
            if value is not None and not (isinstance(value, str) and _COLOUR.fullmatch(value)):
                raise InputError("is no colour", field=f"rows[{i}].{self.name}", value=value, fix=_FIX)
        rgb = _rgb(given).astype(np.float32)
        return {name: rgb[:, i : i + 1] for i, (name, _) in enumerate(self.inputs(column))}


def _rgb(values: Sequence[Any]) -> np.ndarray:
    """Texts as float64 [rows, 3], NaN where one is no colour."""
    good = [isinstance(v, str) and _COLOUR.fullmatch(v) is not None for v in values]
    made = [[int(v[i : i + 2], 16) / 255 for i in (1, 3, 5)] if ok else [np.nan] * 3 for v, ok in zip(values, good, strict=True)]
    return np.array(made, dtype=np.float64).reshape(-1, 3)
