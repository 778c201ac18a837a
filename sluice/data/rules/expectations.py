"""A suite of Great Expectations (0.x and 1.x, JSON) as rules; what of it is not read is named.

https://docs.greatexpectations.io: names and meaning of the expectations and their arguments.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.core import yamlfile
from sluice.core.errors import ProjectError
from sluice.data.rules import of_all, of_rows
from sluice.data.rules.cells import Reading, Type
from sluice.data.rules.compiled import Rules, check_maker, nulls_words
from sluice.data.rules.expressions import Expression
from sluice.data.rules.rule import Rule
from sluice.fields.timestamps import TimeForm

#: Arguments that say how a result is told, not what is expected.
_IGNORED = frozenset(
    [
        "result_format",
        "catch_exceptions",
        "include_config",
        "meta",
        "batch_id",
        "auto",
        "profiler_config",
        "output_strftime_format",
        "column_index",
        "allow_cross_type_comparisons",
        "ignore_row_if",
        "parse_strings_as_datetimes",
        "mostly",
        "column",
        "column_A",
        "column_B",
        "column_list",
        "notes",
        "severity",
        "windows",
    ]
)
_NUMBER, _TEXT, _TIME, _GUESS = Reading("number"), Reading("text"), Reading("time"), Reading(guess=True)
_MOMENTS = {"min": "minimum", "max": "maximum", "mean": "mean", "sum": "sum", "stdev": "standard deviation"}
#: What type names of pandas, SQL and Spark begin with, in lower case -> what a column is declared.
_TYPES: tuple[tuple[str, Type], ...] = (
    ("(u?int|integer|bigint|smallint|tinyint|long)", "integer"),
    ("(float|double|real|number|numeric|decimal)", "number"),
    ("(str|object|varchar|char|text|nvarchar|uuid)", "text"),
    ("bool", "boolean"),
    ("(date|time)", "time"),
)


class _NotRead(Exception):
    """Why an expectation is left out."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """An expectation: its arguments, where it stands, and what every rule of it is given."""

    args: Mapping[str, Any]
    setting: str
    more: Mapping[str, Any]

    def column(self, key: str = "column") -> str:
        name = self.args.get(key)
        if not isinstance(name, str):
            raise _NotRead(f"names no {key}")
        return name

    def listed(self, key: str) -> list[Any]:
        value = self.args.get(key)
        if isinstance(value, dict):  # a set as some versions write it
            value = value.get("values") or list(value)
        if not isinstance(value, list) or not value:
            raise _NotRead(f"has no list {key}")
        return value

    def number(self, key: str) -> Any:
        value = self.args.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _NotRead(f"has {key} {value!r}, which is no number")
        return value

    def bounds(self) -> tuple[Any, Any]:
        """Raises where there is none."""
        low, high = self.number("min_value"), self.number("max_value")
        if low is None and high is None:
            raise _NotRead("has neither min_value nor max_value")
        return low, high


def is_suite(text: str) -> bool:
    """Whether a file of rules is a suite."""
    return text.lstrip("\ufeff \t\r\n").startswith("{") and '"expectations"' in text


def suite_rules(text: str, where: str, secret: Collection[str]) -> Rules:
    """The rules of a suite.

    Raises:
        ProjectError: it is no JSON, or none of its expectations is read.
    """
    raw = yamlfile.load(text, where)
    listed = raw.get("expectations") if isinstance(raw, dict) else None
    if not isinstance(listed, list):
        raise ProjectError("has no list of expectations", field=where, fix="save the suite as JSON: suite.to_json_dict()")
    rules: list[Rule] = []
    notes: list[str] = []
    for i, one in enumerate(listed):
        kind = (one.get("type") or one.get("expectation_type")) if isinstance(one, dict) else None
        try:
            rules += _read(str(kind), one if isinstance(one, dict) else {}, f"{where}: expectations.{i}", frozenset(secret))
        except _NotRead as e:
            notes.append(f"expectations.{i} {kind} is not read: {e}")
    if not rules:
        raise ProjectError(
            "holds no expectation that is read", field=where, value=notes[:3], fix=f"expectations that are read: {', '.join(sorted(_READ))}"
        )
    return Rules(where, tuple(rules), {}, (), tuple(notes))


def _read(kind: str, one: Mapping[str, Any], setting: str, secret: frozenset[str]) -> list[Rule]:
    make = _READ.get(kind)
    args = one.get("kwargs")
    if make is None or not isinstance(args, dict):
        raise _NotRead("no such expectation is known" if make is None else "it has no kwargs")
    known = _ARGS.get(kind, frozenset())
    for key, value in args.items():
        if isinstance(value, dict) and "$PARAMETER" in value:
            raise _NotRead(f"{key} is an evaluation parameter; write the value")
        if key not in _IGNORED and key not in known and value not in (None, False):
            raise _NotRead(f"{key} is not read")
    mostly = args.get("mostly", 1.0)
    if isinstance(mostly, bool) or not isinstance(mostly, int | float) or not 0 <= mostly <= 1:
        raise _NotRead(f"mostly is {mostly!r}, no fraction")
    listed = args.get("column_list")
    columns = [args.get(k) for k in ("column", "column_A", "column_B")] + (listed if isinstance(listed, list) else [])
    more = {
        "tolerance": round(1 - mostly, 12),
        "secret": bool({c for c in columns if isinstance(c, str)} & secret),
        "mild": one.get("severity") in ("warning", "info"),
    }
    try:
        return make(_Asked(args, f"{setting} {kind}", more))
    except (ValueError, TypeError, ProjectError) as e:
        raise _NotRead(str(e).partition("\n")[0]) from e


def _check(a: _Asked, says: str, reading: Reading, name: str, *args: Any) -> list[Rule]:
    return [of_rows.Checked(check_maker(name, *args), (a.column(),), says, a.setting, reading=reading, **a.more)]


def _rows(a: _Asked) -> list[Rule]:
    value = a.number("value")
    low, high = a.bounds() if value is None else (value, value)
    return [of_all.RowCount(low, high, a.setting, mild=a.more["mild"])]


def _between(a: _Asked) -> list[Rule]:
    out: list[Rule] = []
    bounds = [
        (a.args.get("min_value"), "gt" if a.args.get("strict_min") else "ge", "above" if a.args.get("strict_min") else "min"),
        (a.args.get("max_value"), "lt" if a.args.get("strict_max") else "le", "below" if a.args.get("strict_max") else "max"),
    ]
    given = [(b, check, word) for b, check, word in bounds if b is not None]
    if not given or any(isinstance(b, bool) or not isinstance(b, int | float | str) for b, _, _ in given):
        raise _NotRead("its bounds are no numbers or times")
    reading = _TIME if any(isinstance(b, str) for b, _, _ in given) else _NUMBER
    out += [of_rows.OfType((a.column(),), f"type {reading.type}", a.setting, reading=reading, **a.more)]
    for bound, check, word in given:
        check_maker(check, bound)  # a time that is none is said here
        out += _check(a, f"{word} {bound}", reading, check, bound)
    return out


def _set(a: _Asked, name: str, word: str) -> list[Rule]:
    values = a.listed("value_set")
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return _check(a, f"{word} {_few(values)}", _NUMBER, name, values)
    if all(isinstance(v, bool) for v in values):
        return _check(a, f"{word} {_few(values)}", Reading("boolean"), name, values)
    return _check(a, f"{word} {_few(values)}", _TEXT, name, [str(v) for v in values])


def _covers(a: _Asked) -> list[Rule]:
    values = a.listed("value_set")
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    told = {k: a.more[k] for k in ("secret", "mild")}
    return [
        of_all.Covers(a.column(), values if numbers else list(map(str, values)), a.setting, reading=_NUMBER if numbers else _TEXT, **told)
    ]


def _regex(a: _Asked, name: str, word: str) -> list[Rule]:
    patterns = [a.args["regex"]] if "regex" in a.args else a.listed("regex_list")
    for p in patterns:
        try:
            pc.match_substring_regex(pa.array([""]), p)
        except pa.ArrowException as e:
            raise _NotRead(f"{p!r} is no regular expression of RE2 (without look-around)") from e
    if a.args.get("match_on") == "all" or name == "not_contains":
        return [r for p in patterns for r in _check(a, f"{word} {p}", _TEXT, name, p)]
    return _check(a, f"{word} {' or '.join(patterns)}", _TEXT, name, "|".join(f"(?:{p})" for p in patterns))


def _length(a: _Asked) -> list[Rule]:
    value = a.number("value")
    low, high = a.bounds() if value is None else (value, value)
    low = low + 1 if a.args.get("strict_min") and low is not None else low
    high = high - 1 if a.args.get("strict_max") and high is not None else high
    return _check(a, of_all.between("length", low, high), _TEXT, "str_length", low, high)


def _type(a: _Asked) -> list[Rule]:
    named = [a.args["type_"]] if "type_" in a.args else a.listed("type_list")
    found = {t for n in named for p, t in _TYPES if re.match(p, str(n).rpartition(".")[2].lower())}
    if {"integer", "number"} == found:
        found = {"number"}
    if len(found) != 1:
        raise _NotRead(f"{', '.join(map(str, named))} is not one of the types that a source has")
    kind: Type = found.pop()
    return [of_rows.OfType((a.column(),), f"type {kind}", a.setting, reading=Reading(kind), **a.more)]


def _form(a: _Asked) -> list[Rule]:
    form = a.args.get("strftime_format", "iso")
    if not isinstance(form, str):
        raise _NotRead(f"has strftime_format {form!r}, which is no text")
    TimeForm(form)
    return [of_rows.OfType((a.column(),), f"a time as {form}", a.setting, reading=Reading("time", form=form), **a.more)]


def _moment(what: str) -> Callable[[_Asked], list[Rule]]:
    def make(a: _Asked) -> list[Rule]:
        return [of_all.Moment(_MOMENTS[what], a.column(), *a.bounds(), a.setting, reading=_NUMBER, mild=a.more["mild"])]

    return make


def _holds(a: _Asked, text: str, reading: Reading) -> list[Rule]:
    expression = Expression(text, a.setting)
    return [of_rows.Holds(expression, expression.columns, text, a.setting, reading=reading, **a.more)]


def _pair(a: _Asked, sign: str) -> list[Rule]:
    return _holds(a, f"col({a.column('column_A')!r}) {sign} col({a.column('column_B')!r})", _GUESS)


def _sum(a: _Asked) -> list[Rule]:
    total = a.number("sum_total")
    return _holds(a, f"{' + '.join(f'col({n!r})' for n in a.listed('column_list'))} == {total}", _NUMBER)


def _unique(names: tuple[str, ...], a: _Asked) -> list[Rule]:
    return [of_all.Unique(names, "unique", a.setting, **a.more)]


def _columns(a: _Asked, key: str) -> list[Rule]:
    names = [str(n) for n in a.listed(key)]
    only = key == "column_list" or a.args.get("exact_match", True)
    return [of_all.HasColumns(names, a.setting, known=names if only else None, ordered=key == "column_list", mild=a.more["mild"])]


def _distinct(a: _Asked, share: bool) -> list[Rule]:
    return [of_all.Distinct(a.column(), *a.bounds(), a.setting, share=share, mild=a.more["mild"])]


def _few(values: list[Any]) -> str:
    text = ", ".join(map(str, values))
    return text if len(text) <= 120 else text[:117] + "..."


_READ: dict[str, Callable[[_Asked], list[Rule]]] = {
    "expect_table_row_count_to_be_between": _rows,
    "expect_table_row_count_to_equal": _rows,
    "expect_table_columns_to_match_ordered_list": lambda a: _columns(a, "column_list"),
    "expect_table_columns_to_match_set": lambda a: _columns(a, "column_set"),
    "expect_column_to_exist": lambda a: [of_all.HasColumns([a.column()], a.setting, mild=a.more["mild"])],
    "expect_column_values_to_not_be_null": lambda a: [
        of_rows.Missing((a.column(),), nulls_words(a.more["tolerance"]), a.setting, **a.more)
    ],
    "expect_column_values_to_be_null": lambda a: [of_rows.Present((a.column(),), "no value", a.setting, **a.more)],
    "expect_column_values_to_be_unique": lambda a: _unique((a.column(),), a),
    "expect_compound_columns_to_be_unique": lambda a: _unique(tuple(map(str, a.listed("column_list"))), a),
    "expect_multicolumn_values_to_be_unique": lambda a: _unique(tuple(map(str, a.listed("column_list"))), a),
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": lambda a: _set(a, "isin", "one of"),
    "expect_column_values_to_not_be_in_set": lambda a: _set(a, "notin", "none of"),
    "expect_column_distinct_values_to_be_in_set": lambda a: _set(a, "isin", "one of"),
    "expect_column_distinct_values_to_contain_set": _covers,
    "expect_column_distinct_values_to_equal_set": lambda a: [*_set(a, "isin", "one of"), *_covers(a)],
    "expect_column_values_to_match_regex": lambda a: _regex(a, "str_contains", "matches"),
    "expect_column_values_to_not_match_regex": lambda a: _regex(a, "not_contains", "does not match"),
    "expect_column_values_to_match_regex_list": lambda a: _regex(a, "str_contains", "matches"),
    "expect_column_values_to_not_match_regex_list": lambda a: _regex(a, "not_contains", "does not match"),
    "expect_column_value_lengths_to_be_between": _length,
    "expect_column_value_lengths_to_equal": _length,
    "expect_column_values_to_be_of_type": _type,
    "expect_column_values_to_be_in_type_list": _type,
    "expect_column_values_to_match_strftime_format": _form,
    "expect_column_values_to_be_dateutil_parseable": _form,
    "expect_column_unique_value_count_to_be_between": lambda a: _distinct(a, share=False),
    "expect_column_proportion_of_unique_values_to_be_between": lambda a: _distinct(a, share=True),
    **{f"expect_column_{what}_to_be_between": _moment(what) for what in _MOMENTS},
    "expect_column_pair_values_to_be_equal": lambda a: _pair(a, "=="),
    "expect_column_pair_values_a_to_be_greater_than_b": lambda a: _pair(a, ">=" if a.args.get("or_equal") else ">"),
    "expect_column_pair_values_A_to_be_greater_than_B": lambda a: _pair(a, ">=" if a.args.get("or_equal") else ">"),
    "expect_multicolumn_sum_to_equal": _sum,
}
_BOUNDS = frozenset({"min_value", "max_value", "strict_min", "strict_max"})
#: What each expectation is read with, beside `_IGNORED`; strict bounds of counts and moments are not read.
_ARGS: dict[str, frozenset[str]] = {
    kind: frozenset({"value", "value_set", "regex", "regex_list", "match_on", "type_", "type_list", "strftime_format", "or_equal"})
    | frozenset({"sum_total", "column_set", "exact_match", "min_value", "max_value"})
    | (_BOUNDS if make in (_between, _length) else frozenset())
    for kind, make in _READ.items()
}
