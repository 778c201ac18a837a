"""True answers that come late, from outside: what a client may tell, and the text that is kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

#: Of what the training rows reach, how many times as much can still be true: what lies beyond is another unit, or nonsense.
BEYOND = 1000.0
#: Where nothing is known of the training rows: beyond it a sum of squares says nothing any more.
LARGEST = 1e15


def quantity(answer: Any, reference: Mapping[str, Any]) -> str:
    """A number, or the text of one, as its shortest text.

    Raises:
        ValueError: it is none, is not finite, or lies too far from all training rows, with a clause that says so.
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or (isinstance(answer, str) and len(answer) > 400):
        raise ValueError("must be a number")
    try:
        value = float(answer)
    except (ValueError, OverflowError) as e:
        raise ValueError("must be a number") from e
    bound = bound_of(reference)
    if not math.isfinite(value) or abs(value) > bound:
        low, high = reference.get("min"), reference.get("max")
        seen = (
            f", where the training rows have {low:g} to {high:g}" if isinstance(low, int | float) and isinstance(high, int | float) else ""
        )
        raise ValueError(f"is outside {-bound:g}..{bound:g}{seen}")
    return repr(value)


def bound_of(reference: Mapping[str, Any]) -> float:
    """The largest size of a quantity that can be true."""
    ends = [abs(v) for v in (reference.get("min"), reference.get("max")) if isinstance(v, int | float) and math.isfinite(v)]
    return min(max(max(ends, default=0.0) * BEYOND, BEYOND), max(LARGEST, *ends)) if ends else LARGEST


def plain(answer: Any) -> str:
    """A text, or lists of texts and finite numbers, as JSON. Raises `ValueError`."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, bool) or not isinstance(answer, int | float | list) or not _finite(answer):
        raise ValueError("must be a text, or lists of texts and finite numbers")
    return json.dumps(answer, separators=(",", ":"))


def numbers(answer: Any, parts: int) -> str:
    """A list of so many numbers, as JSON. Raises `ValueError`."""
    if not isinstance(answer, list) or len(answer) != parts or any(isinstance(v, bool) or not isinstance(v, int | float) for v in answer):
        raise ValueError(f"must be a list of {parts} numbers")
    if not _finite(answer):
        raise ValueError(f"has a number beyond {LARGEST:g}")
    return json.dumps([float(v) for v in answer], separators=(",", ":"))


def back(text: str) -> Any:
    """What `plain` and `numbers` made a text of."""
    if text[:1] in "[" and text:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _finite(answer: Any, depth: int = 0) -> bool:
    if isinstance(answer, list):
        return depth < 4 and all(_finite(v, depth + 1) for v in answer)
    return isinstance(answer, str) or (isinstance(answer, int | float) and not isinstance(answer, bool) and abs(answer) <= LARGEST)
