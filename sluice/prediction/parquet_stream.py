"""A Parquet file's rows, written again with their types."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core.errors import DataError, first_line
from sluice.data.opening import not_empty
from sluice.data.scheme import Found
from sluice.prediction.streams import Stream, Window, Writer


class ParquetStream(Stream):
    """Parquet: columns in their own types."""

    kind = "parquet"

    def __init__(self, file: Found):
        super().__init__(file)
        not_empty(file)
        with self._told():
            self._schema = pq.read_schema(file.path)
        self.columns = self._schema.names
        twice = next((n for i, n in enumerate(self.columns) if n in self.columns[:i]), None)
        if twice is not None:
            raise DataError("names a column twice", field=file.where, value=twice, fix="rename one of them")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError, KeyError) as e:
            raise DataError(
                f"is not a readable Parquet file: {first_line(e)}", field=self.file.where, fix="write it again, or name another file"
            ) from e

    def windows(self, rows: int) -> Iterator[Window]:
        start = 0
        with self._told(), pq.ParquetFile(self.file.path, pre_buffer=False) as file:
            batches = file.iter_batches(rows)
            while (batch := next(batches, None)) is not None:
                batch.validate(full=True)
                yield Window(
                    [f"row {start + i + 1}" for i in range(batch.num_rows)],
                    dict(zip(batch.schema.names, batch.columns, strict=True)),
                    batch,
                )
                start += batch.num_rows

    @contextlib.contextmanager
    def writer(self, path: Path, added: Sequence[str], packing: str | None) -> Iterator[Writer]:
        made = _ParquetWriter(path)
        try:
            yield made
        finally:
            made.close()


class _ParquetWriter(Writer):
    def __init__(self, path: Path):
        self._path = path
        self._writer: pq.ParquetWriter | None = None

    def write(self, window: Window, good: Sequence[int], added: Mapping[str, pa.Array]) -> None:
        batch = window.raw if len(good) == window.raw.num_rows else window.raw.take(pa.array(good, pa.int64()))
        table = pa.table({**dict(zip(batch.schema.names, batch.columns, strict=True)), **added}).cast(
            pa.schema([*batch.schema, *(pa.field(n, c.type) for n, c in added.items())], metadata=batch.schema.metadata)
        )
        self._writer = self._writer or pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
