"""A field of keys: texts that tell what a row is of, and nothing about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluice.fields.field import Field

if TYPE_CHECKING:
    import pyarrow as pa


class Key(Field):
    """A name of a user, a series, a document: kept beside the features, no model reads it."""

    kind = "key"
    plain = True
    column_type = "string"

    @property
    def arrow(self) -> pa.DataType:
        """string."""
        import pyarrow as pa

        return pa.string()
