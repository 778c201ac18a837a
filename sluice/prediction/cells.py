"""From a file's columns to the rows a package takes: the columns it names, cells of text read as training reads them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.columns import numbers
from sluice.data.config import Columns
from sluice.data.folders import FILE_COLUMNS, read_listed
from sluice.data.scheme import Found
from sluice.engines.rows import cells_of, spelled_by
from sluice.fields import Field, processor_class
from sluice.package.package import Package


def named(package: Package, columns: Columns) -> list[str]:
    """What the project calls the columns that hold the package's features."""
    processor = processor_class(package.preprocess)
    return processor.names(package.preprocess) or [] if processor.value is None else [columns.of(processor.value)]


def needed(package: Package, columns: Columns, there: Sequence[str], where: str) -> list[str]:
    """The file's columns that hold the package's features, in its order.

    Raises:
        DataError: one is not there; the nearest name is the fix.
    """
    wanted = named(package, columns)
    value = processor_class(package.preprocess).value
    if value is not None and value.listed:
        wanted = [next((n for n in (*wanted, *FILE_COLUMNS) if n in there), wanted[0])]
    for name in wanted:
        if name not in there:
            near = difflib.get_close_matches(name, there, 1, 0.6)
            cut = f" and {len(there) - 20} more" if len(there) > 20 else ""
            raise DataError(
                "has no such column, which the model was trained on",
                field=where,
                value=name,
                fix=(f"did you mean {near[0]!r}? " if near else "") + f"columns: {', '.join(list(there)[:20])}{cut}",
            )
    return wanted


def reader(package: Package, columns: Columns, wanted: Sequence[str], file: Found) -> Callable[[Mapping[str, Any]], list[Any]]:
    """What turns a window's columns into raw rows for the package's processor.

    A value alone: as it is, None where it is missing; where files may be listed, the bytes of the file a text names. A record: a
    dict from feature to value. A cell of text that spells a number is that number in a column of numbers; a cell
    the processor reads by itself (a time; a number where the training rows write 1.234,50) or cannot use stays as it is.
    """
    processor = processor_class(package.preprocess)
    value = processor.value
    if value is not None:
        if value.listed:
            return lambda window: [_bytes(v, file, columns, value) for v in _list(window[wanted[0]])]
        return lambda window: _list(window[wanted[0]])
    of_numbers = processor.numbers(package.preprocess)
    spelled = spelled_by(package)

    def rows(window: Mapping[str, Any]) -> list[Any]:
        found = [_numbers(window[n]) if n in of_numbers else _values(window[n]) for n in wanted]
        return spelled([dict(zip(wanted, values, strict=True)) for values in zip(*found, strict=True)])

    return rows


def _list(column: Any) -> list[Any]:
    return column if isinstance(column, list) else list(column.to_pylist())


def _values(column: Any) -> list[Any]:
    """Values of a column that is no column of numbers; null for empty text."""
    return [None if isinstance(v, str) and v == "" else v for v in (column if isinstance(column, list) else cells_of(column))]


def _numbers(column: Any) -> list[Any]:
    """Values of a column of numbers: texts as numbers where they spell one as programs write it, null where nothing is there."""
    if not isinstance(column, list):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return [float(v) if isinstance(v, Decimal) else v for v in column.to_pylist()]
        column = column.to_pylist()
    texts = [v if isinstance(v, str) else None for v in column]
    if any(t is not None for t in texts):
        found, bad = numbers(pa.chunked_array([pa.array(texts, pa.string())]))
        read = found.to_pylist() if found is not None else [_number(t) for t in texts] if bad is not None else texts
        column = [r if isinstance(v, str) else v for v, r in zip(column, read, strict=True)]
    return [float(v) if isinstance(v, Decimal) else v for v in column]


def _number(text: str | None) -> Any:
    """One text as a number, null or, where it is neither, itself."""
    found, _ = numbers(pa.chunked_array([pa.array([text], pa.string())]))
    return text if found is None else found[0].as_py()


def _bytes(cell: Any, file: Found, columns: Columns, value: Field) -> Any:
    """A file's bytes; of a text, those of the file it names below the table's folder. Raises `DataError`."""
    if not isinstance(cell, str):
        return cell
    table, _ = read_listed(pa.table({columns.of(value): pa.array([cell], pa.string())}), file, columns, value)
    return table.column(columns.of(value))[0].as_py()
