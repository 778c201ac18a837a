"""JSON lines and Parquet files to Arrow tables, every fault with the file and line where it lies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from sluice.core.errors import DataError, first_line
from sluice.core.spelling import number_text, value_text
from sluice.data.csvfile import BLOCK
from sluice.data.jsonarray import no_rows
from sluice.data.opening import UNPACK_AGAIN, holds_array, not_empty, opened
from sluice.data.scheme import Found

#: From here on, a float64 is not every whole number.
_EXACT = 2**53


def read_jsonl(file: Found, names: Collection[str] = ()) -> pa.Table:
    """A file of JSON objects, one a line or all in one array. Strings stay strings; a key that is absent is null.

    Args:
        names: columns whose numbers name something: where they would become floats that do not hold all
            their digits, they are read as texts of them.

    Raises:
        DataError: empty, not UTF-8, a line that is no JSON object, a key whose type changes (the line is named).
    """
    not_empty(file)
    try:
        table = _parse_json(file, None)
        times = [f.name for f in table.schema if pa.types.is_temporal(f.type)]
        if times:  # the reader takes strings that look like dates for dates
            table = _parse_json(file, pa.schema([(n, pa.string()) for n in times]))
        table.validate(full=True)
        for at, name in enumerate(table.schema.names):
            column = table.column(name)
            if name in names and pa.types.is_floating(column.type) and pc.any(pc.greater_equal(pc.abs(column), float(_EXACT))).as_py():
                table = table.set_column(at, name, _digits(file, name, table.num_rows))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _explain_json(file, e) from e
    if table.num_rows == 1 and any(pa.types.is_nested(t) for t in table.schema.types):
        with opened(file) as stream:
            if (whole := no_rows(stream.read(), file.where)) is not None:
                raise whole
    if not table.num_rows or not table.num_columns:
        raise DataError("holds no rows", field=file.where, fix="write one JSON object a line")
    return table


def read_parquet(file: Found) -> pa.Table:
    """A Parquet file. Raises `DataError`: empty, truncated, not Parquet, strings that are not UTF-8."""
    not_empty(file)
    try:
        with pq.ParquetFile(file.path) as f:
            table = f.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError) as e:
        raise DataError(
            f"is not a readable Parquet file: {first_line(e)}", field=file.where, fix="write it again, or name another file"
        ) from e
    if not table.num_rows:
        raise DataError("holds no rows", field=file.where, value=table.schema.names, fix="name another file")
    twice = [n for n, k in Counter(table.schema.names).items() if k > 1]
    if twice:
        raise DataError("names a column twice", field=file.where, value=twice[0], fix="rename one of them")
    return table


def pandas_index(table: pa.Table) -> list[str]:
    """The columns that are the index of the frame pandas wrote, as its metadata says."""
    try:
        index = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    except (ValueError, AttributeError, RecursionError):
        return []
    return [n for n in index if isinstance(n, str) and n in table.schema.names] if isinstance(index, list) else []


def _parse_json(file: Found, schema: pa.Schema | None) -> pa.Table:
    with opened(file) as stream:
        return pyarrow.json.read_json(
            stream, read_options=pyarrow.json.ReadOptions(block_size=BLOCK), parse_options=pyarrow.json.ParseOptions(explicit_schema=schema)
        )


def _digits(file: Found, name: str, rows: int) -> pa.ChunkedArray:
    """The numbers of a column as texts with all their digits."""
    found: list[str | None] = []
    with opened(file) as stream:
        lines = stream.read().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        cell = json.loads(line, parse_float=lambda text: number_text(text) or text).get(name)
        try:
            found.append(cell if isinstance(cell, str) else value_text(cell) or None)
        except ValueError as e:
            raise DataError(
                f"{e}, which is no category", field=f"{file.where}:{number}: {name}", value=cell, fix="write it as a string"
            ) from e
    if len(found) != rows:
        raise DataError("has lines that hold no or several objects", field=file.where, fix="write one JSON object a line")
    return pa.chunked_array([found], pa.string())


def _explain_json(file: Found, error: Exception) -> DataError:
    """Find the line at fault by reading one at a time."""
    seen: dict[str, tuple[str, int]] = {}
    try:
        with opened(file) as stream:
            raw = stream.read()
    except OSError as e:
        return DataError(f"cannot be unpacked: {e}", field=file.where, fix=UNPACK_AGAIN)
    if (whole := no_rows(raw, file.where)) is not None:
        return whole
    array = holds_array(file)
    if not raw.strip():
        return DataError("holds no rows", field=file.where, fix="write one JSON object a line, or an array of them")
    if raw.lstrip()[:1] == b"[":
        return DataError("is an array, and not of objects", field=file.where, fix="write objects, from column to value")
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        at = f"{file.where}: item {number}" if array else f"{file.where}:{number}"
        try:
            line.decode()
            value = orjson.loads(line)
        except UnicodeDecodeError as e:
            return DataError(f"is not UTF-8 text: {e.reason}", field=at, value=line[e.start : e.start + 4], fix="save it as UTF-8")
        except orjson.JSONDecodeError as e:
            return DataError(f"is not JSON: {e}", field=at, value=line[:80].decode(), fix="write one whole JSON object a line")
        if not isinstance(value, dict):
            return DataError("is no JSON object", field=at, value=value, fix="write one object a line, from column to value")
        for key, cell in value.items():
            if cell is None:
                continue
            kind = _json_kind(cell)
            first, where = seen.setdefault(key, (kind, number))
            if kind != first:
                return DataError(
                    f"is a {kind} here and a {first} in line {where}",
                    field=f"{at}: {key}",
                    value=cell,
                    fix="write the column the same way in every line",
                )
            if _mixed(cell):
                return DataError(
                    "is a list of numbers and texts, which no column holds",
                    field=f"{at}: {key}",
                    value=cell,
                    fix=f"write it as a text, in every line: row[{key!r}] = json.dumps(row[{key!r}])",
                )
    return DataError(f"cannot be read as JSON lines: {first_line(error)}", field=file.where, fix="write one JSON object a line")


def _json_kind(value: Any) -> str:
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}[type(value)]


def _mixed(cell: Any) -> bool:
    """Whether a list, or one in it, has texts beside other values."""
    if not isinstance(cell, list):
        return False
    return len({isinstance(v, str) for v in cell if v is not None}) > 1 or any(map(_mixed, cell))
