"""A field of categories: strings in a dataset, each value in its one spelling (`sluice.core.spelling`), null where one is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import InputError
from sluice.core.spelling import TEXT, Spelling
from sluice.fields.base import setting
from sluice.fields.column import Column, ColumnField

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.changes.disturbances import Disturbance
    from sluice.fields.parts import Rows
    from sluice.fields.summaries import Cells


#: Values that have a bin of their own in a reference.
TOP = 50


class Category(ColumnField):
    """Values that each name one of several things."""

    kind = "categorical"
    plain = True
    category = True
    checks = frozenset({"characters", "mixed", "constant", "identifier", "predictive", "shift"})
    column_type = "string"
    options = ("spelling",)

    def disturbances(self) -> Mapping[str, Disturbance]:
        """A missing cell."""
        from sluice.fields.changes.disturbances import CELLS

        return CELLS

    @property
    def arrow(self) -> pa.DataType:
        """string."""
        import pyarrow as pa

        return pa.string()

    def summary(self, cells: Cells) -> dict[str, Any]:
        """Counts, the commonest values."""
        from sluice.fields.summaries import top

        values, counts = cells.coded
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
        """Of ``value``, each as the reference spells it."""
        from sluice.stats.drift import category_counts

        known = reference["parts"]["value"]["values"]
        spelling = Spelling.kept(known)
        texts = {v: spelling.text(v) for v in {v for v in values if isinstance(v, str)}}
        return {"value": category_counts([texts[v] if isinstance(v, str) else _text(v, spelling) for v in values], known)}

    def counted(self, reference: Mapping[str, Any], column: pa.Array, bounds: Sequence[int]) -> dict[str, NDArray[np.int64]]:
        """Of ``value``: each different value is looked up once."""
        import pyarrow as pa

        if not pa.types.is_string(column.type) and not pa.types.is_dictionary(column.type):
            return super().counted(reference, column, bounds)
        known = reference["parts"]["value"]["values"]
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        place, spelling = {v: i for i, v in enumerate(known)}, Spelling.kept(known)
        texts = [spelling.text(v) if v else v for v in coded.dictionary.to_pylist()]
        bins = np.array([len(known) + 1 if not t else place.get(t, len(known)) for t in texts] + [len(known) + 1], dtype=np.int64)
        codes = coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        found, width = bins[codes], len(known) + 2
        counts = [np.bincount(found[a:b], minlength=width) for a, b in zip(bounds, bounds[1:], strict=False)]
        return {"value": np.array(counts, dtype=np.int64).reshape(-1, width)}

    def unseen(self, reference: Mapping[str, Any], column: pa.Array, bounds: Sequence[int]) -> list[dict[str, int]]:
        """Those without a bin, as they stand."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_string(column.type):
            return super().unseen(reference, column, bounds)
        known = reference["parts"]["value"]["values"]
        spelling, named = Spelling.kept(known), set(known)
        new = [v for v in column.unique().to_pylist() if v and spelling.text(v) not in named and spelling.text(v)]
        if not new:
            return super().unseen(reference, column, bounds)
        out = []
        there = pc.is_in(column, pa.array(new, pa.string()))
        for a, b in zip(bounds, bounds[1:], strict=False):
            counted = column.slice(a, b - a).filter(there.slice(a, b - a)).value_counts()
            out.append(dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)))
        return out

    def drawn(self, reference: Mapping[str, Any], rows: int, rng: np.random.Generator) -> list[str | None]:
        """One of the commonest values, or none; what is rarer has no name in a reference."""
        from sluice.stats.drift import drawn

        values, counts = [*reference["parts"]["value"]["values"], None], list(reference["parts"]["value"]["counts"])
        del counts[-2]
        return [values[i] for i in drawn(counts, rows, rng)]

    @classmethod
    def load(cls, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        """``spelling``."""
        return {"spelling": setting(spec, "spelling", str, where) if "spelling" in spec else None}

    def seen(self, column: Column, cells: pa.Array) -> dict[str, pa.Array]:
        """As they stand."""
        return {column.tensor: cells}

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """One of strings."""
        return [(column.tensor, "BYTES")]

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """Strings, numbers and booleans, each in the spelling of the training rows."""
        return {column.tensor: _strings(values, rows, column.name, column.spelled)}

    def log(self, column: Column, values: Sequence[Any]) -> list[str | None]:
        """The categories' texts."""
        return [v or None for v in _strings(values, len(values), column.name, column.spelled).ravel().tolist()]


def _text(value: Any, spelling: Spelling) -> str:
    try:
        return spelling.text(value)
    except ValueError:
        return str(value)


def _strings(values: Sequence[Any] | None, rows: int, name: str, spelling: Spelling | None) -> np.ndarray:
    out = np.empty(rows, dtype=object)
    if values is None:
        out[:] = ""
    else:
        if spelling is None:
            out[:] = [v if type(v) is str and not v.isspace() else _string(v, i, name) for i, v in enumerate(values)]
        elif spelling.kind == TEXT:
            out[:] = [v if type(v) is str and not v.isspace() else _spelled(v, i, name, spelling) for i, v in enumerate(values)]
        else:
            # A column of a few texts in many rows is read as fast as one of names is.
            known = {v: spelling.text(v) for v in {v for v in values if type(v) is str}}
            out[:] = [known[v] if type(v) is str else _spelled(v, i, name, spelling) for i, v in enumerate(values)]
        if not all(map(str.isascii, out)):
            for i, v in enumerate(out):
                _whole(v, i, name)
    return out.reshape(rows, 1)


def _spelled(value: Any, i: int, name: str, spelling: Spelling) -> str:
    try:
        return spelling.text(value)
    except ValueError as e:
        raise InputError(str(e), field=f"rows[{i}].{name}", value=value, fix="send a string, or null when it is missing") from e


def _string(value: Any, i: int, name: str) -> str:
    """As packages without a spelling were served."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return "" if value.isspace() else str(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer) or (isinstance(value, float | np.floating) and float(value).is_integer()):
        return str(int(value))
    raise InputError("is not a category", field=f"rows[{i}].{name}", value=value, fix="send a string, or null when it is missing")


def _whole(value: str, i: int, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise InputError(
            "is not valid Unicode", field=f"rows[{i}].{name}", value=value[:100], fix="send whole code points, no lone surrogates"
        ) from e
