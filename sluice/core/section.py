"""The base of every section of the project file: strict, frozen, and with named units; and what its settings name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from sluice.core.errors import ProjectError


class Section(BaseModel):
    """A part of ``sluice.yaml``: unknown keys are errors, values are never coerced by guess."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)
    #: Keys that sections like this one have and it has not -> where they belong: the fix that is told of such a key.
    elsewhere: ClassVar[Mapping[str, str]] = {}

    def suits(self, asked: Any, labels: Sequence[str]) -> None:
        """Before anything is trained: whether what it sets is for such a problem. Default: it is.

        Args:
            asked: the `sluice.problems.problem.Problem`.
            labels: of the data; empty where an answer is a value.

        Raises:
            ProjectError: it is not.
        """

    def reads(self, folder: Path) -> None:
        """When the project is read: reads what it names beside the project file. Default: it names nothing.

        Raises:
            ProjectError: that is wrong.
        """

    def meets(self, kinds: Mapping[str, str], asked: Any, labels: Sequence[str], folder: Path) -> None:
        """Before anything is trained: whether what it names beside the project file is for such data. Default: it names nothing.

        Args:
            kinds: of the features.
            asked, labels: as for `suits`.
            folder: of the project file.

        Raises:
            ProjectError: it is not.
        """


@dataclasses.dataclass(frozen=True)
class Names:
    """In a setting's annotation: what its value names must be there when the data is checked.

    ``slices: Annotated[list[str], Names("field")] = []`` is all a section does for its names to be looked up before
    anything is trained. A list names with each item, a mapping with each key.

    Args:
        what: ``column`` of the source; ``feature`` of the task; ``number``: a feature that is a quantity; ``field``: a feature, or ``label`` for the
            label; ``held``: such a one, or any other column of the source, which then stands beside the features; ``class``: a label's value; ``suite``: a way of disturbing rows that a field knows;
            ``file``: a path beside the project file; ``model``: such a path, or the id of a hub.
        besides: values that name nothing (``balanced``).
        read: the names that a value is of, where it is more than one name: an expression.
    """

    what: Literal["column", "feature", "number", "field", "held", "class", "suite", "file", "model"]
    besides: tuple[str, ...] = ()
    read: Callable[[str], Iterable[str]] = lambda name: (name,)


@dataclasses.dataclass(frozen=True)
class Named:
    """A name in the project file: `setting` is the path of its key, `text` what stands there, where that is more than the name."""

    setting: str
    what: str
    name: str
    text: str = ""


def names_in(section: BaseModel, prefix: str = "") -> Iterator[Named]:
    """Every name that the settings of a section, and of those inside it, say must be there."""
    for key, info in type(section).model_fields.items():
        value, setting = getattr(section, key), f"{prefix}{key}"
        for marker in (m for m in info.metadata if isinstance(m, Names)):
            found = [value] if isinstance(value, str) else list(value) if isinstance(value, Mapping | list | tuple) else []
            texts = [str(text) for text in found if text not in marker.besides]
            yield from (Named(setting, marker.what, name, "" if name == text else text) for text in texts for name in marker.read(text))
        inner = [("", value)] if isinstance(value, BaseModel) else list(value.items()) if isinstance(value, Mapping) else []
        inner += [(str(i), v) for i, v in enumerate(value)] if isinstance(value, list | tuple) else []
        for at, part in inner:
            if isinstance(part, BaseModel):
                yield from names_in(part, f"{setting}.{at}." if at else f"{setting}.")


def checked(kind: type[Section], raw: object, field: str) -> Section:
    """A section as it was written, checked. Raises `ProjectError`, as for any key of the project file."""
    if isinstance(raw, BaseModel):
        raw = raw.model_dump()
    try:
        return kind.model_validate({} if raw is None else raw)
    except ValidationError as e:
        raise explain(e, kind, tuple(field.split(".", 2)), "project") from e


#: Kinds of faults whose value is not told: there is none, or it may be a key (``PydanticCustomError("secret", ...)``).
_UNSHOWN = ("missing", "secret")


def explain(
    error: ValidationError, root: type[BaseModel], prefix: tuple[str, ...], where: str, said_by: Mapping[str, str] = {}
) -> ProjectError:
    """A section's faults as one error: a readable line each; a single one keeps its field, value and fix apart.

    Args:
        error: pydantic's.
        root: the section that was checked.
        prefix: path of the section.
        where: what the whole is called.
        said_by: path of a key -> who gave its value, where that was not the file itself.
    """

    def giver(path: str) -> str:
        under = [who for key, who in said_by.items() if f"{path}.".startswith(f"{key}.") or f"{key}.".startswith(f"{path}.")]
        return ", ".join(dict.fromkeys(under)) if path else ""

    faults = []
    for e in error.errors():
        path = ".".join(map(str, (*prefix, *e["loc"])))
        if e["type"] == "extra_forbidden":
            near, moved = nearest_key(root, e["loc"]), getattr(root, "elsewhere", {}).get(e["loc"][-1])
            message, fix = "unknown key", moved or (f"did you mean {near!r}?" if near else "remove it; `sluice schema` lists the keys")
        elif e["type"] == "missing":
            message, fix = "is required", "add it"
        else:
            message, own = e["msg"].removeprefix("Value error, "), (e.get("ctx") or {}).get("fix")
            fix = f"change {giver(path)}" if giver(path) else own or "see `sluice schema`"
        faults.append((path or where, message, None if e["type"] in _UNSHOWN else e["input"], fix, e["type"]))
    field, message, value, fix, kind = faults[0]
    if len(faults) == 1:
        return ProjectError(message, field=f"{giver(field) or where}: {field}", fix=fix, **({} if kind in _UNSHOWN else {"value": value}))
    lines = [
        str(ProjectError(m, field=f"{giver(f)}: {f}" if giver(f) else f, fix=x, **({} if k in _UNSHOWN else {"value": v}))).replace(
            "\n  fix: ", "; "
        )
        for f, m, v, x, k in faults
    ]
    return ProjectError(f"{len(faults)} faults\n  - " + "\n  - ".join(lines), field=where, fix="mend each of them")


def nearest_key(root: type[BaseModel], loc: tuple[int | str, ...]) -> str | None:
    """The valid key nearest to an unknown one; a key that belongs to another section is named with its path."""
    section: type[BaseModel] | None = root
    for part in loc[:-1]:
        section = _section(section, str(part)) if section else None
    wrong = str(loc[-1])
    if section is not None:
        near = difflib.get_close_matches(wrong, section.model_fields, 1, 0.55)
        if near:
            return near[0]
    elsewhere = {name: path for path, name in _keys(root)}
    near = difflib.get_close_matches(wrong, elsewhere, 1, 0.8)
    return elsewhere[near[0]] if near else None


def _section(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    info = model.model_fields.get(field)
    if info is None:
        return None
    kinds = [info.annotation, *get_args(info.annotation)]
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name in model.model_fields:
        yield prefix + name, name
        nested = _section(model, name)
        if nested:
            yield from _keys(nested, f"{prefix}{name}.")
