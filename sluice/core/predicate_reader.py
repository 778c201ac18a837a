"""Expressions read: the grammar of `sluice.core.predicate`."""

from __future__ import annotations

import re
from typing import TypeAlias, cast

from sluice.core.predicate import (
    NAME,
    PARTS,
    WORDS,
    All,
    Any,
    Column,
    Compared,
    Missing,
    Not,
    OneOf,
    Operand,
    Order,
    Predicate,
    Related,
    Worked,
    columns,
)

#: Characters of an expression, and how deep its brackets are.
_MOST, _DEEPEST = 2000, 32
_TURNED: dict[str, Order] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_TOKEN = re.compile(
    rf"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<quoted>`[^`]+`)|(?P<name>{NAME})|(?P<sign><=|>=|==|!=|<>|&&|\|\||[-+*/<>=&|!()\[\],]))""",
    re.VERBOSE,
)
_INSTEAD = {"=": "==", "<>": "!=", "&": "and", "&&": "and", "|": "or", "||": "or", "!": "not"}
_COMPARISON = "a comparison: <, <=, >, >=, ==, !=, in [...] or is missing"
_Any: TypeAlias = Predicate | Operand


class Reader:
    """Reads one expression. What stands in brackets may be either, something that is true or a number, so each step reads one of them and asks for what it needs.

    Args:
        text: the expression.

    Raises:
        ValueError: it holds something that has no meaning, or is too long; with its place.
    """

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
        """The expression. Raises `ValueError`, with the place where it goes wrong."""
        found = self._true(self._either())
        if self.at < len(self.tokens):
            raise self._unexpected("and, or, or the end")
        return found

    def _either(self) -> _Any:
        first = self._both()
        of = [first]
        while self._word("or"):
            of = [*of[:-1], self._true(of[-1]), self._true(self._both())]
        return first if len(of) == 1 else Any(tuple(of))  # type: ignore[arg-type]

    def _both(self) -> _Any:
        first = self._one()
        of = [first]
        while self._word("and"):
            of = [*of[:-1], self._true(of[-1]), self._true(self._one())]
        return first if len(of) == 1 else All(tuple(of))  # type: ignore[arg-type]

    def _one(self) -> _Any:
        with_not = self._word("not")
        self._deeper()
        try:
            return Not(self._true(self._one())) if with_not else self._test()
        finally:
            self.depth -= 1

    def _test(self) -> _Any:
        began, left = self._place(), self._sum()
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
            right = self._operand(self._sum())
            chain.append(self._compared(began, self._operand(left), order, right))
            left = right
        return left if not chain else chain[0] if len(chain) == 1 else All(tuple(chain))

    def _compared(self, began: int, left: Operand, order: Order, right: Operand) -> Predicate:
        if isinstance(left, float | str):
            left, order, right = right, _TURNED[order], left
        if isinstance(left, Column) and isinstance(right, float | str):
            return Compared(left, order, right)
        found = Related(left, order, right)
        if not any(columns(found)):
            raise self._fault(began, "no column is compared: a column and a value are (a text stands in quotes: plan == 'basic')")
        return found

    def _sum(self) -> _Any:
        left = self._product()
        while sign := self._one_of("+", "-"):
            left = Worked(sign, (self._operand(left), self._operand(self._product())))
        return left

    def _product(self) -> _Any:
        left = self._factor()
        while sign := self._one_of("*", "/"):
            left = Worked(sign, (self._operand(left), self._operand(self._factor())))
        return left

    def _factor(self) -> _Any:
        if sign := self._one_of("-", "+"):
            self._deeper()
            inner = self._operand(self._factor())
            self.depth -= 1
            if sign == "+":
                return inner
            return -inner if isinstance(inner, float) else Worked("-", (inner,))
        if self._sign("("):
            inside = self._either()
            self._need(")")
            return inside
        return self._atom()

    def _atom(self) -> _Any:
        kind, token, place = self._next() or ("end", "", len(self.text))
        if kind == "number":
            return float(token)
        if kind == "string":
            return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)
        if kind == "quoted":
            return Column(token[1:-1])
        if kind == "name" and token.lower() in ("true", "false"):
            return token.lower()
        if kind == "name" and token.lower() not in WORDS:
            return self._called(token, place) if self._sign("(") else Column(token)
        self.at -= kind != "end"
        raise self._unexpected("a column or a value")

    def _called(self, word: str, place: int) -> _Any:
        if word not in (*PARTS, "abs", "null", "col"):
            raise self._fault(place, f"{word!r} is no part of a value: {', '.join((*PARTS, 'abs'))}")
        self._deeper()
        inner = self._either()
        self._need(")")
        self.depth -= 1
        if word == "col" and isinstance(inner, str):
            return Column(inner)
        if word == "abs":
            return Worked("abs", (self._operand(inner),))
        if word == "null" and isinstance(inner, Column):
            return Missing(inner)
        if word not in PARTS or not isinstance(inner, Column) or inner.part:
            raise self._fault(place, f"{word} is of a column: {word}(name)")
        return Column(inner.name, word)

    def _list(self) -> tuple[float | str, ...]:
        close = "]" if self._sign("[") else ")" if self._sign("(") else None
        if close is None:
            raise self._unexpected("a list: ['a', 'b']")
        values: list[float | str] = []
        while True:
            place, value = self._place(), self._factor()
            if isinstance(value, Column):
                raise self._fault(place, f"{value.name!r} is no value: a text stands in quotes")
            if not isinstance(value, float | str):
                raise self._fault(place, "a list holds values: ['a', 'b'], [1, 2]")
            values.append(value)
            if not self._sign(","):
                break
        self._need(close)
        return tuple(values)

    def _true(self, found: _Any) -> Predicate:
        """What is read is something that is true of rows, and no number."""
        if isinstance(found, Column | Worked | float | str):
            raise self._unexpected(_COMPARISON)
        return found

    def _operand(self, found: _Any) -> Operand:
        if not isinstance(found, Column | Worked | float | str):
            raise self._unexpected("and, or, or the end")
        return found

    def _order(self) -> Order | None:
        return cast("Order | None", self._one_of(*_TURNED))

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._fault(self._place(), f"is nested more than {_DEEPEST} deep")

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

    def _one_of(self, *signs: str) -> str | None:
        found = self._peek()
        if found is None or found[0] != "sign" or found[1] not in signs:
            return None
        self.at += 1
        return found[1]

    def _sign(self, sign: str) -> bool:
        return self._one_of(sign) is not None

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
