"""Rows a piece at a time: of a table in memory, which is one piece, or of a file on disk, of which a few columns of one piece are read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: Rows of a piece on disk, where none of them is large.
ROWS = 1 << 16
#: Under this the file says how many rows its batches have.
_SIZE = b"rows"
#: Columns beside the features: each row's number by its features, what it is split by, whether it can be used. No column of a dataset is called so.
APART = "__row_"
ID, KEY, USE = APART + "id", APART + "key", APART + "use"


class Blocks(Protocol):
    """Rows that can be gone through any number of times.

    Attributes:
        schema: of the rows. rows: how many there are.
    """

    schema: pa.Schema
    rows: int

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """These columns, a piece at a time, each with the number of rows before it."""
        ...

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> pa.Table:
        """These columns of some rows, whose numbers rise."""
        ...


class InMemory:
    """A table."""

    def __init__(self, table: pa.Table):
        self.table, self.schema, self.rows = table, table.schema, table.num_rows

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """One piece."""
        yield 0, self.table.select(list(names))

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> pa.Table:
        """By their numbers."""
        return self.table.select(list(names)).take(pa.array(rows))


class Spool:
    """A file of Arrow batches of one number of rows, the last one of fewer.

    Args:
        path: the file, written by `SpoolWriter`.
    """

    def __init__(self, path: Path):
        self.path = path
        with pa.OSFile(str(path)) as f, pa.ipc.open_file(f) as reader:
            self.schema, self._batches = reader.schema.remove_metadata(), reader.num_record_batches
            self._size = int(reader.schema.metadata[_SIZE])
            self.rows = reader.get_batch(self._batches - 1).num_rows + self._size * (self._batches - 1) if self._batches else 0

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """A batch a piece."""
        with self._open(names) as reader:
            for i in range(self._batches):
                yield i * self._size, _plain(reader.get_batch(i), names)

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> pa.Table:
        """Batch by batch."""
        size = self._size
        with self._open(names) as reader:
            found = [
                _plain(reader.get_batch(int(i)), names).take(pa.array(rows[rows // size == i] - i * size)) for i in np.unique(rows // size)
            ]
        empty = pa.schema([self.schema.field(n) for n in names]).empty_table()
        return pa.concat_tables([empty, *found])

    def _open(self, names: Sequence[str]) -> Any:
        wanted = [self.schema.get_field_index(n) for n in names]
        return pa.ipc.open_file(pa.OSFile(str(self.path)), options=pa.ipc.IpcReadOptions(included_fields=sorted(wanted), use_threads=False))


def _plain(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Table:
    return pa.Table.from_batches([batch]).select(list(names)).replace_schema_metadata()


class SpoolWriter:
    """Writes a `Spool`: `add` tables of any size, then `close`.

    Args:
        path: the file. rows: of a batch; null: `ROWS`.
    """

    def __init__(self, path: Path, rows: int | None = None):
        self.path, self._size = path, rows or ROWS
        self._held, self._rows = list[pa.Table](), 0
        self._writer: Any = None

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""
        while table.num_rows:
            n = min(table.num_rows, self._size - self._rows)
            self._held.append(table.slice(0, n))
            self._rows, table = self._rows + n, table.slice(n)
            if self._rows == self._size:
                self._flush()

    def close(self) -> Spool:
        """The file, complete. There has to be a row."""
        if self._held:
            self._flush()
        self._writer.close()
        return Spool(self.path)

    def discard(self) -> None:
        """No file."""
        if self._writer is not None:
            self._writer.close()
            self.path.unlink()

    def _flush(self) -> None:
        batch = pa.concat_tables(self._held).combine_chunks().to_batches()[0]
        self._held, self._rows = [], 0
        if self._writer is None:
            # Not compressed: of numbers LZ4 saves four tenths of the disk, and takes longer than all else that is done with a batch.
            options = pa.ipc.IpcWriteOptions(use_threads=False)
            said = batch.schema.with_metadata({_SIZE: str(self._size)})
            self._writer = pa.ipc.new_file(str(self.path), said, options=options)
        self._writer.write_batch(batch)


class Where:
    """Rows that something is true of: how many, and the first of them."""

    def __init__(self, count: int, rows: Sequence[int]):
        self.count, self.rows = count, list(rows)

    def __bool__(self) -> bool:
        return self.count > 0


def where(held: Blocks, name: str, test: Callable[[pa.ChunkedArray], Any], most: int) -> Where:
    """The rows of which `test` says true, given a piece of one column: all counted, `most` of them by number."""
    count, rows = 0, list[int]()
    for first, block in held.blocks([name]):
        mask = np.asarray(test(block.column(0)))
        n = int(np.count_nonzero(mask))
        if n and len(rows) < most:
            rows += (np.flatnonzero(mask)[: most - len(rows)] + first).tolist()
        count += n
    return Where(count, rows)
