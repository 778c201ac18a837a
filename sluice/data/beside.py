"""Columns of the source that no model reads and a setting names: they stand in the dataset beside the features, so that what is held out can be
looked at by them (slices, groups of people). They are part of no row's id, and no learner is given them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from sluice.core.errors import DataError, ProjectError
from sluice.core.section import Named, names_in
from sluice.data import timestamps
from sluice.data.columns import null_for_nan, numbers, stored_beside
from sluice.data.digests import plain
from sluice.data.spellings import texts_of
from sluice.fields import field_of

if TYPE_CHECKING:
    from sluice.project import Project


def named_beside(project: Project, table: pa.Table, kinds: Mapping[str, str]) -> list[Named]:
    """The settings' names of columns that are in the source alone: neither features nor the label."""
    apart = {*kinds, "label", project.data.columns.label}
    return [n for n in names_in(project) if n.what == "held" and n.name not in apart and n.name in table.schema.names]


def columns_beside(
    project: Project, table: pa.Table, kinds: Mapping[str, str], rows: int
) -> tuple[dict[str, str], dict[str, pa.ChunkedArray]]:
    """What stands beside the features of a source's rows.

    Args:
        project: its settings name the columns.
        table: of the source.
        kinds: of the features.
        rows: that the task makes of the source's.

    Returns:
        Each column's kind, and its values: numbers, times, and everything else as the texts of categories.

    Raises:
        ProjectError: the task makes other rows of the source's, or a column's values can be compared with nothing.
        DataError: a time cannot be read.
    """
    found: dict[str, str] = {}
    values: dict[str, pa.ChunkedArray] = {}
    for named in named_beside(project, table, kinds):
        if table.num_rows != rows:
            fix = "name a feature: the task makes other rows of the source's, to which a row's other columns do not belong"
            raise ProjectError("is a column of the source, but no feature", field=named.setting, value=named.name, fix=fix)
        if named.name not in found:
            found[named.name], values[named.name] = _read(project, named, plain(table.select([named.name])).column(0))
    return found, values


def _read(project: Project, named: Named, column: pa.ChunkedArray) -> tuple[str, pa.ChunkedArray]:
    told, kind = project.data.columns, column.type
    if named.name not in told.categorical:
        times = timestamps.find(column, named.name, told.timestamps.get(named.name), told.time_zone)
        if times is not None:
            return "timestamp", timestamps.read(column, named.name, times, "column")
        read = numbers(column)[0] if pa.types.is_string(kind) and column.null_count < len(column) else None
        if read is not None or pa.types.is_floating(kind) or pa.types.is_integer(kind):
            return "numeric", read if read is not None else null_for_nan(column.cast(pa.float64()))
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise ProjectError(f"of type {kind} has no values to compare", field=named.setting, value=named.name, fix="name another column")
    return "categorical", texts_of(column, named.name)


def alike_beside(project: Project, table: pa.Table, kinds: Mapping[str, str], rows: int) -> dict[str, pa.ChunkedArray]:
    """The columns of `columns_beside` of held-out rows of a source of their own, in the kinds the training rows' have. Raises `DataError`."""
    out: dict[str, pa.ChunkedArray] = {}
    for name, kind in kinds.items():
        if name not in table.schema.names or table.num_rows != rows:
            raise DataError(
                "has no such column, though the training rows do", field="data.test", value=name, fix="give both the same columns"
            )
        column = plain(table.select([name])).column(0)
        if field_of(kind, name).timed:
            told = project.data.columns
            times = timestamps.find(column, name, told.timestamps.get(name) or "auto", told.time_zone)
            assert times is not None
            out[name] = timestamps.read(column, name, times, "data.test: column")
        elif field_of(kind, name).quantity:
            read = numbers(column)[0] if pa.types.is_string(column.type) else column.cast(pa.float64())
            if read is None:
                raise DataError(
                    "holds texts, though the training rows hold numbers", field=f"data.test: column {name}", fix="give both one type"
                )
            out[name] = null_for_nan(read)
        else:
            out[name] = texts_of(column, name)
    return out


def with_beside(table: pa.Table, values: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    """A table with these columns behind its own, as a dataset stores them."""
    for name, column in values.items():
        table = table.append_column(stored_beside(name), column)
    return table
