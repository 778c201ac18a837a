"""A source in batches of bounded size, as its files hold it: what can be judged row by row needs no more memory than a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from sluice.core.errors import DataError, first_line
from sluice.data.config import Columns, DataConfig
from sluice.data.csvfile import BLOCK
from sluice.data.csvstream import stream_csv
from sluice.data.digests import plain
from sluice.data.forms import form_of_files
from sluice.data.locations import brought
from sluice.data.opening import not_empty, opened
from sluice.data.readers import read_jsonl
from sluice.data.scheme import Found

if TYPE_CHECKING:
    from sluice.fields import Field

#: Rows of a batch; bytes of a file of JSON lines up to which it is read whole, with its types settled.
ROWS, _WHOLE = 1 << 16, 64 << 20


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some rows of a source.

    Attributes:
        table: them; of a text file every column is of strings, an empty cell null.
        first: rows of the source before them.
        where: what to call their file. row: rows of that file before them.
        text: whether cells are texts that still have to be read, as those of a CSV are.
    """

    table: pa.Table
    first: int
    where: str
    row: int
    text: bool

    def place(self, at: int) -> str:
        """Where the row `at` of the batch (from 0) stands, in words."""
        return f"{self.where} row {self.row + at + 1}"


def batches(uri: str, data: DataConfig, base_dir: Path, value: Field | None = None, asked: Collection[str] = ()) -> Iterator[Batch]:
    """The rows of a source, at most `ROWS` at a time.

    Parquet is read by row groups, CSV and JSON lines by blocks. What is no file of rows (a folder of images, a bundled set) is read whole.

    Args:
        uri: a source, as ``data.source`` names it.
        data: how its files are written.
        base_dir: where relative paths start.
        value: the field that a row is alone; null: rows are records.
        asked: columns that somebody names, a help in finding a CSV's separator.

    Raises:
        DataError: as of `sluice.data.sources.read_source`.
        MissingExtra: an optional package is needed.
    """
    with brought(uri, base_dir, data.columns, value) as found:
        if isinstance(found, pa.Table):
            yield from _cut(found, uri, 0)
            return
        if _of_rows(found, value):
            form, first = form_of_files(found, data.format), 0
            for file in found:
                row = 0
                for table in _tables(file, form, data, asked):
                    for part in _cut(table, file.where, first, row, text=form == "csv"):
                        yield part
                        first, row = first + part.table.num_rows, row + part.table.num_rows
            return
    from sluice.data.sources import read_source

    yield from _cut(read_source(uri, data.format, base_dir, value, data.columns, dialect=data.dialect).table, uri, 0)


def _of_rows(found: list[Found], value: Field | None) -> bool:
    """Whether files hold rows, rather than be one each."""
    return not any(f.path.is_dir() for f in found) and not (value is not None and (value.listed or value.files is not None))


def _tables(file: Found, form: str, data: DataConfig, asked: Collection[str]) -> Iterator[pa.Table]:
    if form == "csv":
        wanted = [*asked, *_named(data.columns)]
        yield from stream_csv(file, data.dialect, wanted, BLOCK)
    elif form == "parquet":
        yield from _parquet(file)
    else:
        yield from _jsonl(file)


def _named(columns: Columns) -> list[str]:
    return [columns.label, *columns.categorical, *columns.numbers, *columns.kinds, *columns.ignore, *(columns.features or ())]


def _parquet(file: Found) -> Iterator[pa.Table]:
    not_empty(file)
    try:
        with pq.ParquetFile(file.path, pre_buffer=False) as f:
            for batch in f.iter_batches(batch_size=ROWS):
                yield plain(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError, ValueError, KeyError) as e:
        raise DataError(
            f"is not a readable Parquet file: {first_line(e)}", field=file.where, fix="write it again, or name another file"
        ) from e


def _jsonl(file: Found) -> Iterator[pa.Table]:
    """A small file whole; of a large one the first block says each column's type."""
    not_empty(file)
    if file.path.stat().st_size <= _WHOLE:
        yield plain(read_jsonl(file))
        return
    try:
        with (
            opened(file) as stream,
            pyarrow.json.open_json(
                stream, read_options=pyarrow.json.ReadOptions(block_size=BLOCK), parse_options=pyarrow.json.ParseOptions()
            ) as reader,
        ):
            for batch in reader:
                yield plain(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as e:
        raise DataError(
            f"cannot be read as JSON lines: {first_line(e)}", field=file.where, fix="write one JSON object a line, each key of one type"
        ) from e


def _cut(table: pa.Table, where: str, first: int, row: int = 0, text: bool = False) -> Iterator[Batch]:
    for at in range(0, table.num_rows, ROWS):
        yield Batch(table.slice(at, ROWS), first + at, where, row + at, text)
