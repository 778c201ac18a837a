"""How a time is written: from what a cell or a request says to one number.

A time is kept as microseconds of the wall clock since 1970-01-01T00:00 (int64), in the column's
zone: its hour is the one people there saw. A text without a zone is such a wall clock's time; one
with a zone, and a number counted since 1970, is an instant and turned into it. Without a declared
zone that is UTC, so that ``08:00`` and ``08:00Z`` are one time.

Calendar arithmetic is numpy's and the standard library's (proleptic Gregorian, no leap seconds).
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sluice.core.errors import InputError
from sluice.fields.zones import MISSING, Zone

#: What people write where there is no time; compared in lower case.
MISSING_TIMES = frozenset({"", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "nil", "?", "-", "0000-00-00", "0000-00-00 00:00:00"})
#: Microseconds of each unit a number since 1970 may be counted in.
UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}

_DAY = 86_400_000_000
_SECOND = 1_000_000
#: Of a number in a column of texts: the unit in which it lies between 1973 and 2286. No number fits two.
_MAGNITUDES = ((1e8, 1e10, "s"), (1e11, 1e13, "ms"), (1e14, 1e16, "us"), (1e17, 1e19, "ns"))
_MONTHS = {m: i for i, m in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}
_OFFSET = r"(?P<z>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)"
_CLOCK = r"(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,12}))?)?"
_ISO = re.compile(rf"(?P<Y>\d{{4}})-(?P<m>\d{{1,2}})(?:-(?P<d>\d{{1,2}})(?:(?:[T_]|,?\s+){_CLOCK}(?:\s*{_OFFSET})?)?)?", re.I)
_BASIC = re.compile(
    rf"(?P<Y>\d{{4}})(?P<m>\d{{2}})(?P<d>\d{{2}})T(?P<H>\d{{2}})(?P<M>\d{{2}})(?:(?P<S>\d{{2}})(?:[.,](?P<f>\d{{1,12}}))?)?{_OFFSET}?", re.I
)
_DIGITS = frozenset("YymdHIMSfj")
_DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "q": r"(?P<q>[1-4])",
    "d": r"(?P<d>\d{1,2})",
    "j": r"(?P<j>\d{1,3})",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d{2})",
    "S": r"(?P<S>\d{2})",
    "f": r"(?P<f>\d{1,12})",
    "p": r"(?P<p>[ap]\.?\s?m\.?)",
    "z": _OFFSET,
    "b": r"(?P<b>[a-z]{3})[a-z]*\.?",
    "B": r"(?P<b>[a-z]{3})[a-z]*\.?",
    "a": r"[a-z]+\.?",
    "A": r"[a-z]+\.?",
    "%": "%",
}
_SHORT = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "e": "%d", "h": "%b", "s": ""}


class TimeForm:
    """How the times of a column are written.

    Args:
        form: ``iso`` (ISO 8601); ``s``, ``ms``, ``us`` or ``ns`` (a number since 1970); or a form of
            `strptime`'s directives: %Y %y %m %d %j %b %B %a %A %H %I %M %S %f %p %z, and %F %T %R %D %e, and %q
            for a quarter (1 to 4). Month names are English, their first three letters count. ISO 8601 is read in every column.
        zone: whose wall clock is meant.

    Raises:
        ValueError: an unknown directive, one that stands twice, or no date and no time in it.
    """

    def __init__(self, form: str, zone: Zone | None = None):
        self.form, self.zone = form, zone or Zone()
        self.unit = UNITS.get(form)
        self._pattern: re.Pattern[str] | None = None
        found = set("Ymd")
        if form != "iso" and not self.unit:
            self._pattern, found = _compiled(form)
        #: Whether a date is told, and a time of day can be.
        self.dated = bool(found & set("Yy"))
        self._digits = form != "iso" and not self.unit and not re.sub(r"%[YymdHMSjIf]", "", form)

    def read(self, values: Any, rows: int, name: str, strict: bool = True) -> np.ndarray:
        """Microseconds of the wall clock, int64 [rows], `MISSING` where there is no time.

        Args:
            values: texts, numbers, `datetime`s and None; or an array of numbers or of ``datetime64``; null: all missing.
            rows: how many.
            name: of the column, for errors.
            strict: whether what cannot be read is an error, or missing.

        Raises:
            InputError: a value that is no such time; its row is named.
        """
        if values is None:
            return np.full(rows, MISSING, np.int64)
        if isinstance(values, np.ndarray) and values.dtype.kind == "M":
            return values.astype("datetime64[us]").astype(np.int64)
        if isinstance(values, np.ndarray):
            values = values.tolist()
        out = np.empty(rows, np.int64)
        seen: dict[Any, int] = {}
        for i, value in enumerate(values):
            kept = type(value) is str or type(value) is int
            at = seen.get(value) if kept else None
            if at is None:
                try:
                    at = self._one(value)
                except (ValueError, OverflowError):
                    if strict:
                        raise InputError(
                            "is not a time", field=f"rows[{i}].{name}", value=value, fix=f"send {self.words}, or null when it is missing"
                        ) from None
                    at = MISSING
                if kept:
                    seen[value] = at
            out[i] = at
        return out

    @property
    def words(self) -> str:
        """The form for a person."""
        if self.unit:
            return (
                f"{ {'s': 'seconds', 'ms': 'milliseconds', 'us': 'microseconds', 'ns': 'nanoseconds'}[self.form] } since 1970, or ISO 8601"
            )
        return "ISO 8601 (2024-12-31T23:59:00)" if self.form == "iso" else f"the form {self.form} (such as {self.example}), or ISO 8601"

    @property
    def example(self) -> str:
        """A time as the form writes it, for messages."""
        return datetime.datetime(2024, 12, 31, 23, 59, tzinfo=datetime.UTC).strftime(self.form.replace("%q", "4"))

    def _one(self, value: Any) -> int:
        """Raises `ValueError`, `OverflowError`."""
        if value is None:
            return MISSING
        if isinstance(value, str):
            return self._text(value.strip())
        if isinstance(value, bool | np.bool_):
            raise ValueError
        if isinstance(value, int | float | np.integer | np.floating):
            return self._number(float(value) if isinstance(value, np.floating) else value)
        if isinstance(value, datetime.datetime):
            wall = _micros(value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
            shift = value.utcoffset()
            return wall if shift is None else self.zone.local(wall - round(shift.total_seconds() * _SECOND))
        if isinstance(value, datetime.date):
            return _micros(value.year, value.month, value.day)
        if isinstance(value, datetime.time):
            return _micros(1970, 1, 1, value.hour, value.minute, value.second, value.microsecond)
        if isinstance(value, np.datetime64):
            return int(value.astype("datetime64[us]").astype(np.int64))
        raise ValueError

    def _text(self, text: str) -> int:
        if text.lower() in MISSING_TIMES:
            return MISSING
        if self._pattern is not None and (found := self._pattern.fullmatch(text)):
            return self._of(found.groupdict())
        found = _ISO.fullmatch(text) or _BASIC.fullmatch(text)
        if found:
            return self._of(found.groupdict())
        if self.unit and len(text) < 40:
            return self._number(int(text) if text.lstrip("+-").isdecimal() else float(text))
        raise ValueError

    def _number(self, value: Any) -> int:
        if not math.isfinite(value):
            if math.isnan(value):
                return MISSING
            raise ValueError
        if self.unit:
            return self._instant(value, self.form)
        if self._digits and value == int(value):
            assert self._pattern is not None
            found = self._pattern.fullmatch(str(int(value)))
            if found:
                return self._of(found.groupdict())
        for low, high, unit in _MAGNITUDES:
            if low <= value < high:
                return self._instant(value, unit)
        raise ValueError

    def _instant(self, value: Any, unit: str) -> int:
        if isinstance(value, int | np.integer):
            micros = int(value) * int(UNITS[unit]) if unit != "ns" else int(value) // 1000
        else:
            micros = round(float(value) * UNITS[unit])
        if not _FIRST <= micros <= _LAST:
            raise ValueError
        return self.zone.local(micros)

    def _of(self, found: Mapping[str, str | None]) -> int:
        def number(key: str, other: int) -> int:
            text = found.get(key)
            return other if text is None else int(text)

        year = number("Y", 1970)
        if found.get("y") is not None:
            year = number("y", 0)
            year += 1900 if year >= 69 else 2000  # as POSIX reads two digits
        month = number("m", 3 * number("q", 1) - 2)  # a quarter is the first day of it
        if found.get("b") is not None:
            month = _MONTHS.get(str(found["b"]).lower(), 0)
        hour = number("H", 0)
        if found.get("I") is not None:
            hour = number("I", 0)
            if not 1 <= hour <= 12:
                raise ValueError
            hour %= 12
        if found.get("p") and str(found["p"]).lower().startswith("p"):
            hour += 12 if hour < 12 else 0
        fraction = int((found.get("f") or "0")[:6].ljust(6, "0"))
        if found.get("j") is not None:
            days = number("j", 1)
            if not 1 <= days <= 366:
                raise ValueError
            wall = _micros(year, 1, 1, hour, number("M", 0), number("S", 0), fraction) + (days - 1) * _DAY
        else:
            wall = _micros(year, month, number("d", 1), hour, number("M", 0), number("S", 0), fraction)
        zone = found.get("z")
        return wall if zone is None else self.zone.local(wall - _shift(zone))


def iso(wall: int) -> str:
    """A wall clock's time as ISO 8601 without a zone."""
    return str(np.datetime64(wall, "us").astype(datetime.datetime).isoformat())


def _micros(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, micro: int = 0) -> int:
    """Raises `ValueError`."""
    if not (0 <= minute < 60 and 0 <= second <= 60 and (0 <= hour < 24 or (hour == 24 and not minute and not second and not micro))):
        raise ValueError
    days = datetime.date(year, month, day).toordinal() - 719_163
    return days * _DAY + ((hour * 60 + minute) * 60 + second) * _SECOND + micro


_FIRST, _LAST = _micros(1, 1, 2), _micros(9999, 12, 30)


def _shift(zone: str) -> int:
    """Microseconds east of UTC."""
    if zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "")
    seconds = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    if seconds > 18 * 3600:
        raise ValueError
    return (-seconds if zone[0] == "-" else seconds) * _SECOND


def _compiled(form: str) -> tuple[re.Pattern[str], set[str]]:
    """A form as a pattern, and the directives in it. Raises `ValueError`."""
    for short, long in _SHORT.items():
        form = form.replace(f"%{short}", long) if long else form
    tokens = re.findall(r"%.|\s+|[^%\s]+|%$", form)
    digits = [t[0] == "%" and t[1:] in _DIGITS for t in tokens]
    out, found = [], set()
    for i, token in enumerate(tokens):
        if token.isspace():
            out.append(r"\s+")
        elif token[0] != "%":
            out.append(re.escape(token))
        else:
            letter = token[1:]
            if letter not in _DIRECTIVES:
                raise ValueError(
                    f"{token!r} is no directive of a time's form, which are %Y %y %q %m %d %j %b %B %a %A %H %I %M %S %f %p %z (or say iso, s, ms, us, ns)"
                )
            key = "b" if letter == "B" else letter
            if key in found and letter not in "%aA":
                raise ValueError(f"{token!r} stands twice in the form")
            found.add(key)
            alone = not ((i and digits[i - 1]) or (i + 1 < len(tokens) and digits[i + 1]))
            if letter == "S" and "%f" not in form and alone:
                out.append(_DIRECTIVES["S"] + r"(?:[.,](?P<f>\d{1,12}))?")
                continue
            out.append(_DIRECTIVES[letter] if alone else _DIRECTIVES[letter].replace(r"\d{1,2}", r"\d{2}").replace(r"\d{1,3}", r"\d{3}"))
    if not (found & set("Yy") or "H" in found or {"I", "p"} <= found):
        raise ValueError(
            f"{form!r} tells neither a year nor an hour; write it with directives, such as %d.%m.%Y, or say iso, s, ms, us or ns"
        )
    if found & set("Yy") and not found & set("HI"):
        out.append(rf"(?:(?:[T_]|,?\s+){_CLOCK}(?:\s*{_OFFSET})?)?")  # a date's time of day may follow
    return re.compile("".join(out), re.I), found
