"""Quotes that are text, and quotes that swallow rows: told by what the cells look like.

A cell that begins with a quote runs to the next quote, over any number of lines. Written by a program
that quotes, that is one cell; written by one that does not, a message that begins with a quote
swallows the rows up to the next quote in the file, and nothing is amiss in the count of cells.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

#: A cell that is quoted whole: every quote inside is doubled.
WHOLE = r'^"(?:[^"]|"")*"$'
#: Cells of several lines looked at.
_MOST_CELLS = 10_000
#: A column with more different values says nothing about whether a cell belongs to it.
_MOST_VALUES = 1000
#: From this share of a cell's lines that look like rows on, it has swallowed them.
_SHARE = 0.5


def plain_quote(table: pa.Table) -> int | None:
    """The first row with a cell that opens with a quote and is not closed by one, in a table read without quotes; null where there is none."""
    rows = []
    for column in table.columns:
        opens = pc.starts_with(column, '"')
        if pc.any(opens).as_py():
            at = pc.index(pc.and_(opens, pc.invert(pc.match_substring_regex(column, WHOLE))), True).as_py()
            if at >= 0:
                rows.append(at)
    return min(rows, default=None)


def swallowing(table: pa.Table, delimiter: str) -> tuple[int, str] | None:
    """The first row, and its cell, in which a quote has swallowed rows; null where there is none.

    Of a cell with line breaks each line that has the cells a row would have there, one of them a value
    that its column has elsewhere too, looks like a row. In a table separated by tabs a tab is enough.
    """
    values: dict[int, frozenset[str]] = {}
    found: list[tuple[int, str]] = []
    for at, column in enumerate(table.columns):
        several = pc.match_substring(column, "\n")
        if not pc.any(several).as_py():
            continue
        for row in pc.indices_nonzero(several)[:_MOST_CELLS].to_pylist():
            cell = column[row].as_py()
            if delimiter in cell and ((delimiter == "\t") or _rows_inside(table, at, cell, delimiter, values)):
                found.append((row, cell))
                break
    return min(found, default=None)


def _rows_inside(table: pa.Table, at: int, cell: str, delimiter: str, values: dict[int, frozenset[str]]) -> bool:
    width = table.num_columns
    lines = cell.split("\n")
    looked = alike = 0
    for i, line in enumerate(lines):
        parts = [p.strip() for p in line.removesuffix("\r").split(delimiter)]
        # What lies beside the cell in the first and in the last row it would be a part of; the lines between are whole rows.
        if i == 0:
            first, expected, own = at, width - at, 0
        elif i == len(lines) - 1:
            first, expected, own = 0, at + 1, at
        else:
            first, expected, own = 0, width, -1
        if expected < 2:
            continue
        looked += 1
        if len(parts) == expected and any(_belongs(table, first + j, parts, j, values) for j in range(expected) if j != own):
            alike += 1
    return looked > 0 and alike >= _SHARE * looked


def _belongs(table: pa.Table, column: int, parts: list[str], j: int, values: dict[int, frozenset[str]]) -> bool:
    part, before, after = parts[j], parts[j - 1] if j else "", parts[j + 1] if j + 1 < len(parts) else ""
    if not part or (part.isdigit() and (before[-1:].isdigit() or after[:1].isdigit())):
        return False  # 1,000 is a number with a comma in it
    if column not in values:
        distinct = pc.unique(table.column(column))
        few = len(distinct) <= min(_MOST_VALUES, max(2, table.num_rows // 2))
        values[column] = frozenset(v.strip() for v in distinct.to_pylist() if "\n" not in v) if few else frozenset()
    return part in values[column]
