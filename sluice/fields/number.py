"""A field of numbers: float64 in a dataset, null where one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.fields.field import Field

if TYPE_CHECKING:
    import pyarrow as pa


class Number(Field):
    """Numbers on a line."""

    kind = "numeric"
    quantity = True
    column_type = "double"

    @property
    def arrow(self) -> pa.DataType:
        """float64."""
        import pyarrow as pa

        return pa.float64()
