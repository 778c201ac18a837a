"""What ``data.split.column`` of a source says of each row, what keeps rows together or when they were, and its numbers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.core.spelling import number_text
from sluice.data import timestamps
from sluice.data.columns import null_for_nan, numbers
from sluice.data.digests import plain
from sluice.data.draws import hashed
from sluice.data.sensitive import hidden_keys
from sluice.data.spellings import each_value, texts_of
from sluice.data.timestamps import Times

if TYPE_CHECKING:
    from sluice.project import Project


def split_keys(project: Project, table: pa.Table, rows: int, times: Mapping[str, Times]) -> pa.ChunkedArray | None:
    """Strings for groups, times or numbers for ``time``; None where the project names no such column.

    Raises:
        DataError: the source has no such column, or the task makes other rows of the source's.
    """
    split = project.data.split
    if split.column is None:
        return None
    if split.column not in table.schema.names:
        near = difflib.get_close_matches(split.column, table.schema.names, 1, 0.5)
        raise DataError(
            "no such column in the data",
            field="data.split.column",
            value=split.column,
            fix=(f"did you mean {near[0]!r}? " if near else "") + f"columns: {', '.join(table.schema.names[:20])}",
        )
    if table.num_rows != rows:
        raise DataError(
            "cannot be told of the task's rows: it makes others of the source's",
            field="data.split.column",
            value=split.column,
            fix="split by hash",
        )
    column = plain(table.select([split.column])).column(0)
    if split.by == "group":
        keys = group_keys(column)
        return hidden_keys(keys) if split.column in project.data.sensitive else keys
    return timestamps.read(column, split.column, times[split.column]) if split.column in times else time_keys(column)


def group_keys(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Groups as strings: a number as ``3`` whatever its type and whether a text says ``3.0``, blank cells as null.

    Raises:
        DataError: infinite numbers, or a type that names no groups.
    """
    return each_value(texts_of(column, "data.split.column"), lambda v: None if v is None or not v.strip() else number_text(v) or v)


def time_keys(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times, or numbers that rise with time.

    Raises:
        DataError: a column of something else.
    """
    if pa.types.is_string(column.type):
        read, _ = numbers(column)
        column = column if read is None else read
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_temporal(column.type):
        return null_for_nan(column) if pa.types.is_floating(column.type) else column
    raise DataError(
        f"of type {column.type} tells no time",
        field="data.split.column",
        fix="name a column of times, or of numbers that rise with time; data.columns.timestamps says how times are written",
    )


def time_numbers(keys: pa.ChunkedArray) -> NDArray[Any]:
    """Times, or numbers that rise with time, as numbers of one order, [rows]; no nulls."""
    if pa.types.is_temporal(keys.type):
        keys = keys.cast(pa.timestamp("us")).cast(pa.int64())
    return np.asarray(keys)


def group_numbers(groups: pa.ChunkedArray, ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number a row: of its group (strings), or, where that is null, its own id."""
    coded = groups.combine_chunks().dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    codes = np.asarray(pc.fill_null(coded.indices, -1)).astype(np.int64)
    known = hashed(coded.dictionary.to_pylist())
    return np.where(codes < 0, ids, known[codes]) if len(known) else ids
