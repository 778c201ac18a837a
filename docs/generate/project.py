"""The project file's keys, read off the schema that `sluice schema` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.generate import schema
from docs.generate.words import sentence
from sluice.project import schema as project_schema

_BEGIN = """# Project file

Every key of `sluice.yaml`, read off the schema that checks it; `sluice schema` prints that schema for an editor. A key that is not here is an
error, which names the nearest one. `--set a.b=value` gives one for a run. Names with a dot are keys of the section before it."""


def page() -> str:
    whole: Mapping[str, Any] = project_schema()
    defs = whole["$defs"]
    top = {"properties": {k: v for k, v in whole["properties"].items() if "$ref" not in v}, "required": whole.get("required", [])}
    out = [_BEGIN, "## Top", schema.rows(top, defs)]
    for name, section in whole["properties"].items():
        if "$ref" in section:
            found = defs[section["$ref"].rsplit("/", 1)[-1]]
            out += [f"## {name}", sentence(found.get("description", "")), schema.rows(found, defs, f"{name}.")]
    for key, name in _otherwise(whole["allOf"]):
        out += [f"## {key}", sentence(defs[name].get("description", "")), schema.rows(defs[name], defs, f"{key}.")]
    out.append("## By task\n\nWhat `model:` takes, and `train:` where a task brings its own, hangs on the task and its estimator.")
    for task, key, case, name in _cases(whole["allOf"]):
        found = defs[name]
        of = f"task {task}" + (f", estimator {case}" if case else "")
        out += [f"### {key} of {of}", sentence(found.get("description", "").split("\n\n")[0]), schema.rows(found, defs, f"{key}.")]
    return "\n\n".join(part for part in out if part) + "\n"


def _otherwise(conditions: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Section and definition of tasks that bring none of their own."""
    for one in conditions:
        for key, section in one.get("else", {}).get("properties", {}).items():
            if "$ref" in section:
                yield key, section["$ref"].rsplit("/", 1)[-1]


def _cases(conditions: list[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Task, section, estimator (or nothing) and the definition's name."""
    for one in conditions:
        task = str(one["if"].get("properties", {}).get("task", {}).get("const", ""))
        if not task:  # any task of somebody else's
            continue
        for key, section in one["then"]["properties"].items():
            for case, name in dict.fromkeys(_named(section, "")):
                yield task, key, case, name


def _named(section: Mapping[str, Any], case: str) -> Iterator[tuple[str, str]]:
    if "$ref" in section:
        yield case, section["$ref"].rsplit("/", 1)[-1]
    if "else" in section:
        yield from _named(section["else"], "")
    if isinstance(section.get("then"), Mapping):
        found = section.get("if", {}).get("properties", {})
        named = next((str(v["const"]) for v in found.values() if "const" in v), case)
        yield from _named(section["then"], named)
    for inner in section.get("allOf", ()):
        yield from _named(inner, case)
