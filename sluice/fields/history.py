"""A field of histories: lists of names, the oldest first, of which the newest are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sluice.core.errors import InputError, PackageError
from sluice.core.spelling import KINDS, TEXT, Spelling
from sluice.fields.column import Column, ColumnField

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from sluice.fields.parts import Rows

#: Names that have a bin of their own in a reference.
_TOP = 50
#: Names of a history where its column does not say.
LENGTH = 200


class History(ColumnField):
    """Names that came one after another, such as the items a user took. A name counts once, where it came last."""

    kind = "history"
    column_type = "array"
    options = ("length", "spelling")

    @property
    def arrow(self) -> pa.DataType:
        """A list of strings."""
        import pyarrow as pa

        return pa.list_(pa.string())

    @classmethod
    def load(cls, spec: Mapping[str, Any], where: str) -> dict[str, Any]:
        """``length`` and ``spelling``. Raises `PackageError`."""
        length, spelling = spec.get("length", LENGTH), spec.get("spelling", TEXT)
        if type(length) is not int or length < 1:
            raise PackageError("must be a number of names, at least 1", field=f"{where}.length", value=length)
        if spelling not in KINDS:
            raise PackageError(f"must be one of {', '.join(KINDS)}", field=f"{where}.spelling", value=spelling)
        return {"own": {"length": length, "spelling": spelling}}

    def width(self, column: Column) -> int:
        """As many names as are looked at."""
        return int(column.own.get("length", LENGTH))

    def inputs(self, column: Column) -> list[tuple[str, str]]:
        """One of strings, [rows, length]."""
        return [(column.tensor, "BYTES")]

    def encode(self, column: Column, values: Sequence[Any] | None, rows: int) -> dict[str, np.ndarray]:
        """The newest names of each list, "" behind them; a list that is missing is empty."""
        size = self.width(column)
        out = np.full((rows, size), "", dtype=object)
        spelling = Spelling(column.own.get("spelling", TEXT))
        for i, value in enumerate(values if values is not None else ()):
            found = _newest(names(value, f"rows[{i}].{column.name}", spelling), size)
            out[i, : len(found)] = found
        return {column.tensor: out}

    def log(self, column: Column, values: Sequence[Any]) -> list[str | None]:
        """Each list as JSON."""
        spelling = Spelling(column.own.get("spelling", TEXT))
        return [None if v is None else orjson.dumps(names(v, column.name, spelling)).decode() for v in values]

    def reference(self, rows: Rows) -> dict[str, Any]:
        """The parts ``length``, and ``newest``: the last name, with a bin for each of the commonest."""
        import pyarrow as pa

        from sluice.fields.parts import numeric_part, part, value_counts
        from sluice.stats.drift import category_counts

        lists = rows.read("train", [self.name]).column(0).to_pylist()
        last = [v[-1] if v else None for v in lists]
        seen = value_counts([pa.array(last, pa.string())])
        known = {v: n for v, n in seen.items() if v is not None}
        top = sorted(known, key=lambda v: (-known[v], v))[:_TOP]
        return {
            "kind": self.kind,
            "rows": len(lists),
            "nulls": 0,
            "parts": {
                "length": numeric_part([float(len(v or ())) for v in lists]),
                "newest": part({"values": top}, category_counts(seen, top)),
            },
        }

    def counts(self, reference: Mapping[str, Any], values: Sequence[Any]) -> dict[str, NDArray[np.int64]]:
        """Of ``length`` and ``newest``; a list that cannot be read is missing."""
        from sluice.stats.drift import category_counts, numeric_counts

        lists: list[list[str] | None] = []
        for value in values:
            try:
                lists.append(names(value, self.name, Spelling.kept(reference["parts"]["newest"]["values"])))
            except InputError:
                lists.append(None)
        lengths = np.array([np.nan if v is None else float(len(v)) for v in lists])
        parts = reference["parts"]
        return {
            "length": numeric_counts(lengths, parts["length"]["edges"]),
            "newest": category_counts([v[-1] if v else None for v in lists], parts["newest"]["values"]),
        }


def names(value: Any, where: str, spelling: Spelling) -> list[str]:
    """A raw history as names in their one spelling; None and "" are empty, a text is JSON.

    Raises:
        InputError: it is no list, or holds what is no name.
    """
    if isinstance(value, str | bytes):
        try:
            value = orjson.loads(value) if value.strip() else []
        except orjson.JSONDecodeError:
            raise InputError("is no list", field=where, value=value[:100], fix='send a list of names: ["a", "b"]') from None
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return []
    if not isinstance(value, list | tuple | np.ndarray):
        raise InputError("is no list", field=where, value=value, fix='send a list of names: ["a", "b"]')
    out = []
    for i, one in enumerate(value):
        try:
            text = spelling.text(one)
            text.encode()
        except (ValueError, TypeError) as e:
            raise InputError(f"is no name: {e}", field=f"{where}[{i}]", value=one, fix="send a string or a whole number") from e
        if text:
            out.append(text)
    return out


def _newest(found: Sequence[str], size: int) -> list[str]:
    """Each name once, where it came last; the newest of them, the oldest first."""
    last = list(dict.fromkeys(reversed(found)))[:size]
    return last[::-1]
