"""The rows that an expression (`sluice.core.predicate`) is true of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core import predicate
from sluice.core.predicate import Column, Missing, Predicate
from sluice.core.section import names_in
from sluice.core.spelling import value_text
from sluice.data.columns import null_for_nan, stored_beside
from sluice.data.truth import Truth, Wrong, part_of, wrongly
from sluice.fields import Field, field_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from sluice.data.dataset import Dataset

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
        self._stored = functools.cache(self._stored_of)
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
        return np.asarray(pc.fill_null(Truth(which, self._stored, self._count, setting, self._fits).known(), False))

    @functools.cached_property
    def _count(self) -> int:
        return len(self._stored(next(iter(self.fields))))

    def _fits(self, column: Column, wrong: Wrong) -> None:
        if column.name not in self.fields:
            wrong(f"{column.name!r} is no column of the data", f"columns: {', '.join(list(self.fields)[:20])}")
        if not self.comparable(column.name):
            kind = self.fields[column.name].kind
            fix = "name a number, a category, a time or a text"
            wrong(f"{column.name!r} is a column of kind {kind}, whose values cannot be compared", fix)

    def _stored_of(self, name: str) -> pa.ChunkedArray:
        """A column's values as numbers, times or texts, null where missing."""
        stored, f = self._read(name), self.fields[name]
        if f.timed:
            return stored.cast(pa.timestamp("us"))
        if f.quantity:
            return null_for_nan(stored.cast(pa.float64()))
        return stored if pa.types.is_string(stored.type) else pa.chunked_array([pa.array(self.texts(name), pa.string())])

    def _part_of(self, column: Column) -> Values:
        values = part_of(self._stored(column.name), column, functools.partial(wrongly, Missing(column), Missing(column), "column"))
        if pa.types.is_string(values.type):
            return np.array(values.to_pylist(), dtype=object)
        kind, unknown = ("datetime64[us]", None) if pa.types.is_timestamp(values.type) else (np.float64, np.nan)
        return np.asarray(values.to_numpy() if unknown is None else pc.fill_null(values.cast(pa.float64()), unknown).to_numpy(), dtype=kind)


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
