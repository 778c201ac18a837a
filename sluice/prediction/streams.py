"""Files of rows read a window at a time, and written back with columns added: memory is a few windows, whatever the file's size."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core.errors import DataError, first_line
from sluice.data.csvfile import closed_at_the_end, names_of, padding, rows_of, swallowed, with_row_names
from sluice.data.dialect import Dialect
from sluice.data.opening import not_empty, opened
from sluice.data.quoting import WHOLE, swallowing
from sluice.data.scheme import Found
from sluice.data.separators import settle

#: A number whose digits a float does not hold: it is read as it is written.
_LONG = re.compile(rb"[0-9.]{16}")
#: Lines of JSON looked at for the keys that occur.
_FIRST = 4096


@dataclasses.dataclass(frozen=True)
class Window:
    """Some rows of a file.

    Attributes:
        places: where each row lies, to name it: its line, or ``row N``.
        columns: column -> the rows' values: a list, or an Arrow column.
        raw: the rows as they are written back, in the file's own form.
        broken: what could not be read as a row, in the same order: (place, message, value). It is in none of the others.
    """

    places: Sequence[str]
    columns: Mapping[str, Any]
    raw: Any
    broken: Sequence[tuple[str, str, Any]] = ()


class Stream(ABC):
    """A file of rows. `columns` are the names known before any row is read; `notes` what was found out and not declared."""

    kind: ClassVar[str]
    columns: Sequence[str] = ()
    notes: Sequence[str] = ()

    def __init__(self, file: Found):
        self.file = file

    @abstractmethod
    def windows(self, rows: int) -> Iterator[Window]:
        """The rows in order, at most `rows` at a time. Raises `DataError` where nothing more can be read."""

    @abstractmethod
    def writer(self, path: Path, added: Sequence[str], packing: str | None) -> contextlib.AbstractContextManager[Writer]:
        """What writes this file's rows to `path`, with the columns `added` behind the file's own; text is packed so (`gzip`...)."""


class Writer(ABC):
    """Writes a file's rows again, in its own format."""

    @abstractmethod
    def write(self, window: Window, good: Sequence[int], added: Mapping[str, pa.Array]) -> None:
        """Write the rows `good` of a window, with their values of the added columns."""


def open_stream(file: Found, form: str, dialect: Dialect, wanted: Sequence[str], optional: Sequence[str] = ()) -> Stream:
    """A file as a stream.

    Args:
        form: ``csv``, ``jsonl`` or ``parquet``.
        dialect: how a CSV is written, as far as it is declared.
        wanted: columns that are needed, a help in finding the separator.
        optional: declared columns that new rows need not have (the label).

    Raises:
        DataError: it cannot be read at all.
    """
    if form == "csv":
        return CsvStream(file, dialect, wanted, optional)
    return JsonLines(file) if form == "jsonl" else ParquetStream(file)


class CsvStream(Stream):
    """Separated cells, as `sluice.data.csvfile` reads them: every value is a string."""

    kind = "csv"

    def __init__(self, file: Found, dialect: Dialect, wanted: Sequence[str], optional: Sequence[str]):
        super().__init__(file)
        not_empty(file, dialect.encoding, "data.encoding")
        self.dialect, note = settle(file, dialect, wanted)
        notes = [note] if note else []
        if isinstance(self.dialect.header, tuple):
            self.dialect = dataclasses.replace(self.dialect, header=_present(self.dialect, file, optional))
        self.columns = names_of(file, self.dialect)
        if self.dialect.header is True:
            self.columns, self.dialect = with_row_names(file, self.dialect, self.columns)
        self._padded = padding(file, self.dialect)
        if self.dialect.quote == "auto" and self.dialect.delimiter == "\t" and _plain_quotes(file, self.dialect, len(self.columns)):
            self.dialect = dataclasses.replace(self.dialect, quote="none")
            notes.append(
                f"{file.where}: quotes are read as plain text, since one is not closed and every line without them has the cells it should"
            )
        self.notes = notes

    def windows(self, rows: int) -> Iterator[Window]:
        held: list[list[str]] = []
        places: list[str] = []
        broken: list[tuple[str, str, Any]] = []
        last, width = "", len(self.columns)
        found = rows_of(self.file, self.dialect)
        if self.dialect.header is True or self.dialect.skip:
            next(found)
        for line, row in found:
            if len(row) != width:
                broken.append(
                    (
                        str(line),
                        f"has {len(row)} cells, the {'header' if self.dialect.header is True else 'first line'} has {width}",
                        (self.dialect.delimiter or ",").join(row)[:200],
                    )
                )
            elif not _encoded(row):
                broken.append((str(line), f"is not {self.dialect.encoding.upper()} text", (self.dialect.delimiter or ",").join(row)[:200]))
            else:
                held.append(row)
                places.append(str(line))
            last = row[-1]
            if len(held) + len(broken) >= rows:
                yield self._window(held, places, broken)
                held, places, broken = [], [], []
        if self.dialect.quoted:
            closed_at_the_end(self.file, self.dialect, last)
        if held or broken:
            yield self._window(held, places, broken)

    def _window(self, held: list[list[str]], places: list[str], broken: list[tuple[str, str, Any]]) -> Window:
        columns = (
            {n: [] for n in self.columns}
            if not held
            else {name: self._cells(i, cells) for i, (name, cells) in enumerate(zip(self.columns, zip(*held, strict=True), strict=True))}
        )
        if self.dialect.quote == "auto" and held:
            several = {n: c for n, c in columns.items() if any("\n" in v for v in c)}
            lost = (
                swallowing(
                    pa.table(list(map(pa.array, columns.values())), names=list(map(str, range(len(columns))))),
                    self.dialect.delimiter or ",",
                )
                if several
                else None
            )
            if lost is not None:
                raise swallowed(f"{self.file.where}:{places[lost[0]]}", lost[1])
        return Window(places, columns, held, broken)

    def _cells(self, column: int, cells: Sequence[str]) -> list[str]:
        """Without the space that stands beside every separator, as the training rows were read."""
        after, before = self._padded
        found = [c.lstrip(" ") for c in cells] if after and column else list(cells)
        return [c.rstrip(" ") for c in found] if before and column < len(self.columns) - 1 else found

    @contextlib.contextmanager
    def writer(self, path: Path, added: Sequence[str], packing: str | None) -> Iterator[Writer]:
        """The same separator, quotes, encoding, and header line if there was one."""
        with (
            pa.output_stream(str(path), compression=packing) as raw,
            io.TextIOWrapper(raw, encoding=self.dialect.encoding, newline="") as out,
        ):
            quoting: Any = csv.QUOTE_MINIMAL if self.dialect.quoted else csv.QUOTE_NONE
            writer = csv.writer(
                out,
                delimiter=self.dialect.delimiter or ",",
                quoting=quoting,
                quotechar='"' if self.dialect.quoted else None,
                lineterminator="\n",
            )
            if self.dialect.header is True or self.dialect.skip:
                writer.writerow([*self.columns, *added])
            yield _CsvWriter(writer, self.file)


class _CsvWriter(Writer):
    def __init__(self, writer: Any, file: Found):
        self._writer, self._file = writer, file

    def write(self, window: Window, good: Sequence[int], added: Mapping[str, pa.Array]) -> None:
        columns = [_texts(c) for c in added.values()]
        try:
            self._writer.writerows([*window.raw[i], *values] for i, *values in zip(good, *columns, strict=True))
        except (csv.Error, UnicodeError) as e:
            raise DataError(
                f"a label cannot be written as this file is: {e}",
                field=self._file.where,
                fix="save the rows as UTF-8 CSV with quotes, or as JSON lines",
            ) from e


def _texts(column: pa.Array) -> list[str]:
    """Shortest texts: of float32 those that read back as the same number."""
    if pa.types.is_float32(column.type):
        return [str(v) for v in column.to_numpy(zero_copy_only=False)]
    return ["" if v is None else str(v) for v in column.to_pylist()]


def _encoded(row: Sequence[str]) -> bool:
    """Whether no cell has bytes that are not of the encoding, which stay apart as lone surrogates."""
    return all(map(str.isascii, row)) or not any("\udc80" <= c <= "\udcff" for cell in row for c in cell)


def _present(dialect: Dialect, file: Found, optional: Sequence[str]) -> tuple[str, ...]:
    """The declared names of a file without a header line, without the optional ones where the file has just so many cells fewer."""
    names = dialect.header if isinstance(dialect.header, tuple) else ()
    kept = tuple(n for n in names if n not in optional)
    _, first = next(rows_of(file, dialect), (0, []))
    return kept if len(first) == len(kept) else names


def _plain_quotes(file: Found, dialect: Dialect, width: int) -> bool:
    """Whether a cell opens with a quote that it does not close, and every line has the cells it should when quotes are text."""
    opens = False
    for line, row in rows_of(file, dataclasses.replace(dialect, quote="none")):
        if len(row) != width or (line == 1 and any('"' in c for c in row)):
            return False
        opens = opens or any(c.startswith('"') and not re.match(WHOLE, c) for c in row)
    return opens


class JsonLines(Stream):
    """One JSON object a line. Its line is written back as it is, with keys added at its end."""

    kind = "jsonl"

    def __init__(self, file: Found):
        super().__init__(file)
        not_empty(file)
        first = next(self.windows(_FIRST), None)
        if first is not None and not first.places:
            place, message, value = first.broken[0]
            fix = "write one object a line: jq -c '.[]'" if value.startswith("[") else "write one whole JSON object a line"
            raise DataError(message, field=f"{file.where}:{place}", value=value, fix=fix)
        self.columns = list(first.columns) if first else []

    def windows(self, rows: int) -> Iterator[Window]:
        held: list[dict[str, Any]] = []
        raw: list[bytes] = []
        places: list[str] = []
        broken: list[tuple[str, str, Any]] = []
        try:
            with opened(self.file) as stream:
                for number, line in enumerate(_lines(stream), 1):
                    line = line.strip()
                    if not line:
                        continue
                    found, wrong = _object(line)
                    if found is None:
                        broken.append((str(number), wrong, line[:80].decode(errors="replace")))
                    else:
                        held.append(found)
                        raw.append(line)
                        places.append(str(number))
                    if len(held) + len(broken) >= rows:
                        yield Window(places, _by_column(held, self.columns), raw, broken)
                        held, raw, places, broken = [], [], [], []
        except OSError as e:
            raise DataError(f"cannot be read: {e}", field=self.file.where, fix="compress it again") from e
        if held or broken:
            yield Window(places, _by_column(held, self.columns), raw, broken)

    @contextlib.contextmanager
    def writer(self, path: Path, added: Sequence[str], packing: str | None) -> Iterator[Writer]:
        with pa.output_stream(str(path), compression=packing) as out:
            yield _JsonWriter(out, self.file)


class _JsonWriter(Writer):
    def __init__(self, out: Any, file: Found):
        self._out, self._file = out, file

    def write(self, window: Window, good: Sequence[int], added: Mapping[str, pa.Array]) -> None:
        taken = next((n for n in added if n in window.columns), None)
        if taken is not None:
            at = next((p for p, v in zip(window.places, window.columns[taken], strict=True) if v is not None), window.places[0])
            raise DataError(
                "is a key here, and not in the lines before: the prediction would be a second one of the same name",
                field=f"{self._file.where}:{at}: {taken}",
                fix="rename the key",
            )
        columns = [[float(t) for t in _texts(c)] if pa.types.is_float32(c.type) else c.to_pylist() for c in added.values()]
        for i, *values in zip(good, *columns, strict=True):
            line = window.raw[i]
            head = line[:-1].rstrip()
            self._out.write(head + (b"" if head == b"{" else b", ") + orjson.dumps(dict(zip(added, values, strict=True)))[1:] + b"\n")


def _lines(stream: Any) -> Iterator[bytes]:
    """Lines of a pyarrow stream, ended by a line feed and nothing else."""
    rest = b""
    while block := stream.read(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _object(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """A line's object, numbers with all their digits; or why it is none."""
    try:
        value = orjson.loads(line)  # strict where `json` is not: NaN, lone surrogates
        if _LONG.search(line):
            value = json.loads(line, parse_float=_exact)
    except (ValueError, RecursionError) as e:
        return None, f"is not JSON: {e}"
    return (value, "") if isinstance(value, dict) else (None, "is no JSON object")


def _exact(text: str) -> float | Decimal:
    """A float, or the decimal where a float loses digits."""
    near = float(text)
    try:
        exact = Decimal(text)
        return near if Decimal(repr(near)) == exact or abs(exact) == Decimal("Infinity") else exact
    except ArithmeticError:
        return near


def _by_column(held: Sequence[Mapping[str, Any]], known: Sequence[str]) -> dict[str, list[Any]]:
    names = dict.fromkeys([*known, *(key for row in held for key in row)])
    return {name: [row.get(name) for row in held] for name in names}


class ParquetStream(Stream):
    """Parquet: columns in their own types."""

    kind = "parquet"

    def __init__(self, file: Found):
        super().__init__(file)
        not_empty(file)
        with self._told():
            self._schema = pq.read_schema(file.path)
        self.columns = self._schema.names
        twice = next((n for i, n in enumerate(self.columns) if n in self.columns[:i]), None)
        if twice is not None:
            raise DataError("names a column twice", field=file.where, value=twice, fix="rename one of them")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError) as e:
            raise DataError(
                f"is not a readable Parquet file: {first_line(e)}", field=self.file.where, fix="write it again, or name another file"
            ) from e

    def windows(self, rows: int) -> Iterator[Window]:
        start = 0
        with self._told(), pq.ParquetFile(self.file.path, pre_buffer=False) as file:
            batches = file.iter_batches(rows)
            while (batch := next(batches, None)) is not None:
                batch.validate(full=True)
                yield Window(
                    [f"row {start + i + 1}" for i in range(batch.num_rows)],
                    dict(zip(batch.schema.names, batch.columns, strict=True)),
                    batch,
                )
                start += batch.num_rows

    @contextlib.contextmanager
    def writer(self, path: Path, added: Sequence[str], packing: str | None) -> Iterator[Writer]:
        made = _ParquetWriter(path)
        try:
            yield made
        finally:
            made.close()


class _ParquetWriter(Writer):
    def __init__(self, path: Path):
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def write(self, window: Window, good: Sequence[int], added: Mapping[str, pa.Array]) -> None:
        batch = window.raw if len(good) == window.raw.num_rows else window.raw.take(pa.array(good, pa.int64()))
        table = pa.table({**dict(zip(batch.schema.names, batch.columns, strict=True)), **added}).cast(
            pa.schema([*batch.schema, *(pa.field(n, c.type) for n, c in added.items())], metadata=batch.schema.metadata)
        )
        self._writer = self._writer or pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
