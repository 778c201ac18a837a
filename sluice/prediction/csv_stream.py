"""A CSV file's rows, written again with its own separator, quotes, header line and encoding."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.csvfile import closed_at_the_end, names_of, padding, rows_of, swallowed, with_row_names
from sluice.data.dialect import Dialect
from sluice.data.opening import not_empty
from sluice.data.quoting import WHOLE, swallowing
from sluice.data.scheme import Found
from sluice.data.separators import settle
from sluice.prediction.streams import Stream, Window, Writer, texts


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
        columns = [texts(c) for c in added.values()]
        try:
            self._writer.writerows([*window.raw[i], *values] for i, *values in zip(good, *columns, strict=True))
        except (csv.Error, UnicodeError) as e:
            raise DataError(
                f"a label cannot be written as this file is: {e}",
                field=self._file.where,
                fix="save the rows as UTF-8 CSV with quotes, or as JSON lines",
            ) from e


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
