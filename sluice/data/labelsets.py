"""Labels of which a row may have several: what stands between them in a cell, and lists written as texts."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

#: What may stand between labels, the surest first; a space only where each of its words is a label by itself, too.
_BETWEEN = ("|", ";", ",", " ")
#: Longest label that is not a sentence; and the fewest cells with several.
_LONGEST, _LEAST = 60, 5


def separator(values: Sequence[str]) -> str | None:
    """What stands between the labels of cells, of which some hold one and others several; None where each is one label.

    Sets of labels use few words over and over, in cells of different lengths: ``crime|drama``, ``drama``. Names that have a comma
    (``Oslo, Norway``) or are two properties of everything (``male, young``) do not.
    """
    cells = [v.strip() for v in values if v.strip()]
    if are_listed(cells):
        return None
    whole = set(cells)
    for between in _BETWEEN:
        parts = [[p.strip() for p in c.split(between)] for c in cells]
        several = [p for p in parts if len(p) > 1]
        if len(several) < _LEAST or len({len(p) for p in parts}) < 2 or any(len(set(p)) < len(p) or not all(p) for p in several):
            continue
        seen = Counter(p for cell in parts for p in cell)
        if not 2 <= len(seen) < len(whole) or max(map(len, seen)) > _LONGEST or sum(n > 1 for n in seen.values()) < 0.9 * len(seen):
            continue
        alone = sum(p in whole for p in seen)
        if alone == len(seen) if between == " " else alone > 0:
            return between
    return None


def listed(cell: str) -> list[str] | None:
    """The labels of a cell that is a list written as a text, in JSON or as Python shows it; None where it is none."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return [str(v) for v in found] if isinstance(found, list) and all(isinstance(v, str | int) for v in found) else None


def are_listed(cells: Sequence[str | None]) -> bool:
    """Whether every cell that is not empty is such a list."""
    there = [c for c in cells if c is not None and c.strip()]
    return bool(there) and all(listed(c) is not None for c in there)
