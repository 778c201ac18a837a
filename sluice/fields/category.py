"""A field of categories: strings in a dataset, each value in its one spelling (`sluice.core.spelling`), null where one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluice.core.spelling import Spelling
from sluice.fields.field import Field

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.parts import Rows
    from sluice.fields.summaries import Cells


#: Values that have a bin of their own in a reference.
TOP = 50


class Category(Field):
    """Values that each name one of several things."""

    kind = "categorical"
    plain = True
    category = True
    checks = frozenset({"mixed", "constant", "identifier", "predictive", "shift"})
    column_type = "string"

    @property
    def arrow(self) -> pa.DataType:
        """string."""
        import pyarrow as pa

        return pa.string()

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, the commonest values."""
        from sluice.fields.summaries import top

        values, counts, _ = cells.coded
        nulls = cells.rows - int(counts.sum())
        return {
            "name": self.name,
            "type": self.kind,
            "rows": cells.rows,
            "nulls": nulls,
            "distinct": len(values),
            "top": top(values, counts),
        }

    def reference(self, rows: Rows) -> dict[str, Any]:
        """The part ``value``, with a bin for each of the commonest."""
        from sluice.fields.parts import part, value_counts
        from sluice.stats.drift import category_counts

        seen = value_counts(b.column(0) for b in rows.batches("train", [self.name], 1 << 16))
        known = {v: n for v, n in seen.items() if v not in (None, "")}
        top = sorted(known, key=lambda v: (-known[v], v))[:TOP]
        total = sum(seen.values())
        return {
            "kind": self.kind,
            "rows": total,
            "nulls": total - sum(known.values()),
            "distinct": len(known),
            "parts": {"value": part({"values": top}, category_counts(seen, top))},
        }

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of ``value``; a value that is no text as the reference spells it."""
        from sluice.stats.drift import category_counts

        known = reference["parts"]["value"]["values"]
        spelling = Spelling.kept(known)
        return {"value": category_counts([v if isinstance(v, str) else _text(v, spelling) for v in values], known)}


def _text(value: Any, spelling: Spelling) -> str:
    try:
        return spelling.text(value)
    except ValueError:
        return str(value)
