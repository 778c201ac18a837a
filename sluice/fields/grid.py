"""Regular times: which distance they have, and a whole number for each, so that gaps are seen and times to come can be named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
#: Of the times of months so many may be the second of theirs before it is believed that they are no months.
_RARE = 0.05
#: Name of a distance in microseconds, and how many of it make up the seasons that are tried, longest last.
_NAMES = {_SECOND: "second", 60 * _SECOND: "minute", 3600 * _SECOND: "hour", _DAY: "day", 7 * _DAY: "week"}
_MONTHS = {1: "month", 3: "quarter", 12: "year"}


class IrregularError(ValueError):
    """Times that have no common distance. `at`: the index of one that stands between the others."""

    def __init__(self, message: str, at: int):
        super().__init__(message)
        self.at = at


@dataclasses.dataclass(frozen=True)
class Grid:
    """Times of one distance.

    Attributes:
        unit: ``month``, ``microsecond``, ``weekday`` (Monday to Friday) or ``number`` (no times at all).
        step: how many of the unit lie between two of them.
        phase: where the grid lies: of months the microseconds since the month began, -1 for its last day, -2 for any day of it; else what is left of a
            division by `step`; of weekdays the microseconds since midnight.
        shift: of months, how many after January 1970 one of the grid's is.
    """

    unit: str
    step: int
    phase: int = 0
    shift: int = 0

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> Grid:
        """What `dataclasses.asdict` gave."""
        return cls(str(raw["unit"]), int(raw["step"]), int(raw["phase"]), int(raw["shift"]))

    @classmethod
    def of(cls, times: NDArray[np.int64], series: NDArray[np.int64], timed: bool) -> Grid:
        """The grid of times that rise within each series.

        Args:
            times: microseconds of the wall clock, or whole numbers.
            series: whose each is.
            timed: whether these are times.

        Raises:
            IrregularError: they have no common distance, or no two are of one series.
        """
        same = series[1:] == series[:-1]
        if not same.any():
            raise IrregularError("no series has two times", 0)
        if not timed:
            return cls._fixed("number", times, same)
        days = times.astype("datetime64[us]").astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        inside = times - months.astype("datetime64[us]").astype(np.int64)
        last = (days + 1).astype("datetime64[M]") > months
        of_months = months.astype(np.int64)
        apart = np.diff(of_months)[same]
        again = np.flatnonzero(same & (np.diff(of_months) == 0))
        if 0 < len(again) < _RARE * len(apart):
            raise IrregularError(f"nearly each month has one, and {len(again):,} stand in a month that has one already", int(again[0]) + 1)
        if (apart > 0).all():
            step = _commonest(apart)
            at_one = (inside == inside[0]).all()
            if at_one or last.all():
                return cls("month", step, int(inside[0]) if at_one else -1, _commonest(of_months % step)).checked(times)
            if (apart % step == 0).all():  # the last working day, or one that moves a little
                return cls("month", step, -2, _commonest(of_months % step))
        clock = times % _DAY
        weekdays = np.is_busday(days)
        gaps = np.diff(times)[same]
        if weekdays.all() and (clock == clock[0]).all() and _commonest(gaps) == _DAY and (gaps == 3 * _DAY).any():
            return cls("weekday", 1, int(clock[0]))
        return cls._fixed("microsecond", times, same)

    @classmethod
    def _fixed(cls, unit: str, times: NDArray[np.int64], same: NDArray[np.bool_]) -> Grid:
        step = _commonest(np.diff(times)[same])
        return cls(unit, step, _commonest(times % step)).checked(times)

    def checked(self, times: NDArray[np.int64]) -> Grid:
        """Itself, where every time lies on it. Raises `IrregularError`."""
        if self.unit == "month" and self.phase == -2:
            return self
        off = self.times(self.index(times)) != times
        if 2 * int(off.sum()) > len(off):
            raise IrregularError(
                f"no step is common to them ({self.named} is the commonest, and {int(off.sum()):,} of {len(off):,} lie between)",
                int(np.argmax(off)),
            )
        if off.any():
            raise IrregularError(f"most lie {self.named} apart, and {int(off.sum()):,} of {len(off):,} lie between", int(np.argmax(off)))
        return self

    @property
    def name(self) -> str:
        """The distance in words: ``month``, ``15 minutes``."""
        if self.unit == "month":
            return _MONTHS.get(self.step, f"{self.step} months")
        if self.unit == "microsecond":
            whole = max((n for n in _NAMES if self.step % n == 0), default=0)
            if not whole:
                return f"{self.step / _SECOND:g} seconds"
            n = self.step // whole
            return _NAMES[whole] if n == 1 else f"{n} {_NAMES[whole]}s"
        return self.unit if self.step == 1 else f"{self.step} {self.unit}s"

    @property
    def named(self) -> str:
        """`name` with its article where it has none of its own."""
        return self.name if self.name[0].isdigit() else f"{'an' if self.name == 'hour' else 'a'} {self.name}"

    @property
    def seasons(self) -> tuple[int, ...]:
        """Steps after which things may come round again, shortest first; (1,) where nothing is known."""
        if self.unit == "month":
            return (12 // self.step,) if self.step in (1, 2, 3, 4, 6) else (1,)
        if self.unit == "weekday":
            return (5,)
        if self.unit == "number":
            return (1,)
        cycles = (_DAY, 7 * _DAY) if self.step < _DAY else (7 * _DAY,) if self.step < 7 * _DAY else ()
        found = tuple(c // self.step for c in cycles if c % self.step == 0 and c > self.step)
        return found or ((52,) if self.step == 7 * _DAY else (1,))

    def turn(self, cycle: str) -> float | None:
        """How much of a round of ``month``, ``weekday`` or ``hour`` (`sluice.fields.timeparts`) a step is; None of one that it does not go through evenly."""
        days = {"month": self.step * 365.25 / 12, "weekday": self.step * 7 / 5, "microsecond": self.step / _DAY}.get(self.unit)
        if days is None or (cycle != "month" and self.unit == "month"):
            return None
        return {"month": days / 365.25, "weekday": days / 7, "hour": days % 1.0}.get(cycle)

    def index(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """The whole number of each time; of one that lies between two, of the one before."""
        if self.unit == "month":
            months = times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
            return np.asarray((months - self.shift) // self.step)
        if self.unit == "weekday":
            return np.asarray(np.busday_count(np.datetime64("1970-01-01"), times.astype("datetime64[us]").astype("datetime64[D]"))).astype(
                np.int64
            )
        return np.asarray((times - self.phase) // self.step)

    def times(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """The time of each whole number: the inverse of `index` for times on the grid."""
        if self.unit == "month":
            months = (index * self.step + self.shift).astype("datetime64[M]")
            if self.phase != -1:
                return np.asarray(months.astype("datetime64[us]").astype(np.int64) + max(0, self.phase))
            return np.asarray(((months + 1).astype("datetime64[D]") - 1).astype("datetime64[us]").astype(np.int64))
        if self.unit == "weekday":
            days = np.busday_offset(np.datetime64("1970-01-01"), index, roll="forward")
            return np.asarray(days.astype("datetime64[us]").astype(np.int64) + self.phase)
        return np.asarray(index * self.step + self.phase)


def _commonest(values: NDArray[np.int64]) -> int:
    """The value that stands most often; the smallest of several."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])
