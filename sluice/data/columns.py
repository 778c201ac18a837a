"""What the cells of a text file mean: numbers as float64, null where something is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.core.numerals import MISSING_NUMBERS
from sluice.fields import Field

#: What stands for "no label", in any case. "NA" and "none" may be labels.
MISSING_LABELS = frozenset({"", "nan", "null"})
#: What says in a column of any kind that nothing is there, and is never two things.
_NOTHING = frozenset({"na", "n/a", "n.a.", "n.a", "#n/a", "nan", "<na>", "null", "nil"})
#: From this share of numbers on, a column is one of numbers, and text in it is a mistake.
MOSTLY_NUMBERS = 0.9

_NUMBER = r"^\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf|infinity|nan))\s*$"


@dataclasses.dataclass(frozen=True)
class BadCell:
    """The first cell of text among numbers.

    Attributes:
        row: counted from 0.
        value: the cell.
        share: how many of the cells that are not empty are numbers.
        cells: how many cells are text.
    """

    row: int
    value: str
    share: float
    cells: int


# pyarrow takes a bare string here for something pandas may know, and imports it: a second lost.
_EMPTY = pa.scalar("")
#: Before the name of a dataset's column that stands beside the features: no feature.
BESIDE = "__beside_"


def stored_beside(name: str) -> str:
    """What a column beside the features is called in a dataset's shards."""
    return BESIDE + name


def numbers(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray | None, BadCell | None]:
    """Strings as float64, with `MISSING_NUMBERS` and NaN as null; or the first cell that is no number."""
    present = null_for_empty(pc.utf8_trim_whitespace(column))
    try:
        return null_for_nan(present.cast(pa.float64())), None
    except pa.ArrowInvalid:
        other = pc.fill_null(pc.invert(looks_numeric(present)), False)
    spelled = [v for v in pc.filter(present, other).unique().to_pylist() if v.lower() in MISSING_NUMBERS]
    missing = pc.is_in(present, pa.array(spelled, present.type))
    bad = np.asarray(pc.and_(other, pc.invert(missing)))
    words = pc.sum(other).as_py() == len(present) - present.null_count
    if words and not bad.any() and len({v.lower() for v in spelled} - _NOTHING) > 1:
        bad = np.asarray(other)  # `none` and `unknown` without a number are two things
        missing = pa.chunked_array([pa.array(np.zeros(len(bad), bool))])
    if bad.any():
        row, cells = int(np.argmax(bad)), int(bad.sum())
        there = len(present) - present.null_count - int(pc.sum(missing).as_py() or 0)
        return None, BadCell(row, column[row].as_py(), 1 - cells / there, cells)
    return null_for_nan(pc.if_else(missing, pa.scalar(None, present.type), present).cast(pa.float64())), None


#: What a column of texts says that is on or off, in lower case.
_SWITCHES = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}


def switches(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Strings that are all true or false (yes or no) as 1 and 0, null where nothing is there; null for others."""
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(null_for_empty(column)))
    said = texts.drop_null().unique().to_pylist()
    if not said or not set(said) <= set(_SWITCHES):
        return None
    return pc.if_else(pc.is_null(texts), None, pc.is_in(texts, pa.array(["true", "yes"])).cast(pa.float64()))


def looks_numeric(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """For strings: true where one spells a number, null where it is null."""
    return pc.match_substring_regex(column, _NUMBER)


def null_for_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A float column whose NaN are null."""
    nan = pc.is_nan(column)
    return pc.if_else(nan, pa.scalar(None, column.type), column) if pc.any(nan).as_py() else column


def null_for_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of labels with null where there is none: null, NaN, strings of `MISSING_LABELS`, and NA and the like where all others are numbers."""
    kind = column.type
    if pa.types.is_floating(kind):
        return null_for_nan(column)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    different = column.unique()
    nothing = MISSING_LABELS | (_NOTHING if among_numbers(different) else set())
    found = [v for v in different.to_pylist() if v is not None and v.strip().lower() in nothing]
    return pc.if_else(pc.is_in(column, pa.array(found, kind)), pa.scalar(None, kind), column) if found else column


def among_numbers(labels: pa.Array) -> bool:
    """Whether labels that are texts are numbers but for NA and the like: there no label is called so."""
    said = [v for v in labels.to_pylist() if v is not None and v.strip().lower() not in MISSING_LABELS]
    words = {v for v in said if v.strip().lower() in _NOTHING}
    rest = pa.array([v for v in said if v not in words], pa.string())
    return bool(words) and len(rest) > 0 and bool(pc.all(looks_numeric(rest)).as_py())


def with_label(table: pa.Table, label: str) -> pa.Table:
    """A table whose label is null where there is none (`null_for_missing`), if it has that column."""
    if label not in table.schema.names:
        return table
    return table.set_column(table.schema.names.index(label), label, null_for_missing(table.column(label)))


def null_for_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of strings whose empty cells are null: CSV cannot tell the two apart."""
    empty = pc.equal(column, _EMPTY)
    return pc.if_else(empty, pa.scalar(None, column.type), column) if pc.any(empty).as_py() else column


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings, encoded as a dictionary or not."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def usable(table: pa.Table, fields: Iterable[Field]) -> pa.ChunkedArray:
    """For rows in canonical form: true where there is a label, and of no field without which a row can teach nothing the value is missing."""
    use = pc.is_valid(table.column("label"))
    for field in fields:
        if field.lacks:
            use = pc.and_(use, pc.invert(field.missing(table.column(field.name))))
    return use
