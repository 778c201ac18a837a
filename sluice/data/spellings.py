"""Columns of categories and classes in their one spelling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError
from sluice.core.spelling import NUMBER, TEXT, Spelling, value_text
from sluice.data.columns import is_text


def each_value(column: pa.ChunkedArray, text: Callable[[Any], str | None]) -> pa.ChunkedArray:
    """Strings from `text` of each different value of a column, which is called once for it; null and "" are null."""
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    texts = pa.array([text(v) or None for v in coded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([texts.take(coded.indices)], pa.string())


def texts_of(values: pa.ChunkedArray, field: str) -> pa.ChunkedArray:
    """Strings, booleans, numbers, dates and times as strings, each in its one text (`sluice.core.spelling.value_text`); NaN is null.

    Args:
        field: what an error calls the column.

    Raises:
        DataError: an infinite number, or a type that has no text.
    """
    kind = values.type
    if pa.types.is_floating(kind):
        if pa.types.is_float16(kind):  # which Arrow has few functions for
            values = values.cast(pa.float32())
        infinite = pc.fill_null(pc.is_inf(values), False)
        row = pc.index(infinite, True).as_py()
        if row >= 0:
            raise DataError(
                "is infinite, which is no category",
                field=f"{field}, row {row + 1}",
                value=values[row].as_py(),
                fix="mend the value, or leave it empty if it is missing",
            )
        narrow = {pa.float16(): np.float16, pa.float32(): np.float32}.get(kind)
        return each_value(values, value_text if narrow is None else lambda v: value_text(None if v is None else narrow(v)))
    if pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_time64(kind):
        values = values.cast(pa.time64("us"), safe=False)
    if pa.types.is_decimal(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        try:
            return each_value(values, value_text)
        except OverflowError as e:
            raise DataError(
                "holds a date outside of the years 1 to 9999", field=field, fix="correct it, or leave it empty if it is missing"
            ) from e
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(f"of type {kind} cannot be read as text", field=field, fix="store strings")
    return values.cast(pa.string())


def spelling_of(column: pa.ChunkedArray) -> Spelling:
    """How a column of strings spells its values; of several spellings the commonest is looked at first."""
    found = column.drop_null().value_counts()
    values = sorted(zip(found.field("counts").to_pylist(), found.field("values").to_pylist(), strict=True), key=lambda f: (-f[0], f[1]))
    return Spelling.of(v for _, v in values)


def respelled(column: pa.ChunkedArray, spelling: Spelling, *, typed: bool = False) -> pa.ChunkedArray:
    """A column of strings with each value in its one spelling.

    Args:
        typed: the strings were made of booleans and numbers, so that in a column of texts they are what those mean.
    """
    if spelling.kind == TEXT:
        return each_value(column, lambda v: spelling.written.get(v) or v) if typed and spelling.written else column
    if spelling.kind == NUMBER and pc.all(pc.match_substring_regex(column, r"^(-?[1-9][0-9]*|0)$"), min_count=0).as_py():
        return column
    return each_value(column, spelling.text)


def respelled_table(table: pa.Table, spellings: Mapping[str, Spelling], source: pa.Table, label: str) -> pa.Table:
    """Features and ``label`` in the spelling the training rows have.

    Args:
        spellings: of the columns of categories and classes.
        source: what was read; it tells which of them were texts already.
        label: the label's name there.
    """
    for at, name in enumerate(table.schema.names):
        column = table.column(name)
        if name in spellings and pa.types.is_string(column.type):
            read = label if name == "label" else name
            typed = read in source.schema.names and not is_text(source.schema.field(read).type)
            table = table.set_column(at, name, respelled(column, spellings[name], typed=typed))
    return table
