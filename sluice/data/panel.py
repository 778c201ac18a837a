"""A long table of series (a row a series and time) as one array a series on a regular grid; what is missing is NaN."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.fields.grid import Grid, IrregularError

#: Places on the grid for each row there is: beyond that a time is a mistake.
_SPARSE = 50


@dataclasses.dataclass(frozen=True)
class Panel:
    """Series on a grid.

    Attributes:
        grid: of their times.
        first: int64 [series]: the grid's number of each one's first row.
        columns: numbers by column and series: float64 [times of the series], NaN where nothing is known; the target is called as it is there.
        target: the column that is forecast.
        rows: int64 [series]: a row of the table that the series has.
        names: what each series is called in errors.
    """

    grid: Grid
    first: NDArray[np.int64]
    columns: dict[str, list[NDArray[np.float64]]]
    target: str
    rows: NDArray[np.int64]
    names: list[str]

    @property
    def values(self) -> list[NDArray[np.float64]]:
        """The target's, up to the last that is known."""
        return [y[: _end(y)] for y in self.columns[self.target]]

    @classmethod
    def of(
        cls,
        times: NDArray[np.int64],
        known: NDArray[np.bool_],
        series: Sequence[str],
        columns: Mapping[str, NDArray[np.float64]],
        target: str,
        *,
        setting: str,
        timed: bool = True,
        grid: Grid | None = None,
        several: bool = True,
    ) -> Panel:
        """Rows in any order as series.

        Args:
            times: microseconds of the wall clock, or whole numbers, [rows].
            known: where there is one.
            series: whose row each is.
            columns: numbers by name, NaN where one is missing, [rows] each.
            target: which of them is forecast.
            setting: what an error calls the column of times.
            timed: whether these are times.
            grid: the one they must lie on; None: it is found.
            several: whether a column tells series apart.

        Raises:
            DataError: a row without a time, a time that stands twice in a series, or times that have no common distance.
        """
        if not known.all():
            raise DataError(
                f"{int((~known).sum()):,} rows have no time",
                field=f"{setting}, row {int(np.argmin(known)) + 1}",
                fix="fill the column, or take these rows out",
            )
        names, codes = np.unique(np.asarray(series, dtype=object).astype(str), return_inverse=True)
        order = np.lexsort((times, codes))
        at, whose = times[order], codes[order]
        twice = (whose[1:] == whose[:-1]) & (at[1:] == at[:-1])
        if twice.any():
            raise _twice(twice, order, series, times, setting, timed, several)
        try:
            grid = Grid.of(at, whose, timed) if grid is None else grid.checked(at)
        except IrregularError as e:
            row = int(order[e.at])
            raise DataError(
                f"has no regular times: {e}",
                field=f"{setting}, row {row + 1}",
                value=_shown(times[row], timed),
                fix="give each series one row for each hour, day, week, month or other step (sum or average within it); rows may be missing",
            ) from e
        index = grid.index(at)
        begins = np.flatnonzero(np.concatenate([[True], whose[1:] != whose[:-1]]))
        ends = np.append(begins[1:], len(whose))
        first, spans = index[begins], index[ends - 1] - index[begins] + 1
        if spans.sum() > 1000 + _SPARSE * len(times):
            s = int(np.argmax(spans / (ends - begins)))
            raise DataError(
                f"series {names[s]!r} has {int(ends[s] - begins[s])} rows over {int(spans[s]):,} times of {grid.named}: nearly all are missing",
                field=setting,
                value=_shown(at[begins[s]], timed),
                fix="correct the times, or give rows of a coarser step",
            )
        made: dict[str, list[NDArray[np.float64]]] = {}
        for name, values in columns.items():
            sorted_ = values[order]
            made[name] = []
            for b, end, f, n in zip(begins, ends, first, spans, strict=True):
                full = np.full(int(n), np.nan)
                full[index[b:end] - f] = sorted_[b:end]
                made[name].append(full)
        return cls(grid, first, made, target, order[begins], names.tolist())


def _end(y: NDArray[np.float64]) -> int:
    """How many there are up to the last that is known."""
    there = np.flatnonzero(~np.isnan(y))
    return int(there[-1]) + 1 if len(there) else 0


def _twice(
    twice: NDArray[np.bool_],
    order: NDArray[np.int64],
    series: Sequence[str],
    times: NDArray[np.int64],
    setting: str,
    timed: bool,
    several: bool,
) -> DataError:
    at = int(np.argmax(twice))
    one, other = sorted((int(order[at]), int(order[at + 1])))
    whose = f" in series {series[one]!r}" if several else ""
    return DataError(
        f"stands more than once{whose} ({int(twice.sum()):,} such rows): also in row {one + 1}",
        field=f"{setting}, row {other + 1}",
        value=_shown(times[other], timed),
        fix="keep one row for each time, or name in model.series the column (or columns) that tells the series apart",
    )


def _shown(time: np.int64, timed: bool) -> str:
    if not timed:
        return str(int(time))
    from sluice.fields.timestamps import iso

    return iso(int(time))
