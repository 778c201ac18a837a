"""Files of JSON lines, read a piece at a time: each parsed once, or twice where a column's type is told by a later piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from sluice.data.blocks import SpoolWriter
from sluice.data.config import DataConfig
from sluice.data.evidence import Evidence
from sluice.data.flow import Kept, Unfit
from sluice.data.opening import opened
from sluice.data.scheme import Found
from sluice.data.sources import INDEX
from sluice.data.timestamps import speaks_of_time

#: Bytes that are parsed at once, and that a line may have.
_BLOCK, _LONGEST = 8 << 20, 64 << 20


class Lines(Kept):
    """One object a line, as `sluice.data.readers.read_jsonl` reads it.

    Args:
        files: of the source. data: the project's section. folder: where pieces are kept for the second reading.
    """

    def __init__(self, files: Sequence[Found], data: DataConfig, folder: Path):
        super().__init__()
        self._files, self._folder, self._told = files, folder, set(data.columns.timestamps)
        self._types: dict[str, pa.DataType] = {}

    def evidence(self, every: set[str]) -> dict[str, Evidence]:
        """Of each column, whose type is that which holds the values of all lines."""
        found = self._once(every) or self._once(every)
        if found is None:
            raise Unfit("a column's type changes", "write each column in one way")
        return found

    def _once(self, every: set[str]) -> dict[str, Evidence] | None:
        """None: a column's type was other than its beginning says; now all are known."""
        path = self._folder / "cells-lines.arrow"
        writer, found, sure, self.parts = SpoolWriter(path), dict[str, Evidence](), True, []
        first: dict[str, pa.DataType] = {}
        for file in self._files:
            rows, own = 0, dict[str, pa.DataType]()
            for table in _tables(file):
                before = dict(self._types)
                _learn(own, table.schema)
                _learn(self._types, table.schema)
                rows += table.num_rows
                sure = sure and before in ({}, self._types)
                if sure:
                    found = found or {n: Evidence(t, n in every) for n, t in self._types.items()}
                    table = _as_known(table, self._types)
                    for name, e in found.items():
                        if e.texts or name in every or name in self._told or speaks_of_time(name):
                            e.add(table.column(name))
                    writer.add(table)
            first = first or own
            if not rows or own != first:
                raise Unfit("its files are not alike", "write them with the same columns and types")
            self.parts.append((file.where, rows))
        self.names = list(self._types)
        if any(not n or INDEX.fullmatch(n) for n in self.names):
            raise Unfit("it has the index of a saved table", "write it without its index")
        if not sure:
            writer.discard()
            return None
        self.keep(writer.close())
        return found


def _tables(file: Found) -> Iterator[pa.Table]:
    """A file's lines, some at a time, each column of the type that pyarrow takes it for; what looks like a time is text."""
    dates: set[str] = set()
    for raw in _pieces(file):
        try:
            table = _parsed(raw, dates)
            if found := {f.name for f in table.schema if pa.types.is_temporal(f.type)}:
                dates |= found
                table = _parsed(raw, dates)
            table.validate(full=True)
        except (pa.ArrowException, UnicodeDecodeError) as e:
            raise Unfit("a line cannot be read") from e
        yield table


def _parsed(raw: bytes, dates: set[str]) -> pa.Table:
    told = pa.schema([(n, pa.string()) for n in sorted(dates)]) if dates else None
    return pyarrow.json.read_json(
        pa.BufferReader(raw),
        read_options=pyarrow.json.ReadOptions(block_size=len(raw) + 1, use_threads=False),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=told),
    )


def _pieces(file: Found) -> Iterator[bytes]:
    """Whole lines, about `_BLOCK` bytes at a time."""
    rest = b""
    try:
        with opened(file) as stream:
            while block := stream.read(_BLOCK):
                lines, end, after = (rest + block).rpartition(b"\n")
                rest = after
                if len(rest) > _LONGEST:
                    raise Unfit("a line is longer than 64 MB")
                if lines.strip():
                    yield lines + end
    except OSError as e:
        raise Unfit("a file cannot be read") from e
    if rest.strip():
        yield rest


def _learn(known: dict[str, pa.DataType], schema: pa.Schema) -> None:
    """Widen the types by those of some lines."""
    numbers = {pa.int64(), pa.float64()}
    for f in schema:
        before = known.get(f.name, pa.null())
        if pa.types.is_nested(f.type):
            raise Unfit("it has columns of lists or objects", "store numbers or plain texts")
        if before == f.type or pa.types.is_null(f.type):
            known.setdefault(f.name, f.type)
        elif pa.types.is_null(before):
            known[f.name] = f.type
        elif {before, f.type} == numbers:
            known[f.name] = pa.float64()
        else:
            raise Unfit("a column's type changes", "write each column in one way")


def _as_known(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    there = set(table.schema.names)
    return pa.table(
        {n: table.column(n).cast(t) if n in there else pa.chunked_array([pa.nulls(table.num_rows, t)]) for n, t in types.items()}
    )
