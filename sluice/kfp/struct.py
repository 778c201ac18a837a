"""A project as a JSON object whose numbers all became floats on the way (``google.protobuf.Struct``, a browser's editor), and back, exactly.

Whether 12.0 was written 12 or 12.0 is said by the schema of the project's sections. Where it does not say (a task's own
settings, values of a choice), and for integers that no float holds, the object carries a note beside them:
``exact_values: {"/model/scale": "12.0"}``, by JSON pointer (RFC 6901). A note counts while the value is the one that was sent.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from sluice.core.errors import ProjectError
from sluice.project import Project, model_section

#: The key of the notes; no section has its name.
NOTES = "exact_values"
#: From here on a float may stand for several integers.
_EXACT = 2**53

Kind = Literal["int", "float", "either"]


def to_struct(raw: Mapping[str, Any], *, nulls: bool = True) -> dict[str, Any]:
    """A raw project as an object that survives its numbers becoming floats.

    Args:
        raw: what a project file holds: mappings, lists, text, numbers, true, false and null.
        nulls: whether null may be in it; kfp.local takes none, and is given an empty text with a note.

    Returns:
        The same, with integers that fit no float as the nearest float, and notes where `from_struct` could not tell.
    """
    notes: dict[str, str] = {}

    def sent(value: Any, hints: tuple[Any, ...], path: str) -> Any:
        if _is_number(value):
            kind = _kind(hints)
            if not _same(_restored(float(value), kind), value) and not (kind == "float" and float(value) == value):
                notes[path] = repr(value)
            return value if isinstance(value, int) and abs(value) <= _EXACT else float(value)
        if value is None and not nulls:
            notes[path] = "null"
            return ""
        return _inside(value, hints, path, sent)

    made: dict[str, Any] = sent(dict(raw), _of_project(raw), "")
    return {**made, NOTES: dict(sorted(notes.items()))} if notes else made


def from_struct(given: Mapping[str, Any], *, where: str = "project") -> dict[str, Any]:
    """The raw project that `to_struct` was given, or what a person made of it since.

    Args:
        given: the object, its numbers as floats or integers.
        where: what to call it in errors.

    Raises:
        ProjectError: an integer that no float holds, or notes that are none.
    """
    notes = given.get(NOTES) or {}
    if not isinstance(notes, Mapping) or not all(isinstance(v, str) and (v == "null" or _number(v) is not None) for v in notes.values()):
        raise ProjectError(
            'is no mapping of places to numbers written as text, like {"/model/scale": "12.0"}',
            field=f"{where}: {NOTES}",
            value=notes,
            fix="remove it: whole numbers are then read as integers where a setting may be either",
        )

    def read(value: Any, hints: tuple[Any, ...], path: str) -> Any:
        if value == "" and notes.get(path) == "null":
            return None
        if _is_number(value):
            noted = _number(notes[path]) if path in notes else None
            if noted is not None and float(noted) == float(value):  # 2^60 arrives as the shortest digits of its float
                return noted
            kind = _kind(hints)
            if kind == "int" and float(value).is_integer() and abs(value) > _EXACT:
                at = path.removeprefix("/").replace("/", ".")
                raise ProjectError(
                    "is an integer of more digits than a JSON form keeps",
                    field=f"{where}: {at}",
                    value=value,
                    fix=f"write it in `set`, which is text: {at}=...",
                )
            return _restored(value, kind)
        return _inside(value, hints, path, read)

    return dict(read({k: v for k, v in given.items() if k != NOTES}, _of_project(given), ""))


def _inside(value: Any, hints: tuple[Any, ...], path: str, each: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: each(v, _below(hints, value, k), f"{path}/{k.replace('~', '~0').replace('/', '~1')}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [each(v, _items(hints), f"{path}/{i}") for i, v in enumerate(value)]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(a: float, b: float) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _restored(value: float, kind: Kind) -> float:
    whole = float(value).is_integer() and abs(value) <= _EXACT
    return int(value) if kind != "float" and whole else float(value)


# -- what the schema says of a place: the types that its values may have


def _of_project(raw: Mapping[str, Any]) -> tuple[Any, ...]:
    return (_Whole(raw),)


class _Whole:
    """The project, its `model` being the task's own section."""

    def __init__(self, raw: Mapping[str, Any]):
        self._raw = raw

    def below(self, key: str) -> tuple[Any, ...]:
        if key != "model":
            return _below((Project,), {}, key)
        try:
            return (model_section(str(self._raw.get("task")), written=self._raw),)
        except (ProjectError, AttributeError, TypeError):  # a task that is not here, or none: whoever runs it knows its settings
            return ()


def _flat(hint: Any) -> tuple[Any, ...]:
    """The members of a union, without what is annotated beside them."""
    if get_origin(hint) is Annotated:
        return _flat(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(one for part in get_args(hint) for one in _flat(part))
    return (hint,)


def _kind(hints: tuple[Any, ...]) -> Kind:
    numbers = [h for h in hints if h in (int, float)]
    if not numbers or len(set(numbers)) > 1 or Any in hints:
        return "either"
    return "int" if numbers[0] is int else "float"


def _below(hints: tuple[Any, ...], value: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    found: list[Any] = []
    for hint in hints:
        if isinstance(hint, _Whole):
            found += hint.below(key)
        elif isinstance(hint, type) and issubclass(hint, BaseModel):
            if key in hint.model_fields and _fits(hint, value):
                found += _flat(hint.model_fields[key].annotation)
        elif get_origin(hint) is dict:
            found += _flat(get_args(hint)[1])
    return tuple(found)


def _fits(section: type[BaseModel], value: Mapping[str, Any]) -> bool:
    """Whether a value may be this member of a union of sections, by the words that tell them apart (``type: int``)."""
    words = {k: get_args(f.annotation) for k, f in section.model_fields.items() if get_origin(f.annotation) is Literal and f.is_required()}
    return all(value.get(k) in known for k, known in words.items() if k in value)


def _items(hints: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one for hint in hints if get_origin(hint) in (list, tuple) for one in _flat((get_args(hint) or (Any,))[0]))
