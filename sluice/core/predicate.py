"""Which rows: ``age >= 60 and country == 'DE'``, a small language of comparisons over a dataset's columns. Nothing of it is run as code.

Grammar (words in any case; a chain as in mathematics)::

    either  = both {"or" both}
    both    = one {"and" one}
    one     = "not" one | "(" either ")" | test
    test    = side order side {order side} | column ["not"] "in" "[" value {"," value} "]" | column "is" ["not"] "missing"
    order   = "<" | "<=" | ">" | ">=" | "==" | "!="
    side    = column | value                        one of a comparison's sides is a column
    column  = name | `any name` | part "(" column ")"
    part    = "hour" | "weekday" | "month" | "length"
    value   = 12.5 | 'text' | "text" | true | false

A name is a word, with hyphens and dots inside (``hours-per-week``); any other stands in backticks. A value that is missing is in no comparison.
What the columns are is not known here: `sluice.data.where` finds the rows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

Order = Literal["<", "<=", ">", ">=", "==", "!="]
#: What of a column's value is compared: of a time its hour (0 to 23), weekday (``Monday``) or month (1 to 12); of a text its characters.
PARTS = ("hour", "weekday", "month", "length")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: Characters of an expression, and how deep its brackets are.
_MOST, _DEEPEST = 2000, 32
_TURNED: dict[str, Order] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NAME = r"[^\W\d]\w*(?:[-.]\w+)*"
_TOKEN = re.compile(
    rf"""\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<quoted>`[^`]+`)|(?P<name>{_NAME})|(?P<sign><=|>=|==|!=|<>|&&|\|\||[<>=&|!()\[\],]))""",
    re.VERBOSE,
)
_WORDS = frozenset({"and", "or", "not", "in", "is", "missing", "true", "false"})
_INSTEAD = {"=": "==", "<>": "!=", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not"}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column, or a part of its value (of `PARTS`; "": the value)."""

    name: str
    part: str = ""

    def __str__(self) -> str:
        plain = re.fullmatch(_NAME, self.name) and self.name.lower() not in _WORDS
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


Predicate: TypeAlias = Compared | OneOf | Missing | Not | All | Any


def parse(text: str) -> Predicate:
    """An expression read. Raises `ValueError`, with a sentence that says where it goes wrong."""
    return _Reader(text).whole()


def read(text: str) -> str | Predicate:
    """A column's name, or an expression. A text without a comparison is a name. Raises `ValueError` as `parse`."""
    stripped = text.strip()
    if re.fullmatch(r"`[^`]+`", stripped):
        return stripped[1:-1]
    if re.fullmatch(_NAME, stripped):
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


def _written(value: float | str) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _inside(of: Predicate) -> str:
    return f"({of})" if isinstance(of, All | Any) else str(of)


class _Reader:
    def __init__(self, text: str):
        if len(text) > _MOST:
            raise ValueError(f"has {len(text):,} characters, an expression has at most {_MOST:,}")
        self.text, self.tokens, at = text, [], 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if not found:
                at = len(text) - len(text[at:].lstrip())
                raise self._fault(at, f"{text[at]!r} has no meaning here")
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind], found.start(kind)))
            at = found.end()
        self.at = self.depth = 0

    def whole(self) -> Predicate:
        found = self._either()
        if self.at < len(self.tokens):
            raise self._unexpected("and, or, or the end")
        return found

    def _either(self) -> Predicate:
        of = [self._both()]
        while self._word("or"):
            of.append(self._both())
        return of[0] if len(of) == 1 else Any(tuple(of))

    def _both(self) -> Predicate:
        of = [self._one()]
        while self._word("and"):
            of.append(self._one())
        return of[0] if len(of) == 1 else All(tuple(of))

    def _one(self) -> Predicate:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._fault(self._place(), f"is nested more than {_DEEPEST} deep")
        try:
            if self._word("not"):
                return Not(self._one())
            if self._sign("("):
                inside = self._either()
                self._need(")")
                return inside
            return self._test()
        finally:
            self.depth -= 1

    def _test(self) -> Predicate:
        began, left = self._place(), self._side()
        if isinstance(left, Column):
            if self._word("is"):
                negated = self._word("not")
                if not self._word("missing"):
                    raise self._unexpected("missing")
                return Not(Missing(left)) if negated else Missing(left)
            negated = self._word("not")
            if self._word("in"):
                return Not(OneOf(left, self._list())) if negated else OneOf(left, self._list())
            if negated:
                raise self._unexpected("in")
        chain: list[Predicate] = []
        while (order := self._order()) is not None:
            right = self._side()
            chain.append(self._compared(began, left, order, right))
            left = right
        if not chain:
            raise self._unexpected("a comparison: <, <=, >, >=, ==, !=, in [...] or is missing")
        return chain[0] if len(chain) == 1 else All(tuple(chain))

    def _compared(self, began: int, left: Column | float | str, order: Order, right: Column | float | str) -> Compared:
        if isinstance(left, Column) and not isinstance(right, Column):
            return Compared(left, order, right)
        if isinstance(right, Column) and not isinstance(left, Column):
            return Compared(right, _TURNED[order], left)
        what = "two columns are compared" if isinstance(left, Column) else "no column is compared"
        raise self._fault(began, f"{what}: a column and a value are (a text stands in quotes: plan == 'basic')")

    def _list(self) -> tuple[float | str, ...]:
        close = "]" if self._sign("[") else ")" if self._sign("(") else None
        if close is None:
            raise self._unexpected("a list: ['a', 'b']")
        values: list[float | str] = []
        while True:
            place, value = self._place(), self._side()
            if isinstance(value, Column):
                raise self._fault(place, f"{value.name!r} is no value: a text stands in quotes")
            values.append(value)
            if not self._sign(","):
                break
        self._need(close)
        return tuple(values)

    def _side(self) -> Column | float | str:
        kind, token, place = self._next() or ("end", "", len(self.text))
        if kind == "number":
            return float(token)
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
        if kind == "quoted":
            return Column(token[1:-1])
        if kind == "name" and token.lower() in ("true", "false"):
            return token.lower()
        if kind == "name" and token.lower() not in _WORDS:
            if not self._sign("("):
                return Column(token)
            if token not in PARTS:
                raise self._fault(place, f"{token!r} is no part of a value: {', '.join(PARTS)}")
            inner = self._side()
            self._need(")")
            if not isinstance(inner, Column) or inner.part:
                raise self._fault(place, f"{token} is of a column: {token}(name)")
            return Column(inner.name, token)
        self.at -= kind != "end"
        raise self._unexpected("a column or a value")

    def _order(self) -> Order | None:
        found = self._peek()
        if found and found[0] == "sign" and found[1] in _TURNED:
            self.at += 1
            return found[1]  # type: ignore[return-value]
        return None

    def _peek(self) -> tuple[str, str, int] | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _next(self) -> tuple[str, str, int] | None:
        found = self._peek()
        self.at += found is not None
        return found

    def _word(self, word: str) -> bool:
        found = self._peek()
        hit = found is not None and found[0] == "name" and found[1].lower() == word
        self.at += hit
        return hit

    def _sign(self, sign: str) -> bool:
        found = self._peek()
        hit = found is not None and found[:2] == ("sign", sign)
        self.at += hit
        return hit

    def _need(self, sign: str) -> None:
        if not self._sign(sign):
            raise self._unexpected(repr(sign))

    def _place(self) -> int:
        found = self._peek()
        return found[2] if found else len(self.text)

    def _unexpected(self, wanted: str) -> ValueError:
        found = self._peek()
        if found and found[1] in _INSTEAD and found[0] == "sign":
            return self._fault(found[2], f"write {_INSTEAD[found[1]]} for {found[1]}")
        return self._fault(self._place(), f"{wanted} is expected" + (f", not {found[1]!r}" if found else ", not the end"))

    def _fault(self, place: int, message: str) -> ValueError:
        return ValueError(f"cannot be read at character {place + 1} of {self.text!r}: {message}")
