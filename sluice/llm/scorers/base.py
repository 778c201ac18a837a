"""A scorer: one answer to one item, from 0 to 1, and why.

A scorer of your own is a class in a file beside sluice.yaml, named under ``model.scorers`` as ``module:Class``; another distribution brings it
as an entry point of the group ``sluice.scorers``.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from sluice.core.errors import ProjectError
from sluice.core.registry import Registry
from sluice.core.section import Section, checked
from sluice.llm.asking import Asker, Reply

#: Every scorer there is by name.
SCORERS = Registry(
    "scorer",
    {
        "exact": "sluice.llm.scorers.texts:Exact",
        "normalised": "sluice.llm.scorers.texts:Normalised",
        "contains": "sluice.llm.scorers.texts:Contains",
        "regex": "sluice.llm.scorers.texts:Regex",
        "forbidden": "sluice.llm.scorers.texts:Forbidden",
        "json_schema": "sluice.llm.scorers.values:JsonSchema",
        "numeric": "sluice.llm.scorers.values:Numeric",
        "citation": "sluice.llm.scorers.cited:Citation",
        "similarity": "sluice.llm.scorers.meaning:Similarity",
        "grounded": "sluice.llm.scorers.meaning:Grounded",
        "judge": "sluice.llm.scorers.judge:Judge",
    },
)


@dataclasses.dataclass(frozen=True)
class Item:
    """One of a golden set.

    Attributes:
        id: of its row.
        values: of the prompt's variables.
        expected: the answer expected; "" where none is.
        more: its other columns.
    """

    id: str
    values: Mapping[str, Any]
    expected: str
    more: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Score:
    """From 0 to 1; None where the item asks for no such score. `why` is a clause on what is wrong."""

    value: float | None
    why: str = ""


class ScorerConfig(Section):
    """What every scorer's section has."""

    decides: bool | None = Field(None, description="whether `score` is of it; null: of the first scorer named alone")


class Scorer(ABC):
    """One way to score.

    Args:
        config: its section.
        base: the project's folder.

    Attributes:
        name: in `SCORERS`.
        Config: checks its section.
    """

    name: ClassVar[str]
    Config: ClassVar[type[ScorerConfig]] = ScorerConfig

    def __init__(self, config: Any, base: Path):
        self.config, self.base = config, base
        self.ready()

    def ready(self) -> None:
        """Made once: what its settings name is looked up. Raises `ProjectError`."""

    @abstractmethod
    def score(self, item: Item, reply: Reply) -> Score:
        """Of an answer that came; one that did not is scored 0 without being asked."""

    def columns(self) -> tuple[str, ...]:
        """Columns of the golden set that it reads beside the expected answer."""
        return ()

    def summary(self, items: Sequence[Item], scores: Sequence[Score]) -> dict[str, Any]:
        """What more is told of all of its scores, plain JSON. Default: nothing."""
        return {}

    def asks(self, asker: Asker) -> None:
        """Told of who asks the prompt, before the first score: a judge that is the prompt's own endpoint."""


def scorers_of(named: Mapping[str, Any], base: Path) -> list[tuple[str, Scorer]]:
    """The scorers a project names, by the name it gives them. Raises `ProjectError`: there is none, or its section is wrong."""
    found = []
    for name, raw in named.items():
        field = f"model.scorers.{name}"
        kind = SCORERS.get(name, field=field, beside=base)
        if not (isinstance(kind, type) and issubclass(kind, Scorer)):
            raise ProjectError("is no scorer", field="model.scorers", value=name, fix="derive it from sluice.llm.scorers.base.Scorer")
        found.append((name, kind(checked(kind.Config, raw, field), base)))
    return found
