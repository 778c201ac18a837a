"""Numbers as people write them: ``1,234.50``, ``3,14``, ``12.5 %``, ``$5``, ``€ 1.234,50``, ``1 234``, ``(5)``.

Which sign separates decimals and which thousands is a convention of the writer's. It is declared, or a
column's values allow only one reading: ``3,14`` has none with a comma between thousands, ``1,234`` has two.
What training read goes with the model, so that a server reads the same text as the same number.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

#: What people write in a column of numbers where there is none; compared in lower case.
MISSING_NUMBERS = frozenset(
    {
        "",
        "na",
        "n/a",
        "n.a.",
        "n.a",
        "#n/a",
        "nan",
        "<na>",
        "null",
        "none",
        "nil",
        "?",
        "-",
        "--",
        "---",
        "\u2013",
        "\u2014",
        ".",
        "..",
        "...",
    }
    | {"missing", "unknown", "undefined", "unavailable", "not available", "not applicable"}
    | {"#div/0!", "#value!", "#ref!", "#num!", "#null!", "#name?"}  # what a spreadsheet writes where it could not reckon
)

_UNITS = r"[$¢£¤¥฿₠-₿﷼%‰]|R\$|kr|zł|Kč|Ft|Fr\.?|USD|EUR|GBP|CHF|JPY|CNY|KRW|INR|SEK|NOK|DKK|PLN|CZK|HUF|BRL|RUB|AUD|CAD"
_SPACES = " \u00a0\u2009\u202f"
_SHAPE = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[+\-\u2212])?\s*(?P<before>{_UNITS})?\s*(?P<inner>[+\-\u2212])?\s*"
    rf"(?P<body>[0-9][0-9.,'\u2019{_SPACES}]*|[.,][0-9]+)(?P<exponent>[eE][+-]?[0-9]{{1,3}})?"
    rf"\s*(?P<after>{_UNITS})?\s*(?P<end>[\-\u2212])?\s*(?P<close>\))?"
)
_SEPARATORS = {".": r"\.", ",": ",", " ": f"[{_SPACES}]", "'": "['\u2019]"}
#: Characters of a number that is read as one.
_LONGEST = 100
#: (decimal, thousands), the commonest first.
_CONVENTIONS = ((".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))


@dataclasses.dataclass(frozen=True)
class Numerals:
    """How a column's numbers are written.

    Attributes:
        decimal: what comes before the decimals: ``.`` or ``,``.
        thousands: what may stand between groups of three digits: ``,``, ``.``, a space of any width, ``'``; null: nothing.
        unit: the currency or per cent sign that may stand beside the number, which stays as written: ``12.5 %`` is 12.5. Null: any.
    """

    decimal: str = "."
    thousands: str | None = None
    unit: str | None = None

    def parse(self, text: str) -> float | None:
        """The number a text spells; NaN for a blank one and for `MISSING_NUMBERS`; None where it spells none, or has another unit."""
        if text.strip().lower() in MISSING_NUMBERS:
            return math.nan
        found = _split(text)
        if found is None:
            return None
        sign, body, exponent, unit = found
        if unit and self.unit is not None and unit != self.unit:
            return None
        match = _pattern(self.decimal, self.thousands).fullmatch(body)
        if match is None:
            return None
        whole = re.sub("[^0-9]", "", match[1] or "")
        return sign * float(f"{whole or '0'}.{match[2] or '0'}{exponent}")

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> Numerals:
        """What `dataclasses.asdict` gave. Raises `ValueError`, `TypeError`."""
        made = cls(**raw)
        if (
            made.decimal not in (".", ",")
            or made.thousands not in (*_SEPARATORS, None)
            or made.decimal == made.thousands
            or not isinstance(made.unit, str | None)
        ):
            raise ValueError(f"unknown way to write numbers: {raw}")
        return made

    def words(self) -> str:
        """For a client: ``"," before decimals, "." between thousands``."""
        return f'"{self.decimal}" before decimals' + (f', "{self.thousands}" between thousands' if self.thousands else "")

    def setting(self) -> str:
        """As the project file declares it."""
        return f'{{decimal: "{self.decimal}"' + (f', thousands: "{self.thousands}"}}' if self.thousands else "}")


@dataclasses.dataclass(frozen=True)
class Doubt:
    """Texts that spell numbers in more than one way, or with more than one unit.

    Attributes:
        example: the first that does.
        readings: each convention and what the example is by it; empty where units differ.
    """

    example: str
    readings: tuple[tuple[Numerals, float], ...] = ()


def spells_number(text: str) -> bool:
    """Whether a text is a number in any convention."""
    return _split(text) is not None and any(Numerals(*c).parse(text) is not None for c in _CONVENTIONS)


def find_numerals(texts: Iterable[str]) -> Numerals | Doubt | None:
    """The one convention by which all texts are numbers, a doubt where there are several, None where there is none."""
    values = [t for t in texts if t and not t.isspace()]
    units = {found[3] if (found := _split(v)) else "?" for v in values}
    if not values or "?" in units:
        return None
    unit = next(iter(units - {""}), None)
    read: dict[tuple[float, ...], Numerals] = {}
    for decimal, thousands in _CONVENTIONS:
        way = Numerals(decimal, thousands, unit)
        numbers = [Numerals(decimal, thousands).parse(v) for v in values]
        if None not in numbers:
            read.setdefault(tuple(n for n in numbers if n is not None), way)
    if not read:
        return None
    if len(units - {""}) > 1 or ("" in units and unit in ("%", "‰")):
        return Doubt(values[0])
    if len(read) > 1 and unit not in (None, "%", "‰"):  # of money nobody writes three decimals
        read = {numbers: way for numbers, way in read.items() if not any(_decimals(way, v) == 3 for v in values)} or read
    if len(read) > 1:
        ways = list(read.items())
        at = next(i for i in range(len(values)) if len({numbers[i] for numbers, _ in ways}) > 1)
        return Doubt(values[at], tuple((way, numbers[at]) for numbers, way in ways))
    only, way = next(iter(read.items()))
    return Doubt(values[0], ((way, only[0]),)) if unit is None and _names_something(values) else way


def _decimals(way: Numerals, text: str) -> int:
    found = _split(text)
    match = _pattern(way.decimal, way.thousands).fullmatch(found[1]) if found else None
    return len(match[2] or "") if match else 0


def _names_something(values: list[str]) -> bool:
    """Whether texts may be telephone numbers (555 123 456), addresses (192.168.100.200) or marks of their own: (5), 5-."""
    digits = {len(re.sub("[^0-9]", "", v)) for v in values}
    groups = all(re.fullmatch(rf"[1-9][0-9]{{0,2}}(?:[.,'\u2019{_SPACES}][0-9]{{2,3}})+", v.strip()) for v in values)
    return (groups and len(digits) == 1) or all(v.strip()[0] == "(" or v.strip()[-1] in "-\u2212" for v in values)


@functools.cache
def _pattern(decimal: str, thousands: str | None) -> re.Pattern[str]:
    # Groups of two are India's: 1,23,456.
    grouped = rf"[1-9][0-9]{{0,2}}(?:{_SEPARATORS[thousands]}[0-9]{{2,3}})*{_SEPARATORS[thousands]}[0-9]{{3}}|" if thousands else ""
    return re.compile(rf"(?=.?[0-9])({grouped}[0-9]*)(?:{_SEPARATORS[decimal]}([0-9]*))?")


def _split(text: str) -> tuple[int, str, str, str] | None:
    """Sign, digits with what separates them, exponent and unit of a text that may be a number."""
    found = _SHAPE.fullmatch(text.strip()) if len(text) <= _LONGEST else None
    if found is None or (found["open"] is None) != (found["close"] is None) or (found["before"] and found["after"]):
        return None
    signs = [s for s in (found["sign"], found["inner"], found["end"]) if s]
    if len(signs) + (found["open"] is not None) > 1:
        return None
    negative = found["open"] is not None or signs not in ([], ["+"])
    return -1 if negative else 1, found["body"].strip(_SPACES), found["exponent"] or "", found["before"] or found["after"] or ""
