"""The file of rules that stands beside a project: what the source has to be, column by column."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError, field_validator, model_validator

from sluice.core import yamlfile
from sluice.core.errors import ProjectError
from sluice.core.numerals import Numerals
from sluice.core.section import Section, explain
from sluice.data.config import NumberFormat
from sluice.data.rules.cells import TEXT, Reading, Type
from sluice.data.rules.expressions import Expression
from sluice.fields.timestamps import TimeForm
from sluice.fields.zones import Zone

#: Bytes of a file of rules.
_LARGEST = 4 << 20
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(m|h|d|w)")
_KEYS = "docs/data.md lists the keys of a file of rules"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

Value = str | int | float | bool
Bound = int | float | str


class ColumnRules(Section):
    """What a column of the source has to be."""

    type: Type | None = Field(None, description="number, integer, text, boolean, time, bytes or list; null: whatever it is")
    required: bool = Field(True, description="whether the source has to have the column")
    min: Bound | None = Field(None, description="smallest value allowed; of times, ISO 8601")
    max: Bound | None = None
    above: Bound | None = Field(None, description="every value is larger")
    below: Bound | None = None
    values: list[Value] | None = Field(None, description="the only values allowed")
    values_not: list[Value] | None = Field(None, description="values that are not allowed")
    regex: str | None = Field(None, description="what the whole of a text matches (RE2)")
    length_min: int | None = Field(None, ge=0, description="characters of a text")
    length_max: int | None = Field(None, ge=0)
    nulls_max: float | None = Field(None, ge=0, le=1, description="largest fraction of rows without a value")
    unique: bool = Field(False, description="no value stands twice")
    tolerance: float = Field(0.0, ge=0, lt=1, description="fraction of the rows that may break each of the column's rules but nulls_max")
    form: str = Field("iso", description="of a column of times: iso, s, ms, us, ns, or a form such as %d.%m.%Y")
    zone: str = Field("UTC", description="whose wall clock is meant by its times")
    numbers: NumberFormat | None = Field(None, description="how numbers are written in a column of texts")
    description: str = ""

    @property
    def reading(self) -> Reading:
        """How its cells are read."""
        numerals = Numerals(self.numbers.decimal, self.numbers.thousands) if self.numbers else None
        return Reading(self.type or self._implied(), numerals, self.form, self.zone)

    def _implied(self) -> Type | None:
        """The type that its bounds and values are of, where none is declared: of a CSV every cell is a text."""
        bounds = [b for b in (self.min, self.max, self.above, self.below) if b is not None]
        for given in (bounds, self.values or self.values_not or []):
            kinds = {type(v) for v in given}
            if kinds:
                return "boolean" if kinds == {bool} else "number" if kinds <= {int, float} else "text" if not bounds else "time"
        return None

    @field_validator("regex")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                pc.match_substring_regex(pa.array([""]), value)
            except pa.ArrowException as e:
                raise ValueError(f"is no regular expression of RE2 (without look-around): {str(e).partition(chr(10))[0]}") from e
        return value

    @field_validator("form")
    @classmethod
    def _is_a_form(cls, value: str) -> str:
        TimeForm(value)
        return value

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        Zone.named(value)
        return value

    @model_validator(mode="after")
    def _fits_its_type(self) -> ColumnRules:
        bounds = {k: getattr(self, k) for k in ("min", "max", "above", "below") if getattr(self, k) is not None}
        for key, value in bounds.items():
            if self.type not in (None, "number", "integer", "time") or isinstance(value, bool):
                raise ValueError(f"{key} is for numbers and times, the type is {self.type}")
            if (self.type == "time") != isinstance(value, str):
                told = (
                    "a number is written without quotes; of times declare type: time"
                    if isinstance(value, str)
                    else "a time is a text: 2024-12-31"
                )
                raise ValueError(f"{key} is {value!r}, the type is {self.type}: {told}")
            if isinstance(value, str):
                _time(value)
        numbers = self.type in ("number", "integer")
        for key in ("values", "values_not"):
            for v in getattr(self, key) or ():
                if (numbers and (isinstance(v, str | bool))) or (self.type == TEXT and not isinstance(v, str)):
                    raise ValueError(f"{key} holds {v!r}, the type is {self.type}" + ("; write it in quotes" if not numbers else ""))
        if self.type != TEXT and any(v is not None for v in (self.regex, self.length_min, self.length_max)):
            raise ValueError("regex, length_min and length_max are for texts: declare type: text")
        return self


class Freshness(Section):
    """The newest row is not older than this, when the rules are judged."""

    column: str
    max_age: str = Field(description="a number and m, h, d or w: 36h, 7d")

    @field_validator("max_age")
    @classmethod
    def _is_an_age(cls, value: str) -> str:
        age_of(value)
        return value


class SchemaFile(Section):
    """A file of rules, `version` 1."""

    version: Literal[1] = 1
    rows_min: int | None = Field(None, ge=0)
    rows_max: int | None = Field(None, ge=0)
    only: bool = Field(False, description="whether other columns than these are refused")
    columns: dict[str, ColumnRules] = {}
    unique: list[list[str]] = Field([], description="columns whose values together stand once")
    expressions: list[Annotated[str, Field(min_length=1)]] = Field([], description="what is true of every row: end >= start")
    freshness: list[Freshness] = []

    @model_validator(mode="after")
    def _names_its_columns(self) -> SchemaFile:
        for named in [*self.unique, *([f.column] for f in self.freshness)]:
            for name in named:
                if name not in self.columns:
                    raise ValueError(f"names a column {name!r} that is not declared under columns")
        for f in self.freshness:
            if self.columns[f.column].type != "time":
                raise ValueError(f"freshness asks {f.column!r} for times: declare columns.{f.column}.type: time")
        return self


def parse_schema(text: str, where: str) -> SchemaFile:
    """A file of rules. Raises `ProjectError`: every fault with its key, value and what to do."""
    raw = yamlfile.load(text, where)
    if not isinstance(raw, dict):
        raise ProjectError(
            "a file of rules is a mapping (version:, columns:)", field=where, fix="`sluice data infer PROJECT -o FILE` writes one"
        )
    try:
        made = SchemaFile.model_validate(raw)
    except ValidationError as e:
        found = explain(e, SchemaFile, (), where)
        fix = (found.fix or "").replace("see `sluice schema`", _KEYS).replace("`sluice schema` lists the keys", _KEYS)
        more = {"value": found.value} if found.has_value else {}
        raise ProjectError(found.message.replace("see `sluice schema`", _KEYS), field=found.field, fix=fix, **more) from e
    for i, text in enumerate(made.expressions):
        Expression(text, f"{where}: expressions.{i}").check_names(made.columns)
    return made


def read_text_of(path: Path, setting: str) -> str:
    """The text of a file of rules. Raises `ProjectError`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ProjectError(f"has more than {_LARGEST:,} bytes", field=setting, value=str(path), fix="name a file of rules")
        return path.read_text(encoding="utf-8")
    except OSError as e:
        fix = "`sluice data infer PROJECT -o FILE` writes one; paths start at the project file"
        raise ProjectError(f"cannot be read: {e.strerror}", field=setting, value=str(path), fix=fix) from e
    except UnicodeDecodeError as e:
        raise ProjectError("is not UTF-8 text", field=setting, value=str(path), fix="save it as UTF-8") from e


def age_of(text: str) -> datetime.timedelta:
    """``36h``, ``7d``. Raises `ValueError`."""
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise ValueError("is a number and m, h, d or w: 36h, 7d")
    return datetime.timedelta(**{_UNITS[found[2]]: float(found[1])})


def _time(text: str) -> datetime.datetime:
    """Raises `ValueError`."""
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time of ISO 8601, such as 2024-12-31 or 2024-12-31T23:59") from None


def bound_of(value: Bound) -> Any:
    """A bound as its values are compared: a time without zone, or a number."""
    if not isinstance(value, str):
        return value
    import pandas as pd

    time = _time(value)
    return pd.Timestamp(time.astimezone(datetime.UTC).replace(tzinfo=None) if time.tzinfo else time)


def said(value: Any) -> str:
    """A bound or value in words."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
