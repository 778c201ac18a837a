"""Which character separates the cells of a file: what its name says, and what its first rows show."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from sluice.core.errors import DataError
from sluice.data.dialect import DELIMITERS, Dialect
from sluice.data.opening import UNPACK_AGAIN, text_of
from sluice.data.scheme import Found

_BY_NAME = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}
#: Characters and rows looked at to find the separator out.
_SAMPLE, _ROWS = 1 << 18, 500
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
    if usual is not None and (usual in naming or (usual in good and not naming) or not good):
        return dataclasses.replace(dialect, delimiter=usual), None
    if not good:
        raise DataError(
            "has no separator that divides its first rows into equally many cells",
            field=file.where,
            fix="say which one it is: data.delimiter: ',' or ';' or tab or '|' or ' '; a file of one column is named .csv",
        )
    found = max(naming or good, key=lambda d: (len(fits[d][1]), fits[d][0]))
    settled = dataclasses.replace(dialect, delimiter=found)
    return settled, f"{file.where} is separated by {settled.separator}, as its first rows show; data.delimiter sets it"


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
