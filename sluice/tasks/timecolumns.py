"""Columns that are times by what they are called, and forms of tables in which times do not stand in one column."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sluice.core.errors import DataError

#: What columns of years are called, and of parts of one, with how many there are.
YEARS = frozenset({"year", "yr", "jahr", "annee", "ano"})
PARTS = {"quarter": 4, "qtr": 4, "month": 12, "mon": 12, "monat": 12, "mois": 12, "mes": 12, "week": 53, "weekno": 53}
#: What columns of numbers are called that say when, and are not what is forecast.
TIMES = YEARS | frozenset(PARTS) | {"time", "t", "day", "hour", "minute", "date", "period", "step", "timestamp", "index", "kw"}
#: Names of columns that are a time each (``2000-01``, ``1999``, ``2000Q1``, ``01/2000``), or count (``V1``, ``d_1``, ``week_12``).
_A_TIME = re.compile(
    r"(19|20)\d\d([-/. ]?(0?[1-9]|1[0-2]|Q[1-4]|W\d\d?)([-/. ]?\d\d?)?)?|\d\d?[-/.](\d\d?[-/.])?(19|20)\d\d", re.IGNORECASE
)
_COUNTED = re.compile(r"(v|t|d|day|wk|week|month|period|m|w)_?(\d+)", re.IGNORECASE)
#: So many columns, and this share of all, that are a time each make a table a wide one.
_WIDE, _SHARE = 5, 0.5


def check_long(names: Sequence[str]) -> None:
    """Raises `DataError` for a table whose columns are the times of its series: there is no column to learn."""
    at = [n for n in names if _A_TIME.fullmatch(n.strip())] or [n for n in names if _COUNTED.fullmatch(n.strip())]
    rest = [n for n in names if n not in at]
    if len(at) < _WIDE or len(at) < _SHARE * len(names) or not rest:
        return
    kept = rest[0] if len(rest) == 1 else rest
    raise DataError(
        f"holds a column a time ({at[0]} to {at[-1]}), and a row a series: wide form",
        field="--data",
        value=list(names[:8]),
        fix=f"make a row of each series and time: pandas.melt(table, id_vars={kept!r}, var_name='time', value_name='value')"
        + ("" if _A_TIME.fullmatch(at[0].strip()) else ", with the number or the date of each column as the time"),
    )
