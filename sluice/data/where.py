"""The rows that an expression (`sluice.core.predicate`) is true of."""

from __future__ import annotations

import datetime
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core import predicate
from sluice.core.errors import ProjectError
from sluice.core.predicate import WEEKDAYS, Column, Compared, Missing, Not, OneOf, Predicate
from sluice.core.section import names_in
from sluice.core.spelling import value_text
from sluice.data.columns import stored_beside
from sluice.fields import Field, field_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from sluice.data.dataset import Dataset

_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
#: A column's values are numbers (NaN: missing), times (NaT) or texts (None).
Values = Any


class Held:
    """Rows, and the columns by which they can be looked at.

    Args:
        fields: each column's field; ``label`` is the label.
        values: reads a column.
    """

    def __init__(self, fields: Mapping[str, Field], values: Callable[[str], pa.ChunkedArray]):
        self.fields = dict(fields)
        self._read = functools.cache(values)
        self._part = functools.cache(self._part_of)

    @classmethod
    def of(cls, dataset: Dataset, split: str) -> Held:
        """A split's rows: its features, what stands beside them, and the label."""
        beside = dataset.beside
        kinds = {**dataset.columns, **beside, "label": dataset.problem.label}

        def values(name: str) -> pa.ChunkedArray:
            return dataset.read(split, [stored := stored_beside(name) if name in beside else name]).column(stored)

        return cls({name: field_of(kind, name) for name, kind in kinds.items()}, values)

    def spelled(self, name: str) -> list[str]:
        """A column's values as Python writes them."""
        return [str(v) for v in self._read(name).to_pylist()]

    def texts(self, name: str) -> list[str | None]:
        """A column's values as texts; None where missing."""
        return [None if v is None else v if isinstance(v, str) else value_text(v) for v in self._read(name).to_pylist()]

    def values(self, column: Column) -> Values:
        """A column's values, or a part of them: float64 [rows], datetime64[us] [rows], or texts as objects [rows]."""
        return self._part(column)

    def comparable(self, name: str) -> bool:
        """Whether a column's values can be compared: numbers, times, categories and texts."""
        f = self.fields[name]
        return f.quantity or f.timed or f.category or f.words

    def rows(self, which: Predicate, setting: str = "evaluate.slices") -> NDArray[np.bool_]:
        """Where an expression is true: bool [rows].

        Args:
            which: the expression.
            setting: what an error calls the place it stands in.

        Raises:
            ProjectError: a column is not there, or its values cannot be so compared.
        """
        return self._known(which, str(which), setting)[0]

    def _known(self, which: Predicate, whole: str, setting: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where it is true, and where it is false: a comparison with a missing value is neither (Kleene's logic)."""
        if isinstance(which, Not):
            true, false = self._known(which.of, whole, setting)
            return false, true
        if isinstance(which, predicate.All | predicate.Any):
            parts = [self._known(p, whole, setting) for p in which.of]
            trues, falses = (np.stack(side) for side in zip(*parts, strict=True))
            if isinstance(which, predicate.All):
                return np.all(trues, axis=0), np.any(falses, axis=0)
            return np.any(trues, axis=0), np.all(falses, axis=0)
        wrong = functools.partial(_wrong, which, whole, setting)
        if which.column.name not in self.fields:
            wrong(f"{which.column.name!r} is no column of the data", f"columns: {', '.join(list(self.fields)[:20])}")
        self._fits(which.column, wrong)
        values = self.values(which.column)
        missing = missing_values(values)
        if isinstance(which, Missing):
            return missing, ~missing
        true = np.zeros(len(values), dtype=bool)
        for value in which.values if isinstance(which, OneOf) else (which.value,):
            order = which.order if isinstance(which, Compared) else "=="
            against = _literal(values, order, value, which.column, wrong)
            true[~missing] |= np.asarray(_ORDERS[order](values[~missing], against), dtype=bool)
        return true & ~missing, ~true & ~missing

    def _fits(self, column: Column, wrong: Callable[[str, str], NoReturn]) -> None:
        f = self.fields[column.name]
        if not self.comparable(column.name):
            wrong(
                f"{column.name!r} is a column of kind {f.kind}, whose values cannot be compared",
                "name a number, a category, a time or a text",
            )
        if column.part == "length" and not (f.words or f.category):
            wrong(f"{column.name!r} is no text, so it has no length", "compare its value")
        if column.part not in ("", "length") and not f.timed:
            wrong(f"{column.name!r} is no time, so it has no {column.part}", "name a column of times")

    def _part_of(self, column: Column) -> Values:
        stored, f = self._read(column.name), self.fields[column.name]
        if column.part == "length":
            return _numbers(pc.utf8_length(stored.cast(pa.string())))
        if f.timed:
            times = stored.cast(pa.timestamp("us"))
            if column.part == "weekday":
                return np.array([None if d is None else WEEKDAYS[d] for d in pc.day_of_week(times).to_pylist()], dtype=object)
            if column.part:
                return _numbers({"hour": pc.hour, "month": pc.month}[column.part](times))
            return np.asarray(times.to_numpy(), dtype="datetime64[us]")
        if f.quantity:
            return _numbers(stored)
        return np.array(self.texts(column.name), dtype=object)


def sliced(held: Held, slices: Sequence[str]) -> dict[str, list[str] | NDArray[np.bool_]]:
    """What `evaluate.slices` says of rows: a column's value for each, or whether an expression is true of it. Raises `ProjectError`."""
    out: dict[str, list[str] | NDArray[np.bool_]] = {}
    for text in slices:
        which = predicate.read(text)
        out[text] = held.spelled(which) if isinstance(which, str) else held.rows(which)
    return out


def check_expressions(section: BaseModel, held: Held) -> None:
    """Try each expression of some settings on rows. Raises `ProjectError`: its columns' values cannot be so compared."""
    for setting, text in dict.fromkeys((n.setting, n.text) for n in names_in(section) if n.what == "held" and n.text):
        which = predicate.read(text)
        if not isinstance(which, str):
            held.rows(which, setting)


def missing_values(values: Values) -> NDArray[np.bool_]:
    """Where there is no value: bool [rows]."""
    if values.dtype == object:
        return np.array([v is None for v in values], dtype=bool)
    return np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(
        column.cast(pa.float64()).to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.cast(pa.float64()).to_numpy(),
        dtype=np.float64,
    )


def _literal(values: Values, order: str, value: float | str, column: Column, wrong: Callable[[str, str], NoReturn]) -> Any:
    """What a column's values are compared with, in their type."""
    if values.dtype == object:
        if order not in ("==", "!="):
            wrong(f"{str(column)!r} holds texts, which have no order", "use ==, != or in [...]")
        return value if isinstance(value, str) else value_text(value)
    if values.dtype.kind == "M":
        try:
            return np.datetime64(datetime.datetime.fromisoformat(str(value)).replace(tzinfo=None), "us")
        except ValueError:
            wrong(f"{value!r} is no time", f"write it as {column} {order} '2026-01-31' or '2026-01-31 18:00'")
    if isinstance(value, str):
        wrong(f"{str(column)!r} holds numbers, {value!r} is a text", f"write a number, without quotes: {column} {order} 60")
    return value


def _wrong(which: Predicate, whole: str, setting: str, message: str, fix: str) -> NoReturn:
    place = "" if str(which) == whole else f" (in {which})"
    raise ProjectError(message + place, field=setting, value=whole, fix=fix)
