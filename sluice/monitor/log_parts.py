"""One file of a prediction log as batches: Parquet, or JSON lines."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import pyarrow as pa

_LIMIT_LINE = 16 << 20


def parquet_of(path: Path, columns: Sequence[str] | None, rows: int, size: int, start: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """(batch, rows read so far), from row `start` on; batches of at most `rows` rows and about `size` bytes.

    Raises:
        ValueError, OSError: not Parquet.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        told = file.metadata
        whole = sum(told.row_group(i).total_byte_size for i in range(told.num_row_groups))
        rows = max(1, min(rows, int(size * told.num_rows / max(whole, 1)) or 1))
        names = None if columns is None else _there(file.schema_arrow, columns)
        at = 0
        for batch in file.iter_batches(rows, columns=names, use_threads=False):
            at += batch.num_rows
            if at <= start:
                continue
            yield (batch if at - batch.num_rows >= start else batch.slice(start - (at - batch.num_rows))), at


def _there(schema: pa.Schema, columns: Sequence[str]) -> list[str]:
    """Those of the named columns that the file has."""
    own = set(schema.names)
    for name in schema.names:
        kind = schema.field(name).type
        if hasattr(kind, "num_fields") and str(kind).startswith("struct"):
            own |= {f"{name}.{kind.field(i).name}" for i in range(kind.num_fields)}
    return [c for c in columns if c in own]


def lines_of(path: Path, columns: Sequence[str] | None, rows: int, size: int, start: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """(batch, bytes read so far), from byte `start` on; whole lines alone. A line that is no JSON object is left out.

    Raises:
        ValueError, OSError: the lines have no common columns.
    """
    with path.open("rb") as file:
        file.seek(start)
        found: list[dict[str, Any]] = []
        at = begun = start
        while (line := file.readline(_LIMIT_LINE)).endswith(b"\n"):
            at += len(line)
            row = _row(line, columns)
            if row is not None:
                found.append(row)
            if len(found) >= rows or at - begun >= size:
                yield _batch(found), at
                found, begun = [], at
        if found:
            yield _batch(found), at


def _row(line: bytes, columns: Sequence[str] | None) -> dict[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(row) is not dict:
        return None
    if "time" in row:
        row["time"] = _time(row["time"])
    if columns is None:
        return row
    tops = {c.partition(".")[0] for c in columns}
    return {k: v for k, v in row.items() if k in tops}


def _time(value: Any) -> datetime.datetime | None:
    """A time as text (ISO 8601), or as seconds or microseconds since 1970."""
    try:
        if isinstance(value, str):
            at = datetime.datetime.fromisoformat(value)
            return at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
        seconds = float(value) / (1e6 if abs(float(value)) > 1e11 else 1)
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    if "time" in columns:
        columns["time"] = columns["time"].cast(pa.timestamp("us", tz="UTC"))
    return pa.RecordBatch.from_pydict(columns)


def _column(values: list[Any]) -> pa.Array:
    """As Arrow infers it; where values are of several types, as texts."""
    import pyarrow as pa

    if any(type(v) is dict for v in values):
        rows = [v if type(v) is dict else {} for v in values]
        names = list(dict.fromkeys(k for row in rows for k in row))
        return pa.StructArray.from_arrays([_column([row.get(n) for row in rows]) for n in names], names)
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return pa.array([None if v is None else v if isinstance(v, str) else orjson.dumps(v).decode() for v in values], pa.string())
