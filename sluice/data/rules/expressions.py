"""What columns of a row have to do with each other, written as people write it: ``end >= start``, ``total == net + tax``.

A small language read by Python's own parser and worked out by Arrow: comparisons (chained ones too), ``+ - * /``, ``and or not``,
``in [..]``, ``x is missing`` or ``null(x)``, ``abs(x)``, ``length(x)``, ``lower(x)``, numbers, texts, and a name with spaces in backticks or ``col("a name")``. Nothing else is taken, so an
expression can neither call nor reach anything. Missing values are SQL's: what compares with one is not known, and what is not known is not false.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Callable, Collection
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core.errors import ProjectError

_COMPARE: dict[type, Callable[..., Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_ARITHMETIC: dict[type, Callable[..., Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    ast.Div: lambda a, b: pc.divide(pc.cast(a, pa.float64()), pc.cast(b, pa.float64())),
}
_CALLS: dict[str, Callable[..., Any]] = {"null": pc.is_null, "abs": pc.abs, "length": pc.utf8_length, "lower": pc.utf8_lower}
_KNOWN = "comparisons, + - * /, and, or, not, in [..], null(), abs(), length(), lower() and col('name')"
#: Text in quotes, which stays; or a name in backticks, as in expressions of slices (`sluice.core.predicate`).
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`([^`]+)`""")
#: Characters and depth of an expression.
_LONGEST, _DEEPEST = 2000, 40


class Expression:
    """An expression over columns, checked when it is made.

    Args:
        text: as it was written.
        field: where, for errors.

    Attributes:
        columns: those it names.

    Raises:
        ProjectError: it is none.
    """

    def __init__(self, text: str, field: str):
        self.text, self._field = text, field
        try:
            if len(text) > _LONGEST:
                raise SyntaxError(f"has more than {_LONGEST} characters")
            self._tree = ast.parse(_plain_names(text.strip()), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise self._wrong(f"is no expression: {getattr(e, 'msg', None) or e}") from e
        found: list[str] = []
        self._look(self._tree, found, 0)
        self.columns = tuple(dict.fromkeys(found))
        if not self.columns:
            raise self._wrong("names no column")

    def check_names(self, known: Collection[str]) -> None:
        """Raises `ProjectError` for a column that is not among `known`."""
        for name in self.columns:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                raise ProjectError(
                    f"names a column {name!r} that is not declared",
                    field=self._field,
                    value=self.text,
                    fix=f"did you mean {near[0]!r}?" if near else "declare it under columns, with its type",
                )

    def false(self, column: Callable[[str], pa.ChunkedArray], rows: int) -> NDArray[np.bool_]:
        """Where the expression is false: bool [rows].

        Args:
            column: a column's values by its name.
            rows: how many there are.

        Raises:
            ProjectError: types that have nothing to do with each other.
        """
        try:
            value = self._value(self._tree, column)
            out = pc.fill_null(pc.cast(value, pa.bool_()), True)
        except (pa.ArrowException, TypeError, ValueError) as e:
            line = str(e).partition("\n")[0][:200]
            raise self._wrong(f"cannot be worked out: {line}") from e
        return np.full(rows, not out.as_py()) if isinstance(out, pa.Scalar) else ~np.asarray(out)

    def _wrong(self, message: str) -> ProjectError:
        return ProjectError(message, field=self._field, value=self.text, fix=f"write it with {_KNOWN}")

    def _look(self, node: ast.AST, found: list[str], depth: int) -> None:
        if depth > _DEEPEST:
            raise self._wrong("is nested too deep")
        if isinstance(node, ast.Name):
            found.append(node.id)
            return
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            if len(node.args) != 1 or node.keywords or (name not in _CALLS and name != "col"):
                raise self._wrong(f"calls {name or 'something'}")
            if name == "col":
                if not isinstance(node.args[0], ast.Constant) or not isinstance(node.args[0].value, str):
                    raise self._wrong("col() takes a column's name in quotes")
                found.append(node.args[0].value)
                return
            self._look(node.args[0], found, depth + 1)
            return
        fine = (
            (isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str))
            or (
                isinstance(node, ast.Compare)
                and (_asks_missing(node) or all(type(o) in _COMPARE or isinstance(o, ast.In | ast.NotIn) for o in node.ops))
            )
            or (isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC)
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub))
            or isinstance(node, ast.BoolOp)
            or (isinstance(node, ast.List | ast.Tuple) and all(isinstance(e, ast.Constant) for e in node.elts))
        )
        if not fine:
            raise self._wrong(f"holds {type(node).__name__.lower()}")
        for child in [node.left] if isinstance(node, ast.Compare) and _asks_missing(node) else ast.iter_child_nodes(node):
            if not isinstance(child, ast.operator | ast.unaryop | ast.cmpop | ast.boolop | ast.expr_context):
                self._look(child, found, depth + 1)

    def _value(self, node: Any, column: Callable[[str], Any]) -> Any:
        value = functools.partial(self._value, column=column)
        if isinstance(node, ast.Name):
            return column(node.id)
        if isinstance(node, ast.Constant):
            return pa.scalar(node.value)
        if isinstance(node, ast.Call):
            name = cast(ast.Name, node.func).id
            return column(str(cast(ast.Constant, node.args[0]).value)) if name == "col" else _CALLS[name](value(node.args[0]))
        if isinstance(node, ast.BinOp):
            return _ARITHMETIC[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp):
            return pc.invert(value(node.operand)) if isinstance(node.op, ast.Not) else pc.negate(value(node.operand))
        if isinstance(node, ast.BoolOp):
            join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
            return functools.reduce(join, map(value, node.values))
        if _asks_missing(node):
            return pc.is_valid(value(node.left)) if isinstance(node.ops[0], ast.IsNot) else pc.is_null(value(node.left))
        parts, left = [], node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            parts.append(_compare(op, value(left), right, value))
            left = right
        return functools.reduce(pc.and_kleene, parts)


def _plain_names(text: str) -> str:
    """The text with col("any name") for `any name`."""
    return _QUOTED.sub(lambda found: f"col({found[1]!r})" if found[1] else found[0], text)


def _asks_missing(node: ast.Compare) -> bool:
    """``x is missing``, ``x is not missing``."""
    word = node.comparators[0]
    return len(node.ops) == 1 and isinstance(node.ops[0], ast.Is | ast.IsNot) and isinstance(word, ast.Name) and word.id == "missing"


def _compare(op: ast.cmpop, left: Any, right: Any, value: Callable[[Any], Any]) -> Any:
    if isinstance(op, ast.In | ast.NotIn):
        options = [cast(ast.Constant, e).value for e in right.elts] if isinstance(right, ast.List | ast.Tuple) else None
        if options is None:
            raise ValueError("in takes a list, [1, 2]")
        among = pc.is_in(left, pa.array(options, type=left.type if pa.types.is_string(left.type) else None))
        among = pc.if_else(pc.is_null(left), pa.scalar(None, pa.bool_()), among)
        return pc.invert(among) if isinstance(op, ast.NotIn) else among
    other = value(right)
    if pa.types.is_timestamp(left.type) and pa.types.is_string(other.type):
        other = pc.cast(other, left.type)  # a time that is written out
    return _COMPARE[type(op)](left, other)
