"""A source's table read as interactions: which columns they are, and every cell held to what it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError
from sluice.core.spelling import NUMBER
from sluice.data import timestamps
from sluice.data.interactions import Interactions
from sluice.data.report import counted
from sluice.data.spellings import respelled, spelling_of
from sluice.data.split_keys import time_keys, time_numbers
from sluice.fields.zones import MISSING
from sluice.tasks import columns
from sluice.tasks.roles import by_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluice.data.config import Columns
    from sluice.tasks.recommend_config import RecommendModel

#: What columns are called where the project does not say; the first that is there is taken.
NAMES = {
    "user": ("user", "userid", "customer", "customerid", "visitor", "visitorid", "member", "memberid", "client", "clientid", "session", "sessionid",
             "reviewer", "reviewerid", "kunde", "kundennr"),
    "item": ("item", "itemid", "movie", "movieid", "product", "productid", "article", "articleid", "track", "trackid", "song", "songid",
             "artist", "artistid", "book", "bookid", "isbn", "sku", "stockcode", "content", "contentid", "asin", "artikel", "artikelnr", "artikelnummer"),
    "time": ("time", "timestamp", "datetime", "date", "ts", "eventtime", "createdat", "invoicedate", "orderdate",
             "tsms", "timestampms", "unixreviewtime", "unixtime", "bestelldatum", "datum"),
    "weight": ("weight", "rating", "count", "plays", "playcount", "quantity", "score", "overall", "menge"),
}  # fmt: skip
#: From so many columns, of which such a share are numbers, they are items.
_WIDE, _MOSTLY = 8, 0.9
#: What is said of a weight below 0.
NEGATIVE = "is a negative weight"
#: Without these two there is nothing to learn.
_NEEDED = ("user", "item")


def chosen(table: pa.Table, model: RecommendModel) -> dict[str, str]:
    """The column of each role, as the project says or by its name.

    Raises:
        DataError: a column that is named is not there; no column is the user's, or the item's.
    """
    found: dict[str, str] = {}
    for role, names in NAMES.items():
        given = getattr(model, role)
        if given is not None:
            columns.column(table, given, f"model.{role}")
            found[role] = given
            continue
        taken = {n for r in NAMES if (n := getattr(model, r)) is not None} | set(found.values()) | set(model.features)
        name = by_name(table.column_names, names, taken)
        if name is not None:
            found[role] = name
        elif role in _NEEDED:
            _check_wide(table, role, found)
            raise DataError(
                f"which column is the {role} cannot be told from the names",
                field=f"model.{role}",
                value=table.column_names[:20],
                fix=f"name it, such as model: {{{role}: {table.column_names[0]}}}",
            )
    return found


def _check_wide(table: pa.Table, role: str, found: Mapping[str, str]) -> None:
    """Raises `DataError` where nearly every column holds numbers: a row a user and a column an item, or the other way round."""
    rest = [n for n in table.column_names if n not in found.values()]
    first = next(iter(found.values()), None) or table.column_names[0]
    numeric = [n for n in rest if n != first and columns.is_number(table.schema.field(n).type)]
    if role != "item" or len(rest) < _WIDE or len(numeric) < _MOSTLY * len(rest):
        return
    raise DataError(
        f"holds a row a user and a column an item ({len(numeric):,} columns of numbers), where a row an interaction is read",
        field="data.source",
        value=table.column_names[:10],
        fix=f"melt it: pandas.read_csv(FILE).melt({first!r}, var_name='item', value_name='rating').dropna().to_csv('ratings.csv', index=False); "
        "then name ratings.csv" + ("" if first in found.values() else f", with --set model.user={first}"),
    )


class Log:
    """Interactions as a source holds them, cleaned; what was left out is told in `notes`.

    Args:
        table: the source's.
        model: which columns.
        settings: ``data.columns``: how times are written.

    Raises:
        DataError: no such column; a weight that is negative or no number; a time that cannot be read; a single item or user.
    """

    def __init__(self, table: pa.Table, model: RecommendModel, settings: Columns):
        self.table, self.model = table, model
        self.columns = chosen(table, model)
        self.notes: list[str] = [self._said()]
        use = self._named()
        weights = self._weights()
        if model.least_weight is not None:
            few = use & (weights < model.least_weight)
            self._left_out(int(few.sum()), f"weigh less than model.least_weight {model.least_weight:g}")
            use &= ~few
        if "weight" in self.columns:
            nothing = use & (weights == 0)
            self._left_out(int(nothing.sum()), "weigh nothing")
            use &= ~nothing
        times = self._times(settings, use)
        use = self._distinct(use, times, weights)
        self.found = self._taken(use, times, weights)
        self._enough()

    def _said(self) -> str:
        said = ", ".join(f"{role} {name!r}" for role, name in self.columns.items())
        return f"interactions are read as {said}" + ("" if "time" in self.columns else "; no column tells the time: the rows' order counts")

    def _left_out(self, n: int, why: str) -> None:
        if n:
            self.notes.append(f"{counted(n, 'interaction')} left out: they {why}")

    def _named(self) -> np.ndarray:
        """Rows with a user and an item; both in one spelling, whether a file has them as numbers or as texts."""
        use = np.ones(self.table.num_rows, bool)
        self._names = {}
        for role in _NEEDED:
            name = self.columns[role]
            raw = columns.column(self.table, name, f"model.{role}")
            texts = columns.to_string(raw, name, f"column {name}, model.{role}:")
            spelling = spelling_of(texts)
            self._names[role] = respelled(texts, spelling, typed=spelling.kind == NUMBER).combine_chunks()
            use &= np.asarray(pc.is_valid(self._names[role]))
        self._left_out(int((~use).sum()), "have no user or no item")
        return use

    def _weights(self) -> np.ndarray:
        name = self.columns.get("weight")
        if name is None:
            return np.ones(self.table.num_rows)
        values = columns.to_float(columns.column(self.table, name, "model.weight"), name, "column")
        found = np.asarray(values.to_numpy(), dtype=np.float64)
        least = self.model.least_weight
        for bad, why in ((~np.isfinite(found), "is no weight"), ((found < 0) & (least is None or least < 0), NEGATIVE)):
            if bad.any():
                row = int(np.argmax(bad))
                raise DataError(
                    f"{why} ({counted(int(bad.sum()), 'such row')})",
                    field=f"column {name}, row {row + 1}",
                    value=self.table.column(name)[row].as_py(),
                    fix="a weight is a number from 0 on: correct the cells, or have such rows (what was given back) left out: model: {least_weight: 0}",
                )
        return found

    def _times(self, settings: Columns, use: np.ndarray) -> np.ndarray | None:
        name = self.columns.get("time")
        if name is None:
            return None
        values = columns.column(self.table, name, "model.time")
        form = timestamps.find(values, name, settings.timestamps.get(name), settings.time_zone)
        if form is not None:
            values = timestamps.read(values, name, form)
        elif pa.types.is_string(values.type) and not columns.mostly_numbers(values):
            raise self._unreadable(name, values)
        else:
            values = time_keys(values)
        missing = use & np.asarray(pc.is_null(values))
        if missing.any():
            row = int(np.argmax(missing))
            raise DataError(
                f"holds no time ({counted(int(missing.sum()), 'such row')})",
                field=f"column {name}, row {row + 1}",
                value=self.table.column(name)[row].as_py(),
                fix="fill the cells, or take the rows out",
            )
        self.form = form
        self.clock = values
        return time_numbers(values.fill_null(values.drop_null()[0]) if values.null_count else values)

    @staticmethod
    def _unreadable(name: str, values: pa.ChunkedArray) -> DataError:
        """The first cell that is not written as most are, or the first of all."""
        most = timestamps.nearly(values.drop_null().unique())
        row, said = 0, "is written as no time that is known"
        if most is not None:
            said = f"is not written as most are ({most[0]}; {most[1]:.0%} of the different ones): times in two forms cannot be put in order"
            reader = timestamps.Times(most[0]).reader
            bad = reader.read(values.to_pylist(), len(values), name, strict=False) == MISSING
            row = int(np.argmax(bad))
        fix = f'write all of them one way (ISO 8601), or say how they are written: data.columns.timestamps: {{{name}: "%d.%m.%Y %H:%M"}}'
        return DataError(said, field=f"column {name}, row {row + 1}", value=values[row].as_py(), fix=fix)

    def _distinct(self, use: np.ndarray, times: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
        """Without rows that repeat another in all that counts; where there are no times, nothing tells a repetition from a second time."""
        if times is None:
            return use
        at = np.flatnonzero(use)
        codes = [np.asarray(self._names[r].dictionary_encode().indices.fill_null(-1)).astype(np.int64)[at] for r in _NEEDED]
        first = np.unique(np.stack([*codes, np.unique(times[at], return_inverse=True)[1], np.unique(weights[at], return_inverse=True)[1]]), axis=1, return_index=True)[1]  # fmt: skip
        self._left_out(len(at) - len(first), "repeat another in user, item, time and weight")
        out = np.zeros_like(use)
        out[at[first]] = True
        return out

    def _taken(self, use: np.ndarray, times: np.ndarray | None, weights: np.ndarray) -> Interactions:
        at = np.flatnonzero(use)
        users, items = (self._names[r].take(pa.array(at)) for r in _NEEDED)
        return Interactions(users, items, None if times is None else times[at], weights[at], at)

    def _enough(self) -> None:
        for role, names in (("user", self.found.users), ("item", self.found.items)):
            n = pc.count_distinct(names).as_py()
            if n < 2:
                value: Any = names[0].as_py() if n else None
                raise DataError(
                    f"holds {counted(n, role)}: nothing to choose between"
                    if role == "item"
                    else f"holds {counted(n, role)}: nothing to learn from others",
                    field=f"column {self.columns[role]}",
                    value=value,
                    fix=f"give interactions of several {role}s, or name another column: model.{role}",
                )
        counts = np.asarray(self.found.users.value_counts().field("counts"))
        alone = int((counts == 1).sum())
        if alone:
            self.notes.append(
                f"{counted(alone, 'user')} of {len(counts):,} with one interaction: it is learnt from, and held out it judges what a new user is told"
            )
