"""A batch of predictions: rows of the prediction log, or the features' own columns."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


class Batch:
    """Columns of a batch.

    Args:
        batch: it.
        features: the names a profile has.
    """

    def __init__(self, batch: pa.RecordBatch | pa.Table, features: list[str]):
        import pyarrow as pa

        self.rows = batch.num_rows
        self._names = set(batch.schema.names)
        self._batch = batch
        self._struct: pa.StructArray | None = None
        if "features" in self._names and pa.types.is_struct(batch.schema.field("features").type) and "features" not in features:
            self._struct = _one(batch.column("features"))
            self._own = {f.name for f in self._struct.type}
        else:
            self._own = self._names
        self._some = any(name in self._own for name in features)

    def feature(self, name: str) -> pa.Array | None:
        """A feature's values; nulls where rows have others and lack this one; None where rows have no features at all (a client sent tensors)."""
        import pyarrow as pa

        if name in self._own:
            return _one(self._batch.column(name)) if self._struct is None else self._struct.field(name)
        return pa.nulls(self.rows) if self._some else None

    @functools.cached_property
    def times(self) -> NDArray[np.int64] | None:
        """Microseconds since 1970 [rows]; a row without a time has that of the one before; None where none has."""
        import pyarrow as pa

        if "time" not in self._names or not self.rows:
            return None
        column = _one(self._batch.column("time"))
        if not pa.types.is_timestamp(column.type) or column.null_count == len(column):
            return None
        micros = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False).cast(pa.int64())
        least = int(np.nanmin(micros.to_numpy(zero_copy_only=False))) if micros.null_count else 0
        return np.asarray(micros.fill_null(least).to_numpy(zero_copy_only=False), np.int64)

    @functools.cached_property
    def answers(self) -> pa.Array | None:
        """Labels that were answered."""
        return self._column("prediction", "string")

    @functools.cached_property
    def values(self) -> pa.Array | None:
        """Numbers that were answered."""
        return self._column("value", "double")

    @functools.cached_property
    def confidence(self) -> pa.Array | None:
        """The answered labels' probabilities."""
        return self._column("probability", "double")

    def _column(self, name: str, kind: str) -> pa.Array | None:
        import pyarrow as pa

        # What is a column of the batch beside the features is the model's; among features of one's own it is one of these.
        if name not in self._names:
            return None
        column = _one(self._batch.column(name))
        if column.null_count == len(column):
            return None
        try:
            return column.cast(pa.string() if kind == "string" else pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = (
            column.chunk(0)
            if column.num_chunks == 1
            else pa.concat_arrays(column.chunks)
            if column.num_chunks
            else pa.array([], column.type)
        )
    return column
