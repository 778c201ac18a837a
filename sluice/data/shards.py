"""Writing a split as Parquet files of a fixed number of rows, one row group in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core.errors import DataError
from sluice.data.digests import TableHasher, plain
from sluice.data.timestamps import TIME

#: Rows of a row group: what a reader holds at once. Rows with bytes or lists in them are large.
_GROUP, _GROUP_WIDE = 1 << 16, 1 << 10


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
    folder = root / split
    folder.mkdir()
    entries: list[dict[str, Any]] = []
    writer: _Writer | None = None
    for group in _groups(tables, split, shard_rows, schema):
        schema = group.schema
        if writer is None:
            writer = _Writer(folder / f"part-{len(entries):05d}.parquet", schema)
        writer.write(group)
        if writer.hasher.rows == shard_rows:
            entries.append(writer.close(root))
            writer = None
    if writer is None and not entries and schema is not None:
        writer = _Writer(folder / "part-00000.parquet", schema)
    if writer is not None:
        entries.append(writer.close(root))
    return entries, schema


def _groups(tables: Iterable[pa.Table], split: str, shard_rows: int, schema: pa.Schema | None) -> Iterator[pa.Table]:
    """The stream cut into row groups; each ends where a shard does."""
    held: list[pa.Table] = []
    rows = written = 0
    for raw in tables:
        table = _storable(plain(raw), split)
        if schema is None:
            schema = table.schema
        if not table.schema.equals(schema):
            raise DataError("has other columns or types than the rows before it", field=split, value=_difference(table.schema, schema))
        wide = any(pa.types.is_nested(f.type) or pa.types.is_binary(f.type) for f in schema)
        at = 0
        while at < table.num_rows:
            size = min(_GROUP_WIDE if wide else _GROUP, shard_rows - written)
            take = min(size - rows, table.num_rows - at)
            held.append(table.slice(at, take))
            at, rows = at + take, rows + take
            if rows == size:
                yield pa.concat_tables(held)
                written = (written + rows) % shard_rows
                held, rows = [], 0
    if held:
        yield pa.concat_tables(held)


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
