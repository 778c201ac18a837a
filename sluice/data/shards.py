"""Writing a split as Parquet files of a fixed number of rows, one row group in memory."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.data.digests import TableHasher, plain
from sluice.data.timestamps import TIME

#: Rows of a row group: what a reader holds at once. Rows with bytes or lists in them are large, and a group of them ends with the row that reaches so many bytes.
_GROUP, _GROUP_WIDE, _GROUP_BYTES = 1 << 16, 1 << 10, 64 << 20


def write_shards(
    root: Path, split: str, tables: Iterable[pa.Table], shard_rows: int, schema: pa.Schema | None = None
) -> tuple[list[dict[str, Any]], pa.Schema | None]:
    """Write ``<root>/<split>/part-00000.parquet`` ...: every file but the last has `shard_rows` rows.

    Files depend on the rows and their order alone, not on how the tables are cut.

    Args:
        root: the dataset's directory.
        split: the folder's name.
        tables: the rows, all of one schema.
        shard_rows: rows of a file.
        schema: the schema the rows must have, where another split already fixed it.

    Returns:
        The manifest's entries ``{"path", "rows", "sha256"}`` (at least one file, if `schema` is known) and the schema.

    Raises:
        DataError: tables of different schemas, or a type datasets do not hold.
    """
    made = Shards(root, split, shard_rows, schema)
    for table in tables:
        made.add(table)
    return made.close(), made.schema


class Shards:
    """What `write_shards` writes, given a table at a time: `add`, then `close`.

    Args:
        pool: where row groups are written while the next one is filled, one at a time; null: here. Rows that are large are always written here.

    Attributes:
        schema: that the rows have, or must have; null: not known yet.
    """

    def __init__(self, root: Path, split: str, shard_rows: int, schema: pa.Schema | None = None, pool: Executor | None = None):
        self._pool, self._writing = pool, Future[None]()
        self._writing.set_result(None)
        self._root, self._split, self._shard_rows, self.schema = root, split, shard_rows, schema
        (root / split).mkdir()
        self._entries = list[dict[str, Any]]()
        self._held, self._rows, self._bytes, self._written = list[pa.Table](), 0, 0, 0
        self._writer: _Writer | None = None

    def add(self, rows: pa.Table) -> None:
        """Take the next rows, cut into row groups each of which ends where a shard does. Raises `DataError`."""
        table = _storable(plain(rows), self._split)
        if self.schema is None:
            self.schema = table.schema
        if not table.schema.equals(self.schema):
            raise DataError(
                "has other columns or types than the rows before it", field=self._split, value=_difference(table.schema, self.schema)
            )
        wide = any(pa.types.is_nested(f.type) or pa.types.is_binary(f.type) for f in self.schema)
        sizes, at = np.cumsum(_bytes_of(table)) if wide else None, 0
        while at < table.num_rows:
            size = min(_GROUP_WIDE if wide else _GROUP, self._shard_rows - self._written)
            take, full = min(size - self._rows, table.num_rows - at), False
            if sizes is not None:
                before = sizes[at - 1] if at else 0
                some = int(np.searchsorted(sizes[at:], before + _GROUP_BYTES - self._bytes)) + 1  # rows with which they are so many
                take, full = min(take, some), some <= take
                self._bytes += int(sizes[at + take - 1] - before)
            self._held.append(table.slice(at, take))
            at, self._rows = at + take, self._rows + take
            if full or self._rows == size:
                self._write()

    def close(self) -> list[dict[str, Any]]:
        """The manifest's entries."""
        if self._held:
            self._write()
        self._writing.result()
        if self._writer is None and not self._entries and self.schema is not None:
            self._writer = self._next(self.schema)
        if self._writer is not None:
            self._entries.append(self._writer.close(self._root))
            self._writer = None
        return self._entries

    def _next(self, schema: pa.Schema) -> _Writer:
        return _Writer(self._root / self._split / f"part-{len(self._entries):05d}.parquet", schema)

    def _write(self) -> None:
        group = pa.concat_tables(self._held)
        self._written = (self._written + self._rows) % self._shard_rows
        wide, self._held, self._rows, self._bytes = self._bytes > 0, [], 0, 0
        self._writing.result()
        if self._pool is None or wide:
            self._written_out(group)
        else:
            self._writing = self._pool.submit(self._written_out, group)

    def _written_out(self, group: pa.Table) -> None:
        self._writer = self._writer or self._next(group.schema)
        self._writer.write(group)
        if self._writer.hasher.rows == self._shard_rows:
            self._entries.append(self._writer.close(self._root))
            self._writer = None


def _bytes_of(table: pa.Table) -> NDArray[np.int64]:
    """Bytes that each row's columns of bytes hold, [rows]."""
    out = np.zeros(table.num_rows, np.int64)
    for f, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_binary(f.type):
            out += np.asarray(pc.fill_null(pc.binary_length(column), 0))
    return out


def _storable(table: pa.Table, split: str) -> pa.Table:
    for f in table.schema:
        if not _survives(f.type):
            raise DataError(
                "has a type datasets do not hold",
                field=f"{split}.{f.name}",
                value=str(f.type),
                fix="the task's canonical() casts it to a number, a string, bytes or a list of those",
            )
    return table


def _survives(kind: pa.DataType) -> bool:
    """Whether Parquet gives the very same type back; times of other units and decimals may not."""
    if pa.types.is_list(kind):
        return _survives(kind.value_type)
    if pa.types.is_struct(kind):
        return len(kind) > 0 and all(_survives(f.type) for f in kind)
    return kind in (pa.string(), pa.binary(), pa.bool_(), TIME) or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _difference(found: pa.Schema, expected: pa.Schema) -> str:
    for name in dict.fromkeys([*expected.names, *found.names]):
        a, b = (str(s.field(name).type) if name in s.names else "absent" for s in (found, expected))
        if a != b:
            return f"{name}: {a}, not {b}"
    return "another order of columns"


class _Writer:
    def __init__(self, path: Path, schema: pa.Schema):
        self.path, self.hasher = path, TableHasher(schema)
        strings = [f.name for f in schema if pa.types.is_string(f.type) and f.name != "row_id"]
        self._file = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=strings, store_schema=True)

    def write(self, group: pa.Table) -> None:
        self.hasher.update(group)
        self._file.write_table(group, row_group_size=max(group.num_rows, 1))

    def close(self, root: Path) -> dict[str, Any]:
        self._file.close()
        return {"path": self.path.relative_to(root).as_posix(), "rows": self.hasher.rows, "sha256": self.hasher.hexdigest()}
