"""What ``data.split.column`` of a source says of each row: what keeps rows together, or when they were."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data import timestamps
from sluice.data.digests import plain
from sluice.data.sensitive import hidden_keys
from sluice.data.splits import group_keys, time_keys
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
