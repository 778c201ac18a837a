"""A source of records read a piece at a time, twice: first what its columns are, then their values, checked, numbered and kept on disk.

What a source is read as does not depend on how it is cut: each decision is made once, by the same code that reads a whole table, on values that
stand for all (`sluice.data.evidence`). What this does not settle in pieces is left to the whole reading: `Unfit` says why.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.core.errors import DataError
from sluice.core.numerals import Numerals
from sluice.core.ordered import ahead
from sluice.core.spread import workers
from sluice.data.blocks import ID, KEY, USE, Spool, SpoolWriter
from sluice.data.columns import among_numbers, null_for_nan, numbers, usable, with_label
from sluice.data.config import DataConfig
from sluice.data.csvfile import NO_NUMBER, closed_at_the_end, names_of, padding
from sluice.data.csvstream import NotNumbers, stream_csv
from sluice.data.dialect import Dialect
from sluice.data.digests import Passing, row_numbers
from sluice.data.evidence import Evidence, TooMany, numeric_share, table_of
from sluice.data.numerals import spelled_numbers
from sluice.data.readers import pandas_index
from sluice.data.scheme import Found
from sluice.data.separators import settle
from sluice.data.sources import INDEX, check_header
from sluice.data.spreadout import RowGroup, groups_of, seen_by
from sluice.data.timestamps import speaks_of_time
from sluice.data.typed import typed
from sluice.fields import fields_of

#: Rows and bytes of a file that are read at once.
_ROWS, _BLOCK = 1 << 16, 8 << 20
#: Bytes of a file of separated cells that tell which columns pyarrow may read as numbers.
_FIRST = 1 << 20
#: How often a file is begun anew because a column's cells are other than they seemed, before each cell is read as a text.
_TRIES = 3


class Unfit(Exception):
    """Why a source is read whole.

    Args:
        why: half a sentence. fix: what to change, so that it is read in pieces.
    """

    def __init__(self, why: str, fix: str = ""):
        super().__init__(why)
        self.why, self.fix = why, fix


class _Again(Exception):
    """A column that began with numbers holds texts further on."""

    def __init__(self, name: str):
        self.name = name


@dataclasses.dataclass(frozen=True)
class Looked:
    """What a first look told of a source.

    Attributes:
        values: a table whose rows stand for all (`evidence.table_of`), each column of the type it is read as.
        parts: what was read, with the rows of each. notes, numerals: as of `sluice.data.sources.Source`.
        counted: of columns of texts each different one, as the file spells it.
    """

    values: pa.Table
    parts: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    numerals: dict[str, Numerals]
    reader: _Reader


def look(files: Sequence[Found], form: str, data: DataConfig, asked: Sequence[str], folder: Path) -> Looked:
    """Read the columns for what they are.

    Args:
        files: of the source. form: ``csv``, ``jsonl`` or ``parquet``.
        data: the project's section. asked: columns that settings name.
        folder: where pieces of a text file are kept, for the second reading.

    Raises:
        Unfit: it has to be read whole, if only to say what is wrong with it.
        DataError: it cannot be read.
    """
    from sluice.data.lines import Lines

    if form != "csv" and data.dialect.declared:
        raise Unfit("how cells are separated is declared of a file without any")
    reader: _Reader
    if form == "csv":
        reader = _Texts(files, data, asked, folder)
    else:
        reader = Lines(files, data, folder) if form == "jsonl" else _Parquet(files, data, asked)
    columns = data.columns
    every = {columns.label, *columns.categorical}
    try:
        evidence = reader.evidence(every)
    except TooMany as e:
        raise Unfit("a column has more than a million different texts", "list it under data.columns.ignore, or write it as numbers") from e
    names = reader.names
    check_header(names, columns, None, files[0].where, form, reader.dialect, held_out=False, labelled=True)
    if form == "csv":
        _plain_texts(evidence, data)
    values, written, more = typed(table_of(evidence), None, columns, None, [], data.numerals)
    for name in columns.categorical:
        if name in names and pa.types.is_floating(values.schema.field(name).type):
            raise Unfit(f"{name!r} names something by floats", "store whole numbers or texts")
    values = with_label(values, columns.label)
    return Looked(values, tuple(reader.parts), (*reader.notes, *more), written, reader)


def _plain_texts(evidence: Mapping[str, Evidence], data: DataConfig) -> None:
    """Raise `Unfit` where the whole reading may refuse a column of texts, or take it for numbers."""
    columns, wanted = data.columns, data.columns.features
    never = {*columns.categorical, *columns.timestamps, *columns.kinds, *columns.ignore, columns.label}
    for name, found in evidence.items():
        if found.texts and name not in never and (wanted is None or name in wanted):
            share = numeric_share(found.counted.values, found.counted.counts)
            if share is None or share >= 0.9:
                fix = f"mend the other cells, or list {name} under data.columns.categorical"
                raise Unfit(f"{name!r} may be a column of numbers with something else in it", fix)
    told = evidence.get(columns.label)
    if told is not None and told.texts and among_numbers(told.counted.values):
        raise Unfit(f"the label {columns.label!r} has NA among numbers", "leave these cells empty")


def read(looked: Looked, label: str) -> Iterator[pa.Table]:
    """The source's rows, each column as it is read, a piece at a time."""
    for block in looked.reader.blocks():
        yield as_read(block, looked.numerals, label)


def as_read(block: pa.Table, numerals: Mapping[str, Numerals], label: str) -> pa.Table:
    """A piece as its columns are read."""
    for name, how in numerals.items():
        column = spelled_numbers(block.column(name), name, how).values
        if column is None:
            column = pa.chunked_array([pa.nulls(block.num_rows, pa.float64())])
        block = block.set_column(block.schema.names.index(name), name, column)
    return with_label(block, label)


@dataclasses.dataclass(frozen=True)
class Made:
    """Rows in the dataset's terms, on disk, and the digest of the source they were made of."""

    held: Spool
    digest: str
    schema: pa.Schema


def spool(rows: Iterator[pa.Table], make: Any, kinds: Mapping[str, str], path: Path, size: int | None = None) -> Made:
    """Turn a source's rows into the dataset's and keep them.

    Args:
        rows: of `read`.
        make: a piece of the source -> its rows in canonical form, and what they are split by or null.
        kinds: the features and their kinds. path: the file to write. size: rows of a piece of it; null: as of rows that are small.
    """
    writer, hashed, canonical = SpoolWriter(path, size), Passing(), None
    fields = fields_of(kinds)
    large = any(f.blob for f in fields.values())
    for block in hashed.of(rows) if large else ahead(hashed.of(rows)):  # of what is large one piece at a time
        table, keys = make(block)
        canonical = canonical or table.schema
        if table.schema != canonical or len(table) != len(block):
            raise Unfit("its rows are not alike", "write each column with one type")
        use = usable(table, fields.values()) if large else None
        table = table.append_column(ID, pa.array(row_numbers(table, list(kinds)), pa.uint64()))
        table = table if use is None else table.append_column(USE, use)
        writer.add(table if keys is None else table.append_column(KEY, keys))
    if hashed.schema is None:
        raise Unfit("it has no rows")
    return Made(writer.close(), hashed.digest(), hashed.schema)


class _Reader:
    names: list[str]
    notes: tuple[str, ...] = ()
    parts: list[tuple[str, int]]
    dialect: Dialect | None = None

    def evidence(self, every: set[str]) -> dict[str, Evidence]:
        raise NotImplementedError

    def blocks(self) -> Iterator[pa.Table]:
        raise NotImplementedError

    def apart(self) -> Iterable[RowGroup | pa.Table]:
        """Pieces for workers: to be read by them, or read here."""
        return self.blocks()


class _Parquet(_Reader):
    """Files with one schema, of which columns are read alone."""

    def __init__(self, files: Sequence[Found], data: DataConfig, asked: Sequence[str]):
        self._files, self.parts, self._times = files, [], data.columns.timestamps
        schemas = []
        for file in files:
            try:
                with pq.ParquetFile(file.path) as f:
                    schemas.append(f.schema_arrow)
                    self.parts.append((file.where, f.metadata.num_rows))
            except (pa.ArrowException, OSError, ValueError, KeyError) as e:
                raise Unfit("a file cannot be read") from e
        first = schemas[0]
        if (
            any(_sorted(s) != _sorted(first) for s in schemas)
            or len(set(first.names)) < len(first.names)
            or not all(n for _, n in self.parts)
        ):
            raise Unfit("its files are not alike", "write them with the same columns and types")
        if any(pa.types.is_dictionary(f.type) or pa.types.is_nested(f.type) for f in first):
            raise Unfit("it has columns of lists or dictionaries", "store numbers or plain texts")
        index = {*pandas_index(first.empty_table()), *(n for n in first.names if not n or INDEX.fullmatch(n))} - set(asked)
        if index:
            raise Unfit("it has the index of a saved table", "write it without its index")
        self._schema, self.names = first.remove_metadata(), list(first.names)

    def evidence(self, every: set[str]) -> dict[str, Evidence]:
        """Of each column; of numbers that no setting names only as many as tell times from other numbers."""
        found = {f.name: Evidence(f.type, f.name in every) for f in self._schema}
        looked_at = [n for n, e in found.items() if e.texts or n in every or n in self._times or speaks_of_time(n)]
        if looked_at and (many := workers()) is not None:
            return found | seen_by(many, self.apart(), {n: found[n] for n in looked_at})
        for block in ahead(self._read(looked_at)) if looked_at else ():
            for name in looked_at:
                found[name].add(block.column(name))
        return found

    def blocks(self) -> Iterator[pa.Table]:
        """A part of a row group a piece."""
        return self._read(self.names)

    def apart(self) -> list[RowGroup]:
        """A row group a piece, for workers to read."""
        return groups_of(self._files)

    def _read(self, names: Sequence[str]) -> Iterator[pa.Table]:
        for file in self._files:
            try:
                with pq.ParquetFile(file.path, pre_buffer=False) as f:
                    for batch in f.iter_batches(batch_size=_ROWS, columns=list(names), use_threads=False):
                        batch.validate(full=True)
                        yield pa.Table.from_batches([batch]).select(list(names)).replace_schema_metadata()
            except (pa.ArrowException, OSError, ValueError, KeyError) as e:
                raise Unfit("a file cannot be read") from e


def _sorted(schema: pa.Schema) -> list[pa.Field]:
    return sorted((f.remove_metadata() for f in schema), key=lambda f: f.name)


class Kept(_Reader):
    """What is parsed once and kept on disk for the second reading."""

    def __init__(self) -> None:
        self.names, self.parts = [], []
        self._spool: Spool | None = None

    def keep(self, spool: Spool) -> None:
        """The rows, each column as it was read."""
        self._spool = spool

    def blocks(self) -> Iterator[pa.Table]:
        """As kept."""
        assert self._spool is not None
        for _, block in self._spool.blocks(self.names):
            yield block


class _Texts(Kept):
    """Files of separated cells, parsed once: numbers as such, other cells as texts, kept on disk."""

    def __init__(self, files: Sequence[Found], data: DataConfig, asked: Sequence[str], folder: Path):
        super().__init__()
        self._files, self._data, self._asked, self._folder = files, data, asked, folder
        columns = data.columns
        self._texts = {columns.label, *columns.categorical, *columns.timestamps, *columns.kinds, *columns.ignore, *data.numerals}
        self._all_texts = "" in data.numerals
        #: Columns that pyarrow itself reads as numbers, cells and all; others are read as texts, of which each is looked at.
        self._numeric: set[str] | None = None
        self._failed = 0
        for file in files:
            dialect, note = settle(file, data.dialect, asked)
            names = names_of(file, dialect)
            if note or (dialect.quote == "auto" and dialect.delimiter == "\t") or any(padding(file, dialect)) or not all(names):
                raise Unfit(
                    "its cells have to be looked at whole (padded, without a name, or with quotes that may be text)",
                    "declare data.delimiter and data.quote, and write it without padding",
                )
            if self.names and sorted(names) != sorted(self.names):
                raise Unfit("its files are not alike", "write them with the same columns and types")
            self.names, self.dialect = self.names or names, self.dialect or dialect
        if any(INDEX.fullmatch(n) for n in self.names):
            raise Unfit("it has the index of a saved table", "write it without its index")

    def evidence(self, every: set[str]) -> dict[str, Evidence]:
        """Of each column. A column is of numbers as long as each piece of it is."""
        wanted = self._data.columns.features
        if wanted is not None:
            self._texts |= set(self.names) - set(wanted)
        if self._all_texts:
            self._texts |= set(self.names)
        self._numeric = self._plain_numbers()
        while True:
            try:
                return self._once(every)
            except _Again as e:
                self._texts.add(e.name)
            except NotNumbers as e:
                self._failed += 1
                self._numeric = self._numeric - {e.name} if self._failed < _TRIES else set()
            for path in self._folder.glob("cells-*.arrow"):
                path.unlink()

    def _plain_numbers(self) -> set[str]:
        """The columns whose cells at the beginning are numbers as pyarrow reads them; those that hold other texts are put aside."""
        out = set()
        with contextlib.suppress(DataError):  # a row longer than this; all else is said by the reading that follows
            for block in itertools.islice(stream_csv(self._files[0], self._data.dialect, self._asked, min(_BLOCK, _FIRST)), 1):
                for name in set(self.names) - self._texts:
                    column = block.column(name)
                    if numbers(column)[0] is None:
                        self._texts.add(name)
                    elif _read_natively(column):
                        out.add(name)
        return out

    def _once(self, every: set[str]) -> dict[str, Evidence]:
        found: dict[str, Evidence] = {}
        path = self._folder / f"cells-{len(self._texts)}.arrow"  # of numbers that turned out to be texts another
        writer, self.parts = SpoolWriter(path), []
        for file in self._files:
            rows = 0
            for block in ahead(self._raw(file)):
                table = pa.table({n: self._column(n, block.column(n)) for n in self.names})
                if not found:
                    found = {f.name: Evidence(f.type, f.name in every) for f in table.schema}
                for name, e in found.items():
                    if e.texts or name in every or speaks_of_time(name):
                        e.add(table.column(name))
                writer.add(table)
                rows += block.num_rows
            if not rows:
                raise Unfit("a file has no rows")
            self.parts.append((file.where, rows))
        self.keep(writer.close())
        return found

    def _column(self, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if name in self._texts:
            if self._data.quote == "auto" and pc.any(pc.match_substring(column, "\n")).as_py():
                raise Unfit("a cell holds a line break", "declare data.quote")
            return column
        if pa.types.is_floating(column.type):
            return null_for_nan(column)
        found, _ = numbers(column)
        if found is None:
            raise _Again(name)
        return found

    def _raw(self, file: Found) -> Iterator[pa.Table]:
        last = None
        for block in stream_csv(file, self._data.dialect, self._asked, _BLOCK, self._numeric or ()):
            last = block if block.num_rows else last
            yield block
        if last is not None:
            dialect, _ = settle(file, self._data.dialect, self._asked)
            cell = last.column(last.num_columns - 1)[-1].as_py()
            closed_at_the_end(file, dialect, cell if isinstance(cell, str) else "")


def _read_natively(column: pa.ChunkedArray) -> bool:
    cells = pc.if_else(pc.is_in(column, value_set=pa.array(NO_NUMBER)), None, column)
    try:
        pc.utf8_trim(cells, characters=" \t").cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
