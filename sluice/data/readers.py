"""Text and Parquet files to Arrow tables, every fault with the file and line where it lies."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from sluice.data.places import Found
from sluice.errors import DataError, first_line

#: Bytes parsed at once; no row may be larger.
_BLOCK = 32 << 20

# The csv module only finds the line of a fault here; pyarrow, which reads the data, has no limit on a cell either.
csv.field_size_limit(1 << 30)

_BOMS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def read_csv(file: Found) -> pa.Table:
    """A CSV file with a header line, every column as strings (an empty cell is ""). ``.tsv`` is separated by tabs, ``.gz`` unpacked.

    Quoted cells may hold line breaks; ``""`` in them is a quote.

    Raises:
        DataError: empty, no rows, not UTF-8, a row of another length than the header, a quote never
            closed, a column name that is empty or stands twice.
    """
    _not_empty(file)
    delimiter = _delimiter(file.path)
    raw, names = _header(file, delimiter)
    try:
        with _opened(file.path) as stream:
            table = pyarrow.csv.read_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(raw, pa.string()), strings_can_be_null=False),
            )
        table = table.rename_columns(names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _explain_csv(file, delimiter, names, e) from e
    if not table.num_rows:
        raise DataError("has a header line, but no rows", field=file.where, value=names, fix="add rows, or name another file")
    last = table.column(table.num_columns - 1)[-1].as_py()
    if "\n" in last:
        _unclosed_quote(file, delimiter)
    return table


def read_jsonl(file: Found) -> pa.Table:
    """A file of JSON objects, one a line. Strings stay strings; a key that is absent is null.

    Raises:
        DataError: empty, not UTF-8, a line that is no JSON object, a key whose type changes (the line is named).
    """
    _not_empty(file)
    try:
        table = _parse_json(file, None)
        times = [f.name for f in table.schema if pa.types.is_temporal(f.type)]
        if times:  # the reader takes strings that look like dates for dates
            table = _parse_json(file, pa.schema([(n, pa.string()) for n in times]))
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise _explain_json(file, e) from e
    if not table.num_rows or not table.num_columns:
        raise DataError("holds no rows", field=file.where, fix="write one JSON object a line")
    return table


def read_parquet(file: Found) -> pa.Table:
    """A Parquet file. Raises `DataError`: empty, truncated, not Parquet, strings that are not UTF-8."""
    _not_empty(file)
    try:
        with pq.ParquetFile(file.path) as f:
            table = f.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, KeyError) as e:
        raise DataError(f"is not a readable Parquet file: {first_line(e)}", field=file.where, fix="write it again, or name another file") from e
    if not table.num_rows:
        raise DataError("holds no rows", field=file.where, value=table.schema.names, fix="name another file")
    twice = [n for n, k in Counter(table.schema.names).items() if k > 1]
    if twice:
        raise DataError("names a column twice", field=file.where, value=twice[0], fix="rename one of them")
    return table.replace_schema_metadata()


def line_of_row(file: Found, row: int) -> int | None:
    """The line on which a row (from 0, after the header) of a CSV file begins; null for other formats."""
    if not {".csv", ".tsv"} & set(file.path.suffixes):
        return None
    for i, (line, _) in enumerate(_rows(file, _delimiter(file.path))):
        if i == row + 1:
            return line
    return None


def _delimiter(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else ","


def _opened(path: Path) -> Any:
    return pa.input_stream(str(path), compression="detect")


def _text(path: Path) -> io.TextIOWrapper:
    """The file as text; bytes that are not UTF-8 stay apart as lone surrogates."""
    return io.TextIOWrapper(_opened(path), encoding="utf-8-sig", errors="surrogateescape", newline="")


def _not_empty(file: Found) -> None:
    try:
        if file.path.is_dir():
            raise DataError("is a directory where a file is meant", field=file.where, fix=f"name a file in it, or a glob: {file.where.rstrip('/')}/*")
        with file.path.open("rb") as f:
            head = f.read(1 << 16)
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror}", field=file.where, fix="check the path and its permissions") from e
    if not head.strip():
        raise DataError("is empty", field=file.where, fix="name a file with rows in it")
    for mark, name in _BOMS.items():
        if head.startswith(mark):
            raise DataError(f"is {name} text", field=file.where, fix="save it as UTF-8")


def _rows(file: Found, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows as the csv module reads them, each with the line it begins on; blank lines are left out. Slow: for messages only."""
    with _text(file.path) as f:
        reader = csv.reader(f, delimiter=delimiter)
        before = 0
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as e:
                raise DataError(f"cannot be read as CSV: {e}", field=f"{file.where}:{before + 1}", fix="look for a quote that is not closed") from e
            if row:
                yield before + 1, row
            before = reader.line_num


def _header(file: Found, delimiter: str) -> tuple[list[str], list[str]]:
    """The column names as they stand in the file, and without the spaces around them."""
    try:
        _, raw = next(_rows(file, delimiter))
    except StopIteration:
        raise DataError("is empty", field=file.where, fix="name a file with rows in it") from None
    except OSError as e:
        raise DataError(f"cannot be unpacked: {e}", field=file.where, fix="compress it again") from e
    names = [n.strip() for n in raw]
    for i, name in enumerate(names):
        if any("\udc80" <= c <= "\udcff" for c in name):
            raise _not_utf8(file)
        if not name:
            hint = "; a table saved with its index has such a first column: save it without" if i == 0 else ""
            raise DataError(f"column {i + 1} has no name", field=f"{file.where}:1", value=names, fix=f"name it in the header line{hint}")
        if name in names[:i]:
            raise DataError("names a column twice (is there a header line?)", field=f"{file.where}:1", value=name, fix="rename one of them")
    return raw, names


def _explain_csv(file: Found, delimiter: str, header: list[str], error: Exception) -> DataError:
    if "UTF8" in str(error) or isinstance(error, UnicodeDecodeError):
        return _not_utf8(file)
    try:
        for line, row in _rows(file, delimiter):
            if len(row) != len(header):
                if sum(map(len, row)) > 0 and any("\n" in c for c in row):
                    return DataError(f"has {len(row)} cells and {sum(c.count(chr(10)) for c in row)} line breaks in them, the header has "
                                     f"{len(header)} cells", field=f"{file.where}:{line}", value=delimiter.join(row)[:80],
                                     fix="look for a quote that is not closed")  # fmt: skip
                return DataError(f"has {len(row)} cells, the header has {len(header)}", field=f"{file.where}:{line}", value=delimiter.join(row),
                                 fix=f"quote cells that hold a {'tab' if delimiter == chr(9) else 'comma'}, or add what is missing")  # fmt: skip
    except DataError as e:
        return e
    except OSError as e:
        return DataError(f"cannot be unpacked: {e}", field=file.where, fix="compress it again")
    return DataError(f"cannot be read as CSV: {first_line(error)}", field=file.where, fix="check quotes and separators")


def _unclosed_quote(file: Found, delimiter: str) -> None:
    """Raise if the last row ends in a quoted cell that the file ends within."""
    with _text(file.path) as f:
        try:
            for _ in csv.reader(f, delimiter=delimiter, strict=True):
                pass
        except csv.Error as e:
            if "unexpected end of data" not in str(e):
                return
        else:
            return
    line = max(line for line, _ in _rows(file, delimiter))
    raise DataError("a quote is opened in the row that begins here and never closed", field=f"{file.where}:{line}",
                    fix='close it; a quote inside a quoted cell is written ""')  # fmt: skip


def _not_utf8(file: Found) -> DataError:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with _opened(file.path) as f:
        while True:
            block = f.read(1 << 20)
            pending = decoder.getstate()[0]
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as e:
                line += (pending + block)[: e.start].count(b"\n")
                bad = bytes(e.object[e.start : e.start + 4])
                return DataError(f"is not UTF-8 text: {e.reason}", field=f"{file.where}:{line}", value=bad,
                                 fix="save it as UTF-8; text from older Windows programs is often cp1252")  # fmt: skip
            if not block:
                return DataError("holds a string that is not UTF-8", field=file.where, fix="save it as UTF-8")
            line += block.count(b"\n")


def _parse_json(file: Found, schema: pa.Schema | None) -> pa.Table:
    with _opened(file.path) as stream:
        return pyarrow.json.read_json(stream, read_options=pyarrow.json.ReadOptions(block_size=_BLOCK),
                                      parse_options=pyarrow.json.ParseOptions(explicit_schema=schema))  # fmt: skip


def _explain_json(file: Found, error: Exception) -> DataError:
    """Find the line at fault by reading one at a time."""
    seen: dict[str, tuple[str, int]] = {}
    try:
        with _opened(file.path) as stream:
            raw = stream.read()
    except OSError as e:
        return DataError(f"cannot be unpacked: {e}", field=file.where, fix="compress it again")
    if raw.lstrip()[:1] == b"[":
        return DataError("is one JSON array, not JSON lines", field=file.where, fix="write one object a line: jq -c '.[]'")
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        at = f"{file.where}:{number}"
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
                return DataError(f"is a {kind} here and a {first} in line {where}", field=f"{at}: {key}", value=cell,
                                 fix="write the column the same way in every line")  # fmt: skip
    return DataError(f"cannot be read as JSON lines: {first_line(error)}", field=file.where, fix="write one JSON object a line")


def _json_kind(value: Any) -> str:
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}[type(value)]
