"""The columns of a source's table as features: which, of what kind, and how their times are written."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data import timestamps
from sluice.data.look import like_texts
from sluice.data.timestamps import Times
from sluice.data.writable import RESERVED
from sluice.fields import field_of
from sluice.fields.category import Category
from sluice.fields.number import Number
from sluice.fields.timestamp import Timestamp
from sluice.fields.words import Words
from sluice.tasks import columns

if TYPE_CHECKING:
    from sluice.data.config import Columns

_SETTING = "data.columns.features"
#: Values of a column that are looked at for free text, and different ones that there are at least.
_LOOKED_AT, _FEWEST = 5000, 10


class Features:
    """A table of records, read as ``data.columns`` says.

    Args:
        table: the source's.
        wanted: ``data.columns``.
        texts: whether columns of free text are read as words; else as categories, unless `wanted` says otherwise.

    Raises:
        DataError: from all its methods: a column is missing, has a name the dataset keeps, or a type that is no feature.
    """

    def __init__(self, table: pa.Table, wanted: Columns, texts: bool = False):
        self.table, self.wanted, self._texts = table, wanted, texts

    @functools.cached_property
    def names(self) -> list[str]:
        """The features, in the order of the table or of ``data.columns.features``."""
        wanted = self.wanted
        if wanted.features is not None:
            for name in wanted.features:
                columns.column(self.table, name, _SETTING)
            names = list(wanted.features)
        else:
            names = [n for n in self.table.column_names if n not in wanted.ignore and n not in (wanted.label, "row_id")]
        if wanted.label in names:
            raise DataError("is the label and a feature", field=_SETTING, value=wanted.label, fix="take it out of the features")
        for name in RESERVED:
            if name in names:
                raise DataError(
                    "is a name the dataset keeps for itself",
                    field="data.columns",
                    value=name,
                    fix=f"rename the column, or list it under data.columns.ignore (the label column is set to {wanted.label!r})",
                )
        if not names:
            raise DataError("leaves no feature", field="data.columns", value=self.table.column_names, fix="name columns that hold features")
        return names

    @functools.cached_property
    def kinds(self) -> dict[str, str]:
        """What ``data.columns.kinds`` says; else numbers and booleans are numbers, strings categories unless nearly all of them read as numbers, or as times, or are free text."""
        return {name: self._kind(name) for name in self.names}

    @functools.cached_property
    def times(self) -> dict[str, Times]:
        """How the times of each feature that has some are written."""
        return {name: found for name in self.names if (found := self._time(name)) is not None}

    def canonical(self) -> dict[str, Any]:
        """Each feature's column in the dataset's type: float64, string, or a time."""
        out = {}
        for name, kind in self.kinds.items():
            values = columns.column(self.table, name, _SETTING)
            if name in self.times:
                out[name] = timestamps.read(values, name, self.times[name])
                continue
            field = field_of(kind, name)
            if field.quantity or field.category or field.words:
                out[name] = (columns.to_float if field.quantity else columns.to_string)(values, name, "column")
            else:
                out[name] = field.read(values, f"column {name}")
        return out

    def _kind(self, name: str) -> str:
        values = columns.column(self.table, name, _SETTING)
        kind = values.type
        if name in self.wanted.kinds:
            return self.wanted.kinds[name]
        if name in self.wanted.categorical:
            return Category.kind
        if name in self.times:
            return Timestamp.kind
        if columns.is_number(kind) or pa.types.is_null(kind):
            return Number.kind
        if not pa.types.is_string(kind):
            raise DataError(
                f"is of type {kind}, which is no feature",
                field=f"{_SETTING}: {name}",
                fix=f"turn it into numbers or strings, or list {name} under data.columns.ignore",
            )
        if columns.mostly_numbers(values):
            return Number.kind
        return Words.kind if self._texts and _free_text(values) else Category.kind

    def _time(self, name: str) -> Times | None:
        values = columns.column(self.table, name, _SETTING)
        declared = self.wanted.timestamps.get(name)
        other = name in self.wanted.kinds and not field_of(self.wanted.kinds[name], name).timed
        if name in self.wanted.categorical or other:
            return None
        looked = declared is not None or not pa.types.is_string(values.type) or not columns.mostly_numbers(values)
        if not looked:
            return None
        return timestamps.find(values, name, declared, self.wanted.time_zone)


def _free_text(values: pa.ChunkedArray) -> bool:
    found = values.drop_null().slice(0, _LOOKED_AT).to_pylist()
    distinct = len(set(found))
    return distinct >= _FEWEST and like_texts(found, distinct)
