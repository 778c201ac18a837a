"""Whether the cases of a file of behaviour are for such data: before anything is trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sluice.core.errors import ProjectError
from sluice.core.spelling import value_text
from sluice.fields import Field, fields_of
from sluice.fields.changes import parse_change
from sluice.gates.behaviour.suite import Direction, Invariance, Minimum, Suite, read_suite

if TYPE_CHECKING:
    from sluice.problems.problem import Problem


def label_of(value: Any) -> str:
    """A label as data spell it: ``true`` and ``3`` of YAML's values."""
    return value if isinstance(value, str) else value_text(value)


def alone(fields: Mapping[str, Field]) -> Field | None:
    """The field that a row is alone; None: rows are records."""
    found = list(fields.values())
    return found[0] if len(found) == 1 and type(found[0]).processor() is not None else None


def check_suite(path: Path, kinds: Mapping[str, str], asked: Problem, labels: Sequence[str]) -> Suite:
    """Look up what the tests name. Raises `ProjectError`, with the test's place in the file."""
    suite, _ = read_suite(path)
    fields = fields_of(kinds)
    if not (asked.scalar or (asked.classes and not asked.independent)):
        raise ProjectError("is of answers that are a label or a number", field="evaluate.behaviour", value=str(path), fix="remove it")
    for i, test in enumerate(suite.tests):

        def wrong(message: str, value: Any, fix: str, place: str = f"{path.name}: tests.{i} ({test.name})") -> NoReturn:
            raise ProjectError(message, field=place, value=value, fix=fix)

        _check_answers(test, asked, labels, wrong)
        _check_inputs(test, fields, path, wrong)
        if isinstance(test, Invariance | Direction):
            _check_change(test.change, fields, wrong)
    return suite


def _check_answers(test: Any, asked: Problem, labels: Sequence[str], wrong: Any) -> None:
    named = (
        [c.expect for c in test.cases] or [test.expect] if isinstance(test, Minimum) else [test.of] if isinstance(test, Direction) else []
    )
    if asked.classes:
        if isinstance(test, Minimum | Invariance) and test.within is not None:
            wrong("within is of an answer that is a number", test.within, "remove it")
        for name in named:
            if name is None:
                wrong("says of no label that its probability moves", None, f"of: {labels[0]}")
            if isinstance(name, list | dict):
                wrong("is no label", name, f"one of the labels: {', '.join(list(labels)[:20])}")
            if label_of(name) not in labels:
                near = difflib.get_close_matches(label_of(name), labels, 1, 0.5)
                wrong(
                    "is no label of the data",
                    name,
                    (f"did you mean {near[0]!r}? " if near else "") + f"labels: {', '.join(list(labels)[:20])}",
                )
        return
    if isinstance(test, Direction) and test.of is not None:
        wrong("names a label, but an answer is a number", test.of, "remove of:")
    if isinstance(test, Minimum | Invariance) and test.within is None:
        wrong("does not say how far a number may be off", None, "within: 0.5")
    if isinstance(test, Minimum) and any(isinstance(v, bool) or not isinstance(v, int | float) for v in named):
        wrong("expects a number", named[0], "expect: 3.5")


def inputs_of(test: Any) -> list[Any]:
    """The inputs that stand in the file."""
    return [c.input for c in test.cases] if isinstance(test, Minimum) and test.cases else test.written()


def _check_inputs(test: Any, fields: Mapping[str, Field], path: Path, wrong: Any) -> None:
    single = alone(fields)
    for given in inputs_of(test):
        if single is None:
            if not isinstance(given, dict):
                wrong("is no row: a row of these data is a mapping from column to value", given, f"columns: {', '.join(list(fields)[:20])}")
            _columns(given, fields, wrong)
        elif not isinstance(given, str):
            wrong(f"is a row, but a row of these data is {single.kind} alone", given, "write the text, or the file's name")
        elif single.blob and not (path.parent / given).is_file():
            wrong("no such file", given, f"it was looked for at {(path.parent / given).absolute()}")


def _columns(named: Iterable[str], fields: Mapping[str, Field], wrong: Any) -> None:
    for name in named:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1, 0.5)
            wrong(
                "is no feature of the data",
                name,
                (f"did you mean {near[0]!r}? " if near else "") + f"features: {', '.join(list(fields)[:20])}",
            )


def _check_change(raw: Any, fields: Mapping[str, Field], wrong: Any) -> None:
    single = alone(fields)
    for column, change in parse_change(raw):
        if single is None and not column:
            wrong("does not say which column is changed", raw, f"change: {{{next(iter(fields))}: {{...}}}}")
        if column:
            _columns([column], fields, wrong)
        field = fields[column] if column else single
        if field is None or not change.fits(field):
            wrong(f"changes {change.of}, and {column or 'a row'} is {field.kind if field else 'a record'}", raw, "take a change that fits")
