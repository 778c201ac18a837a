"""Columns of times in a source: which they are, how they are written, and their values."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError, InputError
from sluice.data.columns import MOSTLY_NUMBERS, numbers
from sluice.fields.timestamp import wall_clock
from sluice.fields.timestamps import MISSING_TIMES, UNITS, TimeForm, iso
from sluice.fields.zones import MISSING, Zone

#: Type of a column of times in a dataset: the wall clock's, in the zone they are read in.
TIME = pa.timestamp("us")
#: Share of a column of texts that has to be times of one form; the others are then faults.
MOSTLY_TIMES = MOSTLY_NUMBERS

#: A date's form reads a time of 24 hours behind it too.
_CLOCKS = ("", " %I:%M %p", " %I:%M:%S %p", ", %I:%M %p", ", %I:%M:%S %p")
_DATES = (
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d %b %Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%a, %d %b %Y",
    "%a %b %d %Y",
    "%a, %b %d, %Y",
    "%d.%m.%y",
    "%m/%d/%y",
    "%d/%m/%y",
)
_MONTHS = ("%Y/%m", "%m/%Y", "%b %Y", "%Y %b", "%b-%Y", "%b-%y")
_QUARTERS = ("%YQ%q", "%Y-Q%q", "%Y Q%q", "%Y:Q%q", "Q%q %Y", "Q%q-%Y", "Q%q/%Y")
_OTHERS = ("%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %Y", "%b %d %H:%M:%S %Y")
_TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p")
_MONTH = re.compile("jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec", re.I)
#: Years in which a form is believed that was not declared.
_YEARS = (1800, 2200)
#: Microseconds at which the years 1 and 10000 begin.
_CALENDAR = (-62_135_596_800_000_000, 253_402_300_800_000_000)
#: Distinct values looked at: first a few, to rule a column out.
_FEW, _MANY = 100, 20_000
#: Words in a column's name that make its numbers since 1970 likely.
_HINTS = frozenset(
    {
        "time",
        "times",
        "date",
        "datetime",
        "timestamp",
        "ts",
        "epoch",
        "unix",
        "created",
        "updated",
        "modified",
        "at",
        "when",
        "utc",
        "day",
        "dt",
    }
)
#: Times a number since 1970 is believed to be: 2000 to 2050.
_SINCE, _UNTIL = 946_684_800, 2_524_608_000


@dataclasses.dataclass(frozen=True)
class Times:
    """How a column's times are written.

    Attributes:
        form: as `TimeForm` takes it.
        zone: name of the zone they are read in.
        declared: whether the project says so, or the column's type; else it was found out.
    """

    form: str
    zone: str = "UTC"
    declared: bool = False

    @property
    def reader(self) -> TimeForm:
        """What reads them."""
        return _reader(self.form, self.zone)


@functools.lru_cache(256)
def _reader(form: str, zone: str) -> TimeForm:
    return TimeForm(form, Zone.named(zone))


__all__ = ["TIME", "Times", "find", "iso", "known", "nearly", "read", "wall_clock"]


def find(column: pa.ChunkedArray, name: str, declared: str | None, zone: str) -> Times | None:
    """How a column's times are written; null: it has none.

    A column of dates or times by its type is one. Texts are where nearly all of them have one form;
    whole numbers where the name speaks of time and all lie between 2000 and 2050 in one unit.

    Args:
        column: its values, dictionaries decoded.
        name: its name.
        declared: the form the project declares, or ``auto``; null: nothing.
        zone: name of the zone.

    Raises:
        DataError: texts of which day and month cannot be told apart.
    """
    kind = column.type
    if declared is not None and declared != "auto":
        return Times(declared, zone, True)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Times("iso", zone, True)
    if pa.types.is_time(kind):
        return Times("%H:%M:%S", zone, True)
    if pa.types.is_string(kind):
        form = _of_texts(column, name)
        if form is None and declared == "auto" and (since := numbers(column)[0]) is not None:
            form = _of_numbers(since, name, hinted=True)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        form = _of_numbers(column, name, hinted=declared == "auto")
    else:
        form = None
    if form is None and declared == "auto":
        raise DataError(
            "has no form of time that is known",
            field=f"data.columns.timestamps: {name}",
            value=_first(column),
            fix=f'declare it, such as {{{name}: "%d.%m.%Y %H:%M"}}, or iso, s, ms, us or ns',
        )
    return None if form is None else Times(form, zone)


def read(column: pa.ChunkedArray, name: str, times: Times, setting: str = "column") -> pa.ChunkedArray:
    """A column as `TIME`: the wall clock's time in the zone, null where there is none.

    Raises:
        DataError: a value that is no such time; its row is named.
    """
    kind, reader = column.type, times.reader
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        try:
            wall = column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
            raise DataError(f"of type {kind} cannot be read as times: {e}", field=f"{setting} {name}", fix="store microseconds") from e
        values = np.asarray(pc.fill_null(wall, MISSING))
        local = reader.zone.locals(values) if getattr(kind, "tz", None) else values
        beyond = (local != MISSING) & ((local < _CALENDAR[0]) | (local >= _CALENDAR[1]))
        if beyond.any():
            row = int(np.argmax(beyond))
            raise DataError(
                "is a time outside of the years 1 to 9999",
                field=f"{setting} {name}, row {row + 1}",
                value=str(np.datetime64(int(local[row]), "us")),
                fix=f"correct the cell, leave it empty if it is missing, or list {name} under data.columns.ignore",
            )
        return _times(local)
    if pa.types.is_time(kind):
        ticks = column.cast(pa.time64("us"), safe=False).cast(pa.int64())
        return _times(np.asarray(pc.fill_null(ticks, MISSING)))
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    codes, distinct = np.asarray(pc.fill_null(coded.indices, -1)).astype(np.int64), coded.dictionary.to_pylist()
    try:
        wall = reader.read(distinct, len(distinct), name)
    except InputError as e:
        values = reader.read(distinct, len(distinct), name, strict=False)
        blank = np.array([str(v).strip().lower() in MISSING_TIMES for v in distinct])
        bad = np.append((values == MISSING) & ~blank, False)[codes]
        row = int(np.argmax(bad))
        more = f" (and {int(bad.sum()) - 1:,} more)" if bad.sum() > 1 else ""
        raise DataError(
            f"is not a time in {reader.words}{more}",
            field=f"{setting} {name}, row {row + 1}",
            value=column[row].as_py(),
            fix=f"correct the cell, leave it empty if it is missing, say how it is written: data.columns.timestamps: {{{name}: ...}}, or list "
            f"{name} under data.columns.categorical or data.columns.ignore",
        ) from e
    return _times(np.append(wall, MISSING)[codes])


def known(column: Any) -> np.ndarray:
    """The same of those that are there."""
    return wall_clock(column.drop_null())


def _times(wall: np.ndarray) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(wall, pa.int64(), mask=wall == MISSING).cast(TIME)])


def nearly(values: Any) -> tuple[str, float] | None:
    """The form that most of a column's different texts have, and how many of them do; null where fewer than half have one."""
    texts = _texts(values)
    shares = _shares(texts)
    return max(shares.items(), key=lambda s: s[1]) if shares else None


def _of_texts(column: pa.ChunkedArray, name: str) -> str | None:
    texts = _texts(column.drop_null().unique())
    shares = _shares(texts)
    best = max(shares.values(), default=0.0)
    if best < MOSTLY_TIMES:
        return None
    found = [f for f, share in shares.items() if share == best]
    first = _reader(found[0], "UTC").read(texts, len(texts), name, strict=False)
    for other in found[1:]:
        differ = first != _reader(other, "UTC").read(texts, len(texts), name, strict=False)
        if differ.any():
            at = int(np.argmax(differ))
            raise DataError(
                "can be read as two different days",
                field=f"column {name}",
                value=texts[at],
                fix=f'say which is meant: data.columns.timestamps: {{{name}: "{found[0]}"}} or {{{name}: "{other}"}}; '
                f"or list {name} under data.columns.categorical",
            ) from None
    return found[0]


def _texts(distinct: Any) -> list[str]:
    """Different texts that are not missing, or an even choice of them."""
    if len(distinct) > _MANY:  # spread: the first days of a month cannot be told from months
        distinct = distinct.take(pa.array(np.linspace(0, len(distinct) - 1, _MANY).astype(np.int64)))
    return [t for t in pc.utf8_trim_whitespace(distinct).to_pylist() if t.lower() not in MISSING_TIMES]


def _shares(texts: list[str]) -> dict[str, float]:
    """Of the forms that at least half of the texts have, how many do."""
    if not texts or not any(_like_a_time(t) for t in texts[:_FEW]):
        return {}
    few = texts[:: max(1, len(texts) // _FEW)][:_FEW]
    if sum(map(_parts_of_a_time, few)) < len(few) / 2:
        return {}
    if _share("iso", few) >= MOSTLY_TIMES:
        return {"iso": 1.0}
    versions = len({len(t.split()[0]) for t in few}) > 1  # 1.2.10 is none of 2010
    forms = [f for f in ("iso", *_forms()) if _share(f, few) >= 0.5 and not (versions and f.startswith("%d.%m.%y"))]
    return {f: _share(f, texts) for f in forms}


@functools.cache
def _forms() -> tuple[str, ...]:
    return (*(d + c for d in _DATES for c in _CLOCKS), *_MONTHS, *_QUARTERS, *_OTHERS, *_TIMES)


def _like_a_time(text: str) -> bool:
    return len(text) <= 40 and bool(re.search(r"\d[-/.: ,Qq]|[-/.: ]\d", text))


def _parts_of_a_time(text: str) -> bool:
    """Whether there is a month's name in it, or two numbers: every form that is looked for has one or the other, so that `town 12` costs no form."""
    return len(re.findall(r"\d+", text)) > 1 or bool(_MONTH.search(text))


def _share(form: str, texts: list[str]) -> float:
    """Of the texts those that have the form, and a year one can believe."""
    wall = _reader(form, "UTC").read(texts, len(texts), "", strict=False)
    low, high = (np.datetime64(str(y), "us").astype(np.int64) for y in _YEARS)
    return float(((wall >= low) & (wall < high)).mean())


def speaks_of_time(name: str) -> bool:
    """Whether a column's name has a word that makes its numbers likely to be times."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().replace("-", "_").replace(" ", "_").replace(".", "_").split("_")
    return not _HINTS.isdisjoint(words)


def _of_numbers(column: pa.ChunkedArray, name: str, hinted: bool) -> str | None:
    if not hinted and not speaks_of_time(name):
        return None
    ends = pc.min_max(column).as_py()
    low, high = ends["min"], ends["max"]
    if low is None:
        return None
    unit = next((u for u, micros in UNITS.items() if low * micros / 1e6 >= _SINCE and high * micros / 1e6 < _UNTIL), None)
    if unit is not None:
        return unit
    if (
        low < 19_000_101
        or high > 21_001_231
        or pc.any(pc.not_equal(column.cast(pa.float64()), pc.floor(column.cast(pa.float64())))).as_py()
    ):
        return None
    distinct = column.unique().drop_null().to_pylist()
    return "%Y%m%d" if _share("%Y%m%d", distinct) == 1 else None


def _first(column: pa.ChunkedArray) -> Any:
    known = column.drop_null()
    return known[0].as_py() if len(known) else None
