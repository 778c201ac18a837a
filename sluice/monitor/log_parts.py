"""One file of a prediction log as batches: Parquet, or JSON lines, packed by gzip or not."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import orjson

from sluice.core.errors import DataError
from sluice.monitor.log_rows import KNOWN, micros_of, text_of

if TYPE_CHECKING:
    import pyarrow as pa

#: Files of JSON lines, also as they are called once another took their place: ``x.jsonl.1``, ``x.jsonl-20261130``, ``x.jsonl.2.gz``.
LINED = re.compile(r"\.(jsonl|ndjson)([.-]\d+)*(\.gz)?$")
#: Bytes of a line, at most; of a file's head by which it is known again; that are read at once.
_LIMIT_LINE, HEAD, _CHUNK = 16 << 20, 4096, 1 << 20
#: What a file raises that cannot be read any further.
BROKEN = (OSError, EOFError, zlib.error)


class Unread:
    """What of a file could not be read: how many lines, and the first of them with why."""

    def __init__(self, path: Path, name: str, what: str):
        self._path, self._name, self.what = path, name, what
        self.lines, self.times, self._first = 0, 0, ""

    def line(self, at: int, why: str) -> None:
        """A line that begins at byte `at`."""
        if not self.lines:
            self._first = f"line {self._number(at):,} {why}"
        self.lines += 1

    def texts(self) -> list[str]:
        """In words; empty where all was read."""
        found = []
        if self.lines:
            found.append(f"{self._name}: {self.lines:,} line{'s' if self.lines > 1 else ''} could not be read (first: {self._first})")
        if self.times:
            found.append(
                f"{self._name}: {self.times:,} rows tell a time that cannot be, before 1970 or after tomorrow: they count without one"
            )
        return found

    def _number(self, at: int) -> int:
        with contextlib.suppress(*BROKEN), opened(self._path) as file:
            number = 1
            while at > 0 and (chunk := file.read(min(at, _CHUNK))):
                number, at = number + chunk.count(b"\n"), at - len(chunk)
            return number
        return 1


def opened(path: Path) -> IO[bytes]:
    """A file of lines, unpacked."""
    return cast("IO[bytes]", gzip.open(path)) if path.name.endswith(".gz") else path.open("rb")


def head_of(path: Path, most: int = HEAD) -> str:
    """How a file that grows is known again, whatever it is called: ``BYTES:DIGEST`` of its first `most` bytes, or of all where it is shorter; "" of an
    empty one, or one that cannot be read."""
    with contextlib.suppress(*BROKEN), opened(path) as file:
        head = file.read(most)
        return f"{len(head)}:{hashlib.sha256(head).hexdigest()[:16]}" if head else ""
    return ""


def parquet_of(
    path: Path, columns: Sequence[str] | None, rows: int, size: int, start: int, unread: Unread
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """(batch, rows read so far), from row `start` on; batches of at most `rows` rows and about `size` bytes.

    Raises:
        ValueError, OSError: not Parquet. DataError: it has none of a log's columns.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        told = file.metadata
        if not KNOWN[unread.what] & set(file.schema_arrow.names):
            raise DataError(f"has none of the columns of {unread.what}: {', '.join(file.schema_arrow.names[:10])}")
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


def lines_of(
    path: Path, columns: Sequence[str] | None, rows: int, size: int, start: int, unread: Unread
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """(batch, bytes read so far), from byte `start` on; a last line that is not written to its end is left for the next time.

    What is no line of a log is told in `unread` and left out, and one of more than 16 MiB is never held.

    Raises:
        DataError: it cannot be read any further; what stands before that has been given.
    """
    found: list[dict[str, Any]] = []
    begun, broken = start, None
    with opened(path) as file:
        try:
            file.seek(start)
            for at, line, end in _lines(file, start):
                row = _row(line, columns, at, unread)
                start = end
                if row is not None:
                    found.append(row)
                if len(found) >= rows or (found and end - begun >= size):
                    yield _batch(found), end
                    found, begun = [], end
        except BROKEN as e:
            broken = e
    if found or start > begun:
        yield _batch(found), start
    if broken is not None:
        raise DataError(f"cannot be read beyond byte {start:,}{' of what is packed' if path.name.endswith('.gz') else ''}: {broken}")


def _lines(file: IO[bytes], at: int) -> Iterator[tuple[int, bytes | None, int]]:
    """(where it begins, a whole line or None of one that is too long, where it ends)."""
    while line := file.readline(_LIMIT_LINE):
        end = at + len(line)
        if line.endswith(b"\n"):
            yield at, line, end
        elif len(line) < _LIMIT_LINE:
            if _whole(line):  # its end is written, and only the newline is not
                yield at, line, end
            return
        else:
            while (more := file.readline(_CHUNK)) and not more.endswith(b"\n"):
                end += len(more)
            if not more:
                return
            end += len(more)
            yield at, None, end
        at = end


def _whole(line: bytes) -> bool:
    """Whether a line is an object, of which no longer one is the beginning."""
    try:
        return type(orjson.loads(line)) is dict
    except orjson.JSONDecodeError:
        return False


def _row(line: bytes | None, columns: Sequence[str] | None, at: int, unread: Unread) -> dict[str, Any] | None:
    if line is None:
        unread.line(at, f"has more than {_LIMIT_LINE >> 20} MiB")
        return None
    # A file that was emptied while it was written to begins with a gap of zeros.
    plain = line.strip(b"\0 \t\r\n\xef\xbb\xbf")
    if not plain:
        if b"\0" in line:
            unread.line(at, "is nothing but zeros")
        return None
    try:
        row = orjson.loads(plain)
    except orjson.JSONDecodeError as e:
        row = _with_nan(plain)
        if row is None:
            unread.line(at, f"is no JSON: {str(e)[:80]}")
            return None
    if type(row) is not dict:
        unread.line(at, "is no JSON object")
        return None
    if not KNOWN[unread.what] & row.keys():
        unread.line(at, f"has none of the columns of {unread.what}: {', '.join(map(str, list(row)[:5]))[:80]}")
        return None
    if "time" in row:
        row["time"] = micros_of(row["time"])
    if columns is None:
        return row
    tops = {c.partition(".")[0] for c in columns}
    return {k: v for k, v in row.items() if k in tops}


def _with_nan(line: bytes) -> Any:
    """What Python and JavaScript libraries write of numbers that are none, and JSON does not have."""
    if b"NaN" not in line and b"Infinity" not in line:
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    columns = {name: _column([row.get(name) for row in rows], name == "features") for name in names if name != "time"}
    if "time" in names:
        columns["time"] = pa.array([row.get("time") for row in rows], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    if columns:
        return pa.RecordBatch.from_pydict(columns)
    return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))  # rows without a column that was asked for


def _column(values: list[Any], objects: bool) -> pa.Array:
    """As Arrow infers it; where values are of several types, as texts.

    Args:
        objects: what is no object is null.
    """
    import pyarrow as pa

    values = [v if type(v) is dict else None for v in values] if objects else values
    some = [v for v in values if v is not None]
    if some and all(type(v) is dict for v in some):
        names = list(dict.fromkeys(k for row in some for k in row))
        if names:
            own = [_column([None if row is None else row.get(n) for row in values], False) for n in names]
            return pa.StructArray.from_arrays(own, names, mask=pa.array([v is None for v in values]))
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if v is None else text_of(v) for v in values], pa.string())
