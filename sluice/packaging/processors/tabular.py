"""Tabular rows: one tensor a column; encoding, imputation and scaling happen inside the graph."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from sluice.errors import InputError, PackageError
from sluice.packaging.package import TensorSpec
from sluice.packaging.processors.base import Example, Processor, SideFile, only, setting

#: Names of a graph's outputs: an input cannot have them too.
RESERVED = frozenset({"probabilities", "value"})

_NUMBERS = frozenset({int, float, bool, type(None), np.float64})
_LARGEST = float(np.finfo(np.float32).max)
_DATATYPES = {"numeric": "FP32", "categorical": "BYTES"}


@dataclasses.dataclass(frozen=True)
class Column:
    """A feature: `type` is ``numeric`` or ``categorical``."""

    name: str
    type: str


class TabularProcessor(Processor):
    """Rows are dicts from column to value; None, NaN, an empty string and an absent key mean missing.

    Numeric columns take numbers and booleans (1 and 0); a missing one is NaN. Categorical columns take
    strings, and whole numbers and booleans as Arrow writes them (``3``, ``true``); a missing one is ``""``.

    Args:
        columns: the features, in the graph's order.

    Raises:
        PackageError: no columns, one named twice or as an output of the graph, or an unknown type.
    """

    kind: ClassVar[str] = "tabular"

    def __init__(self, columns: Sequence[Column]):
        names = [c.name for c in columns]
        if not names:
            raise PackageError("has no columns", field="preprocess.columns", value=[])
        for i, c in enumerate(columns):
            if c.type not in _DATATYPES:
                raise PackageError("must be numeric or categorical", field=f"preprocess.columns[{i}].type", value=c.type)
            if c.name in RESERVED:
                raise PackageError("is the name of a graph's output", field=f"preprocess.columns[{i}].name", value=c.name, fix="rename the column")
            if not c.name or c.name in names[:i]:
                raise PackageError("is empty or stands twice", field=f"preprocess.columns[{i}].name", value=c.name)
        self.columns = tuple(columns)
        self._names = frozenset(names)
        self.inputs = tuple(TensorSpec(c.name, _DATATYPES[c.type], (-1, 1)) for c in columns)

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> TabularProcessor:
        """Read ``{"kind": "tabular", "columns": [{"name": "age", "type": "numeric"}]}``. Raises `PackageError`."""
        only(spec, "kind", "columns")
        columns = []
        for i, c in enumerate(setting(spec, "columns", list)):
            where = f"preprocess.columns[{i}]"
            if not isinstance(c, Mapping):
                raise PackageError("is not an object", field=where, value=c)
            only(c, "name", "type", where=where)
            columns.append(Column(setting(c, "name", str, where), setting(c, "type", str, where)))
        return cls(columns)

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """One [1] tensor a column: FP32, or object (str). Raises `InputError`."""
        if not len(rows):
            return []
        whole = self.encode_batch(rows)
        names = list(whole)
        return [dict(zip(names, values, strict=True)) for values in zip(*whole.values(), strict=True)]

    def encode_batch(self, rows: Sequence[Any]) -> dict[str, np.ndarray]:
        """One [rows, 1] tensor a column, built a column at a time. Raises `InputError`."""
        for i, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InputError("is not a row", field=f"rows[{i}]", value=row, fix="send an object from column to value")
            if not self._names.issuperset(row):
                self._unknown(i, row)
        return self.encode_columns({name: [row.get(name) for row in rows] for name in self._names}, len(rows))

    def encode_columns(self, columns: Mapping[str, Sequence[Any]], rows: int) -> dict[str, np.ndarray]:
        """The same from whole columns of `rows` values each; an absent column is missing throughout. Raises `InputError`."""
        return {c.name: (_numbers if c.type == "numeric" else _strings)(columns.get(c.name), rows, c.name) for c in self.columns}

    def _unknown(self, i: int, row: Mapping[Any, Any]) -> None:
        name = next(k for k in row if k not in self._names)
        near = difflib.get_close_matches(str(name), self._names, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(c.name for c in self.columns)}"
        raise InputError("is not a column of this model", field=f"rows[{i}].{name}", value=row[name], fix=fix)

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """[examples, 1] a column."""
        return {t.name: np.stack([e[t.name] for e in examples]) for t in self.inputs}

    def spec(self) -> dict[str, Any]:
        return {"kind": "tabular", "columns": [dataclasses.asdict(c) for c in self.columns]}


def _numbers(values: Sequence[Any] | None, rows: int, name: str) -> np.ndarray:
    if values is None:
        return np.full((rows, 1), np.nan, dtype=np.float32)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        wide = values.astype(np.float64)
    elif _NUMBERS.issuperset(map(type, values)):
        try:
            wide = np.array(values, dtype=np.float64)
        except OverflowError:
            wide = np.array([_number(v, i, name) for i, v in enumerate(values)], dtype=np.float64)
    else:
        wide = np.array([_number(v, i, name) for i, v in enumerate(values)], dtype=np.float64)
    over = np.abs(wide) > _LARGEST
    if over.any():
        i = int(np.argmax(over))
        raise InputError("is not a finite 32-bit number", field=f"rows[{i}].{name}", value=float(wide[i]), fix="send a finite number, or null")
    return wide.astype(np.float32).reshape(rows, 1)


def _number(value: Any, i: int, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, numbers.Real | np.bool_):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    raise InputError("is not a number", field=f"rows[{i}].{name}", value=value, fix="send a number, or null when it is missing")


def _strings(values: Sequence[Any] | None, rows: int, name: str) -> np.ndarray:
    out = np.empty(rows, dtype=object)
    if values is None:
        out[:] = ""
    else:
        out[:] = [v if type(v) is str else _string(v, i, name) for i, v in enumerate(values)]
        if not all(map(str.isascii, out)):
            for i, v in enumerate(out):
                _whole(v, i, name)
    return out.reshape(rows, 1)


def _string(value: Any, i: int, name: str) -> str:
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer) or (isinstance(value, float | np.floating) and float(value).is_integer()):
        return str(int(value))
    raise InputError("is not a category", field=f"rows[{i}].{name}", value=value, fix="send a string, or null when it is missing")


def _whole(value: str, i: int, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise InputError("is not valid Unicode", field=f"rows[{i}].{name}", value=value[:100],
                         fix="send whole code points, no lone surrogates") from e  # fmt: skip
