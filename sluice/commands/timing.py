"""Which column says when the rows of a forecast's file were: found by what it is called, or the command that makes one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from sluice.commands.opening import opened
from sluice.core.errors import DataError
from sluice.data.columns import numbers
from sluice.data.forms import format_of
from sluice.data.look import KEY, names_years
from sluice.data.scheme import Found
from sluice.data.sources import read_tables
from sluice.tasks import TASKS
from sluice.tasks.roles import plain
from sluice.tasks.timecolumns import PARTS, TIMES, YEARS

if TYPE_CHECKING:
    from sluice.commands.draft import Draft
    from sluice.data.look import ColumnLook, Look

#: Steps of a year that its fractions may be.
_STEPS = (1, 2, 4, 12)
#: From the first to the last of times that are counted, so many times as many as there are, at most: 20240131 counts none.
_GAPS = 3
#: Years a number may be.
_YEARS = (1500, 2200)
#: What the file with times in it is called.
_OUT = "dated.csv"


def says_when(look: Look) -> list[str]:
    """The columns that look like times, or are called so; the surest first."""
    dates = look.of("date")
    return dates + [c.name for c in look.columns if c.kind in ("number", KEY) and c.name not in dates and plain(c.name) in TIMES]


def or_forecast(look: Look | None) -> str:
    """What else there is to do with rows that say when they were; nothing of others."""
    when = [c for c in look.columns if c.kind == "date" or (plain(c.name) in TIMES and _goes_on(c))] if look is not None else []
    return f"; to forecast what comes after the last {when[0].name!r}: --task {forecasts()}" if when else ""


def _goes_on(column: ColumnLook) -> bool:
    """Whether a column that is called as a time counts from row to row, or holds years; a duration does neither."""
    if column.kind == KEY or names_years(column.name):
        return True
    with contextlib.suppress(ValueError):
        return column.kind == "number" and _YEARS[0] <= float(column.example) <= _YEARS[1]
    return False


def lone_column(look: Look, given: str) -> str:
    """What to do with a file of one column: a series, or cells that were not told apart."""
    column = look.columns[0]
    if column.kind in ("number", KEY):
        return f"if its rows are values in the order of time, number them: {_command(given, _ordered(look)[1], forecasts())}"
    if (format_of(Path(given)) or "csv") != "csv":
        return "name a file with a column of labels, and one or more to learn them from"
    return "if its cells are separated by another character, save the file with commas"


def forecasts() -> str:
    """The task that is learnt from times, by name."""
    return next(t for t in TASKS.built_in if TASKS.get(t).label_number and not TASKS.get(t).assumed)


def found_time(made: Draft, error: DataError) -> bool:
    """Whether a column of whole numbers that count the times was found, and said. Raises `DataError`: there is a command that makes one."""
    look = made.look
    if look is None or error.field != "model.time" or ("time" in made.raw.get("model", {}) and not error.message.startswith("holds years")):
        return False
    if error.message.startswith("holds years"):
        raise _told(error, made, _joined(look))
    if not error.message.startswith("says which column"):
        return False
    called = [n for n in says_when(look) if n != made.raw["data"]["columns"].get("label")]
    numeric = {n: v for n in called if (v := _numbers(look, n)) is not None and len(v)}
    counts = sorted((n for n, v in numeric.items() if _counts(v)), key=lambda n: (not names_years(n), -len(np.unique(numeric[n]))))
    if counts:
        made.raw["model"] = {**made.raw.get("model", {}), "time": counts[0]}
        made.left_out.pop(counts[0], None)
        what = "a year each" if names_years(counts[0]) else "which counts it"
        made.notes.append(f"{counts[0]!r} is taken for the time, {what} (model.time)")
        return True
    if error.fix and " holds " in error.fix:  # quarters or weeks as texts
        return False
    years = next((n for n, v in numeric.items() if ((v >= _YEARS[0]) & (v <= _YEARS[1])).all()), None)
    raise _told(error, made, _ordered(look) if years is None else _of_years(years, numeric[years]))


def _counts(at: np.ndarray) -> bool:
    """Whether numbers may count times: whole ones, most of which are there from the first to the last."""
    steps = np.diff(np.unique(at))
    return bool((at == np.floor(at)).all() and len(steps) and np.ptp(at) <= _GAPS * len(steps) * np.median(steps))


def _numbers(look: Look, name: str) -> np.ndarray | None:
    """A column's numbers that are there, float64; null: it has others."""
    form = format_of(look.path) or (look.format if look.format != "auto" else "csv")
    values = read_tables([Found(look.path, look.path.name)], form, look.dialect, (), ())[0][0].column(name).drop_null()
    found = numbers(values.cast("string"))[0]
    return None if found is None else np.asarray(pc.drop_null(found).to_numpy(), dtype=np.float64)


def _told(error: DataError, made: Draft, how: tuple[str, str] | None) -> DataError:
    """The error with the command that mends the file; as it is where there is none."""
    if how is None:
        return error
    told = {} if error.value is None else {"value": error.value}
    return DataError(error.message, field=error.field, fix=f"{how[0]}: {_command(made.given, how[1], made.raw['task'])}", **told)


def _command(given: str, code: str, task: str) -> str:
    """What makes a file with times of the one that was given, and how to go on."""
    command = f"import pandas as pd; d = {opened(given)}; {code}; d.to_csv('{_OUT}', index=False)"
    return f'python3 -c "{command}"\nthen: --data {_OUT} --task {task}'


def _of_years(name: str, at: np.ndarray) -> tuple[str, str]:
    """Of years with a fraction, 1949.083 for February: the day each begins at; of other steps a number each."""
    steps = next((n for n in _STEPS if np.allclose(at * n, np.round(at * n), atol=0.01 * n)), None)
    if steps is None:
        return f"{name!r} holds years with a fraction; if rows stand in their order, number them", f"d[{name!r}] = range(len(d))"
    months = 12 // steps
    code = f"m = (d[{name!r}] * {steps}).round().astype(int) * {months}; d[{name!r}] = [f'{{t // 12}}-{{t % 12 + 1:02d}}-01' for t in m]"
    return f"{name!r} holds years with a fraction: write the first day of each", code


def _joined(look: Look) -> tuple[str, str] | None:
    """Of a column of years, and one of what part of the year beside it: one column of days."""
    names = {plain(c.name): c.name for c in look.columns}
    year = next((names[n] for n in names if n in YEARS), None)
    part = next((names[n] for n in names if PARTS.get(n) in (4, 12)), None)
    if year is None or part is None:
        return None
    month = f"d[{part!r}]" if PARTS[plain(part)] == 12 else f"d[{part!r}] * 3 - 2"
    day = f"d[{names['day']!r}]" if "day" in names and PARTS[plain(part)] == 12 else "1"
    gone = [year, part, *([names["day"]] if day != "1" else [])]
    code = f"d.insert(0, 'when', pd.to_datetime(dict(year=d[{year!r}], month={month}, day={day})))"
    return f"make one column of both (or list {part} under data.columns.ignore)", f"{code}; d = d.drop(columns={gone!r})"


def _ordered(look: Look) -> tuple[str, str]:
    """Rows without any time: numbered as they stand."""
    name = "time" if "time" not in {c.name for c in look.columns} else "when"
    rest = "name the column of times: --set model.time=NAME; if there is none, and the rows of one series stand in the order of time, number them"
    return rest, f"d.insert(0, {name!r}, range(len(d)))"
