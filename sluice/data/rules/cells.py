"""A batch of rows as the rules see it: each column read as its declared type, once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core.numerals import MISSING_NUMBERS, Numerals
from sluice.data.columns import null_for_empty, null_for_nan
from sluice.data.digests import plain
from sluice.data.stream import Batch
from sluice.fields.timestamps import MISSING_TIMES, UNITS, TimeForm
from sluice.fields.zones import MISSING, Zone

if TYPE_CHECKING:
    import pandas as pd

Type = Literal["number", "integer", "text", "boolean", "time", "bytes", "list"]
#: The one type that has a pattern and a length.
TEXT: Type = "text"
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a column is read: its declared type (null: as it stands), how its numbers and times are written.

    `guess`: of a text file, as numbers where all cells of a batch are.
    """

    type: Type | None = None
    numerals: Numerals | None = None
    form: str = "iso"
    zone: str = "UTC"
    guess: bool = False


@dataclasses.dataclass(frozen=True)
class Cells:
    """A column of a batch.

    Attributes:
        raw: as it stands in the source.
        values: as its type says, null where nothing stands or what stands is not of the type.
        wrong: where something stands that is not of the type: bool [rows].
        missing: where nothing stands: bool [rows].
    """

    raw: pa.ChunkedArray
    values: pa.ChunkedArray
    wrong: NDArray[np.bool_]
    missing: NDArray[np.bool_]

    @functools.cached_property
    def series(self) -> pd.Series[Any]:
        """The values as pandas holds them, on Arrow's memory."""
        import pandas as pd

        return pd.Series(pd.arrays.ArrowExtensionArray(self.values))  # type: ignore[attr-defined]


class Rows:
    """A batch, its columns read as they are declared."""

    def __init__(self, batch: Batch, readings: Mapping[str, Reading]):
        self.table, self.first, self.place, self.n = batch.table, batch.first, batch.place, batch.table.num_rows
        self.names = set(batch.table.schema.names)
        self._text, self._readings = batch.text, readings
        self.cells: Callable[[str, Reading | None], Cells] = functools.cache(self._cells)

    def _cells(self, name: str, reading: Reading | None) -> Cells:
        raw = plain(self.table.select([name])).column(0)
        return read(raw, reading or self._readings.get(name, Reading()), self._text)


def read(raw: pa.ChunkedArray, how: Reading, text: bool) -> Cells:
    """A column by its declared type.

    Args:
        text: whether its cells are texts that still have to be read; otherwise texts are no numbers.
    """
    if pa.types.is_floating(raw.type):
        raw = null_for_nan(raw)
    missing = np.asarray(pc.is_null(raw))
    kind = how.type
    if how.guess and text:
        values, blank = _numbers(raw, None, missing) if pa.types.is_string(raw.type) else (raw, missing)
        if (blank | np.asarray(pc.is_valid(values))).all():
            return Cells(raw, values, np.zeros(len(raw), bool), blank)
    strings = pa.types.is_string(raw.type)
    if kind in ("number", "integer") and strings and (text or how.numerals):
        values, missing = _numbers(raw, how.numerals, missing)
    elif kind == "boolean" and strings and text:
        values = _booleans(raw)
    elif kind == "time" and not pa.types.is_boolean(raw.type):
        values, missing = _times(raw, how, missing)
    elif kind is None or _fits(raw.type, kind):
        values = raw.cast(pa.float64()) if pa.types.is_decimal(raw.type) else raw
    else:
        values = pa.chunked_array([pa.nulls(len(raw))])
    if kind == "integer" and pa.types.is_floating(values.type):
        whole = pc.equal(pc.floor(values), values)
        values = pc.if_else(pc.fill_null(whole, False), values, pa.scalar(None, values.type))
    return Cells(raw, values, ~missing & np.asarray(pc.is_null(values)), missing)


def _fits(arrow: pa.DataType, kind: Type) -> bool:
    number = pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow)
    return {
        "number": number,
        "integer": number,
        TEXT: pa.types.is_string(arrow),
        "boolean": pa.types.is_boolean(arrow),
        "bytes": pa.types.is_binary(arrow),
        "list": pa.types.is_nested(arrow),
        "time": pa.types.is_temporal(arrow),
    }[kind] or pa.types.is_null(arrow)


def _numbers(raw: pa.ChunkedArray, numerals: Numerals | None, missing: NDArray[np.bool_]) -> tuple[pa.ChunkedArray, NDArray[np.bool_]]:
    present = null_for_empty(pc.utf8_trim_whitespace(raw))
    try:
        if numerals is None:
            values = null_for_nan(present.cast(pa.float64()))
            return values, missing | np.asarray(pc.is_null(values))
    except pa.ArrowInvalid:
        pass
    way, said = numerals or Numerals(), {}
    for value in present.unique().to_pylist():
        if value is not None:
            said[value] = _plain(value) if numerals is None else way.parse(value)
    words = [v for v in said if v.lower() in MISSING_NUMBERS]
    out = [None if (n := said.get(v)) is None or n != n else n for v in present.to_pylist()]
    blank = np.asarray(pc.is_null(present)) | np.asarray(pc.fill_null(pc.is_in(present, pa.array(words, pa.string())), False))
    return pa.chunked_array([pa.array(out, pa.float64())]), missing | blank


def _plain(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _booleans(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    low = pc.utf8_lower(pc.utf8_trim_whitespace(raw))
    true, false = (pc.is_in(low, pa.array(words)) for words in (_TRUE, _FALSE))
    return pc.if_else(pc.or_(true, false), true, pa.scalar(None, pa.bool_()))


def _times(raw: pa.ChunkedArray, how: Reading, missing: NDArray[np.bool_]) -> tuple[pa.ChunkedArray, NDArray[np.bool_]]:
    if pa.types.is_timestamp(raw.type) and raw.type.tz is None:
        return raw.cast(pa.timestamp("us"), safe=False), missing
    if pa.types.is_date(raw.type):
        return raw.cast(pa.timestamp("us")), missing
    if how.form in UNITS and pa.types.is_string(raw.type):
        raw, missing = _numbers(raw, None, missing)
    zone = Zone.named(how.zone) if how.zone != "UTC" else None
    wall = TimeForm(how.form, zone).read(raw.to_pylist(), len(raw), "", strict=False)
    if pa.types.is_string(raw.type):
        words = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(raw)), pa.array(sorted(MISSING_TIMES)))
        missing = missing | np.asarray(pc.fill_null(words, False))
    return pa.chunked_array([pa.array(wall, pa.int64(), mask=wall == MISSING).cast(pa.timestamp("us"))]), missing
