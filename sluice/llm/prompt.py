"""What a prompt is: two templates, typed variables, examples, the form of an answer, and how the model is asked.

A prompt file is YAML (``prompt.yaml``); a package holds the same as JSON (`Prompt.to_dict`). Templates are jinja2 in its immutable sandbox
(jinja.palletsprojects.com, "Sandbox"): values of variables are put in as text and are never read as templates. Answers are checked against
JSON Schema 2020-12 (json-schema.org).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field, ValidationError, field_validator

from sluice.core import files
from sluice.core.errors import InputError, MissingExtra, ProjectError
from sluice.core.section import Section, explain

FORMAT = "sluice.prompt/v1"
#: What retrieval fills in: the passages it found, a list of texts.
PASSAGES = "passages"
#: Characters of a template, of a variable's value where it says nothing, and of all messages together.
LIMIT_TEMPLATE, LIMIT_VALUE, LIMIT_MESSAGES = 100_000, 20_000, 400_000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)

Message = dict[str, str]


class Variable(Section):
    """One variable of a prompt: what a client sends."""

    type: Literal["string", "integer", "number", "boolean", "strings"] = "string"
    required: bool = True
    default: str | int | float | bool | list[str] | None = None
    max_length: int = Field(LIMIT_VALUE, ge=1, le=LIMIT_MESSAGES, description="most characters of a text, or of all texts of a list")
    enum: list[str] | None = Field(None, min_length=1, description="the only values that a text may have")
    description: str = ""

    def read(self, value: Any, field: str) -> Any:
        """A client's value, checked. Raises `InputError`."""
        fault = self._fault(value)
        if fault:
            raise InputError(fault, field=field, value=value, fix=f"send {_ARTICLE[self.type]}")
        return value

    def _fault(self, value: Any) -> str:
        kind = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "strings": list}[self.type]
        if not isinstance(value, kind) or (isinstance(value, bool) and self.type != "boolean"):  # type: ignore[arg-type]
            return f"is not {_ARTICLE[self.type]}"
        if isinstance(value, float) and not math.isfinite(value):
            return "is no finite number"
        if isinstance(value, list) and not all(isinstance(v, str) for v in value):
            return "is not a list of texts"
        size = len(value) if isinstance(value, str) else sum(map(len, value)) if isinstance(value, list) else 0
        if size > self.max_length:
            return f"has {size:,} characters, and {self.max_length:,} are allowed"
        if self.enum is not None and value not in self.enum:
            return f"is none of {', '.join(self.enum)}"
        return ""


_ARTICLE = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "strings": "a list of texts",
}


class Example(Section):
    """What is asked and answered before the question: one turn of the user, one of the model."""

    input: dict[str, Any]
    output: str


class PromptFile(Section):
    """``prompt.yaml``."""

    system: str = Field("", max_length=LIMIT_TEMPLATE, description="template of the system message; empty: there is none")
    user: str = Field(max_length=LIMIT_TEMPLATE, min_length=1, description="template of the user's message")
    variables: dict[str, Variable] = Field({}, description="what a client sends, by name")
    examples: list[Example] = Field([], max_length=50, description="few-shot examples: rendered as the user's message, then the answer")
    output: dict[str, Any] | None = Field(None, description="JSON Schema that an answer has to meet; null: an answer is any text")
    parameters: dict[str, Any] = Field({}, description="sent with each request: temperature, max_tokens, top_p, stop, seed, ...")

    @field_validator("variables")
    @classmethod
    def _named(cls, variables: dict[str, Variable]) -> dict[str, Variable]:
        for name in variables:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a variable: use a-z, 0-9 and _")
        return variables

    @field_validator("parameters")
    @classmethod
    def _ours(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for name in ("messages", "model", "stream", "api_key", "authorization"):
            if name in {p.lower() for p in parameters}:
                raise ValueError(f"{name!r} is not a parameter of a prompt")
        return parameters


@dataclasses.dataclass(frozen=True)
class Answer:
    """A model's text, read as the prompt says.

    Attributes:
        text: as it came.
        value: the JSON it holds where the prompt has an output schema; else the text.
        fault: why it is not what the prompt asks for; empty where it is.
    """

    text: str
    value: Any
    fault: str = ""


class Prompt:
    """A checked prompt.

    Args:
        file: what stands in it.
        where: how errors call it.

    Raises:
        ProjectError: a template that cannot be read or names other variables than are declared, examples that lack one, no JSON Schema.
        MissingExtra: jinja2 or jsonschema is not installed.
    """

    def __init__(self, file: PromptFile, where: str = "prompt"):
        self.file, self.where = file, where
        self.variables = dict(file.variables)
        self.parameters = dict(file.parameters)
        self._system, self._user = self._template(file.system, "system"), self._template(file.user, "user")
        self._declared()
        if file.output is not None:
            self._schema()
        self._turns = [turn for i, example in enumerate(file.examples) for turn in self._example(example, i)]

    @classmethod
    def load(cls, path: Path) -> Prompt:
        """A prompt file. ``output: {file: schema.json}`` is read from beside it. Raises `ProjectError`, `MissingExtra`."""
        from sluice.core import yamlfile  # a server, which reads none, has no YAML

        try:
            raw = yamlfile.load(path.read_text(encoding="utf-8"), path.name)
        except (OSError, UnicodeDecodeError) as e:
            raise ProjectError(
                f"cannot be read: {getattr(e, 'strerror', None) or e}", field=str(path), fix="name a YAML file in UTF-8"
            ) from e
        if not isinstance(raw, dict):
            raise ProjectError("is no mapping (system:, user:, variables:)", field=path.name, fix="`sluice init --task llm` writes one")
        output = raw.get("output")
        if isinstance(output, dict) and set(output) == {"file"}:
            try:
                raw = {**raw, "output": orjson.loads((path.parent / str(output["file"])).read_bytes())}
            except (OSError, ValueError) as e:
                raise ProjectError(
                    f"cannot be read as JSON: {e}", field=f"{path.name}: output.file", value=output["file"], fix="name a JSON Schema"
                ) from e
        return cls(_checked(raw, path.name), path.name)

    @classmethod
    def of(cls, found: Mapping[str, Any], where: str = "prompt.json") -> Prompt:
        """What `to_dict` gave. Raises `ProjectError`, `MissingExtra`."""
        if found.get("format") != FORMAT:
            raise ProjectError(f"format is not {FORMAT}", field=where, value=found.get("format"), fix="make the package again")
        return cls(_checked({k: v for k, v in found.items() if k != "format"}, where), where)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: the same prompt by `of`."""
        return {"format": FORMAT, **self.file.model_dump(mode="json")}

    @property
    def digest(self) -> str:
        """sha256 over all of it."""
        return files.digest_of(self.to_dict())

    @property
    def retrieves(self) -> bool:
        """Whether a template asks for passages."""
        return PASSAGES in self._used

    def read(self, values: Mapping[str, Any], field: str = "variables") -> dict[str, Any]:
        """What a client sends, checked, defaults filled in. Raises `InputError`: missing, unknown, or of another type."""
        for name in values:
            if name not in self.variables:
                raise InputError(
                    "is no variable of this prompt", field=f"{field}.{name}", fix=f"send {', '.join(self.variables) or 'none'}"
                )
        out: dict[str, Any] = {}
        for name, variable in self.variables.items():
            value = values.get(name)
            if value is None and variable.required and variable.default is None:
                raise InputError("is missing", field=f"{field}.{name}", fix=f"send {_ARTICLE[variable.type]}")
            value = variable.default if value is None else value
            out[name] = None if value is None else variable.read(value, f"{field}.{name}")
        return out

    def messages(self, values: Mapping[str, Any], passages: Sequence[str] | None = None) -> list[Message]:
        """The messages for one client's values, as OpenAI's API takes them: ``{"role", "content"}`` each.

        Args:
            values: by name; checked by `read`.
            passages: of retrieval, the nearest first.

        Raises:
            InputError: values that do not fit, or messages beyond `LIMIT_MESSAGES` characters.
        """
        filled = self.read(values)
        if self.retrieves:
            filled[PASSAGES] = list(passages or ())
        system, turns = self._render(self._system, filled), list(self._turns)
        out = ([{"role": "system", "content": system}] if system.strip() else []) + turns
        out.append({"role": "user", "content": self._render(self._user, filled)})
        size = sum(len(m["content"]) for m in out)
        if size > LIMIT_MESSAGES:
            raise InputError(
                f"make messages of {size:,} characters, and {LIMIT_MESSAGES:,} are allowed", field="variables", fix="send shorter texts"
            )
        return out

    def check(self, text: str) -> Answer:
        """An answer against the output schema; JSON inside one code fence is read too."""
        if self.file.output is None:
            return Answer(text, text)
        fenced = _FENCE.fullmatch(text)
        try:
            value = orjson.loads(fenced[1] if fenced else text)
        except orjson.JSONDecodeError as e:
            return Answer(text, None, f"is not JSON: {e}")
        fault = next(iter(self._validator.iter_errors(value)), None)
        where = "".join(f".{p}" if isinstance(p, str) else f"[{p}]" for p in fault.absolute_path) if fault else ""
        return Answer(text, value, f"answer{where}: {fault.message[:300]}" if fault else "")

    # --- of its checks ---

    def _template(self, text: str, field: str) -> Any:
        env = _environment()
        from jinja2 import TemplateSyntaxError, meta

        try:
            self._used: frozenset[str] = getattr(self, "_used", frozenset()) | meta.find_undeclared_variables(env.parse(text))
            return env.from_string(text)
        except TemplateSyntaxError as e:
            raise ProjectError(
                f"is no template: {e.message} (line {e.lineno})", field=f"{self.where}: {field}", fix="mend it; jinja2's syntax"
            ) from e

    def _declared(self) -> None:
        if PASSAGES in self.variables:
            raise ProjectError(
                "is filled in by retrieval", field=f"{self.where}: variables.{PASSAGES}", fix="give the variable another name"
            )
        for name in sorted(self._used - {PASSAGES}):
            if name not in self.variables:
                raise ProjectError(
                    "is in a template and not declared",
                    field=f"{self.where}: variables",
                    value=name,
                    fix=f"add variables: {{{name}: {{}}}}",
                )
        for name, variable in self.variables.items():
            if name not in self._used:
                raise ProjectError("is declared and in no template", field=f"{self.where}: variables.{name}", fix="use it or remove it")
            if variable.default is not None and (fault := variable._fault(variable.default)):
                raise ProjectError(fault, field=f"{self.where}: variables.{name}.default", value=variable.default, fix="change it")

    def _schema(self) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            Draft202012Validator.check_schema(self.file.output)
        except SchemaError as e:
            raise ProjectError(f"is no JSON Schema: {e.message}", field=f"{self.where}: output", fix="mend it (JSON Schema 2020-12)") from e
        if remote := _remote(self.file.output):
            raise ProjectError("refers to a schema elsewhere", field=f"{self.where}: output", value=remote, fix="put it under $defs")

    @functools.cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator

        return Draft202012Validator(self.file.output)

    def _example(self, example: Example, i: int) -> list[Message]:
        field = f"{self.where}: examples[{i}]"
        try:
            filled = self.read(example.input, f"{field}.input") | ({PASSAGES: []} if self.retrieves else {})
            asked = self._render(self._user, filled)
        except InputError as e:
            raise ProjectError(e.message, field=e.field, fix=e.fix, **({"value": e.value} if e.has_value else {})) from e
        if fault := self.check(example.output).fault:
            raise ProjectError(
                f"is not what output asks for: {fault}", field=f"{field}.output", value=example.output, fix="mend the example"
            )
        return [{"role": "user", "content": asked}, {"role": "assistant", "content": example.output}]

    def _render(self, template: Any, values: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError

        try:
            return str(template.render(**values))
        except (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError, OverflowError) as e:
            raise InputError(f"the template cannot be filled in: {type(e).__name__}: {e}", field=self.where, fix="mend the template") from e


def _checked(raw: Mapping[str, Any], where: str) -> PromptFile:
    try:
        return PromptFile.model_validate(raw)
    except ValidationError as e:
        raise explain(e, PromptFile, (), where) from e


@functools.cache
def _environment() -> Any:
    """Raises `MissingExtra`."""
    try:
        import jsonschema  # noqa: F401
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as e:
        raise MissingExtra("prompts need jinja2 and jsonschema", field="task", value="llm", fix="pip install 'sluice-ml[llm]'") from e
    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False, autoescape=False)


def _remote(schema: Any) -> str:
    """A ``$ref`` that leads out of the schema; empty where there is none."""
    if isinstance(schema, dict):
        ref = schema.get("$ref")
        if isinstance(ref, str) and not ref.startswith("#"):
            return ref
        return next((found for v in schema.values() if (found := _remote(v))), "")
    return next((found for v in schema if (found := _remote(v))), "") if isinstance(schema, list) else ""
