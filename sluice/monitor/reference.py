"""A reference of rows at hand, where there is no package's profile: of a table of training rows, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.data.profile import FORMAT, whole_rows
from sluice.fields import fields_of
from sluice.fields.parts import moments, numbers, numeric_part, part, value_counts
from sluice.stats.drift import category_counts

if TYPE_CHECKING:
    import pyarrow as pa


class Table:
    """A table as the rows that `Field.reference` takes: a dataset's training rows."""

    def __init__(self, table: pa.Table, times: Mapping[str, Any] | None = None):
        import pyarrow as pa

        self.times: Mapping[str, Any] = times or {}
        ids = pa.array([f"{i:016x}" for i in range(table.num_rows)])
        self._table = table if "row_id" in table.schema.names else table.append_column("row_id", ids)

    def rows(self, split: str) -> int:
        """How many."""
        return int(self._table.num_rows)

    def read(self, split: str, columns: list[str] | None = None) -> pa.Table:
        """Columns, all rows."""
        return self._table if columns is None else self._table.select(columns)

    def batches(self, split: str, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """Columns, in batches."""
        yield from self.read(split, columns).combine_chunks().to_batches(rows)


def profile_of(table: pa.Table, kinds: Mapping[str, str], labels: Sequence[Any] | None = None) -> dict[str, Any]:
    """A profile as a package has it, of a table's rows.

    Args:
        table: with a column for each feature, of the type its field has in a dataset (float64, string, binary).
        kinds: feature -> kind of field: ``numeric``, ``categorical``, ``text``, ``image``, ...
        labels: true answers of the rows: names, or numbers; what a model answers is then watched too.

    Raises:
        ProjectError: there is no such kind.
    """
    import pyarrow as pa

    rows = Table(table)
    label: dict[str, Any] = {}
    if labels is not None and all(isinstance(v, str) for v in labels):
        names = sorted(set(labels))
        label = part({"values": names}, category_counts(value_counts([pa.array(labels, pa.string())]), names))
    elif labels is not None:
        values = np.asarray(numbers(list(labels)))
        label = {**moments(values), **numeric_part(values)}
    features = {name: field.reference(rows) | whole_rows(field, rows) for name, field in fields_of(kinds).items()}
    return {"format": FORMAT, "rows": table.num_rows, "objective": "", "label": label, "features": features}
