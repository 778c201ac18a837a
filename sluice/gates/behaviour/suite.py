"""The file of behaviour: read strictly, with the line of what is wrong."""

from __future__ import annotations

import hashlib
import itertools
import string
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from sluice.core import yamlfile
from sluice.core.errors import ProjectError
from sluice.core.section import Section
from sluice.fields.changes import parse_change

#: Cases of a test, and bytes of the file.
MOST_CASES, _MOST_BYTES = 10_000, 1 << 20
Input: TypeAlias = str | dict[str, Any]


def _changes(raw: Any) -> Any:
    parse_change(raw)
    return raw


class Case(Section):
    """An input and what must be answered."""

    input: Input
    expect: Any = Field(description="a label, or a number")


class _Test(Section):
    name: str = Field(min_length=1, max_length=200)
    pass_rate: float = Field(1.0, gt=0, le=1, description="share of its cases that must pass")
    inputs: list[Input] = Field([], description="a text, a row (column: value), or a file beside this one")
    template: Input | None = Field(None, description="a text, or a row, with {slots}")
    slots: dict[str, list[Any]] = Field({}, description="what stands in each slot, in every combination")
    rows: int = Field(0, ge=0, le=MOST_CASES, description="so many held-out rows")

    @model_validator(mode="after")
    def _one_source(self) -> _Test:
        given = [n for n in ("inputs", "template", "rows", "cases") if getattr(self, n, None)]
        if len(given) != 1:
            allowed = [n for n in ("inputs", "template", "rows", "cases") if hasattr(self, n)]
            raise ValueError(f"takes one of {', '.join(allowed)}" + (f", not {' and '.join(given)}" if given else ""))
        if self.template is not None:
            self.written()
        elif self.slots:
            raise ValueError("slots are of a template")
        return self

    def written(self) -> list[Input]:
        """The inputs that stand in the file, templates filled in. Raises `ValueError`."""
        if self.template is None:
            return list(self.inputs)
        values = list(self.template.values()) if isinstance(self.template, dict) else [self.template]
        asked = list(dict.fromkeys(n for v in values if isinstance(v, str) for _, n, _, _ in string.Formatter().parse(v) if n is not None))
        if set(asked) != set(self.slots) or not all(self.slots.values()):
            raise ValueError(f"the template has the slots {asked}, slots: has {list(self.slots)}, and each holds something")
        filled = [
            dict(zip(asked, of, strict=True)) for of in itertools.islice(itertools.product(*(self.slots[n] for n in asked)), MOST_CASES + 1)
        ]
        if len(filled) > MOST_CASES:
            raise ValueError(f"the slots make more than {MOST_CASES:,} cases")
        return [_filled(self.template, of) for of in filled]


class Minimum(_Test):
    """Minimum functionality: what must be answered."""

    type: Literal["minimum"]
    cases: list[Case] = Field([], description="inputs, each with what must be answered")
    expect: Any = Field(None, description="what must be answered to each of inputs, or to the template: a label, or a number")
    within: float | None = Field(None, ge=0, description="of a number: how far off it may be")

    @model_validator(mode="after")
    def _says_what(self) -> Minimum:
        if self.rows:
            raise ValueError("rows: are judged by their labels already; give inputs, cases or a template")
        if (self.expect is None) != bool(self.cases):
            raise ValueError("expect: says what must be answered" if not self.cases else "each of cases has an expect of its own")
        return self


class Invariance(_Test):
    """The answer must not change."""

    type: Literal["invariance"]
    change: Annotated[Any, AfterValidator(_changes)]
    within: float | None = Field(None, ge=0, description="of a number: how far the answer may move")
    seed: int = 17


class Direction(_Test):
    """The score of a label, or the value, must rise or fall."""

    type: Literal["direction"]
    change: Annotated[Any, AfterValidator(_changes)]
    moves: Literal["rises", "falls"]
    of: Any = Field(None, description="the label whose probability it is")
    by: float = Field(0.0, ge=0, description="at least so much")
    seed: int = 17


Test = Annotated[Minimum | Invariance | Direction, Field(discriminator="type")]


class Suite(Section):
    """The whole file."""

    pass_rate: float | None = Field(None, gt=0, le=1, description="share of all cases together that must pass, beside that of each test")
    tests: list[Test] = Field(min_length=1, max_length=500)


def read_suite(path: Path) -> tuple[Suite, str]:
    """A file of behaviour, and its sha256. Raises `ProjectError`, with the file's line."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        said = e.strerror if isinstance(e, OSError) else "is not UTF-8 text"
        raise ProjectError(
            f"cannot be read: {said}", field="evaluate.behaviour", value=str(path), fix="name a YAML file beside the project file"
        ) from e
    if len(raw) > _MOST_BYTES:
        raise ProjectError(
            f"has more than {_MOST_BYTES:,} bytes", field="evaluate.behaviour", value=str(path), fix="split the tests, or use templates"
        )
    written = yamlfile.load(text, path.name)
    try:
        suite = Suite.model_validate(written)
    except ValidationError as e:
        raise _told(e, text, path.name) from e
    twice = [t.name for i, t in enumerate(suite.tests) if t.name in {o.name for o in suite.tests[:i]}]
    if twice:
        raise ProjectError("is the name of two tests", field=f"{path.name}: tests", value=twice[0], fix="name each once")
    return suite, hashlib.sha256(raw).hexdigest()


def line_of(text: str, path: tuple[Any, ...]) -> int:
    """The line at which a value stands, by its path; of a key that is not there the line of what lacks it."""
    node, line = yaml.compose(text, yamlfile.Loader), 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                continue
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _told(error: ValidationError, text: str, name: str) -> ProjectError:
    faults = []
    for e in error.errors():
        path = tuple(p for p in e["loc"] if p not in ("minimum", "invariance", "direction", "str", "dict[str,any]"))
        message = {"extra_forbidden": "unknown key", "missing": "is required"}.get(e["type"], e["msg"].removeprefix("Value error, "))
        faults.append((f"{name}:{line_of(text, path)}: {'.'.join(map(str, path))}", message, e["input"]))
    field, message, value = faults[0]
    if len(faults) == 1:
        return ProjectError(message, field=field, value=value, fix="docs/evaluation.md, Behaviour, has the form")
    lines = "\n  - ".join(dict.fromkeys(f"{f}: {m}" for f, m, _ in faults))
    return ProjectError(f"{len(faults)} faults\n  - {lines}", field=name, fix="mend each of them")


def _filled(template: Input, slots: dict[str, Any]) -> Input:
    if isinstance(template, str):
        return template.format(**slots)
    return {k: _typed(v, slots) for k, v in template.items()}


def _typed(value: Any, slots: dict[str, Any]) -> Any:
    """A cell of a template; one that is a slot alone has its value as it is."""
    if not isinstance(value, str):
        return value
    alone = value[1:-1] if value.startswith("{") and value.endswith("}") else None
    return slots[alone] if alone in slots else value.format(**slots)
