"""Which format a source's files have, as their names tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sluice.core.errors import DataError
from sluice.data.otherforms import other_form
from sluice.data.packed import PACKED, inner_suffix
from sluice.data.scheme import Found

Format = Literal["auto", "csv", "jsonl", "parquet", "images"]

FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".psv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".data": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
WORKBOOKS = {".xlsx", ".xls", ".xlsm", ".ods", ".numbers"}


def format_of(path: Path) -> str | None:
    """``csv``, ``jsonl`` or ``parquet``, as a file's name tells, packed or not; null where it does not."""
    return FORMATS.get(inner_suffix(path))


def form_of_files(found: Sequence[Found], format: Format) -> str:
    """The form of a source's files: as said, or as their names tell. Raises `DataError`."""
    if format == "images":
        raise DataError(
            "is a file where a folder of images is meant",
            field="data.source",
            value=found[0].where,
            fix="name the folder, or set data.format: auto",
        )
    if format != "auto":
        return format
    forms: dict[str, str] = {}
    for f in found:
        form = format_of(f.path)
        if form is None and f.path.suffix.lower() in WORKBOOKS:
            raise DataError(
                "is a workbook of a spreadsheet program", field="data.source", value=f.where, fix="save its sheet as CSV (UTF-8)"
            )
        if form is None:
            raise other_form(f.path, f.where) or DataError(
                "the file's name does not tell its format",
                field="data.source",
                value=f.where,
                fix="set data.format to csv, jsonl or parquet (an image folder is named as a folder)",
            )
        if form == "parquet" and f.path.suffix.lower() in PACKED:
            raise DataError(
                "is a Parquet file that is packed once more", field="data.source", value=f.where, fix="unpack it: Parquet packs by itself"
            )
        forms.setdefault(form, f.where)
    if len(forms) > 1:
        raise DataError(
            "names files of different formats", field="data.source", value=list(forms.values()), fix="narrow the glob: data/*.csv"
        )
    return next(iter(forms))
