"""Cron: five fields for people, six in one time zone for Kubeflow Pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from sluice.core.errors import MissingExtra, SluiceError

_MONTHS = {m: i + 1 for i, m in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])}
_DAYS = {d: i for i, d in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
#: name, lowest, highest, names
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
#: A tick that does not come in this many years never does: between 1896 and 1904 there was no 29 February either.
_YEARS = 8
#: Seconds that no change of the clocks exceeds.
_CHANGE = 3 * 3600.0


class CronError(SluiceError):
    """A cron expression or a time zone that cannot be used."""

    exit_code = 2


@dataclass(frozen=True)
class Cron:
    """A parsed cron expression, with the meaning of Vixie cron: day of month and day of week, both restricted, are a union.

    Attributes:
        text: the five fields as they were written.
        minutes, hours, days, months, weekdays: what matches; Sunday is 0.
        any_hour, any_day, any_weekday: whether the field begins with ``*``.
    """

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_hour: bool
    any_day: bool
    any_weekday: bool

    def after(self, moment: float, where: tzinfo = UTC) -> float | None:
        """The first tick strictly after a moment.

        Local times that a change of the clocks skips do not happen; of those it repeats the first counts,
        unless every hour matches.

        Args:
            moment: seconds since the epoch. where: the time zone the expression is meant in.

        Returns:
            Seconds since the epoch, None when there is no tick in the next eight years.

        Raises:
            MissingExtra: croniter is not installed.
        """
        try:
            from croniter import CroniterBadDateError, croniter
        except ImportError as e:
            raise MissingExtra(
                "needs croniter", field="a schedule", value=self.text, fix="pip install 'sluice-ml[cluster]', or leave the schedule out"
            ) from e
        # croniter walks on the wall clock, from before the last change of it; a wall time is one moment, two, or none.
        clock = datetime.fromtimestamp(moment, where).replace(tzinfo=UTC).timestamp()
        walk = croniter(self._plain(), clock - _CHANGE, day_or=not (self.any_day or self.any_weekday), max_years_between_matches=_YEARS)
        again: float | None = None
        try:
            while True:
                wall = walk.get_next(float)
                first, second = _moments(wall, where)
                if first is not None and first > moment:
                    return first if again is None else min(first, again)
                if self.any_hour and second is not None and second > moment and again is None:
                    again, clock = second, wall
                if again is not None and wall > clock + _CHANGE:
                    break
        except CroniterBadDateError:
            pass
        return again

    @property
    def possible(self) -> bool:
        """Whether any date matches: 30 February does not."""
        longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
        union = not (self.any_day or self.any_weekday)
        return union or any(min(self.days) <= longest.get(month, 31) for month in self.months)

    def _plain(self) -> str:
        """Five fields of numbers alone: names, `?` and what croniter reads otherwise (0-0) are gone."""
        return " ".join(
            _listed(values, low, high)
            for values, (_, low, high, _) in zip((self.minutes, self.hours, self.days, self.months, self.weekdays), _FIELDS, strict=True)
        )

    def shifted(self, minutes: int) -> str:
        """The six fields Kubeflow Pipelines wants (seconds first), for a clock that is `minutes` behind this one's.

        Raises:
            CronError: the shifted ticks are no cron expression: some fall on another day and the day is restricted, or
                hours and minutes are no longer independent.
        """
        days = self.text.split()[2:]
        if minutes == 0:
            return "0 " + self.text
        pairs = {divmod(h * 60 + m - minutes, 1440) for h in self.hours for m in self.minutes}
        hours, moved = {p[1] // 60 for p in pairs}, {p[1] % 60 for p in pairs}
        if len({p[1] for p in pairs}) != len(hours) * len(moved):
            raise CronError(
                "in the time zone of Kubeflow Pipelines these minutes differ from hour to hour",
                value=self.text,
                fix="use minutes that keep to one half of the hour, or the pipelines' own time zone",
            )
        free = self.any_day and self.any_weekday and len(self.weekdays) == 7 and len(self.days) == 31 and len(self.months) == 12
        steps = {p[0] for p in pairs}
        if steps != {0} and not free:
            if len(steps) > 1 or not (self.any_day and len(self.days) == 31) or len(self.months) != 12:
                raise CronError(
                    "in the time zone of Kubeflow Pipelines this falls on another day, which a cron expression cannot say",
                    value=self.text,
                    fix="use an hour that is the same day in both, or the pipelines' own time zone",
                )
            days[2] = _listed({(d + next(iter(steps))) % 7 for d in self.weekdays}, 0, 6)
        return " ".join(["0", _listed(moved, 0, 59), _listed(hours, 0, 23), *days])


def _moments(wall: float, where: tzinfo) -> tuple[float | None, float | None]:
    """When a clock in `where` shows a wall time, given as if in UTC: the first time and, where it is set back over it, the second; None: never."""
    shown = datetime.fromtimestamp(wall, UTC).replace(tzinfo=None)
    both = [shown.replace(tzinfo=where, fold=fold).timestamp() for fold in (0, 1)]
    first, second = (m if datetime.fromtimestamp(m, where).replace(tzinfo=None) == shown else None for m in both)
    return first, second if second != first else None


def _listed(values: Iterable[int], low: int, high: int) -> str:
    found = sorted(values)
    return "*" if len(found) == high - low + 1 else ",".join(map(str, found))


@lru_cache(maxsize=4096)
def parse(text: str, field: str = "spec.schedule") -> Cron:
    """Five fields, in the grammar that Kubeflow Pipelines' scheduler (robfig/cron 1.2) shares with Vixie cron.

    Args:
        field: the setting it stands in, told in errors.

    Raises:
        CronError: naming the field, or that no date matches (30 February).
    """
    parts = text.split()
    if len(parts) != 5:
        raise CronError(
            "a cron expression has five fields: minute, hour, day of month, month, day of week",
            field=field,
            value=text,
            fix="for example 0 2 * * * is every night at two",
        )
    minutes, hours, days, months, weekdays = (_field(part, field, *about) for part, about in zip(parts, _FIELDS, strict=True))
    star = [part[0] in "*?" for part in parts]
    cron = Cron(" ".join(p.lower() for p in parts), minutes, hours, days, months, weekdays, star[1] and len(hours) == 24, star[2], star[4])
    if not cron.possible:
        raise CronError("no date matches", field=field, value=text, fix="day of month and month exclude each other")
    return cron


def parse_six(text: str) -> Cron | None:
    """What Kubeflow Pipelines holds: six fields, the first of them 0. None for anything else."""
    head, _, rest = text.strip().partition(" ")
    try:
        return parse(rest) if head == "0" else None
    except CronError:
        return None


def _field(text: str, setting: str, name: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        match = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
        if not match:
            raise CronError(f"{name} is not a number, a range, a list or a step", field=setting, value=text)
        first, last, step = match.groups()
        begin = low if first is None else _number(first, setting, name, low, high, names)
        # "3/10" means from 3 to the end in steps of 10
        end = _number(last, setting, name, low, high, names) if last else high if first is None or step else begin
        if begin > end or step == "0":
            raise CronError(f"{name}: the range or the step is empty", field=setting, value=text)
        found.update(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, setting: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    value = names.get(text, int(text) if text.isdecimal() else -1)
    if not low <= value <= high:
        raise CronError(f"{name} lies between {low} and {high}", field=setting, value=text, fix="Sunday is 0" if high == 6 else None)
    return value


def zone(name: str, field: str = "spec.timeZone") -> ZoneInfo:
    """Raises `CronError` for a time zone that the IANA database does not have."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as e:
        raise CronError("no such time zone", field=field, value=name, fix="use a name of the IANA database, such as Europe/Berlin") from e


def translated(cron: Cron, where: ZoneInfo, pipelines: ZoneInfo, now: float) -> tuple[str, float]:
    """What Kubeflow Pipelines is asked for, which has one time zone for all of its schedules.

    The difference of the zones is the one at the next tick; after a change of the clocks the answer is another.

    Returns:
        The six fields, and the next tick in seconds since the epoch.

    Raises:
        CronError: it cannot be said in that time zone.
    """
    tick = cron.after(now, where)
    if tick is None:
        raise CronError("no date matches", field="spec.schedule", value=cron.text)
    if where.key == pipelines.key:
        return cron.shifted(0), tick
    moment = datetime.fromtimestamp(tick, UTC)
    ahead = (moment.astimezone(where).utcoffset() or timedelta()) - (moment.astimezone(pipelines).utcoffset() or timedelta())
    try:
        return cron.shifted(round(ahead.total_seconds() / 60)), tick
    except CronError as e:
        raise CronError(e.message, field="spec.schedule", value=cron.text, fix=f"{e.fix} ({pipelines.key})") from e
