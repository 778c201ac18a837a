"""Columns whose cells are lists: of numbers, or of names. A label of several parts is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.fields.field import Field

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Vector(Field):
    """A list of numbers a row; those of a label have one length."""

    kind = "vector"
    column_type = "array"

    @property
    def arrow(self) -> pa.DataType:
        """A list of float64."""
        import pyarrow as pa

        return pa.list_(pa.float64())

    def watched(self, column: pa.ChunkedArray) -> np.ndarray:
        """The mean of each list."""
        import numpy as np

        return np.array([np.nan if not v else float(np.mean(np.array(v, dtype=np.float64))) for v in column.to_pylist()])


class Names(Field):
    """A list of names a row: items, tags, words."""

    kind = "names"
    column_type = "array"

    @property
    def arrow(self) -> pa.DataType:
        """A list of strings."""
        import pyarrow as pa

        return pa.list_(pa.string())

    def watched(self, column: pa.ChunkedArray) -> np.ndarray:
        """How many there are in each list."""
        import numpy as np

        return np.array([np.nan if v is None else float(len(v)) for v in column.to_pylist()])
