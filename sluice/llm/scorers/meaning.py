"""Scores of meaning: nearness to the expected answer, and support by the sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from sluice.llm.asking import Reply
from sluice.llm.scorers.base import Item, Score, Scorer, ScorerConfig


class MeaningConfig(ScorerConfig):
    """By which encoder."""

    encoder: str | None = Field(None, description="folder with model.onnx and tokenizer.json, beside sluice.yaml; null: words alone")


class Similarity(Scorer):
    """The cosine of the answer's and the expected answer's vectors, 0 below 0; without an encoder the F1 of their words."""

    name, Config = "similarity", MeaningConfig

    def ready(self) -> None:
        """The encoder can be opened."""
        self._encoder = _encoder(self.config.encoder, self.base)

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        if not item.expected:
            return Score(None)
        if self._encoder is not None:
            a, b = self._encoder.encode([reply.text, item.expected])
            return Score(min(1.0, max(0.0, float(a @ b))))
        from collections import Counter

        from sluice.llm.scorers.texts import normalised

        said, wanted = Counter(normalised(reply.text).split()), Counter(normalised(item.expected).split())
        shared = (said & wanted).total()
        return Score(2 * shared / ((said.total() + wanted.total()) or 1))


class GroundedConfig(MeaningConfig):
    """Where the sources are."""

    column: str | None = Field(
        None, description="column of the golden set with an item's own source; null: the passages that the prompt was given"
    )


class Grounded(Scorer):
    """The share of an answer's claims that its sources support (`sluice.llm.groundedness`); each that they do not is named."""

    name, Config = "grounded", GroundedConfig

    def ready(self) -> None:
        """The encoder can be opened."""
        self._encoder = _encoder(self.config.encoder, self.base)

    def columns(self) -> tuple[str, ...]:
        """Its own."""
        return (self.config.column,) if self.config.column else ()

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        from sluice.llm.groundedness import claims

        own = item.more.get(self.config.column or "")
        sources = ([str(own)] if own else []) if self.config.column else [p.text for p in reply.passages]
        if not sources:
            return Score(None)
        found = claims(reply.text, sources, self._encoder)
        if not found:
            return Score(None)
        wrong = [f"{c.text[:120]!r} ({c.why or f'support {c.support:.2f}'})" for c in found if not c.supported]
        return Score(1 - len(wrong) / len(found), f"not in its sources: {'; '.join(wrong)}" if wrong else "")


def _encoder(named: str | None, base: Path) -> Any:
    if named is None:
        return None
    from sluice.llm.encoder import Encoder

    return Encoder.open(base / named)
