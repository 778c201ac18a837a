"""A field of times: the wall clock's microseconds in a dataset, in the zone they were read in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.fields.field import Field

if TYPE_CHECKING:
    import pyarrow as pa


class Timestamp(Field):
    """Times of day, days, or both."""

    kind = "timestamp"
    column_type = "string"

    @property
    def arrow(self) -> pa.DataType:
        """timestamp[us] without a zone."""
        import pyarrow as pa

        return pa.timestamp("us")
