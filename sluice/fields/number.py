"""A field of numbers: float64 in a dataset, null where one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluice.fields.field import Field

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.parts import Rows
    from sluice.fields.summaries import Cells


class Number(Field):
    """Numbers on a line."""

    kind = "numeric"
    plain = True
    quantity = True
    checks = frozenset({"finite", "ranges", "constant", "precision", "identifier", "predictive", "shift"})
    column_type = "double"

    @property
    def arrow(self) -> pa.DataType:
        """float64."""
        import pyarrow as pa

        return pa.float64()

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, moments, quantiles, a histogram of the finite values."""
        from sluice.fields.summaries import QUANTILES, histogram, moments

        found = cells.numbers
        out = {"name": self.name, "type": self.kind, "rows": cells.rows, "nulls": found.nulls, "distinct": found.distinct}
        if not len(found.finite):
            return out
        quantiles = {str(q): found.quantile(q) for q in QUANTILES}
        return {**out, **moments(found.finite), "quantiles": quantiles, "histogram": histogram(found.finite)}

    def reference(self, rows: Rows) -> dict[str, Any]:
        """Moments, and the part ``value``."""
        from sluice.fields import parts

        values = parts.floats(rows.read("train", [self.name]).column(self.name))
        nulls = int((values != values).sum())
        return {
            "kind": self.kind,
            "rows": len(values),
            "nulls": nulls,
            **parts.moments(values),
            "parts": {"value": parts.numeric_part(values)},
        }

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of ``value``."""
        from sluice.fields.parts import numbers
        from sluice.stats.drift import numeric_counts

        return {"value": numeric_counts(numbers(values), reference["parts"]["value"]["edges"])}
