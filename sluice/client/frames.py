"""DataFrames in and out: pandas, polars, Arrow, and whatever else speaks Arrow's C stream."""

from __future__ import annotations

import hashlib
import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core import files
from sluice.core.errors import DataError
from sluice.core.home import Home
from sluice.core.processes import cpu_quota
from sluice.data.scheme import Found
from sluice.package.package import Package
from sluice.prediction.files import predict_file

#: How pandas names an index that it hands over as a column.
_INDEX = "__index_level_"


def to_arrow(frame: Any, field: str = "data") -> pa.Table:
    """A table of its columns; of pandas without the index.

    Raises:
        DataError: it is no frame, has no rows or columns, two columns of one name, or a column of mixed types.
    """
    if not isinstance(frame, pa.Table) and not hasattr(frame, "__arrow_c_stream__"):
        raise DataError(
            "is no DataFrame",
            field=field,
            value=type(frame).__name__,
            fix="a pandas or polars DataFrame, or a pyarrow Table; files are named in data.source",
        )
    names = [str(c) for c in getattr(frame, "columns", ())] if not isinstance(frame, pa.Table) else frame.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise DataError("has two columns of one name", field=field, value=twice[0], fix="rename one of them")
    try:
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, TypeError) as e:
        said = " ".join(str(e).split())
        raise DataError(f"a column has values of several types: {said}", field=field, fix="give it one: frame[column].astype(str)") from e
    table = table.select([n for n in table.column_names if not n.startswith(_INDEX)]).replace_schema_metadata(None)
    if not table.num_rows or not table.num_columns:
        raise DataError("is empty", field=field, value=f"{table.num_rows} rows, {table.num_columns} columns", fix="a frame with rows")
    return table


def keep(frame: Any, home: Home, field: str = "data") -> Path:
    """A frame as a Parquet file of the home, named by its content: the same rows are the same file. Raises `DataError`, `HomeError`."""
    buffer = io.BytesIO()
    pq.write_table(to_arrow(frame, field), buffer)
    path = home.create().root / "frames" / f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:16]}.parquet"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        files.write_bytes(path, buffer.getvalue())
    return path


def predicted(package: Package, frame: Any) -> Any:
    """The same frame, of the same library and with pandas' index, with the package's answers as columns behind its own.

    Where rows and answers are not one to one, as of a forecast, whose rows are history, it is a frame of the answers.

    Raises:
        DataError: it lacks a column of the model's, or a row cannot be used (its number is named).
    """
    with tempfile.TemporaryDirectory() as folder:
        rows, out = Path(folder) / "rows.parquet", Path(folder) / "out.parquet"
        pq.write_table(to_arrow(frame, "frame"), rows)
        predict_file(package, Found(rows, "frame"), out, workers=cpu_quota())
        table = pq.read_table(out, memory_map=False)
    if isinstance(frame, pa.Table):
        return table
    module = type(frame).__module__.partition(".")[0]
    if module == "polars":
        import polars

        return polars.from_arrow(table)
    if module == "pandas":
        made = table.to_pandas()
        if len(made) != len(frame):
            return made
        for name in made.columns[len(frame.columns) :]:
            frame = frame.assign(**{name: made[name].to_numpy()})
        return frame
    return table
