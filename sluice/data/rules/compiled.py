"""A file's declarations as rules that can be judged."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import zoneinfo
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from sluice.core.errors import MissingExtra
from sluice.data.rules import of_all, of_rows
from sluice.data.rules.cells import Reading
from sluice.data.rules.expressions import Expression
from sluice.data.rules.rule import Rule
from sluice.data.rules.schema import ColumnRules, SchemaFile, age_of, bound_of, parse_schema, read_text_of, said

#: A key of a column -> Pandera's check and what a person calls it.
_BOUNDS = {"min": ("ge", "min"), "max": ("le", "max"), "above": ("gt", "above"), "below": ("lt", "below")}


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a file declares.

    Attributes:
        where: the file, for messages.
        rules: in the file's order.
        readings: how each declared column is read.
        required: columns that have to be there.
        notes: what of the file was not read, in sentences.
    """

    where: str
    rules: tuple[Rule, ...]
    readings: Mapping[str, Reading]
    required: tuple[str, ...]
    notes: tuple[str, ...] = ()


def load_rules(path: Path, setting: str, secret: Collection[str] = ()) -> Rules:
    """Read a file of rules: a schema of this project's own (YAML), or a suite of Great Expectations (JSON).

    Args:
        path: the file. setting: what names it, for errors.
        secret: columns whose values may not be shown.

    Raises:
        ProjectError: it cannot be read, or is wrong: every fault with its key.
    """
    from sluice.data.rules.expectations import is_suite, suite_rules

    text = read_text_of(path, setting)
    if is_suite(text):
        return suite_rules(text, path.name, secret)
    return schema_rules(parse_schema(text, path.name), path.name, secret)


def schema_rules(schema: SchemaFile, where: str, secret: Collection[str] = ()) -> Rules:
    """The rules of a schema."""
    rules: list[Rule] = []
    if schema.rows_min is not None or schema.rows_max is not None:
        rules.append(of_all.RowCount(schema.rows_min, schema.rows_max, f"{where}: rows_min, rows_max"))
    required = tuple(n for n, c in schema.columns.items() if c.required)
    if schema.columns:
        rules.append(of_all.HasColumns(required, f"{where}: columns", known=list(schema.columns) if schema.only else None))
    for name, column in schema.columns.items():
        rules += _of_column(name, column, f"{where}: columns.{name}", name in secret)
    for i, names in enumerate(schema.unique):
        rules.append(of_all.Unique(tuple(names), f"unique ({', '.join(names)})", f"{where}: unique.{i}", secret=True))
    for i, text in enumerate(schema.expressions):
        setting = f"{where}: expressions.{i}"
        expression = Expression(text, setting)
        rules.append(of_rows.Holds(expression, expression.columns, text, setting, secret=bool(set(expression.columns) & set(secret))))
    for i, fresh in enumerate(schema.freshness):
        says = f"not older than {fresh.max_age}"
        now = datetime.datetime.now(zoneinfo.ZoneInfo(schema.columns[fresh.column].zone)).replace(tzinfo=None)
        rules.append(of_all.Fresh(fresh.column, age_of(fresh.max_age), says, f"{where}: freshness.{i}.max_age", now=now))
    return Rules(where, tuple(rules), {n: c.reading for n, c in schema.columns.items()}, required)


def _of_column(name: str, c: ColumnRules, where: str, secret: bool) -> Iterator[Rule]:
    about: dict[str, Any] = {"tolerance": c.tolerance, "secret": secret}
    at = (name,)
    if c.type is not None:
        yield of_rows.OfType(at, f"type {c.type}", f"{where}.type", **about)
    if c.nulls_max is not None:
        yield of_rows.Missing(at, nulls_words(c.nulls_max), f"{where}.nulls_max", tolerance=c.nulls_max, secret=True)
    for key, (check, word) in _BOUNDS.items():
        if (bound := getattr(c, key)) is not None:
            yield of_rows.Checked(check_maker(check, bound), at, f"{word} {said(bound)}", f"{where}.{key}", **about)
    if c.values is not None:
        yield of_rows.Checked(check_maker("isin", c.values), at, f"one of {_values(c.values)}", f"{where}.values", **about)
    if c.values_not is not None:
        yield of_rows.Checked(check_maker("notin", c.values_not), at, f"none of {_values(c.values_not)}", f"{where}.values_not", **about)
    if c.regex is not None:
        yield of_rows.Checked(check_maker("str_matches", f"(?:{c.regex})$"), at, f"matches {c.regex}", f"{where}.regex", **about)
    if c.length_min is not None or c.length_max is not None:
        says = of_all.between("length", c.length_min, c.length_max)
        yield of_rows.Checked(check_maker("str_length", c.length_min, c.length_max), at, says, f"{where}.length_min, length_max", **about)
    if c.unique:
        yield of_all.Unique(at, "unique", f"{where}.unique", **about)


def check_maker(name: str, *args: Any) -> Any:
    """What makes a check of Pandera's when the first rows come."""
    return functools.partial(_make, name, *args)


def _make(name: str, *args: Any) -> Any:
    try:
        import pandera.pandas as pandera
    except ImportError as e:
        raise MissingExtra("a file of rules needs pandera", field="data.schema_file", fix="pip install 'sluice-ml[gates]'") from e
    if name == "not_contains":  # the one that Pandera has not
        return pandera.Check(lambda series: ~series.str.contains(args[0]))
    return getattr(pandera.Check, name)(*(bound_of(a) if name in ("ge", "le", "gt", "lt") else a for a in args))


def nulls_words(most: float) -> str:
    """``no value missing``, ``at most 5 % missing``."""
    return "no value missing" if not most else f"at most {100 * most:g} % missing"


def _values(values: list[Any]) -> str:
    text = ", ".join(map(str, values))
    return text if len(text) <= 120 else text[:117] + "..."
