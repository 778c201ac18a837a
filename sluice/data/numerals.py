"""Columns of texts that spell numbers, read as numbers where there is one way to read them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.numerals import MISSING_NUMBERS, Doubt, Numerals, find_numerals, spells_number
from sluice.data.columns import MOSTLY_NUMBERS, null_for_empty

#: Different values looked at before a column is taken for one of numbers.
_SAMPLE = 200


@dataclasses.dataclass(frozen=True)
class Spelled:
    """What became of a column of texts.

    Attributes:
        values: float64, where it is one of numbers.
        numerals: how they are written.
        note: a sentence where something was found out, or could not be.
    """

    values: pa.ChunkedArray | None = None
    numerals: Numerals | None = None
    note: str | None = None


def spelled_numbers(column: pa.ChunkedArray, name: str, declared: Numerals | None) -> Spelled:
    """Read a column of strings whose values are numbers with separators or units.

    Args:
        name: what the note calls it.
        declared: how they are written; null: found out.
    """
    present = null_for_empty(pc.utf8_trim_whitespace(column))
    distinct = [v for v in present.unique().to_pylist() if v is not None and v.lower() not in MISSING_NUMBERS]
    sample = distinct[:_SAMPLE]
    if not sample or sum(map(spells_number, sample)) < MOSTLY_NUMBERS * len(sample):
        return Spelled()
    found = declared or find_numerals(distinct)
    if isinstance(found, Numerals):
        numbers = {v: found.parse(v) for v in distinct}
        other = [v for v, n in numbers.items() if n is None]
        if not other:
            return Spelled(_numbers(present, numbers), found, None if declared else _said(name, distinct, found))
        if len(other) > (1 - MOSTLY_NUMBERS) * len(distinct):
            return Spelled()
        return Spelled(
            note=f"column {name!r} is read as categories, since {len(other)} of its {len(distinct)} different values are no numbers written as {found.setting()}, "
            f"such as {other[0]!r}: mend them, or list the column under data.columns.categorical"
        )
    if isinstance(found, Doubt):
        return Spelled(note=_doubt(name, found))
    other = [v for v in distinct if not spells_number(v)]
    said = (
        f"{len(other)} of its {len(distinct)} different values are none, such as {other[0]!r}"
        if other
        else "they are not all written in one way"
    )
    return Spelled(
        note=f"column {name!r} spells numbers ({sample[0]!r}) but is read as categories, since {said}: mend them, or list the column under "
        "data.columns.categorical"
    )


def _numbers(present: pa.ChunkedArray, numbers: dict[str, Any]) -> pa.ChunkedArray:
    coded = present.combine_chunks().dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    values = pa.array([numbers.get(v) for v in coded.dictionary.to_pylist()], pa.float64())
    return pa.chunked_array([values.take(coded.indices)], pa.float64())


def _said(name: str, distinct: list[str], found: Numerals) -> str:
    example = max(distinct, key=lambda v: (sum(not c.isdigit() for c in v), len(v)))
    return f"column {name!r} is read as numbers: {example!r} is {found.parse(example):.12g}; data.columns.numbers or data.columns.categorical says otherwise"


def _doubt(name: str, found: Doubt) -> str:
    if len(found.readings) > 1:
        ways = " or ".join(f"{value:.12g} ({way.setting()})" for way, value in found.readings[:2])
        return (
            f"column {name!r} spells numbers and is read as categories, since {found.example!r} may be {ways}: say which in data.numbers, or for this column "
            f"alone in data.columns.numbers: {{{name}: {found.readings[0][0].setting()}}}"
        )
    if found.readings:
        return (
            f"column {name!r} may spell numbers ({found.example!r}) or name something: it is read as categories; "
            f"data.columns.numbers: {{{name}: {found.readings[0][0].setting()}}} reads it as numbers"
        )
    return (
        f"column {name!r} spells numbers with different units, or some with and some without a per cent sign ({found.example!r}): it is read as categories; "
        "write one unit in all of it"
    )
