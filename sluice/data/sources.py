"""A project's source to one Arrow table, whatever form it has and wherever it lies."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.core.numerals import Numerals
from sluice.data.archives import all_unpacked, are_archives
from sluice.data.columns import with_label
from sluice.data.config import Columns
from sluice.data.csvfile import read_csv
from sluice.data.dialect import DELIMITERS, Dialect
from sluice.data.digests import table_digest
from sluice.data.folders import list_folder, list_folders, list_named, read_listed
from sluice.data.forms import FORMATS, Format, form_of_files
from sluice.data.locations import brought
from sluice.data.readers import pandas_index, read_jsonl, read_parquet
from sluice.data.scheme import Found
from sluice.data.spellings import texts_of
from sluice.data.typed import inexact, typed
from sluice.fields import Field

#: What pandas calls an index that has no name, in Parquet and in a CSV it reads back.
INDEX = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)*")
#: Words about files, before the rest are only counted.
_MOST_NOTES = 5


@dataclasses.dataclass(frozen=True)
class Source:
    """A source that was read.

    Attributes:
        table: its rows, in the order of the files' names and of their lines.
        digest: sha256 (hex) of the rows' logical content: the same in one file or many, CSV or Parquet.
        parts: what was read, with the rows of each.
        names: each row's file, where a row is a file.
        notes: sentences about what was found out or left out, and not declared.
        numerals: how columns of texts that are numbers are written.
    """

    table: pa.Table
    digest: str
    parts: tuple[tuple[str, int], ...]
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    numerals: dict[str, Numerals] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.table.num_rows

    @property
    def schema(self) -> pa.Schema:
        """Of the rows."""
        return self.table.schema

    def place(self, row: int) -> str:
        """Where a row (from 0) came from, in words."""
        return place_in(self.parts, row) if self.names is None else self.names[row]


def place_in(parts: Sequence[tuple[str, int]], row: int) -> str:
    """Where a row (from 0) of files stands, in words; `parts`: each with its rows."""
    for where, rows in parts:
        if row < rows:
            return f"{where} row {row + 1}"
        row -= rows
    return f"row {row + 1}"


def load_source(
    uri: str,
    format: Format,
    base_dir: Path,
    value: Field | None,
    columns: Columns | None = None,
    like: pa.Schema | None = None,
    **more: Any,
) -> pa.Table:
    """The table of `read_source`."""
    return read_source(uri, format, base_dir, value, columns, like, **more).table


def read_source(
    uri: str,
    format: Format,
    base_dir: Path,
    value: Field | None,
    columns: Columns | None = None,
    like: pa.Schema | None = None,
    *,
    dialect: Dialect | None = None,
    named: Collection[str] = (),
    numerals: Mapping[str, Numerals] | None = None,
    labelled: bool = True,
) -> Source:
    """Read a source whole.

    Text files give strings. Of a CSV of records, columns of numbers become float64 (empty, ``NA``, ``nan`` and the like are null); the
    label and the columns listed as categorical never do. JSON lines and Parquet bring their own types. A label that is empty, NaN or "null"
    is null. A record's column of texts that spell numbers (1,234.50 or 12,5 %) becomes float64 where that is declared or there is one way
    to read it. The index that pandas wrote as a column is left out, unless the project names it.

    Args:
        uri: a path, glob, folder, ``s3://bucket/key`` or ``sklearn://name``.
        format: ``auto`` tells it by the file's name.
        base_dir: where relative paths start.
        value: the field that a row is alone; null: rows are records, of whose columns of texts numbers are read.
        columns: ``data.columns`` of the project.
        like: a schema whose types the columns of a CSV take instead of finding their own (for held-out rows).
        dialect: how a CSV is written, as far as it is declared.
        named: columns that other settings of the project name.
        numerals: how numbers are written, by column, of "" in every other; for held-out rows, those of the training rows.
        labelled: whether the source has the column of labels; false where a task makes them itself.

    Raises:
        DataError: what is wrong, with the file and line.
        MissingExtra: an optional package is needed.
    """
    columns, dialect = columns or Columns(), dialect or Dialect()
    names: list[str] | None = None
    notes: list[str] = []
    written: dict[str, Numerals] = {}
    parts: tuple[tuple[str, int], ...]
    with brought(uri, base_dir, columns, value) as found:
        if isinstance(found, pa.Table):
            return Source(found, table_digest(found), ((uri, found.num_rows),))
        if found[0].path.is_dir():
            listing = list_folder(found[0], columns, folder_is_meant(found[0], format, value))
            table, names = listing.table(), list(listing.names)
            parts = ((found[0].where, table.num_rows),)
        elif value is not None and value.listed and are_archives(found):
            with all_unpacked(found) as folders:
                listing = list_folders(folders, columns, value)
                table, names = listing.table(), list(listing.names)
            parts = tuple(listing.rows_of(folders))
        elif value is not None and value.files is not None and all(f.path.suffix.lower() in value.files.read for f in found):
            listing = list_named(found, columns, value)
            table, names = listing.table(), list(listing.names)
            parts = tuple((f.where, 1) for f in found)
        else:
            table, names, parts, notes, written = _records(
                found, format, value, columns, like, dialect, named, numerals or {}, {columns.label} if labelled else set()
            )
    table = with_label(table, columns.label)
    return Source(table, table_digest(table), parts, tuple(names) if names is not None else None, tuple(notes), written)


def _records(
    found: Sequence[Found],
    format: Format,
    value: Field | None,
    columns: Columns,
    like: pa.Schema | None,
    dialect: Dialect,
    named: Collection[str],
    numerals: Mapping[str, Numerals],
    label: set[str],
) -> tuple[pa.Table, list[str] | None, tuple[tuple[str, int], ...], list[str], dict[str, Numerals]]:
    """Files of records as one table: with the names of what it lists, the rows of each file, what was noticed, and how numbers are written."""
    form = form_of_files(found, format)
    names: list[str] | None = None
    names_things = {*label, *columns.categorical}
    tables, dialects, notes = read_tables(found, form, dialect, {*_asked(columns), *label, *named}, names_things)
    table = _joined(tables, found, names_things)
    parts = tuple((f.where, t.num_rows) for f, t in zip(found, tables, strict=True))
    written_as = dialects[0] if dialects else None
    check_header(table.schema.names, columns, value, found[0].where, form, written_as, held_out=like is not None, labelled=bool(label))
    if value is not None and value.listed and form in ("csv", "jsonl"):
        table, names = _listed(tables, found, columns, value)
    files = [(f, d, n) for f, d, (_, n) in zip(found, dialects, parts, strict=True)] if form == "csv" else []
    table, written, more = typed(table, value, columns, like, files, numerals)
    notes += [*more, *inexact(table, columns.categorical)]
    return table, names, parts, notes, written


def _asked(columns: Columns) -> set[str]:
    """The columns that ``data.columns`` names, which are looked for whatever a file's first line is taken for."""
    return {*columns.categorical, *columns.numbers, *columns.kinds, *columns.ignore, *(columns.features or ())}


def read_tables(
    found: Sequence[Found], form: str, dialect: Dialect, asked: Collection[str], named: Collection[str]
) -> tuple[list[pa.Table], list[Dialect], list[str]]:
    """Each file's table without an index pandas saved, how each is written (of CSV), and words about them. Raises `DataError`."""
    if form != "csv" and dialect.declared:
        raise DataError(
            "is for files of separated cells",
            field=f"data.{dialect.declared[0]}",
            value=getattr(dialect, dialect.declared[0]),
            fix=f"remove it: {found[0].where} is {form}",
        )
    tables, dialects = [], []
    notes: list[str] = []
    for file in found:
        if form == "csv":
            made = read_csv(file, dialect, tuple(asked))
            table, more = made.table, made.notes
            dialects.append(made.dialect)
        else:
            table, more = read_parquet(file) if form == "parquet" else read_jsonl(file, named), ()
        index = {*pandas_index(table), *(n for n in table.schema.names if not n or INDEX.fullmatch(n))} - set(asked)
        if index and len(index) < table.num_columns:
            table = table.drop_columns(sorted(index))
            shown = " and ".join(repr(n) if n else "the first column, without a name," for n in sorted(index))
            more = (
                *more,
                f"{file.where}: {shown} is left out: the index of a saved table, which says nothing about a row; data.columns.features names it if it does",
            )
        tables.append(table.replace_schema_metadata())
        notes += more
    if len(notes) > _MOST_NOTES:
        notes = [*notes[:_MOST_NOTES], f"and {len(notes) - _MOST_NOTES} more such words about the files of the source"]
    return tables, dialects, notes


def folder_is_meant(folder: Found, format: Format, value: Field | None) -> Field:
    """The field whose values a folder's files are. Raises `DataError`: a folder was not meant."""
    if value is not None and value.listed and format in ("auto", "images"):
        return value
    inside = sorted({p.suffix for p in folder.path.iterdir() if p.suffix in FORMATS})
    fix = f"name a file in it, or a glob: {folder.where.rstrip('/')}/*{inside[0] if inside else '.csv'}"
    if value is not None and value.files is not None:
        fix += f"; for a folder of {value.files.word}s set data.format: auto"
    raise DataError("is a directory where a file is meant", field="data.source", value=folder.where, fix=fix)


def _joined(tables: Sequence[pa.Table], found: Sequence[Found], texts: Collection[str] = ()) -> pa.Table:
    """One table; each file has the first one's columns, in any order.

    Args:
        texts: columns whose values name something: where files store them as different types, they are put together as texts,
            since a type that holds both may not hold each digit.
    """
    names = tables[0].schema.names
    for table, f in zip(tables[1:], found[1:], strict=True):
        other = set(table.schema.names) ^ set(names)
        if other:
            name = min(other)
            missing = name in names
            raise DataError(
                f"has {'no' if missing else 'a'} column {name!r}, unlike {found[0].where}",
                field=f.where,
                value=table.schema.names,
                fix="give all files of a source the same columns",
            )
    mixed = [n for n in names if n in texts and len({t.schema.field(n).type for t in tables}) > 1]
    tables = [_as_texts(t, mixed, f) for t, f in zip(tables, found, strict=True)]
    try:
        return pa.concat_tables([t.select(names) for t in tables], promote_options="permissive")
    except pa.ArrowException:
        for table, f in zip(tables[1:], found[1:], strict=True):
            for name in names:
                a, b = tables[0].schema.field(name).type, table.schema.field(name).type
                if a != b:
                    raise DataError(
                        f"column {name!r} is {b}, in {found[0].where} it is {a}",
                        field=f.where,
                        value=str(b),
                        fix="write the column with one type in all files",
                    ) from None
        raise


def _as_texts(table: pa.Table, names: Sequence[str], file: Found) -> pa.Table:
    for name in names:
        column = table.column(name)
        if not pa.types.is_null(column.type):
            plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
            table = table.set_column(table.schema.names.index(name), name, texts_of(plain, f"{file.where}: {name}"))
    return table


def _listed(tables: Sequence[pa.Table], found: Sequence[Found], columns: Columns, value: Field) -> tuple[pa.Table, list[str]]:
    read = [read_listed(t, f, columns, value) for t, f in zip(tables, found, strict=True)]
    return pa.concat_tables([t for t, _ in read]), [n for _, names in read for n in names]


def check_header(
    names: Sequence[str],
    columns: Columns,
    value: Field | None,
    where: str,
    form: str,
    dialect: Dialect | None,
    held_out: bool,
    labelled: bool,
) -> None:
    """Name a header line that is missing, and columns the project lists that are not there."""
    wanted = {"data.columns.label": [columns.label] if labelled else []}
    if value is not None and not value.listed:
        wanted[f"data.columns.{value.setting or value.kind}"] = [columns.of(value)]
    if value is None:
        wanted |= {
            "data.columns.features": columns.features or [],
            "data.columns.categorical": columns.categorical,
            "data.columns.numbers": list(columns.numbers),
            "data.columns.timestamps": list(columns.timestamps),
            "data.columns.kinds": list(columns.kinds),
        }
    if not held_out:  # what is left out need not be there twice
        wanted["data.columns.ignore"] = columns.ignore
    for setting, listed in wanted.items():
        for name in listed:
            if name in names:
                continue
            if dialect is not None and dialect.header is True and _like_a_row(names):
                raise DataError(
                    "has no header line: its first line looks like a row",
                    field=f"{where}:1",
                    value=list(names),
                    fix=f"put a line with the columns' names first, {name!r} among them, or list the names in data.header "
                    "(false: they are column_1, column_2, ...)",
                )
            other = next((d for d in DELIMITERS if d in names[0]), None) if len(names) == 1 else None
            if dialect is not None and other is not None:
                raise DataError(
                    f"is not separated by {dialect.separator}: its first line has {DELIMITERS[other]}",
                    field=f"{where}:1",
                    value=names[0],
                    fix=f"set data.delimiter: {'tab' if other == chr(9) else repr(other)}",
                )
            near = difflib.get_close_matches(name, names, 1, 0.6)
            raise DataError(
                f"{where} has no such column",
                field=setting,
                value=name,
                fix=(f"did you mean {near[0]!r}? " if near else "") + f"columns: {', '.join(list(names)[:20])}",
            )


def _like_a_row(names: Sequence[str]) -> bool:
    """Whether what stands in the first line are values and no names."""
    return any(re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", n) or n.count(" ") >= 3 or len(n) > 60 for n in names)
