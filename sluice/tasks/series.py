"""A source's long table read as series: which column is the time, which tell the series apart, what is known of the times to come."""

from __future__ import annotations

import dataclasses
import functools
import re
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.errors import DataError
from sluice.data import timestamps
from sluice.data.columns import is_text, switches
from sluice.data.panel import Panel
from sluice.data.timestamps import Times, wall_clock
from sluice.data.windows import Plan, Windows, cut, longest
from sluice.data.writable import RESERVED
from sluice.fields.zones import MISSING
from sluice.tasks import columns
from sluice.tasks.roles import plain as _plain
from sluice.tasks.timecolumns import PARTS, YEARS

if TYPE_CHECKING:
    from sluice.project import Project
    from sluice.tasks.config import ForecastModel

#: What a row's past values of the target are called.
HISTORY = "history"
#: Columns of whole numbers that may tell series apart have at most so many values.
_MOST_SERIES = 10_000
#: Fewest rows of the middle one of series that are found: columns that differ from row to row tell no series apart.
_LEAST = 8
#: Microseconds by which a clock elsewhere may be ahead.
_TOMORROW = 2 * 86_400_000_000
#: Of the rows so many may stand twice in series that are told apart all the same: they are then the fault.
_TWICE = 0.05
#: Rows after the last label that tell of what is known ahead, at least, and the share of them that has a value.
_AHEAD, _FILLED = 3, 0.9
#: Quarters and weeks as texts.
_PERIODS = re.compile(r"\d{4}[- ]?Q[1-4]|Q[1-4][- /]?\d{4}|\d{4}[- ]?W\d{1,2}", re.I)


class SeriesTable:
    """A long table, read as ``model`` and ``data.columns`` say; what they leave open is found out.

    Args:
        table: the source's.
        project: the settings.
        model: its ``model:``.

    Raises:
        DataError: from all its methods: a column is missing, or cannot be what it is named for.
    """

    def __init__(self, table: pa.Table, project: Project, model: ForecastModel):
        self.table, self.model, self.data = table, model, project.data
        self.label = project.data.columns.label

    @functools.cached_property
    def time(self) -> tuple[str, Times | None]:
        """The column of times, and how they are written; None of whole numbers that count them."""
        wanted = self.data.columns
        if self.model.time is not None:
            found = self._times(self.model.time)
            if found is None:
                self._check_whole()
            if found is None and not columns.is_number(self._column(self.model.time, "model.time").type):
                near = timestamps.nearly(self._column(self.model.time, "model.time").drop_null().unique())
                raise DataError(
                    "holds neither times of one form nor whole numbers" + (f": {near[1]:.0%} are written like {near[0]}" if near else ""),
                    field="model.time",
                    value=self.model.time,
                    fix=f'write all of them alike, or say how they are written: data.columns.timestamps: {{{self.model.time}: "%d.%m.%Y"}}',
                )
            return self.model.time, found
        for name in self.table.column_names:
            if name != self.label and name not in wanted.ignore and (found := self._times(name)) is not None:
                return name, found
        raise DataError(
            "says which column is the time, and none of the data's is one",
            field="model.time",
            fix=self._quarters()
            or f"name it, also a column of whole numbers that counts them; columns: {', '.join(self.table.column_names[:20])}; "
            "data.columns.timestamps says how its times are written",
        )

    def _quarters(self) -> str:
        """What to write in place of quarters and weeks."""
        for name in self.table.column_names:
            first = next((v for v in self.table.column(name).slice(0, 50).to_pylist() if v is not None), None)
            if isinstance(first, str) and _PERIODS.fullmatch(first.strip()):
                return f"{name!r} holds quarters or weeks ({first}): write the first day of each, such as {'1990-04-01 for 1990-Q2' if 'Q' in first.upper() else '2024-01-08 for 2024-W02'}"
        return ""

    def _check_whole(self) -> None:
        """Raises where years stand in the column of times, and what part of one beside it."""
        name = str(self.model.time)
        if _plain(name) not in YEARS:
            return
        named = (self.model.series,) if isinstance(self.model.series, str) else (self.model.series or ())
        for part in self.table.column_names:
            if (most := PARTS.get(_plain(part))) and part not in (self.label, *named, *self.data.columns.ignore):
                there = self._column(part, "model.time").drop_null().unique()
                if columns.is_number(there.type) and len(there) > 1 and set(there.to_pylist()) <= set(range(1, most + 1)):
                    example = f"{self._column(name, 'model.time')[0].as_py():.0f}"
                    raise DataError(
                        f"holds years, and {part!r} beside it says when in the year",
                        field="model.time",
                        value=name,
                        fix=f"make one column of both, such as {example}-{'04' if most == 4 else '02'}-01 for {part} 2 of {example}, and name it; "
                        f"or list {part} under data.columns.ignore",
                    )

    @functools.cached_property
    def series(self) -> list[str]:
        """The columns that together tell the series apart; none where there is one series."""
        named = self.model.series
        if named is not None:
            names = [named] if isinstance(named, str) else list(named)
            for name in names:
                self._column(name, "model.series")
            return names
        at = self._at[0]
        if len(np.unique(at)) == len(at):
            return []
        may = sorted((n for n in self.table.column_names if self._may_name(n)), key=lambda n: not self._is_text(n))
        codes = {n: np.unique(np.asarray(self._text(n)).astype(str), return_inverse=True)[1] for n in may}
        nearest: tuple[int, list[str]] = (int(_TWICE * len(at)), [])
        for size in (1, 2, 3):
            for together in combinations(may, size):
                whose = np.stack([codes[n] for n in together], axis=1)
                rows = np.unique(whose, axis=0, return_counts=True)[1]
                if np.median(rows) < _LEAST:
                    continue
                twice = len(at) - len(np.unique(np.column_stack([whose, at]), axis=0))
                if not twice:
                    return list(together)
                if twice < nearest[0]:
                    nearest = twice, list(together)
        return nearest[1]  # a few rows stand twice, which is said of them

    @functools.cached_property
    def numbers(self) -> dict[str, np.ndarray]:
        """Columns of numbers that change in time beside the target, float64 [rows]."""
        out = {}
        for name in self._others:
            if name not in self.static and name not in self.texts:
                out[name] = self._number(name)
        return out

    @functools.cached_property
    def static(self) -> list[str]:
        """Columns of texts with one value in each series: what kind of series it is."""
        whose = pa.array(self._names)
        out = []
        for name in self._others:
            if self._is_text(name):
                each = pa.table({"s": whose, "v": self._text(name)}).group_by("s").aggregate([("v", "count_distinct")])
                if pc.max(each.column("v_count_distinct")).as_py() <= 1:
                    out.append(name)
        return out

    @functools.cached_property
    def texts(self) -> list[str]:
        """Columns of texts that change in time, which are left out."""
        found = [n for n in self._others if self._is_text(n) and n not in self.static]
        for name in found:
            if name in self.model.known:
                raise DataError(
                    "is a column of texts",
                    field="model.known",
                    value=name,
                    fix="give it as numbers, such as a column of 0 and 1 for each value",
                )
        return found

    @functools.cached_property
    def panel(self) -> Panel:
        """The series on their grid."""
        at, known = self._at
        target = self._target()
        if np.isinf(target).any():
            raise DataError(
                "is infinite",
                field=f"label {self.label}, row {int(np.argmax(np.isinf(target))) + 1}",
                fix="correct the cell, or leave it empty",
            )
        for name in self.model.known:
            if name not in self.numbers and name not in self.texts:
                self._column(name, "model.known")
                raise DataError(
                    "is no column of numbers beside the label, the time and the series", field="model.known", value=name, fix="take it out"
                )
            if name in self.numbers and not np.isfinite(self.numbers[name]).any():
                raise DataError("holds no number", field="model.known", value=name, fix="fill the column, or take it out")
        return Panel.of(
            at, known, self._names, {HISTORY: target, **self.numbers}, HISTORY,
            setting=f"column {self.time[0]}", timed=self.time[1] is not None, several=bool(self.series),
        )  # fmt: skip

    def _target(self) -> np.ndarray:
        label = self._column(self.label, "data.columns.label")
        return np.asarray(columns.to_float(label, self.label, "label").to_numpy(), dtype=np.float64)

    @functools.cached_property
    def plan(self) -> Plan:
        """Horizon, context, season, and where the held-out times begin."""
        m, split = self.model, self.data.split
        return Plan.of(self.panel, m.horizon or min(self.horizon, longest(self.panel)), m.context, m.season, split.validation, split.test)

    @property
    def horizon(self) -> int:
        """How many times ahead where the project does not say and the series are long enough: a season, of weeks a quarter."""
        return {52: 13, 1: 6}.get(season := self.panel.grid.seasons[0], season)

    @functools.cached_property
    def windows(self) -> Windows:
        """The forecasts to learn from and to be judged on."""
        return cut(self.panel, self.plan, frozenset(self.model.known), self.model.rows)

    def canonical(self) -> pa.Table:
        """A row a forecast: the series' columns, the time of the last value that is known, the past, other columns, and the label."""
        w, (name, times) = self.windows, self.time
        whose = pa.array(self.panel.rows[w.series])
        out: dict[str, Any] = {n: self._text(n).take(whose) for n in (*self.series, *self.static)}
        at = self.panel.grid.times(w.origin)
        out[name] = pa.array(at, pa.int64()).cast(pa.timestamp("us")) if times is not None else pa.array(at.astype(np.float64))
        out[HISTORY] = listed(w.past)
        out |= {n: listed(x) for n, x in w.more.items()}
        return pa.table({**out, "label": listed(w.target)})

    def kinds(self) -> dict[str, str]:
        """Each column's kind of field."""
        name, times = self.time
        kinds = dict.fromkeys((*self.series, *self.static), "categorical")
        kinds |= {name: "numeric" if times is None else "timestamp", HISTORY: "sequence"}
        kinds |= dict.fromkeys(self.numbers, "sequence")
        clash = [n for n in (*RESERVED, HISTORY) if n in (*self.series, *self.static, name, *self.numbers)]
        if clash:
            raise DataError(
                "is a name the dataset keeps for itself",
                field="data.columns",
                value=clash[0],
                fix="rename the column, or list it under data.columns.ignore",
            )
        return kinds

    def found(self) -> dict[str, Any]:
        """What was found out, plain JSON: what new rows of the same source are read by."""
        return {
            "series": self.series,
            "static": self.static,
            "time": self.time[0],
            "target": self.label,
            "grid": dataclasses.asdict(self.panel.grid),
            "season": self.plan.season,
            "context": self.plan.context,
            "horizon": self.plan.horizon,
            "known": sorted(self.model.known),
            "numbers": list(self.numbers),
        }

    @functools.cached_property
    def known_ahead(self) -> list[str]:
        """Columns of numbers that have values, all but a few, in rows after their series' last label; none where `known` says which, or few rows are."""
        at, there = self._at
        label = self._target()
        whose = np.unique(np.asarray(self._names).astype(str), return_inverse=True)[1] if self.series else np.zeros(len(at), np.int64)
        last = np.full(int(whose.max(initial=0)) + 1, np.iinfo(np.int64).min)
        labelled = there & np.isfinite(label)
        np.maximum.at(last, whose[labelled], at[labelled])
        ahead = there & ~np.isfinite(label) & (at > last[whose])
        if self.model.known or ahead.sum() < _AHEAD:
            return []
        return [n for n, x in self.numbers.items() if np.isfinite(x[ahead]).mean() >= _FILLED]

    def notes(self) -> list[str]:
        """What a person should know of it, in sentences."""
        p, lengths = self.plan, [len(y) for y in self.panel.values]
        season = f"a season of {p.season}" if p.season > 1 else "no season"
        by = f" told apart by {', '.join(map(repr, self.series))}" if self.series else ""
        head = (
            f"{len(lengths):,} series{by}, {min(lengths):,} to {max(lengths):,} times of {self.panel.grid.named}, {season}: "
            f"{p.horizon} ahead are forecast from {p.context} before"
        )
        rest = [f"{n!r} holds texts that change in time, which a forecast does not read; it is left out" for n in self.texts]
        past = [n for n in self.numbers if n not in self.model.known]
        if past:
            rest.append(
                f"of {', '.join(map(repr, past[:8]))} the past alone is used; model.known names columns whose coming values are known"
            )
        return [head, *self.windows.notes, *rest, *self._late()]

    def _late(self) -> list[str]:
        """A word about values whose time is still to come."""
        name, times = self.time
        ends = [f + len(y) - 1 for f, y in zip(self.panel.first.tolist(), self.panel.values, strict=True) if len(y)]
        newest = int(self.panel.grid.times(np.array([max(ends)]))[0])
        if times is None or newest <= int(np.datetime64("now", "us").astype(np.int64)) + _TOMORROW:
            return []
        said = f"{name!r} has values of times still to come, until {timestamps.iso(newest)}"
        return [f"{said}: are its dates written in another form, or day and month swapped?"]

    # --- its columns ---

    @functools.cached_property
    def _others(self) -> list[str]:
        """Neither label, time, series nor ignored."""
        wanted = self.data.columns
        taken = {self.label, self.time[0], *self.series, *wanted.ignore, "row_id"}
        names = self.table.column_names if wanted.features is None else [*wanted.features, *self.model.known]
        return [n for n in dict.fromkeys(names) if n not in taken]

    @functools.cached_property
    def _at(self) -> tuple[np.ndarray, np.ndarray]:
        """Each row's time as a whole number, and whether it has one."""
        name, times = self.time
        values = self._column(name, "model.time")
        if times is not None:
            wall = wall_clock(timestamps.read(values, name, times))
            return wall, wall != MISSING
        found = np.asarray(columns.to_float(values, name, "column").to_numpy(), dtype=np.float64)
        known = np.isfinite(found)
        if (found[known] != np.floor(found[known])).any():
            raise DataError("counts times by numbers that are not whole", field="model.time", value=name, fix=_decimal_years(found[known]))
        return np.where(known, found, 0).astype(np.int64), known

    @functools.cached_property
    def _names(self) -> list[str]:
        """What each row's series is called."""
        if not self.series:
            return [""] * self.table.num_rows
        texts = []
        for n in self.series:
            found = self._text(n)
            if found.null_count:
                raise DataError(
                    f"{found.null_count:,} rows do not say which series they are of",
                    field=f"column {n}, row {pc.index(found.is_null(), True).as_py() + 1}",
                    fix="fill the column, or take these rows out",
                )
            texts.append(found.to_pylist())
        return [" / ".join(row) for row in zip(*texts, strict=True)]

    def _times(self, name: str) -> Times | None:
        values = self._column(name, "model.time")
        wanted = self.data.columns
        declared = wanted.timestamps.get(name)
        if name in wanted.categorical or (declared is None and is_text(values.type) and columns.mostly_numbers(values)):
            return None
        return timestamps.find(values, name, declared, wanted.time_zone)

    def _may_name(self, name: str) -> bool:
        """Whether a column may tell series apart: texts or whole numbers of not too many values."""
        if name in (self.label, self.time[0], *self.model.known, *self.data.columns.ignore):
            return False
        values = self._column(name, "model.series")
        whole = pa.types.is_integer(values.type) or (
            pa.types.is_floating(values.type) and pc.all(pc.equal(values, pc.floor(values)), min_count=0).as_py()
        )
        return (whole or self._is_text(name)) and 1 < pc.count_distinct(values).as_py() <= min(_MOST_SERIES, len(values) // 2)

    def _is_text(self, name: str) -> bool:
        values = self._column(name, "data.columns")
        plain = is_text(values.type) and not columns.mostly_numbers(values) and switches(values) is None
        return name in self.data.columns.categorical or plain

    def _number(self, name: str) -> np.ndarray:
        """A column of numbers, or of true and false, float64 [rows]."""
        values = self._column(name, "data.columns")
        on = switches(values) if is_text(values.type) else None
        return np.asarray((columns.to_float(values, name, "column") if on is None else on).to_numpy(zero_copy_only=False), dtype=np.float64)

    def _text(self, name: str) -> pa.Array:
        found = columns.to_string(self._column(name, "model.series"), name, "column").combine_chunks()
        return found.chunk(0) if isinstance(found, pa.ChunkedArray) else found

    def _column(self, name: str, setting: str) -> pa.ChunkedArray:
        return columns.column(self.table, name, setting)


def listed(values: np.ndarray) -> pa.ListArray:
    """Rows of numbers [rows, n] as lists; NaN is null inside."""
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, mask=np.isnan(flat)))


def _decimal_years(at: np.ndarray) -> str:
    """What to write in place of numbers that are not whole: of years with a fraction (1949.083 for February) the day each begins at."""
    steps = next((n for n in (4, 12) if np.allclose(at * n, np.round(at * n), atol=0.01 * n)), None)
    if steps is None or not ((at > 1000) & (at < 3000)).all():
        return "give dates, or whole numbers"
    second = np.sort(at)[1]
    month = round((second % 1) * 12) + 1
    return f"these are years and {'quarters' if steps == 4 else 'months'}: write the first day of each, such as {int(second)}-{month:02d}-01 for {second:g}"
