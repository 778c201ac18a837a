"""A source's columns of texts to what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError
from sluice.core.numerals import Numerals
from sluice.data.columns import MOSTLY_NUMBERS, BadCell, null_for_empty, numbers
from sluice.data.config import Columns
from sluice.data.csvfile import line_of_row
from sluice.data.dialect import Dialect
from sluice.data.numerals import Spelled, spelled_numbers
from sluice.data.scheme import Found
from sluice.fields import Field


def typed(
    table: pa.Table,
    value: Field | None,
    columns: Columns,
    like: pa.Schema | None,
    files: Sequence[tuple[Found, Dialect, int]],
    numerals: Mapping[str, Numerals],
) -> tuple[pa.Table, dict[str, Numerals], list[str]]:
    """Columns of strings to what they hold, how numbers among them are written, and words about that. Of a CSV (it has `files`) empty cells are null."""
    features = set(columns.features if columns.features is not None else table.schema.names) | {columns.label}
    never = {*columns.categorical, *columns.timestamps, *columns.kinds, *columns.ignore}
    out, written, notes = {}, {}, []
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if not pa.types.is_string(column.type):
            out[name] = column
            continue
        expected = like.field(name).type if like is not None and name in like.names else None
        out[name] = null_for_empty(column) if files else column
        if value is not None or name in never or name not in features or expected == pa.string():
            continue
        plain, bad = numbers(column)
        declared = numerals.get(name, numerals.get("")) if like is None else numerals.get(name)
        spelled = Spelled()
        if (plain is None and (declared or like is None)) or (plain is not None and declared):
            spelled = spelled_numbers(column, name, declared)
        if spelled.note:
            notes.append(spelled.note)
        if spelled.values is not None and spelled.numerals is not None and not (plain is not None and spelled.values.equals(plain)):
            out[name], written[name] = spelled.values, spelled.numerals
        elif name == columns.label or not files:
            continue
        elif plain is not None:
            out[name] = plain
        elif bad is not None and (bad.share >= MOSTLY_NUMBERS or expected == pa.float64()):
            raise _text_among_numbers(name, bad, files, spelled.note)
    return pa.table(out), written, notes


def _text_among_numbers(name: str, bad: BadCell, files: Sequence[tuple[Found, Dialect, int]], note: str | None) -> DataError:
    row = bad.row
    for f, dialect, n in files:
        if row < n:
            line = line_of_row(f, row, dialect)
            more = f" (and {bad.cells - 1} more)" if bad.cells > 1 else ""
            return DataError(
                f"is text in a column of numbers{more}",
                field=f"{f.where}:{line if line is not None else '?'}: {name}, row {row + 1}",
                value=bad.value,
                fix=note
                or "correct the cell, leave it empty if it is missing, or list the column "
                "under data.columns.categorical or data.columns.ignore",
            )
        row -= n
    raise AssertionError("a row outside all files")


def inexact(table: pa.Table, categories: Sequence[str]) -> Iterator[str]:
    """A word about each column of categories whose floats are too large to be every whole number."""
    there = set(table.schema.names)
    for name in categories:
        if name in there and pa.types.is_floating(table.schema.field(name).type):
            large = pc.greater_equal(pc.abs(table.column(name).cast(pa.float64())), 2.0**53)
            rows = pc.sum(large).as_py()
            if rows:
                row = pc.index(pc.fill_null(large, False), True).as_py()
                yield (
                    f"{name!r} names something by floats of 2^53 and more in {rows:,} {'row' if rows == 1 else 'rows'} (row {row + 1}: "
                    f"{table.column(name)[row].as_py():.17g}): not every whole number is such a float, so an id that was made one has lost digits; "
                    "store whole numbers or texts"
                )
