"""Which rows: ``age >= 60 and country == 'DE'``, ``total == net + tax``: the one language of comparisons over columns. Nothing of it is run as code.

Slices, groups, accepted slices and a schema's expressions are written in it. Grammar (words in any case; a chain as in mathematics)::

    either  = both {"or" both}
    both    = one {"and" one}
    one     = "not" one | "(" either ")" | test
    test    = sum order sum {order sum} | column ["not"] "in" "[" value {"," value} "]" | column "is" ["not"] "missing"
    order   = "<" | "<=" | ">" | ">=" | "==" | "!="
    sum     = product {("+" | "-") product}
    product = factor {("*" | "/") factor}
    factor  = "-" factor | "abs" "(" sum ")" | "(" sum ")" | column | value
    column  = name | `any name` | part "(" column ")"
    part    = "hour" | "weekday" | "month" | "length" | "lower"
    value   = 12.5 | 'text' | "text" | true | false

A name is a word, with hyphens and dots inside (``hours-per-week``), so a difference has blanks (``total - net``); any other name stands in backticks. One side of a
comparison at least has a column. A value that is missing is in no comparison. ``null(x)`` and ``col('x')``, as schemas wrote them before, are read as ``x is missing`` and the name.
What the columns are is not known here: `sluice.data.truth` finds what is true.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

Order = Literal["<", "<=", ">", ">=", "==", "!="]
#: What of a column's value is compared: of a time its hour (0 to 23), weekday (``Monday``) or month (1 to 12); of a text how many characters it has, or its small letters.
PARTS = ("hour", "weekday", "month", "length", "lower")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAME = r"[^\W\d]\w*(?:[-.]\w+)*"
#: What is no name unless it stands in backticks.
WORDS = frozenset({"and", "or", "not", "in", "is", "missing", "true", "false"})
#: How close what is worked out holds together.
_TIES = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column, or a part of its value (of `PARTS`; "": the value)."""

    name: str
    part: str = ""

    def __str__(self) -> str:
        plain = re.fullmatch(NAME, self.name) and self.name.lower() not in WORDS
        name = self.name if plain else f"`{self.name}`"
        return f"{self.part}({name})" if self.part else name


@dataclasses.dataclass(frozen=True)
class Compared:
    """A column against a number or a text."""

    column: Column
    order: Order
    value: float | str

    def __str__(self) -> str:
        return f"{self.column} {self.order} {_written(self.value)}"


@dataclasses.dataclass(frozen=True)
class Worked:
    """A number worked out: ``+ - * /`` of two, ``-`` or ``abs`` of one."""

    how: str
    of: tuple[Operand, ...]

    def __str__(self) -> str:
        if self.how == "abs":
            return f"abs({_side(self.of[0], 0)})"
        if len(self.of) == 1:
            return f"-{_side(self.of[0], 3)}"
        ties = _TIES[self.how]
        return f"{_side(self.of[0], ties)} {self.how} {_side(self.of[1], ties + 1)}"

    @property
    def ties(self) -> int:
        """How close it holds together: 3 what needs no brackets."""
        return _TIES[self.how] if len(self.of) == 2 else 3


Operand: TypeAlias = Column | Worked | float | str


@dataclasses.dataclass(frozen=True)
class Related:
    """Two sides, of which one is not just a value, or both are columns."""

    left: Operand
    order: Order
    right: Operand

    def __str__(self) -> str:
        return f"{_side(self.left, 0)} {self.order} {_side(self.right, 0)}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A column is one of some values."""

    column: Column
    values: tuple[float | str, ...]

    def __str__(self) -> str:
        return f"{self.column} in [{', '.join(map(_written, self.values))}]"


@dataclasses.dataclass(frozen=True)
class Missing:
    """A column has no value."""

    column: Column

    def __str__(self) -> str:
        return f"{self.column} is missing"


@dataclasses.dataclass(frozen=True)
class Not:
    """The others."""

    of: Predicate

    def __str__(self) -> str:
        return f"not {_inside(self.of)}"


@dataclasses.dataclass(frozen=True)
class All:
    """All of them."""

    of: tuple[Predicate, ...]

    def __str__(self) -> str:
        return " and ".join(map(_inside, self.of))


@dataclasses.dataclass(frozen=True)
class Any:
    """One of them at least."""

    of: tuple[Predicate, ...]

    def __str__(self) -> str:
        return " or ".join(map(_inside, self.of))


Predicate: TypeAlias = Compared | Related | OneOf | Missing | Not | All | Any


def parse(text: str) -> Predicate:
    """An expression read. Raises `ValueError`, with a sentence that says where it goes wrong."""
    from sluice.core.predicate_reader import Reader

    return Reader(text).whole()


def read(text: str) -> str | Predicate:
    """A column's name, or an expression. A text without a comparison is a name. Raises `ValueError` as `parse`."""
    stripped = text.strip()
    if re.fullmatch(r"`[^`]+`", stripped):
        return stripped[1:-1]
    if re.fullmatch(NAME, stripped):
        return text
    try:
        return parse(text)
    except ValueError:
        if re.search("[<>=!]", text):
            raise
        return text


def columns(of: str | Predicate) -> Iterator[Column]:
    """Every column that an expression, or a name, is of."""
    if isinstance(of, str):
        yield Column(of)
    elif isinstance(of, Related):
        for side in (of.left, of.right):
            yield from _within(side)
    elif isinstance(of, Not):
        yield from columns(of.of)
    elif isinstance(of, All | Any):
        for part in of.of:
            yield from columns(part)
    else:
        yield of.column


def names(text: str) -> list[str]:
    """The names of the columns that a setting's text is of: itself, or those in an expression."""
    return list(dict.fromkeys(c.name for c in columns(read(text))))


def well_formed(text: str) -> str:
    """For a section: the text, if it is a name or an expression. Raises `ValueError`."""
    if not text.strip():
        raise ValueError("is empty: write a column, or an expression such as age >= 60")
    read(text)
    return text


def _within(side: Operand) -> Iterator[Column]:
    if isinstance(side, Column):
        yield side
    elif isinstance(side, Worked):
        for part in side.of:
            yield from _within(part)


def _side(side: Operand, ties: int) -> str:
    """A side as it is written, in brackets where what is around it holds closer together."""
    if isinstance(side, float | str):
        return _written(side)
    return f"({side})" if isinstance(side, Worked) and side.ties < ties else str(side)


def _written(value: float | str) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _inside(of: Predicate) -> str:
    return f"({of})" if isinstance(of, All | Any) else str(of)
