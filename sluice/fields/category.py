"""A field of categories: strings in a dataset, each value in its one spelling (`sluice.core.spelling`), null where one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.fields.field import Field

if TYPE_CHECKING:
    import pyarrow as pa


class Category(Field):
    """Values that each name one of several things."""

    kind = "categorical"
    category = True
    column_type = "string"

    @property
    def arrow(self) -> pa.DataType:
        """string."""
        import pyarrow as pa

        return pa.string()
