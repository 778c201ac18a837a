"""Citations: an answer names its sources, and they are those it may name."""

from __future__ import annotations

import re

from pydantic import Field

from sluice.core.errors import ProjectError
from sluice.llm.asking import Reply
from sluice.llm.scorers.base import Item, Score, Scorer, ScorerConfig


class CitationConfig(ScorerConfig):
    """How sources are named in an answer, and which are right."""

    pattern: str = Field(r"\[([^\]\n]{1,200})\]", description="regular expression whose first group is the name of a source")
    column: str | None = Field(
        None, description="column with the names that are right, separated by commas; null: any passage that was given"
    )


class Citation(Scorer):
    """1 where a source is cited and each cited one is right; a share where some are."""

    name, Config = "citation", CitationConfig

    def ready(self) -> None:
        """The pattern has a group."""
        try:
            self._pattern = re.compile(self.config.pattern)
        except re.error as e:
            raise ProjectError(f"is no regular expression: {e}", field="model.scorers.citation.pattern", value=self.config.pattern) from e
        if not self._pattern.groups:
            raise ProjectError(
                "has no group", field="model.scorers.citation.pattern", value=self.config.pattern, fix="put the name in brackets ( )"
            )

    def columns(self) -> tuple[str, ...]:
        """Its own."""
        return (self.config.column,) if self.config.column else ()

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        if self.config.column:
            right = {n.strip().casefold() for n in str(item.more.get(self.config.column) or "").split(",") if n.strip()}
            if not right:
                return Score(None)
        else:
            right = {n.casefold() for p in reply.passages for n in (p.name, p.document)}
            right |= {str(i + 1) for i in range(len(reply.passages))}
        cited = [part.strip() for m in self._pattern.finditer(reply.text) for part in m[1].split(",") if part.strip()]
        if not cited:
            return Score(0.0, "cites no source")
        wrong = [c for c in cited if c.casefold() not in right]
        return Score(1 - len(wrong) / len(cited), f"cites {', '.join(wrong[:3])}, which is none of its sources" if wrong else "")
