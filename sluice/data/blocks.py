"""Rows a piece at a time: of a table in memory, which is one piece, or of a file on disk, of which a few columns of one piece are read at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: Rows of a piece on disk.
ROWS = 1 << 16
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
    """A file of Arrow batches of `ROWS` rows, the last one of fewer.

    Args:
        path: the file, written by `SpoolWriter`.
    """

    def __init__(self, path: Path):
        self.path = path
        with pa.OSFile(str(path)) as f, pa.ipc.open_file(f) as reader:
            self.schema, self._batches = reader.schema, reader.num_record_batches
            self.rows = reader.get_batch(self._batches - 1).num_rows + ROWS * (self._batches - 1) if self._batches else 0

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """A batch a piece."""
        with self._open(names) as reader:
            for i in range(self._batches):
                yield i * ROWS, pa.Table.from_batches([reader.get_batch(i)]).select(list(names))

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> pa.Table:
        """Batch by batch."""
        with self._open(names) as reader:
            found = [
                pa.Table.from_batches([reader.get_batch(int(i))]).select(list(names)).take(pa.array(rows[rows // ROWS == i] - i * ROWS))
                for i in np.unique(rows // ROWS)
            ]
        empty = pa.schema([self.schema.field(n) for n in names]).empty_table()
        return pa.concat_tables([empty, *found])

    def _open(self, names: Sequence[str]) -> Any:
        wanted = [self.schema.get_field_index(n) for n in names]
        return pa.ipc.open_file(pa.OSFile(str(self.path)), options=pa.ipc.IpcReadOptions(included_fields=sorted(wanted), use_threads=False))


class SpoolWriter:
    """Writes a `Spool`: `add` tables of any size, then `close`."""

    def __init__(self, path: Path):
        self.path = path
        self._held, self._rows = list[pa.Table](), 0
        self._writer: Any = None

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""
        while table.num_rows:
            n = min(table.num_rows, ROWS - self._rows)
            self._held.append(table.slice(0, n))
            self._rows, table = self._rows + n, table.slice(n)
            if self._rows == ROWS:
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
            options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
            self._writer = pa.ipc.new_file(str(self.path), batch.schema, options=options)
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
