"""Scores of the text as it stands."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from pydantic import Field

from sluice.core.errors import ProjectError
from sluice.llm.asking import Reply
from sluice.llm.redaction import KINDS, found
from sluice.llm.scorers.base import Item, Score, Scorer, ScorerConfig

_ARTICLES = re.compile(r"\b(a|an|the)\b")


class Exact(Scorer):
    """The answer is the expected one, white space around it aside."""

    name = "exact"

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        return _same(item, reply.text.strip(), item.expected.strip())


class Normalised(Scorer):
    """The same without case, punctuation, articles and doubled spaces (the normalisation of SQuAD, Rajpurkar et al. 2016)."""

    name = "normalised"

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        return _same(item, normalised(reply.text), normalised(item.expected))


class Contains(Scorer):
    """The expected answer stands in the answer, as whole words, both normalised."""

    name = "contains"

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        if not item.expected:
            return Score(None)
        there = f" {normalised(item.expected)} " in f" {normalised(reply.text)} "
        return Score(float(there), "" if there else f"{item.expected[:60]!r} is not in it")


class RegexConfig(ScorerConfig):
    """Which pattern: one for every item, or a column with one each."""

    pattern: str | None = Field(None, description="Python's regular expression, searched in the answer")
    column: str | None = Field(None, description="column of the golden set that holds an item's own pattern")


class Regex(Scorer):
    """A pattern is found in the answer."""

    name, Config = "regex", RegexConfig

    def ready(self) -> None:
        """One of both is set."""
        if (self.config.pattern is None) == (self.config.column is None):
            raise ProjectError("needs pattern or column, one of both", field="model.scorers.regex", fix="{column: pattern}")
        self._one = _compiled(self.config.pattern, "model.scorers.regex.pattern") if self.config.pattern else None

    def columns(self) -> tuple[str, ...]:
        """Its own."""
        return (self.config.column,) if self.config.column else ()

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        own = item.more.get(self.config.column or "")
        pattern = self._one or (_compiled(str(own), f"item {item.id}: {self.config.column}") if own else None)
        if pattern is None:
            return Score(None)
        there = pattern.search(reply.text) is not None
        return Score(float(there), "" if there else f"{pattern.pattern[:60]!r} is not found")


class ForbiddenConfig(ScorerConfig):
    """What must not stand in an answer."""

    patterns: list[str] = Field([], description="regular expressions, case aside")
    kinds: list[str] = Field([], description=f"kinds of personal data: {', '.join(KINDS)}")
    column: str | None = Field(None, description="column of the golden set with an item's own patterns, separated by |")


class Forbidden(Scorer):
    """1 where nothing forbidden stands in the answer."""

    name, Config = "forbidden", ForbiddenConfig

    def ready(self) -> None:
        """Patterns can be read."""
        self._every = [_compiled(p, "model.scorers.forbidden.patterns", re.IGNORECASE) for p in self.config.patterns]
        for kind in self.config.kinds:
            if kind not in KINDS:
                raise ProjectError("is no kind of personal data", field="model.scorers.forbidden.kinds", value=kind, fix=", ".join(KINDS))

    def columns(self) -> tuple[str, ...]:
        """Its own."""
        return (self.config.column,) if self.config.column else ()

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        own = item.more.get(self.config.column or "")
        patterns = [*self._every, *([_compiled(str(own), f"item {item.id}: {self.config.column}", re.IGNORECASE)] if own else [])]
        for pattern in patterns:
            if pattern.search(reply.text):
                return Score(0.0, f"{pattern.pattern[:40]!r} stands in it")
        kinds = sorted({f.kind for f in found(reply.text)} & set(self.config.kinds))
        return Score(0.0, f"holds {' and '.join(kinds)}") if kinds else Score(1.0)


def normalised(text: str) -> str:
    """Lower case (Unicode casefold of NFKC), without punctuation and articles, single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in folded)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def _same(item: Item, said: str, expected: str) -> Score:
    if not expected:
        return Score(None)
    return Score(1.0) if said == expected else Score(0.0, f"expected {item.expected[:60]!r}")


def _compiled(pattern: str, field: str, flags: Any = 0) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as e:
        raise ProjectError(f"is no regular expression: {e}", field=field, value=pattern, fix="mend it") from e
