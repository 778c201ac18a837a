"""JSON Schemas as tables: a row a key, with its type, its default and its description."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generate.words import cell, sentence, table

Schema = Mapping[str, Any]
HEAD = ["key", "type", "default", "meaning"]


def keys(schema: Schema, defs: Schema, before: str = "", depth: int = 8) -> Iterator[list[str]]:
    """A row for each key, inner ones behind their section's, their names with dots.

    Args:
        defs: what ``$ref`` names. before: of the key's name.
    """
    needed = set(schema.get("required", ()))
    for name, raw in schema.get("properties", {}).items():
        key, inner = f"{before}{name}", _whole(raw, defs)
        told = raw.get("description") or inner.get("description") or ""
        section = _object(inner, defs)
        default = "required" if name in needed else "" if section else _default(raw, inner)
        yield [f"`{key}`", cell(_type(inner, defs)), default, cell(sentence(told.split("\n\n")[0]))]
        if section is not None and depth:
            yield from keys(section, defs, f"{key}{'[]' if inner.get('type') == 'array' else ''}.", depth - 1)


def rows(schema: Schema, defs: Schema, before: str = "") -> str:
    return table(HEAD, list(keys(schema, defs, before)))


def _whole(schema: Schema, defs: Schema) -> Schema:
    """A schema with its reference taken in."""
    if "$ref" in schema:
        return {**defs[schema["$ref"].rsplit("/", 1)[-1]], **{k: v for k, v in schema.items() if k != "$ref"}}
    others = [o for o in schema.get("anyOf", ()) if o.get("type") != "null"]
    if len(others) == 1:
        return {**_whole(others[0], defs), **{k: v for k, v in schema.items() if k != "anyOf"}}
    return schema


def _object(schema: Schema, defs: Schema) -> Schema | None:
    """The object whose keys can be named: the schema itself, or that of its items."""
    if schema.get("type") == "array" and isinstance(schema.get("items"), Mapping):
        schema = _whole(schema["items"], defs)
    return schema if schema.get("properties") else None


def _type(schema: Schema, defs: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{v}`" for v in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema or "oneOf" in schema:
        found = [_type(_whole(o, defs), defs) for o in schema.get("anyOf") or schema["oneOf"] if o.get("type") != "null"]
        return " or ".join(dict.fromkeys(f for f in found if f))
    if schema.get("type") == "array":
        inner = schema.get("items") or {}
        return f"list of {_type(_whole(inner, defs), defs) or 'anything'}" if isinstance(inner, Mapping) else "list"
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = str(schema.get("type", ""))
    limits = [f"{word} {schema[k]:g}" for k, word in _LIMITS.items() if isinstance(schema.get(k), int | float)]
    return kind + (f", {' and '.join(limits)}" if limits else "")


_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _default(raw: Schema, inner: Schema) -> str:
    found = raw.get("default", inner.get("default")) if "default" in raw or "default" in inner else ...
    if found is ...:
        return ""
    return cell(f"`{json.dumps(found)}`")
