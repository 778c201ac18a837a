"""Tabular rows: one tensor a column; encoding, imputation and scaling happen inside the graph."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np
import orjson

from sluice.core.errors import InputError, PackageError
from sluice.core.spelling import KINDS as SPELLINGS
from sluice.fields.base import Example, Processor, SideFile, only, setting
from sluice.fields.column import RESERVED, Column, ColumnField
from sluice.fields.field import FIELDS, Field, field_of

#: The file of a package that holds what `Spelling.written` is of its columns.
_SPELLINGS = "spellings.json"


class TabularProcessor(Processor):
    """Rows are dicts from column to value; None, NaN, a blank string and an absent key mean missing.

    Numeric columns take numbers and booleans (1 and 0); a missing one is NaN. Categorical columns take
    strings, numbers and booleans, each in the spelling of the training rows; a missing one is ``""``.
    Columns of times take what `TimeForm.read` does, and become several inputs (`TimeColumn.inputs`).

    Args:
        columns: the features, in the graph's order.
        written: `Spelling.written` of the columns of texts that have one, by the column's name.

    Raises:
        PackageError: no columns, one named twice, an input of the graph named twice or as an output, or an unknown type or spelling.
    """

    kind: ClassVar[str] = "tabular"
    alike: ClassVar[bool] = True

    def __init__(self, columns: Sequence[Column], written: Mapping[str, Mapping[str, str | None]] | None = None):
        names = [c.name for c in columns]
        if not names:
            raise PackageError("has no columns", field="preprocess.columns", value=[])
        above, before = set[str](), set[str]()
        for i, c in enumerate(columns):
            if not isinstance(c.field, ColumnField):
                raise PackageError(f"must be {_kinds()}", field=f"preprocess.columns[{i}].type", value=c.type)
            if c.spelling is not None and (c.spelling not in SPELLINGS or not c.field.category):
                raise PackageError(
                    f"must be {', '.join(SPELLINGS)}, of a categorical column", field=f"preprocess.columns[{i}].spelling", value=c.spelling
                )
            if c.numerals is not None and not c.field.quantity:
                raise PackageError("are of a numeric column", field=f"preprocess.columns[{i}].numerals", value=c.type)
            if not c.name or c.name in above:
                raise PackageError("is empty or stands twice", field=f"preprocess.columns[{i}].name", value=c.name)
            inputs = {t.name for t in c.inputs()}
            if not inputs.isdisjoint(before) or not inputs.isdisjoint(RESERVED):
                raise PackageError(
                    "is the name of a graph's output, or stands twice",
                    field=f"preprocess.columns[{i}].input",
                    value=c.tensor,
                    fix="train again: the graph's input gets a name of its own",
                )
            above.add(c.name)
            before |= inputs
        self.written = {name: dict(found) for name, found in (written or {}).items() if found}
        self.columns = tuple(dataclasses.replace(c, written=self.written.get(c.name, {})) for c in columns)
        self._fields = [(c, c.field) for c in self.columns if isinstance(c.field, ColumnField)]
        self._encoders = [(c, field.encode) for c, field in self._fields]
        self._names = frozenset(names)
        self.inputs = tuple(t for c in columns for t in c.inputs())
        #: What clients send, by column: the graph's inputs but for their names, times, and numbers that are centred.
        self.fields = {c.name: c.sent() for c in columns}

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> TabularProcessor:
        """Read ``{"kind": "tabular", "columns": [{"name": "age", "type": "numeric"}]}``. Raises `PackageError`.

        A column may have ``spelling``, ``numerals`` (`Numerals` as an object), ``centre`` and ``input``; one of times has what
        `TimeColumn.load` reads; ``"spellings": "spellings.json"`` names the file of `written`.
        """
        only(spec, "kind", "columns", "spellings")
        columns = [_column(c, f"preprocess.columns[{i}]") for i, c in enumerate(setting(spec, "columns", list))]
        written = _read_written(side_file(_file_name(setting(spec, "spellings", str)))) if "spellings" in spec else None
        return cls(columns, written)

    @classmethod
    def names(cls, spec: Mapping[str, Any]) -> list[str] | None:
        """Its columns'."""
        return [c["name"] for c in spec["columns"]] if "columns" in spec else None

    @classmethod
    def numbers(cls, spec: Mapping[str, Any]) -> frozenset[str]:
        """Quantities but for those whose training rows write numbers in a way of their own."""
        return frozenset(c["name"] for c in spec["columns"] if field_of(c["type"], c["name"]).quantity and "numerals" not in c)

    def encode(self, rows: Sequence[Any]) -> list[Example]:
        """One [1] tensor a column: FP32, or object (str). Raises `InputError`."""
        if not len(rows):
            return []
        whole = self.encode_batch(rows)
        names = list(whole)
        return [dict(zip(names, values, strict=True)) for values in zip(*whole.values(), strict=True)]

    def owners(self) -> dict[str, tuple[str, ...]]:
        """Each column -> its inputs."""
        return {c.name: tuple(t.name for t in c.inputs()) for c in self.columns}

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
        out: dict[str, np.ndarray] = {}
        for c, encode in self._encoders:
            out.update(encode(c, columns.get(c.name), rows))
        return out

    def plain(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float | str | None]]:
        """Rows that `encode` takes, as the prediction log keeps them: a float, the category's text or the
        time as ISO 8601 a column, None where it is missing."""
        columns: dict[str, list[Any]] = {}
        for c, field in self._fields:
            columns[c.name] = field.log(c, [row.get(c.name) for row in rows])
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _unknown(self, i: int, row: Mapping[Any, Any]) -> None:
        name = next(k for k in row if k not in self._names)
        near = difflib.get_close_matches(str(name), self._names, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(c.name for c in self.columns)}"
        raise InputError("is not a column of this model", field=f"rows[{i}].{name}", value=row[name], fix=fix)

    def batch(self, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """[examples, 1] a column."""
        return {t.name: np.stack([e[t.name] for e in examples]) for t in self.inputs}

    def spec(self) -> dict[str, Any]:
        return {"kind": "tabular", "columns": [c.spec() for c in self.columns], **({"spellings": _SPELLINGS} if self.written else {})}

    def files(self) -> dict[str, bytes]:
        return {_SPELLINGS: orjson.dumps(self.written, option=orjson.OPT_SORT_KEYS)} if self.written else {}


def _kinds() -> str:
    kinds = [k for k in FIELDS.names() if issubclass(FIELDS.get(k), ColumnField)]
    return f"{', '.join(kinds[:-1])} or {kinds[-1]}"


def _column(spec: Any, where: str) -> Column:
    """A column as a package has it. Its kind is found among those that are installed, and never imported as ``module:Class``."""
    if not isinstance(spec, Mapping):
        raise PackageError("is not an object", field=where, value=spec)
    kind = setting(spec, "type", str, where)
    field = type(field_of(kind, "")) if ":" not in kind else Field
    if not issubclass(field, ColumnField):
        raise PackageError(f"must be {_kinds()}", field=f"{where}.type", value=kind)
    only(spec, "name", "type", "input", *field.options, where=where)
    given = setting(spec, "input", str, where) if "input" in spec else None
    return Column(setting(spec, "name", str, where), kind, input=given, **field.load(spec, where))


def _file_name(name: str) -> str:
    if PurePosixPath(name).name != name or name in {"", ".", ".."}:
        raise PackageError("must be a file name in the package", field="preprocess.spellings", value=name)
    return name


def _read_written(raw: bytes) -> dict[str, dict[str, str | None]]:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as e:
        raise PackageError(f"is not JSON: {e}", field="preprocess.spellings", fix="copy the package again") from e
    if not isinstance(found, dict) or not all(
        isinstance(m, dict) and all(isinstance(v, str | None) for v in m.values()) for m in found.values()
    ):
        raise PackageError("must hold texts by column and value", field="preprocess.spellings", fix="copy the package again")
    return found
