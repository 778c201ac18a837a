"""From a dataset's Arrow columns to the raw rows processors take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sluice.core.errors import DataError
from sluice.core.spelling import Spelling, value_text
from sluice.data.columns import BESIDE
from sluice.fields import Processor, TabularProcessor, field_of, processor_class
from sluice.package.package import Package

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset

#: Columns of a dataset that are no features.
NOT_FEATURES = ("row_id", "label", "__group")


def rows_from_arrow(preprocess: str | Mapping[str, Any], table: pa.Table | pa.RecordBatch) -> list[Any]:
    """Raw rows for a processor, in the table's order.

    The value of the field that a row is alone, or a dict from feature to value, None where it is null.

    Args:
        preprocess: the specification (a package's ``preprocess``), whose columns are taken; or only its
            kind, then every column but ``row_id`` and ``label`` is.
        table: columns of a dataset.

    Raises:
        DataError: the table lacks a column.
        PackageError: no such kind.
    """
    spec: Mapping[str, Any] = {"kind": preprocess} if isinstance(preprocess, str) else preprocess
    processor = processor_class(spec)
    if processor.value is not None:
        return _column(table, processor.value.name).to_pylist()
    listed = processor.names(spec)
    names = [n for n in table.schema.names if n not in NOT_FEATURES and not n.startswith(BESIDE)] if listed is None else listed
    if not names:
        raise DataError("has no features", field="dataset", value=table.schema.names)
    return [dict(zip(names, values, strict=True)) for values in zip(*(cells_of(_column(table, n)) for n in names), strict=True)]


def cells_of(column: Any) -> list[Any]:
    """A column's cells: dates and times as the text they are as a category, which a column of times reads too; floats of 32 and 16
    bits stay such, since 0.1 of them has fewer digits than the same number of 64."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # which Python has no type of its own for
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    elif pa.types.is_time64(kind):
        column = column.cast(pa.time64("us"), safe=False)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        try:
            return [None if v is None else value_text(v) for v in column.to_pylist()]
        except OverflowError as e:
            raise DataError(
                "holds a date outside of the years 1 to 9999", field="rows", fix="correct it, or leave it empty if it is missing"
            ) from e
    narrow = {pa.float16(): np.float16, pa.float32(): np.float32}.get(column.type)
    return column.to_pylist() if narrow is None else [None if v is None else narrow(v) for v in column.to_pylist()]


def spelled_by(package: Package) -> Callable[[list[Any]], list[Any]]:
    """Turns a dataset's rows into those a package knows that was made before categories had one spelling: ``true`` to its ``True``.

    Its profile tells how its training rows spelled the commonest values. Other packages take the rows as they are.
    """
    of_before = [
        c["name"] for c in package.preprocess.get("columns", []) if field_of(c["type"], c["name"]).category and "spelling" not in c
    ]
    features = (package.profile() or {}).get("features", {}) if of_before else {}
    written = {name: Spelling.kept(features[name]["parts"]["value"]["values"]).written for name in of_before if name in features}
    written = {name: found for name, found in written.items() if found}
    if not written:
        return lambda rows: rows
    return lambda rows: [
        {**row, **{n: found.get(v) or v for n, found in written.items() if isinstance(v := row.get(n), str)}} for row in rows
    ]


def _column(table: pa.Table | pa.RecordBatch, name: str) -> Any:
    if table.schema.get_field_index(name) < 0:
        raise DataError("is missing from the dataset", field=name, value=table.schema.names)
    return table.column(name)


def spread(dataset: Dataset, split: str, rows: int) -> pa.Table:
    """At most `rows` rows of a split, evenly spaced over it, in its order; a batch of it in memory at a time. Raises `DataError`."""
    total = dataset.rows(split)
    wanted = np.unique(np.linspace(0, total - 1, min(rows, total)).astype(np.int64))
    parts, seen = [], 0
    for batch in dataset.batches(split):
        inside = wanted[(wanted >= seen) & (wanted < seen + batch.num_rows)] - seen
        if len(inside):
            parts.append(batch.take(pa.array(inside)))
        seen += batch.num_rows
    return pa.Table.from_batches(parts)


def tensors_from_arrow(processor: Processor, table: pa.Table | pa.RecordBatch) -> dict[str, np.ndarray]:
    """One batch of the graph's tensors from a whole table: `encode_batch(rows_from_arrow(...))`, by column where that is faster.

    Raises:
        InputError: as `Processor.encode`.
        DataError: as `rows_from_arrow`.
    """
    if not isinstance(processor, TabularProcessor):
        return processor.encode_batch(rows_from_arrow(processor.spec(), table))
    columns: dict[str, Any] = {}
    for c in processor.columns:
        column = _column(table, c.name)
        numeric = c.field.quantity and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type))
        stored = column.type == pa.timestamp("us")  # as datasets have times; one with a zone is an instant
        columns[c.name] = column.to_numpy(zero_copy_only=False) if numeric or stored else cells_of(column)
    return processor.encode_columns(columns, table.num_rows)
