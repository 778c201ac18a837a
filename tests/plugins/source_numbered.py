"""A source of a user's own: ``source_numbered:lines://ROWS`` makes a table, ``source_numbered:files://FOLDER`` brings files with a header line put before each."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.data.scheme import Asked, Found


def lines(asked: Asked) -> pa.Table:
    """Rows whose label says whether their number is above the middle."""
    try:
        rows = int(asked.rest)
    except ValueError as e:
        raise DataError("is no number of rows", field="data.source", value=asked.uri, fix="for example source_numbered:lines://200") from e
    return pa.table({"x": [float(i) for i in range(rows)], asked.columns.label: ["high" if 2 * i >= rows else "low" for i in range(rows)]})


def files(asked: Asked) -> list[Found]:
    """The text files of a folder, each with the header line that it lacks."""
    found = []
    for path in sorted(Path(asked.rest).glob("*.txt")):
        made = asked.folder / f"{path.stem}.csv"
        made.write_text(f"x,{asked.columns.label}\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
        found.append(Found(made, str(path)))
    return found
