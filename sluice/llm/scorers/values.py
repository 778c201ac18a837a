"""Scores of what an answer says: JSON of a schema, a number."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson
from pydantic import Field

from sluice.core.errors import ProjectError
from sluice.llm.asking import Reply
from sluice.llm.scorers.base import Item, Score, Scorer, ScorerConfig

_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:[,\u00a0 ]\d{3})+(?!\d)|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?")


class SchemaConfig(ScorerConfig):
    """Which schema, where it is not the prompt's own ``output``."""

    file: str | None = Field(None, description="JSON Schema beside sluice.yaml; null: the prompt's own")
    equal: bool = Field(False, description="the value must also be the one that the expected answer is, as JSON")


class JsonSchema(Scorer):
    """The answer is JSON that meets a schema."""

    name, Config = "json_schema", SchemaConfig

    def ready(self) -> None:
        """The schema can be read."""
        self._prompt: Any = None
        if self.config.file is None:
            return
        from sluice.llm.prompt import Prompt, PromptFile

        try:
            schema = orjson.loads((self.base / self.config.file).read_bytes())
        except (OSError, ValueError) as e:
            raise ProjectError(
                f"cannot be read: {getattr(e, 'strerror', None) or e}",
                field="model.scorers.json_schema.file",
                value=self.config.file,
                fix="name a JSON Schema",
            ) from e
        self._prompt = Prompt(PromptFile(user="answer", output=schema), "model.scorers.json_schema.file")

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        value, fault = reply.value, reply.fault
        if self._prompt is not None:
            read = self._prompt.check(reply.text)
            value, fault = read.value, read.fault
        if fault:
            return Score(0.0, fault)
        if self.config.equal and item.expected:
            try:
                wanted = orjson.loads(item.expected)
            except orjson.JSONDecodeError:
                wanted = item.expected
            return Score(1.0) if value == wanted else Score(0.0, f"expected {item.expected[:80]}")
        return Score(1.0)


class NumericConfig(ScorerConfig):
    """How far a number may be off: within either of both."""

    tolerance: float = Field(0.0, ge=0, description="absolute")
    relative: float = Field(0.0, ge=0, description="share of the expected number")


class Numeric(Scorer):
    """The last number of the answer is the expected one."""

    name, Config = "numeric", NumericConfig

    def score(self, item: Item, reply: Reply) -> Score:
        """See `Scorer.score`."""
        wanted, found = number(item.expected), number(reply.text)
        if wanted is None:
            return Score(None)
        if found is None:
            return Score(0.0, "says no number")
        allowed = max(self.config.tolerance, self.config.relative * abs(wanted), 1e-9 * max(1.0, abs(wanted)))
        return Score(1.0) if abs(found - wanted) <= allowed else Score(0.0, f"{found:g}, expected {wanted:g}")


def number(text: str) -> float | None:
    """The last number in a text, thousands' separators taken out; None where there is none."""
    found = [m[0] for m in _NUMBER.finditer(text) if any(c.isdigit() for c in m[0])]
    if not found:
        return None
    value = float(re.sub(r"[,\u00a0 ]", "", found[-1].replace("−", "-")))
    return value if math.isfinite(value) else None
