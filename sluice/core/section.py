"""The base of every section of the project file: strict, frozen, and with named units; and what its settings name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of ``sluice.yaml``: unknown keys are errors, values are never coerced by guess."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


@dataclasses.dataclass(frozen=True)
class Names:
    """In a setting's annotation: what its value names must be there when the data is checked.

    ``slices: Annotated[list[str], Names("field")] = []`` is all a section does for its names to be looked up before
    anything is trained. A list names with each item, a mapping with each key.

    Args:
        what: ``column`` of the source; ``feature`` of the task; ``field``: a feature, or ``label`` for the label; ``class``: a label's value; ``file``: a path
            beside the project file; ``model``: such a path, or the id of a hub.
        besides: values that name nothing (``balanced``).
    """

    what: Literal["column", "feature", "field", "class", "file", "model"]
    besides: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Named:
    """A name in the project file: `setting` is the path of its key."""

    setting: str
    what: str
    name: str


def names_in(section: BaseModel, prefix: str = "") -> Iterator[Named]:
    """Every name that the settings of a section, and of those inside it, say must be there."""
    for key, info in type(section).model_fields.items():
        value, setting = getattr(section, key), f"{prefix}{key}"
        for marker in (m for m in info.metadata if isinstance(m, Names)):
            found = [value] if isinstance(value, str) else list(value) if isinstance(value, Mapping | list | tuple) else []
            yield from (Named(setting, marker.what, str(name)) for name in found if name not in marker.besides)
        inner = [("", value)] if isinstance(value, BaseModel) else list(value.items()) if isinstance(value, Mapping) else []
        inner += [(str(i), v) for i, v in enumerate(value)] if isinstance(value, list | tuple) else []
        for at, part in inner:
            if isinstance(part, BaseModel):
                yield from names_in(part, f"{setting}.{at}." if at else f"{setting}.")
