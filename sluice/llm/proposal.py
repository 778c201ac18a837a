"""By what answers of a kind are judged, as their looks tell: what `sluice init --data` writes of a prompt's items."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from sluice.llm.scorers.values import number

#: Share of the answers that a kind takes.
_NEARLY = 0.95
#: Answers that are classes: so many different at most, each told so often on average, and so long.
_CLASSES, _EACH, _LONG = 30, 5, 60
#: Words of an answer that is looked for in what the model says.
_FEW = 6
#: A sign of money, digits with their separators, a unit.
_NUMBER = re.compile(r"[^\w\s]{0,3} ?[\d.,\u00a0 ]+ ?([^\W\d]{1,4}|[^\w\s]{1,2})?\.?")
#: Characters of a token, about, in the languages that take the fewest.
_TOKEN = 2


@dataclasses.dataclass(frozen=True)
class Judged:
    """How answers are judged.

    Attributes:
        scorers: of ``model.scorers``.
        minimum: of the mean score, for a first model.
        system: what a model has to be told of the answer's form; "" where nothing.
        output: a JSON Schema of the answers; None where they are no JSON.
        tokens: that an answer may have.
        note: why, in a sentence.
    """

    scorers: dict[str, dict[str, Any]]
    minimum: float
    system: str
    output: dict[str, Any] | None
    tokens: int
    note: str


def judged(answers: Sequence[str]) -> Judged:
    """How answers like these are judged.

    Args:
        answers: those wanted, at least one.
    """
    tokens = min(4096, max(16, 8 * math.ceil(max(map(len, answers)) / _TOKEN / 8)))
    if (schema := _schema(answers)) is not None:
        told = "Answer with one JSON object with the keys " + ", ".join(schema["required"]) + ", and nothing else."
        return Judged({"json_schema": {"equal": True}}, 0.5, told, schema, tokens, "answers are JSON objects and have to be equal")
    if _share(answers, _bare) >= _NEARLY:
        return Judged({"numeric": {}}, 0.5, "Answer with the number alone.", None, tokens, "answers are numbers; the last one said counts")
    counts = Counter(a.strip() for a in answers)
    if 2 <= len(counts) <= _CLASSES and len(answers) >= _EACH * len(counts) and max(map(len, counts)) <= _LONG:
        told = f"Answer with one of these and nothing else: {', '.join(sorted(counts))}."
        return Judged(
            {"normalised": {}},
            0.5,
            told,
            None,
            tokens,
            f"answers are {len(counts)} classes; case and punctuation aside they have to be equal",
        )
    if np.median([len(a.split()) for a in answers]) <= _FEW:
        told = "Answer in a few words."
        return Judged({"contains": {}}, 0.5, told, None, tokens, "answers are short and have to stand in what is said")
    return Judged(
        {"similarity": {}},
        0.2,
        "",
        None,
        tokens,
        "answers are sentences, judged by the words they share (F1); a judge or an encoder sees meaning",
    )


def _share(answers: Sequence[str], fits: Any) -> float:
    return sum(map(bool, map(fits, answers))) / len(answers)


def _bare(text: str) -> bool:
    """A number with a sign of money before it or a unit behind it at most; a code such as B12 is none."""
    return number(text) is not None and _NUMBER.fullmatch(text.strip()) is not None


_TYPES: list[tuple[str, type | tuple[type, ...]]] = [
    ("boolean", bool),
    ("integer", int),
    ("number", (int, float)),
    ("string", str),
    ("array", list),
    ("object", dict),
]


def _schema(answers: Sequence[str]) -> dict[str, Any] | None:
    """Of answers that are all JSON objects: their keys and kinds."""
    found = []
    for text in answers:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(value, dict):
            return None
        found.append(value)
    names = list(dict.fromkeys(n for value in found for n in value))
    required = [n for n in names if all(n in value for value in found)]
    if not required:
        return None
    kinds = {n: _kind([value[n] for value in found if value.get(n) is not None]) for n in names}
    return {
        "type": "object",
        "properties": {n: {"type": [kind, "null"]} if kind else {} for n, kind in kinds.items()},
        "required": required,
    }


def _kind(values: Sequence[Any]) -> str | None:
    for name, kind in _TYPES:
        if values and all(isinstance(v, kind) and (name == "boolean" or not isinstance(v, bool)) for v in values):
            return name
    return None
