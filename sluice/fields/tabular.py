"""Tabular rows: one tensor a column; encoding, imputation and scaling happen inside the graph."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np
import orjson

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import InputError, PackageError
from sluice.core.numerals import Numerals
from sluice.core.spelling import KINDS as SPELLINGS
from sluice.core.spelling import TEXT, Spelling
from sluice.fields.base import Example, Processor, SideFile, only, setting
from sluice.fields.field import field_of
from sluice.fields.timeparts import TimeColumn
from sluice.fields.timestamps import iso
from sluice.fields.zones import MISSING

#: What an input of the graph cannot be called: its outputs' names, and what the exporter's functions call themselves.
RESERVED = frozenset({"probabilities", "value", "self"})
#: The file of a package that holds what `Spelling.written` is of its columns.
_SPELLINGS = "spellings.json"

_NUMBERS = frozenset({int, float, bool, type(None), np.float64})
_LARGEST = float(np.finfo(np.float32).max)
_DATATYPES = {"numeric": "FP32", "categorical": "BYTES"}
#: A column whose cells become several of the graph's inputs.
_TIME = "timestamp"


@dataclasses.dataclass(frozen=True)
class Column:
    """A feature.

    Attributes:
        name: the client's and the data's.
        type: ``numeric``, ``categorical`` or ``timestamp``.
        spelling: how a categorical column's training rows spell their values (`sluice.core.spelling`): ``boolean``,
            ``number`` or ``text``. None in packages of before: texts stay as they are.
        input: the graph's input, where it cannot have the column's name.
        numerals: how a numeric column's numbers are written where they come as texts; None: texts are no numbers.
        time: how a ``timestamp`` is read and what is made of it; None for the others.
        centre: of a numeric column: what is taken away in 64 bits before the number becomes one of 32.
    """

    name: str
    type: str
    spelling: str | None = None
    input: str | None = None
    numerals: Numerals | None = None
    time: TimeColumn | None = None
    centre: float = 0.0

    @property
    def tensor(self) -> str:
        """The graph's input; of a time the beginning of theirs."""
        return self.input or self.name

    def inputs(self) -> list[TensorSpec]:
        """The graph's inputs."""
        listed = [(self.tensor, _DATATYPES[self.type])] if self.time is None else self.time.inputs(self.tensor)
        return [TensorSpec(name, datatype, (-1, 1)) for name, datatype in listed]

    def field(self) -> TensorSpec:
        """What a client sends of it."""
        datatype = "BYTES" if self.time is not None else "FP64" if self.centre else _DATATYPES[self.type]
        return TensorSpec(self.name, datatype, (-1, 1))

    def spec(self) -> dict[str, Any]:
        given = {
            "spelling": self.spelling,
            "input": self.input,
            "numerals": self.numerals and dataclasses.asdict(self.numerals),
            "centre": self.centre or None,
        }
        return {
            "name": self.name,
            "type": self.type,
            **{k: v for k, v in given.items() if v is not None},
            **(self.time.spec() if self.time else {}),
        }


def input_name(name: str, columns: Collection[str], taken: Collection[str] = ()) -> str | None:
    """`Column.input` of a column among `columns`: None where its own name can be the graph's, which is none of `taken`."""
    if name not in RESERVED and name not in taken:
        return None
    found = f"{name}__column"
    while found in columns or found in taken:
        found += "_"
    return found


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

    def __init__(self, columns: Sequence[Column], written: Mapping[str, Mapping[str, str | None]] | None = None):
        names = [c.name for c in columns]
        if not names:
            raise PackageError("has no columns", field="preprocess.columns", value=[])
        for i, c in enumerate(columns):
            if c.type not in _DATATYPES and (c.type != _TIME or c.time is None):
                raise PackageError("must be numeric, categorical or timestamp", field=f"preprocess.columns[{i}].type", value=c.type)
            if c.spelling is not None and (c.spelling not in SPELLINGS or c.type != "categorical"):
                raise PackageError(
                    f"must be {', '.join(SPELLINGS)}, of a categorical column", field=f"preprocess.columns[{i}].spelling", value=c.spelling
                )
            if c.numerals is not None and c.type != "numeric":
                raise PackageError("are of a numeric column", field=f"preprocess.columns[{i}].numerals", value=c.type)
            if not c.name or c.name in names[:i]:
                raise PackageError("is empty or stands twice", field=f"preprocess.columns[{i}].name", value=c.name)
            before = {t.name for d in columns[:i] for t in d.inputs()}
            if any(t.name in RESERVED or t.name in before for t in c.inputs()):
                raise PackageError(
                    "is the name of a graph's output, or stands twice",
                    field=f"preprocess.columns[{i}].input",
                    value=c.tensor,
                    fix="train again: the graph's input gets a name of its own",
                )
        self.columns = tuple(columns)
        self.written = {name: dict(found) for name, found in (written or {}).items() if found}
        self._names = frozenset(names)
        self._spellings = {c.name: Spelling(c.spelling, self.written.get(c.name, {})) for c in columns if c.spelling is not None}
        self.inputs = tuple(t for c in columns for t in c.inputs())
        #: What clients send, by column: the graph's inputs but for their names, times, and numbers that are centred.
        self.fields = {c.name: c.field() for c in columns}

    @classmethod
    def load(cls, spec: Mapping[str, Any], side_file: SideFile) -> TabularProcessor:
        """Read ``{"kind": "tabular", "columns": [{"name": "age", "type": "numeric"}]}``. Raises `PackageError`.

        A column may have ``spelling``, ``numerals`` (`Numerals` as an object), ``centre`` and ``input``; one of times has what
        `TimeColumn.load` reads; ``"spellings": "spellings.json"`` names the file of `written`.
        """
        only(spec, "kind", "columns", "spellings")
        columns = []
        for i, c in enumerate(setting(spec, "columns", list)):
            where = f"preprocess.columns[{i}]"
            if not isinstance(c, Mapping):
                raise PackageError("is not an object", field=where, value=c)
            kind = setting(c, "type", str, where)
            only(
                c,
                "name",
                "type",
                "input",
                *(("form", "zone", "reference", "parts") if kind == _TIME else ("spelling", "numerals", "centre")),
                where=where,
            )
            spelling, given = (setting(c, key, str, where) if key in c else None for key in ("spelling", "input"))
            try:
                numerals = Numerals.load(setting(c, "numerals", dict, where)) if "numerals" in c else None
            except (TypeError, ValueError) as e:
                raise PackageError(f"cannot be read: {e}", field=f"{where}.numerals", value=c["numerals"]) from e
            centre = c.get("centre", 0.0)
            if isinstance(centre, bool) or not isinstance(centre, int | float) or not math.isfinite(centre):
                raise PackageError("must be a finite number", field=f"{where}.centre", value=centre)
            time = TimeColumn.load(c, where) if kind == _TIME else None
            columns.append(Column(setting(c, "name", str, where), kind, spelling, given, numerals, time, float(centre)))
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
        for c in self.columns:
            values = columns.get(c.name)
            if c.time is not None:
                out |= c.time.tensors(c.time.form.read(values, rows, c.name), c.tensor)
            elif c.type == "numeric":
                out[c.tensor] = _numbers(values, rows, c.name, c.numerals, c.centre)
            else:
                out[c.tensor] = _strings(values, rows, c.name, self._spellings.get(c.name))
        return out

    def plain(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float | str | None]]:
        """Rows that `encode` takes, as the prediction log keeps them: a float, the category's text or the
        time as ISO 8601 a column, None where it is missing."""
        columns: dict[str, list[Any]] = {}
        for c in self.columns:
            values = [row.get(c.name) for row in rows]
            if c.time is not None:
                columns[c.name] = [None if v == MISSING else iso(v) for v in c.time.form.read(values, len(rows), c.name).tolist()]
            elif c.type == "numeric":
                found = [_number(v, i, c.name, c.numerals) for i, v in enumerate(values)]
                columns[c.name] = [None if math.isnan(v) else v for v in found]
            else:
                columns[c.name] = [v or None for v in _strings(values, len(rows), c.name, self._spellings.get(c.name)).ravel().tolist()]
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


def _numbers(values: Sequence[Any] | None, rows: int, name: str, numerals: Numerals | None, centre: float = 0.0) -> np.ndarray:
    if values is None:
        return np.full((rows, 1), np.nan, dtype=np.float32)
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        wide = values.astype(np.float64)
    elif _NUMBERS.issuperset(map(type, values)):
        try:
            wide = np.array(values, dtype=np.float64)
        except OverflowError:
            wide = np.array([_number(v, i, name, numerals) for i, v in enumerate(values)], dtype=np.float64)
    else:
        wide = np.array([_number(v, i, name, numerals) for i, v in enumerate(values)], dtype=np.float64)
    if centre:
        wide = wide - centre
    over = np.abs(wide) > _LARGEST
    if over.any():
        i = int(np.argmax(over))
        raise InputError(
            "is not a finite 32-bit number", field=f"rows[{i}].{name}", value=float(wide[i] + centre), fix="send a finite number, or null"
        )
    return wide.astype(np.float32).reshape(rows, 1)


def _number(value: Any, i: int, name: str, numerals: Numerals | None = None) -> float:
    if value is None:
        return math.nan
    if isinstance(value, numbers.Real | np.bool_ | Decimal):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if numerals is not None and isinstance(value, str):
        found = numerals.parse(value)
        if found is not None:
            return found
        raise InputError(
            "is not a number as the training rows write it",
            field=f"rows[{i}].{name}",
            value=value,
            fix=f"send a number, or a text with {numerals.words()}",
        )
    raise InputError("is not a number", field=f"rows[{i}].{name}", value=value, fix="send a number, or null when it is missing")


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
