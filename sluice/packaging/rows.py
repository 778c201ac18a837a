"""From a dataset's Arrow columns to the raw rows processors take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sluice.errors import DataError
from sluice.packaging.processors import Processor, TabularProcessor

#: Columns of a dataset that are no features.
NOT_FEATURES = ("row_id", "label")

_SINGLE = {"text": "text", "image": "image"}


def rows_from_arrow(kind: str, table: pa.Table | pa.RecordBatch) -> list[Any]:
    """Raw rows of a processor's `kind`, in the table's order.

    text: str; image: bytes; tabular and tensor: a dict from feature to value, None where it is null.
    Columns ``row_id`` and ``label`` are left out.

    Raises:
        DataError: the table lacks the column the kind reads.
    """
    if kind in _SINGLE:
        name = _SINGLE[kind]
        if name not in table.schema.names:
            raise DataError("is missing from the dataset", field=name, value=table.schema.names)
        return table.column(name).to_pylist()
    names = [n for n in table.schema.names if n not in NOT_FEATURES]
    columns = [table.column(n).to_pylist() for n in names]
    if not names:
        raise DataError("has no features", field="dataset", value=table.schema.names)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def tensors_from_arrow(processor: Processor, table: pa.Table | pa.RecordBatch) -> dict[str, np.ndarray]:
    """One batch of the graph's tensors from a whole table: `encode_batch(rows_from_arrow(...))`, by column where that is faster.

    Raises:
        InputError: as `Processor.encode`.
        DataError: as `rows_from_arrow`.
    """
    if not isinstance(processor, TabularProcessor):
        return processor.encode_batch(rows_from_arrow(processor.kind, table))
    columns: dict[str, Any] = {}
    for c in processor.columns:
        if c.name not in table.schema.names:
            raise DataError("is missing from the dataset", field=c.name, value=table.schema.names)
        column = table.column(c.name)
        numeric = c.type == "numeric" and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type))
        columns[c.name] = column.to_numpy(**({} if isinstance(column, pa.ChunkedArray) else {"zero_copy_only": False})) if numeric else column.to_pylist()
    return processor.encode_columns(columns, table.num_rows)
