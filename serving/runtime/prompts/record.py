"""An answer of a prompt as the prediction log keeps it: without personal data and keys, with what it took and what it was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from serving.runtime.prompts.model import Told
from sluice.llm.package import INPUT
from sluice.llm.redaction import redacted

#: Characters that are kept of a text.
_LIMIT = 20_000


def told_of(raw: Any, told: Sequence[Told]) -> dict[str, Any]:
    """What a record of the log says of a request's rows: ``rows`` (the variables), ``prediction`` and ``answer``, one each a row."""
    rows = [orjson.loads(text) for text in raw[INPUT].ravel().tolist()] if isinstance(raw, dict) else raw
    return {
        "rows": [{k: _clean(v) for k, v in row.items()} for row in rows],
        "prediction": [redacted(t.completion.text)[:_LIMIT] for t in told],
        "answer": [_took(t) for t in told],
    }


def _took(told: Told) -> dict[str, Any]:
    took = told.completion
    return {
        "model": took.model,
        "tokens_in": took.tokens_in,
        "tokens_out": took.tokens_out,
        "cost": took.cost,
        "seconds": took.seconds,
        "first_token_seconds": took.first_token_seconds,
        "finish_reason": took.finish_reason,
        "attempts": took.attempts,
        "passages": [redacted(p)[:_LIMIT] for p in told.passages],
    }


def columns_of(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """The log's columns: of numbers as numbers, of all else as texts."""
    return [{"name": n, "type": "numeric" if kind in ("integer", "number") else "text"} for n, kind in variables.items()]


def _clean(value: Any) -> Any:
    """A value as its column has it. A list is its texts, a line each."""
    if isinstance(value, list):
        value = "\n".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return redacted(value)[:_LIMIT] if isinstance(value, str) else value
