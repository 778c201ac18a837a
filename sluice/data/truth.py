"""What an expression (`sluice.core.predicate`) is true of: worked out by Arrow over columns, wherever these come from.

A value that is missing is in no comparison, and what hangs on it is not known (Kleene's logic, as SQL has it): the answer is true, false or null.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core import predicate
from sluice.core.errors import ProjectError
from sluice.core.predicate import WEEKDAYS, Column, Compared, Missing, Not, Operand, Predicate, Related
from sluice.core.spelling import value_text

_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal, "==": pc.equal, "!=": pc.not_equal,
}  # fmt: skip
_WORKED: dict[str, Callable[[Any, Any], Any]] = {"+": pc.add, "-": pc.subtract, "*": pc.multiply, "/": pc.divide}
#: What a column holds, in words.
_HOLDS = {"number": "numbers", "text": "texts", "time": "times", "truth": "true or false", "": "what cannot be compared"}
#: A column's values, null where one is missing; or a value.
Values: TypeAlias = Any
#: Raises: a message, and what to do.
Wrong: TypeAlias = Callable[[str, str], NoReturn]


class Truth:
    """Where an expression is true, false, or not known.

    Args:
        whole: the expression.
        column: a column's values by its name, null where missing; it raises for a name it does not know.
        rows: how many there are.
        setting: where the expression stands, for errors.
        check: says whether a column is there and can be compared; None: all are.
    """

    def __init__(
        self,
        whole: Predicate,
        column: Callable[[str], pa.ChunkedArray],
        rows: int,
        setting: str,
        check: Callable[[Column, Wrong], None] | None = None,
    ):
        self._whole, self._column, self._rows, self._setting, self._check = whole, column, rows, setting, check

    def known(self) -> Values:
        """bool [rows], null where it is not known. Raises `ProjectError`: values that cannot be so compared."""
        return self._of(self._whole)

    def _of(self, which: Predicate) -> Values:
        if isinstance(which, Not):
            return pc.invert(self._of(which.of))
        if isinstance(which, predicate.All | predicate.Any):
            join = pc.and_kleene if isinstance(which, predicate.All) else pc.or_kleene
            return functools.reduce(join, [self._of(p) for p in which.of])
        wrong = functools.partial(wrongly, which, self._whole, self._setting)
        if isinstance(which, Missing):
            return pc.is_null(self._values(which.column, wrong))
        if isinstance(which, Related):
            return self._compared(which.left, which.order, which.right, wrong)
        if isinstance(which, Compared):
            return self._compared(which.column, which.order, which.value, wrong)
        return functools.reduce(pc.or_kleene, [self._compared(which.column, "==", v, wrong) for v in which.values])

    def _compared(self, left: Operand, order: str, right: Operand, wrong: Wrong) -> Values:
        a, b = self._worked(left, wrong), self._worked(right, wrong)
        if isinstance(left, float | str):
            a = _like(left, b.type, f"{right}", order, wrong)
        if isinstance(right, float | str):
            b = _like(right, a.type, f"{left}", order, wrong)
        if pa.types.is_null(a.type) or pa.types.is_null(b.type):
            return pa.chunked_array([pa.nulls(self._rows, pa.bool_())])
        kinds = kind_of(a.type), kind_of(b.type)
        if kinds[0] != kinds[1] or "" in kinds:
            wrong(f"{str(left)!r} holds {_HOLDS[kinds[0]]}, {str(right)!r} {_HOLDS[kinds[1]]}", "compare what is of one kind")
        if kinds[0] == "truth" and order not in ("==", "!="):
            wrong(f"{str(left)!r} is true or false, which has no order", "use == or !=")
        return _COMPARED[order](a, b)

    def _values(self, column: Column, wrong: Wrong) -> Values:
        if self._check is not None:
            self._check(column, wrong)
        return part_of(self._column(column.name), column, wrong)

    def _worked(self, side: Operand, wrong: Wrong) -> Values:
        if isinstance(side, float | str):
            return _scalar(side)
        if isinstance(side, Column):
            return self._values(side, wrong)
        parts = [self._worked(p, wrong) for p in side.of]
        for p, of in zip(parts, side.of, strict=True):
            if kind_of(p.type) != "number" and not pa.types.is_null(p.type):
                wrong(f"{str(of)!r} holds {_HOLDS[kind_of(p.type)]}, and {side.how} is of numbers", "work it out of numbers")
        if any(pa.types.is_null(p.type) for p in parts):
            return pa.chunked_array([pa.nulls(self._rows, pa.float64())])
        if len(parts) == 1:
            return pc.abs(parts[0]) if side.how == "abs" else pc.negate(parts[0])
        if side.how == "/":
            parts = [pc.cast(p, pa.float64()) for p in parts]
        return _WORKED[side.how](*parts)


def kind_of(arrow: pa.DataType) -> str:
    """``number``, ``text``, ``time``, ``truth``; "" of what cannot be compared."""
    is_ = pa.types
    if is_.is_integer(arrow) or is_.is_floating(arrow) or is_.is_decimal(arrow):
        return "number"
    if is_.is_string(arrow) or is_.is_large_string(arrow):
        return "text"
    return "time" if is_.is_timestamp(arrow) else "truth" if is_.is_boolean(arrow) else ""


def part_of(values: pa.ChunkedArray, column: Column, wrong: Wrong) -> pa.ChunkedArray:
    """What of a column's values is asked for.

    Args:
        values: the column's.
        column: with its part.
        wrong: raises, with a message and what to do.
    """
    kind, part = kind_of(values.type), column.part
    if pa.types.is_null(values.type):
        return values
    if part in ("length", "lower"):
        if kind != "text":
            wrong(f"{column.name!r} is no text, so it has no {'length' if part == 'length' else 'small letters'}", "compare its value")
        return pc.utf8_length(values) if part == "length" else pc.utf8_lower(values)
    if part and kind != "time":
        wrong(f"{column.name!r} is no time, so it has no {part}", "name a column of times")
    if part == "weekday":
        return pc.take(pa.array(WEEKDAYS), pc.day_of_week(values))
    return {"hour": pc.hour, "month": pc.month}[part](values) if part else values


def wrongly(which: Predicate, whole: Predicate, setting: str, message: str, fix: str) -> NoReturn:
    """Raises `ProjectError` for an expression, with the part of it that makes no sense."""
    place = "" if str(which) == str(whole) else f" (in {which})"
    raise ProjectError(message + place, field=setting, value=str(whole), fix=fix)


def _scalar(value: float | str) -> pa.Scalar:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return pa.scalar(int(value) if whole else value)


def _like(value: float | str, arrow: pa.DataType, what: str, order: str, wrong: Wrong) -> pa.Scalar:
    """A value that is written out, in the type of what it is compared with."""
    kind = kind_of(arrow)
    if kind == "text":
        if order not in ("==", "!="):
            wrong(f"{what!r} holds texts, which have no order", "use ==, != or in [...]")
        return pa.scalar(value if isinstance(value, str) else value_text(value), arrow)
    if kind == "time":
        try:
            read = datetime.datetime.fromisoformat(str(value)).replace(tzinfo=None)
        except ValueError:
            wrong(f"{value!r} is no time", f"write it as {what} {order} '2026-01-31' or '2026-01-31 18:00'")
        return pa.scalar(np.datetime64(read, "us").astype(object), pa.timestamp("us"))
    if kind == "truth" and value in ("true", "false"):
        return pa.scalar(value == "true")
    if kind == "number" and isinstance(value, str):
        wrong(f"{what!r} holds numbers, {value!r} is a text", f"write a number, without quotes: {what} {order} 60")
    return _scalar(value)
