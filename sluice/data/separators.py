"""Which character separates the cells of a file: what its name says, and what its first rows show."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sluice.core.errors import DataError
from sluice.data.dialect import DELIMITERS, Dialect
from sluice.data.opening import UNPACK_AGAIN, text_of
from sluice.data.report import counted
from sluice.data.scheme import Found

_BY_NAME = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}
#: Characters and rows looked at to find the separator out.
_SAMPLE, _ROWS = 1 << 18, 500
#: Lines of titles, at most, before the columns' names.
_TITLES = 20
#: Cells a row of what stands below them, at least: of fewer it may be one column whose texts hold a separator.
_CELLS = 3
#: Separators of several characters: what divides, what to call it, and how sed writes a tab in its place.
_SEVERAL = (
    ("::", "'::'", r"s/::/\t/g"),
    (" +", "blanks", r"s/^ +//; s/ +/\t/g"),
)
#: From this share of rows with as many cells as the first on, a separator fits.
_FITS = 0.8


def settle(file: Found, dialect: Dialect, wanted: Sequence[str] = ()) -> tuple[Dialect, str | None]:
    """The dialect with its separator, and a word where that is not what the file's name says.

    Args:
        wanted: columns the project names: a separator that gives them is the right one.

    Raises:
        DataError: the name tells no separator, and none divides the first rows evenly.
    """
    if dialect.delimiter is not None:
        return dialect, None
    usual = next((_BY_NAME[s] for s in reversed(_suffixes(file.path)) if s in _BY_NAME), None)
    fits = {d: _fit(file, dataclasses.replace(dialect, delimiter=d)) for d in DELIMITERS}
    good = {d: (share, header) for d, (share, header) in fits.items() if share >= _FITS}
    naming = [d for d, (_, header) in good.items() if set(wanted) & set(header)]
    if not good and (line := begins(file, dialect)) is not None:
        said = f"has {counted(line - 1, 'line')} before its columns' names, which are no rows"
        raise DataError(said, field=f"{file.where}:{line}", fix=without(file, line))
    if usual is not None and (usual in naming or (usual in good and not naming) or not good):
        return dataclasses.replace(dialect, delimiter=usual), None
    if not good:
        if (several := _several(file, dialect)) is not None:
            raise several
        raise DataError(
            "has no separator that divides its first rows into equally many cells",
            field=file.where,
            fix="say which one it is: data.delimiter: ',' or ';' or tab or '|' or ' '; a file of one column is named .csv",
        )
    found = max(naming or good, key=lambda d: (len(fits[d][1]), fits[d][0]))
    settled = dataclasses.replace(dialect, delimiter=found)
    return settled, f"{file.where} is separated by {settled.separator}, as its first rows show; data.delimiter sets it"


def begins(file: Found, dialect: Dialect) -> int | None:
    """The line on which the columns' names stand, where titles and the like come before them; None: on the first, or nothing tells."""
    with text_of(file, dialect.encoding) as f:
        lines = [line.strip("\r\n") for line in f.read(_SAMPLE).split("\n")[:_ROWS]]
    best = (0, 0)
    for d in (dialect.delimiter,) if dialect.delimiter else DELIMITERS:
        cells = [next(csv.reader([line], delimiter=d), []) for line in lines]
        often = Counter(len(c) for c in cells[_TITLES:] or cells if c).most_common(1)
        first = next((i for i, c in enumerate(cells) if often and len(c) == often[0][0]), 0)
        rows, before = [len(c) for c in cells[first:] if c], [sum(map(bool, c)) for c in cells[:first]]
        if often and rows.count(often[0][0]) >= _FITS * len(rows) and max(before, default=0) <= min(2, often[0][0] / 2):
            best = max(best, (often[0][0], first + 1))
    return best[1] if best[0] >= _CELLS and 1 < best[1] <= _TITLES else None


def without(file: Found, line: int) -> str:
    """What to do about lines before the columns' names."""
    name = file.path.name
    return f"remove them: tail -n +{line} {name} > {file.path.stem}-rows{''.join(file.path.suffixes[-1:])}, and name that file"


def _several(file: Found, dialect: Dialect) -> DataError | None:
    """The error of a file whose cells are separated by several characters, such as ``::`` or runs of blanks; None: by no such."""
    with text_of(file, dialect.encoding) as f:
        lines = [line for line in f.read(_SAMPLE).split("\n")[:_ROWS] if line.strip()]
    for pattern, said, sed in _SEVERAL:
        cells = [len(re.split(pattern, line.strip())) for line in lines]
        if lines and cells[0] > 1 and cells.count(cells[0]) >= _FITS * len(cells) and not any("\t" in line for line in lines):
            return DataError(
                f"has cells separated by {said}, where one character is read",
                field=file.where,
                value=lines[0].strip()[:100],
                fix=f"write a tab in its place: sed -E '{sed}' {file.path.name} > {file.path.stem}.tsv, and name that file",
            )
    return None


def _suffixes(path: Path) -> list[str]:
    return [s.lower() for s in path.suffixes]


def _fit(file: Found, dialect: Dialect) -> tuple[float, list[str]]:
    """The share of the first rows with as many cells as the first one (0 where that is one cell), and its cells."""
    best: tuple[float, list[str]] = (0.0, [])
    try:
        with text_of(file, dialect.encoding) as f:
            sample = f.read(_SAMPLE)
    except OSError as e:
        raise DataError(f"cannot be unpacked: {e}", field=file.where, fix=UNPACK_AGAIN) from e
    lines = sample.split("\n")
    if len(sample) == _SAMPLE:
        lines = lines[:-1] or lines
    for quote in ("auto", "none") if dialect.quote == "auto" else (dialect.quote,):
        rows: list[list[str]] = []
        try:
            for row in dataclasses.replace(dialect, quote=quote).reader([line + "\n" for line in lines]):
                if row:
                    rows.append(row)
                if len(rows) == _ROWS:
                    break
        except csv.Error:
            pass
        if rows and len(rows[0]) > 1:
            share = sum(len(r) == len(rows[0]) for r in rows) / len(rows)
            best = max(best, (share, [c.strip() for c in rows[0]]), key=lambda b: b[0])
    return best
