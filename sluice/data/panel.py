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
#: Gaps, and how much the largest may be of the smallest, from which on a series has a step of its own; and the share of such series that is too many.
_REGULAR, _EVEN, _COARSE = 7, 1.15, 0.1


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
        rows = _Rows.of(times, series, setting, timed, several)
        found = rows.grid() if grid is None else rows.on(grid)
        index = rows.index(found)
        begins, ends = rows.begins, rows.ends
        first, spans = index[begins], index[ends - 1] - index[begins] + 1
        rows.check_far(index, found)
        if grid is None:
            rows.check_step(index, found)
        made: dict[str, list[NDArray[np.float64]]] = {}
        for name, values in columns.items():
            sorted_ = values[rows.order]
            made[name] = []
            for b, end, f, n in zip(begins, ends, first, spans, strict=True):
                full = np.full(int(n), np.nan)
                full[index[b:end] - f] = sorted_[b:end]
                made[name].append(full)
        return cls(found, first, made, target, rows.order[begins], rows.names)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """A table's rows in the order of series and times, and what is wrong with them.

    Attributes:
        order: int64 [rows]: the table's row.
        at: int64 [rows]: its time.
        begins, ends: int64 [series]: where each one's rows begin, and end.
        names: of the series.
        setting, timed, several: as `Panel.of` has them.
    """

    order: NDArray[np.int64]
    at: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    names: list[str]
    setting: str
    timed: bool
    several: bool

    @classmethod
    def of(cls, times: NDArray[np.int64], series: Sequence[str], setting: str, timed: bool, several: bool) -> _Rows:
        """Sorted. Raises `DataError` where a time stands twice in a series."""
        names, codes = np.unique(np.asarray(series, dtype=object).astype(str), return_inverse=True)
        order = np.lexsort((times, codes))
        whose = codes[order]
        begins = np.flatnonzero(np.concatenate([[True], whose[1:] != whose[:-1]]))
        found = cls(order, times[order], begins, np.append(begins[1:], len(whose)), names.tolist(), setting, timed, several)
        found._check_once(found.at)
        return found

    @property
    def whose(self) -> NDArray[np.int64]:
        """Of each row the series."""
        return np.repeat(np.arange(len(self.begins)), self.ends - self.begins)

    def grid(self) -> Grid:
        """The one they lie on. Raises `DataError`: there is none."""
        try:
            return Grid.of(self.at, self.whose, self.timed)
        except IrregularError as e:
            raise self._irregular(e) from e

    def on(self, grid: Grid) -> Grid:
        """A grid they have to lie on. Raises `DataError`: they do not."""
        try:
            return grid.checked(self.at)
        except IrregularError as e:
            raise self._irregular(e) from e

    def index(self, grid: Grid) -> NDArray[np.int64]:
        """The grid's number of each. Raises `DataError` where two are of one: two days of a month, where each month has one."""
        index = grid.index(self.at)
        self._check_once(index)
        return index

    def check_far(self, index: NDArray[np.int64], grid: Grid) -> None:
        """Raises `DataError` where one or two rows of a series stand far from the others, or nearly all its times are missing."""
        spans = index[self.ends - 1] - index[self.begins] + 1
        sparse = spans.sum() > 1000 + _SPARSE * len(index)
        for name, begin, end, span in zip(self.names, self.begins.tolist(), self.ends.tolist(), spans.tolist(), strict=True):
            gaps = np.diff(index[begin:end])
            if not len(gaps):
                continue
            widest = int(np.argmax(gaps))
            before, after = widest + 1, len(gaps) - widest
            alone = min(before, after) <= _ALONE and gaps[widest] > max(_WIDE, 3 * (span - gaps[widest]))
            if alone or (sparse and span > _SPARSE * (end - begin)):
                raise self._fault(
                    begin + widest + (before > after),
                    f"stands far from the others: {_called(name)}{end - begin} rows over {span:,} times of {grid.named}, nearly all missing",
                    "correct the time, or give rows of a coarser step",
                )

    def check_step(self, index: NDArray[np.int64], grid: Grid) -> None:
        """Raises `DataError` where a tenth of the series and more have regular times of their own, coarser than the others': weeks among days."""
        if grid.unit == "month" and grid.phase == -2:
            return
        coarse = []
        for s, (begin, end) in enumerate(zip(self.begins.tolist(), self.ends.tolist(), strict=True)):
            gaps = np.diff(index[begin:end])
            if len(gaps) >= _REGULAR and gaps.min() >= 2 and gaps.max() <= _EVEN * gaps.min():
                coarse.append((s, int(np.median(gaps))))
        if len(coarse) > _COARSE * len(self.names):
            s, step = coarse[0]
            raise DataError(
                f"has times of two steps: {_called(self.names[s])}one row in {step} times of {grid.named} (of {len(coarse):,} series), others in 1",
                field=self.setting,
                value=self.names[s],
                fix="give all series rows of one step (sum or average within it), or make a project of each step",
            )

    def _check_once(self, at: NDArray[np.int64]) -> None:
        whose = self.whose
        twice = (whose[1:] == whose[:-1]) & (at[1:] == at[:-1])
        if not twice.any():
            return
        k = int(np.argmax(twice))
        one, other = sorted((int(self.order[k]), int(self.order[k + 1])))
        series = f" in series {self.names[whose[k]]!r}" if self.several else ""
        back = "; where a clock was set back give times in UTC, or with their offset" if self.timed and _set_back(self.at[k]) else ""
        raise DataError(
            f"stands more than once{series} ({int(twice.sum()):,} such rows): also in row {one + 1}",
            field=f"{self.setting}, row {other + 1}",
            value=_shown(self.at[k], self.timed),
            fix=f"keep one row for each time, or name in model.series the column (or columns) that tells the series apart{back}",
        )

    def _irregular(self, e: IrregularError) -> DataError:
        return self._fault(
            e.at,
            f"has no regular times: {e}",
            "give each series one row for each hour, day, week, month or other step (sum or average within it); rows may be missing",
        )

    def _fault(self, row: int, message: str, fix: str) -> DataError:
        """Of one of these rows."""
        return DataError(message, field=f"{self.setting}, row {int(self.order[row]) + 1}", value=_shown(self.at[row], self.timed), fix=fix)


def _called(name: str) -> str:
    """A series in a sentence."""
    return f"series {name!r} has " if name else "there are "


def _end(y: NDArray[np.float64]) -> int:
    """How many there are up to the last that is known."""
    there = np.flatnonzero(~np.isnan(y))
    return int(there[-1]) + 1 if len(there) else 0


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
