"""Rows whose pieces lie on workers: read there, typed, checked and numbered there; what all of them say together is brought together here, in order."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sluice.core.errors import DataError
from sluice.core.numerals import Numerals
from sluice.core.spread import Workers
from sluice.data.blocks import ID, KEY
from sluice.data.digests import TableHasher, plain, row_numbers
from sluice.data.evidence import Evidence
from sluice.data.scheme import Found
from sluice.fields.summaries import Mapped

#: A piece of the source in the dataset's terms, and what its rows are split by or null.
Make = Callable[[pa.Table], tuple[pa.Table, pa.ChunkedArray | None]]


class Spread:
    """As `sluice.data.blocks.Blocks`: pieces of any size, each behind a handle of the workers'.

    Args:
        pieces: each handle, with its rows.
    """

    def __init__(self, workers: Workers, schema: pa.Schema, pieces: Sequence[tuple[Any, int]]):
        self._workers, self.schema, self._pieces = workers, schema, list(pieces)
        self.rows = sum(n for _, n in self._pieces)

    def blocks(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """A few are on their way at a time."""
        return self.mapped(_select, names)

    def mapped(self, function: Callable[[pa.Table], Any], names: Sequence[str]) -> Iterator[tuple[int, Any]]:
        """What a function says of these columns, a piece at a time and where it lies, each with the number of rows before it."""
        found = self._workers.mapped(_of_columns, ((function, list(names), piece) for piece, _ in self._pieces))
        for (_, rows), first, told in zip(self._pieces, self._firsts(), found, strict=True):
            if rows:
                yield first, told

    def of_column(self, name: str) -> Mapped:
        """`mapped` of one column's cells, without the rows before."""
        return lambda function: (told for _, told in self.mapped(_OfCells(function), [name]))

    def take(self, names: Sequence[str], rows: NDArray[np.int64]) -> pa.Table:
        """Of the pieces that hold some."""
        wanted = []
        for (piece, n), first in zip(self._pieces, self._firsts(), strict=True):
            mine = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + n)] - first
            if len(mine):
                wanted.append((list(names), mine, piece))
        empty = pa.schema([self.schema.field(n) for n in names]).empty_table()
        return pa.concat_tables([empty, *self._workers.mapped(_taken, wanted)])

    def _firsts(self) -> list[int]:
        return np.concatenate([[0], np.cumsum([n for _, n in self._pieces])]).astype(int).tolist()[:-1]


@dataclasses.dataclass(frozen=True)
class _OfCells:
    function: Callable[[pa.ChunkedArray], Any]

    def __call__(self, table: pa.Table) -> Any:
        return self.function(table.column(0))


def _select(table: pa.Table) -> pa.Table:
    return table


def _of_columns(function: Callable[[pa.Table], Any], names: list[str], piece: pa.Table) -> Any:
    return function(piece.select(names))


def _taken(names: list[str], rows: NDArray[np.int64], piece: pa.Table) -> pa.Table:
    return piece.select(names).take(pa.array(rows))


@dataclasses.dataclass(frozen=True)
class RowGroup:
    """One of a Parquet file, read by whoever is given this."""

    path: Path
    where: str
    number: int

    def read(self, names: Sequence[str]) -> pa.Table:
        """These columns. Raises `DataError`."""
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as f:
                table = f.read_row_group(self.number, columns=list(names), use_threads=False).select(list(names))
            table.validate(full=True)
        except FileNotFoundError as e:
            raise DataError(
                "is not there for a worker",
                field=self.where,
                value=str(self.path),
                fix="put the source on a volume that all workers mount at the same place, or in an object store",
            ) from e
        except (pa.ArrowException, OSError, ValueError, KeyError) as e:
            raise DataError(f"cannot be read: {e}", field=self.where, fix="write it again") from e
        return table.replace_schema_metadata()


def groups_of(files: Sequence[Found]) -> list[RowGroup]:
    """The row groups of Parquet files, in order."""
    found = []
    for file in files:
        with pq.ParquetFile(file.path) as f:
            found += [RowGroup(file.path.absolute(), file.where, i) for i in range(f.num_row_groups)]
    return found


def seen_by(workers: Workers, groups: Sequence[RowGroup], new: dict[str, Evidence]) -> dict[str, Evidence]:
    """What columns have to be known by, of each row group apart and then together.

    Args:
        new: of each column, with nothing in it yet.

    Raises:
        TooMany: a column has more different values than are kept.
    """
    out = copy.deepcopy(new)
    for found in workers.mapped(_seen, ((new, group) for group in groups)):
        for name, e in found.items():
            out[name].take(e)
    return out


def _seen(into: dict[str, Evidence], group: RowGroup) -> dict[str, Evidence]:
    block, into = group.read(list(into)), copy.deepcopy(into)
    for name, e in into.items():
        e.add(block.column(name))
    return into


@dataclasses.dataclass(frozen=True)
class Made:
    """Rows in the dataset's terms, and the digest of the source they were made of."""

    held: Spread
    digest: str
    schema: pa.Schema


def spread_out(workers: Workers, pieces: Iterable[RowGroup | pa.Table], read: Reading, make: Make, kinds: Sequence[str]) -> Made | str:
    """Let workers turn a source's pieces into the dataset's rows; or say why it has to be read whole.

    The source's digest is a chain over its rows, so they pass by here once, in their order.

    Args:
        pieces: of the source: to be read by workers, or read already. read, make: what is done with each. kinds: the features.
    """
    held, hasher, schema, canonical = list[tuple[Any, int]](), None, None, None
    for handle, source, rows, read_as, mine in workers.made(_made, ((piece, read, make, list(kinds)) for piece in pieces), 2):
        whole = workers.brought(source)
        hasher = hasher or TableHasher(whole.schema)
        hasher.update(whole)
        schema, canonical = read_as, canonical or mine
        if mine != canonical or len(whole) != rows:
            return "its rows are not alike"
        held.append((handle, rows))
        del source, whole
    if hasher is None or schema is None or canonical is None:
        return "it has no rows"
    return Made(Spread(workers, canonical, held), hasher.hexdigest(), schema)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a piece of the source is read.

    Attributes:
        names: its columns. numerals: how numbers are written, by column. label: the label's column.
    """

    names: tuple[str, ...]
    numerals: Mapping[str, Numerals]
    label: str


def _made(piece: RowGroup | pa.Table, read: Reading, make: Make, kinds: list[str]) -> tuple[pa.Table, pa.Table, int, pa.Schema, pa.Schema]:
    from sluice.data.flow import as_read

    block = as_read(piece.read(read.names) if isinstance(piece, RowGroup) else piece, read.numerals, read.label)
    table, keys = make(block)
    table = table.append_column(ID, pa.array(row_numbers(table, kinds), pa.uint64()))
    table = table if keys is None else table.append_column(KEY, keys)
    return table, plain(block), table.num_rows, block.schema, table.schema
