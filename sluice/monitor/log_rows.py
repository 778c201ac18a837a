"""Rows of a prediction log in the columns and types that servers write, whoever wrote them.

A log may be another program's: times as texts or milliseconds, ids as numbers, a label that is a text in one line and a number in the next. What can be
read as what it should be is; what cannot is null, so that one row never costs the others. Features are left as they are: they are their fields'.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns by which a line is known to be of a log; one that has none of them is another program's.
KNOWN = {
    "predictions": frozenset({"request_id", "prediction", "value", "probabilities", "features", "answer"}),
    "feedback": frozenset({"request_id", "label", "outcome"}),
}
#: Seconds by which a clock may be ahead of the one here: a row of later is one of a time that nobody knows.
_AHEAD = 86_400
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_KINDS = {
    "time": "time", "request_id": "string", "row": "whole", "model": "string", "version": "string", "prediction": "string", "label": "string",
    "probability": "number", "value": "number", "outcome": "finite", "probabilities": "numbers", "features": "struct",
}  # fmt: skip


def sound(batch: pa.RecordBatch, now: float) -> tuple[pa.RecordBatch, int]:
    """The batch with the log's own columns in their types, and how many of its rows tell a time that cannot be.

    A time before 1970, or later than a day from now, is none: a window that it closed would never close again.

    Args:
        now: seconds since the epoch.
    """
    import pyarrow as pa

    columns, beyond = {}, 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        kind = _KINDS.get(name)
        if kind is None:
            columns[name] = column
            continue
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if kind == "time":
            columns[name], beyond = _times(plain, now)
        elif (found := _as(plain, kind)) is not None:
            columns[name] = found
    if all(a is b for a, b in zip(columns.values(), batch.columns, strict=False)) and len(columns) == batch.num_columns:
        return batch, beyond
    if not columns:
        return batch.select([]), beyond
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)).replace_schema_metadata(batch.schema.metadata), beyond


def _as(column: pa.Array, kind: str) -> pa.Array | None:
    """A column as one of a kind; None: it is nothing like it (features that are no struct)."""
    import pyarrow as pa

    types = pa.types
    own = column.type
    if kind == "struct":
        return column if types.is_struct(own) else None
    if kind == "string":
        return column if types.is_string(own) else _cast(column, pa.string(), text_of)
    if kind == "whole":
        return column if own == pa.int32() else _cast(column, pa.int32(), _whole)
    if kind == "numbers":
        fine = types.is_list(own) and (types.is_floating(own.value_type) or types.is_integer(own.value_type))
        return column if fine else _each(column, pa.list_(pa.float64()), _numbers)
    if types.is_null(own):
        return pa.nulls(len(column), pa.float64())
    if kind == "number" and own == pa.float64():
        return column
    return _cast(column, pa.float64(), _number if kind == "number" else _finite)


def _cast(column: pa.Array, kind: pa.DataType, each: Callable[[Any], Any]) -> pa.Array:
    import pyarrow as pa

    types = pa.types
    if types.is_null(column.type):
        return pa.nulls(len(column), kind)
    if types.is_string(kind) and types.is_large_string(column.type):
        return column.cast(kind)
    if types.is_int32(kind) and types.is_integer(column.type):
        try:
            return column.cast(kind)
        except pa.ArrowInvalid:
            pass
    return _each(column, kind, each)


def _each(column: pa.Array, kind: pa.DataType, each: Callable[[Any], Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array([None if v is None else each(v) for v in _values(column)], kind)


def _values(column: pa.Array) -> list[Any]:
    """As Python has them; of texts that are none (bytes of another encoding) None."""
    try:
        found: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):  # dates beyond what Python counts, texts that are no UTF-8
        found = []
        for cell in column:
            try:
                found.append(cell.as_py())
            except (ValueError, OverflowError):
                found.append(None)
    return found


def text_of(value: Any) -> str | None:
    """As feedback is told and answers are logged: 1 and 1.0 are "1", true is "true"."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if not math.isfinite(value) else str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, list | dict):
        try:
            return orjson.dumps(value).decode()
        except TypeError:
            return None
    return str(value)


def _whole(value: Any) -> int | None:
    try:
        found = int(value)
        return found if found == float(value) and -(1 << 31) <= found < 1 << 31 and not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def _finite(value: Any) -> float | None:
    found = _number(value)
    return found if found is not None and math.isfinite(found) else None


def _numbers(value: Any) -> list[float | None] | None:
    if isinstance(value, str):  # among values of other types in its column
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return [None if v is None else _number(v) for v in value] if isinstance(value, list) else None


def _times(column: pa.Array, now: float) -> tuple[pa.Array, int]:
    """Microseconds since 1970 in UTC; null where there is none, or it cannot be; and how many of the latter."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = pa.timestamp("us", tz="UTC")
    if pa.types.is_timestamp(column.type):
        micros = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
    else:
        micros = pa.array([micros_of(v) for v in _values(column)], pa.int64())
    wrong = pc.fill_null(pc.or_(pc.less_equal(micros, 0), pc.greater(micros, int((now + _AHEAD) * 1e6))), False)
    beyond = int(pc.sum(wrong).as_py() or 0)
    if not beyond and column.type == kind:
        return column, 0
    unread = micros.null_count - column.null_count
    return pc.if_else(wrong, pa.scalar(None, pa.int64()), micros).cast(kind), beyond + unread


def micros_of(value: Any) -> int | None:
    """A time as text (ISO 8601, UTC unless it says otherwise), or as seconds, milliseconds, microseconds or nanoseconds since 1970; None: it is none."""
    try:
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, str):
            value = datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime):
            at = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
            return (at - _EPOCH) // datetime.timedelta(microseconds=1)
        if not isinstance(value, int | float):
            return None
        scale = 1e6 if abs(value) < 1e11 else 1e3 if abs(value) < 1e14 else 1.0 if abs(value) < 1e17 else 1e-3
        found = int(value * scale)
        return found if abs(found) < 1 << 62 else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None
