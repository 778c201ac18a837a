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
#: A gap of so many times and more, and rows behind it that may be mistakes.
_WIDE, _ALONE = 50, 2
#: Gaps of one length from which on a series has a step of its own.
_REGULAR = 7


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
        names = names.tolist()
        index = grid.index(at)
        twice = (whose[1:] == whose[:-1]) & (index[1:] == index[:-1])
        if twice.any():  # two days of a month, where each month has one
            raise _twice(twice, order, series, times, setting, timed, several)
        begins = np.flatnonzero(np.concatenate([[True], whose[1:] != whose[:-1]]))
        ends = np.append(begins[1:], len(whose))
        first, spans = index[begins], index[ends - 1] - index[begins] + 1
        _none_afar(index, at, begins, ends, names, grid, order, setting, timed, bool(spans.sum() > 1000 + _SPARSE * len(times)))
        if grid.unit != "month" or grid.phase != -2:
            _one_step(index, begins, ends, names, grid, setting)
        made: dict[str, list[NDArray[np.float64]]] = {}
        for name, values in columns.items():
            sorted_ = values[order]
            made[name] = []
            for b, end, f, n in zip(begins, ends, first, spans, strict=True):
                full = np.full(int(n), np.nan)
                full[index[b:end] - f] = sorted_[b:end]
                made[name].append(full)
        return cls(grid, first, made, target, order[begins], names)


def _none_afar(
    index: NDArray[np.int64],
    at: NDArray[np.int64],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    names: list[str],
    grid: Grid,
    order: NDArray[np.int64],
    setting: str,
    timed: bool,
    sparse: bool,
) -> None:
    """Raises `DataError` where one or two rows of a series stand far from the others, or where nearly all times are missing (`sparse`)."""
    for s, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        gaps = np.diff(index[begin:end])
        if not len(gaps):
            continue
        widest, span = int(np.argmax(gaps)), int(index[end - 1] - index[begin]) + 1
        before, after = widest + 1, len(gaps) - widest
        alone = min(before, after) <= _ALONE and gaps[widest] > max(_WIDE, 3 * (span - gaps[widest]))
        if alone or (sparse and span > _SPARSE * (end - begin)):
            row = begin + widest + (before > after)
            raise DataError(
                f"stands far from the others: {_called(names[s])}{end - begin} rows over {span:,} times of {grid.named}, nearly all missing",
                field=f"{setting}, row {int(order[row]) + 1}",
                value=_shown(at[row], timed),
                fix="correct the time, or give rows of a coarser step",
            )


def _one_step(
    index: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64], names: list[str], grid: Grid, setting: str
) -> None:
    """Raises `DataError` where a series has regular times of its own, coarser than the others': months among days."""
    for s, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        gaps = np.diff(index[begin:end])
        if len(gaps) < _REGULAR or gaps.min() < 2 or gaps.max() > 1.15 * gaps.min():
            continue
        raise DataError(
            f"has times of two steps: {_called(names[s])}one row in {int(np.median(gaps))} times of {grid.named}, the others in 1",
            field=setting,
            value=names[s],
            fix="give all series rows of one step (sum or average within it), or make a project of each step",
        )


def _called(name: str) -> str:
    """A series in a sentence."""
    return f"series {name!r} has " if name else "there are "


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
        fix="keep one row for each time, or name in model.series the column (or columns) that tells the series apart"
        + ("; where a clock was set back give times in UTC, or with their offset" if timed and _set_back(times[other]) else ""),
    )


def _set_back(time: np.int64) -> bool:
    """Whether clocks may show it twice: an hour of the night, in spring or autumn (of the south)."""
    moment = np.datetime64(int(time), "us")
    hour = int((moment - moment.astype("datetime64[D]")) / np.timedelta64(1, "h"))
    return (
        hour in (0, 1, 2, 3)
        and int(moment.astype("datetime64[M]").astype(np.int64)) % 12 in (2, 3, 8, 9, 10)
        and int(time) % 86_400_000_000 != 0
    )


def _shown(time: np.int64, timed: bool) -> str:
    if not timed:
        return str(int(time))
    from sluice.fields.timestamps import iso

    return iso(int(time))
