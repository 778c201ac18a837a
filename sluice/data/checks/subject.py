"""What is checked: the tables, and what several checks ask of them, worked out once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.data.config import Checks, Split
from sluice.data.digests import row_ids
from sluice.data.images import Probe, probe
from sluice.data.report import EXAMPLES, Check, Status
from sluice.data.splits import id_numbers
from sluice.data.summaries import Numbers
from sluice.data.timestamps import Times

#: Rows that slow comparisons look at, evenly spaced.
SAMPLE = 100_000

#: A column of strings: its distinct values, how often each stands, and each row's value (-1 where null).
Coded = tuple[pa.Array, NDArray[np.int64], NDArray[np.int64]]


class Side:
    """One table of rows.

    Args:
        table: the features and ``label``.
        kinds: feature -> kind.
        name: ``train`` or ``test``.
        place: where a row (from 0) came from, in words.
        keys: what the rows are split by: groups or times; null: their content.
    """

    def __init__(
        self, table: pa.Table, kinds: dict[str, str], name: str, place: Callable[[int], str] | None, keys: pa.ChunkedArray | None = None
    ):
        self.table, self.kinds, self.name, self.keys = table, kinds, name, keys
        self.place = place or (lambda row: f"row {row + 1}")
        self.rows = table.num_rows
        #: Put before a sentence about the rows.
        self.prefix = "held-out rows: " if name == "test" else ""
        #: Each column is looked at once; the answers live as long as the side.
        self.numbers: Callable[[str], Numbers] = functools.cache(self._numbers)
        self.coded: Callable[[str], Coded] = functools.cache(self._coded)
        self.probes: Callable[[str], list[Probe]] = functools.cache(self._probes)

    @functools.cached_property
    def ids(self) -> NDArray[np.uint64]:
        """A number a row: equal for equal features."""
        return id_numbers(row_ids(self.table, list(self.kinds)))

    @functools.cached_property
    def copies(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each row the group of rows with its features; how many rows each group has; and the first of them."""
        _, first, group, counts = np.unique(self.ids, return_index=True, return_inverse=True, return_counts=True)
        return group, counts, first

    def _numbers(self, name: str) -> Numbers:
        return Numbers.of(self.table.column(name))

    def _coded(self, name: str) -> Coded:
        column = self.table.column(name).combine_chunks()
        column = (column.chunk(0) if isinstance(column, pa.ChunkedArray) else column).dictionary_encode()
        codes = np.asarray(pc.fill_null(column.indices, -1)).astype(np.int64)
        return column.dictionary, np.bincount(codes[codes >= 0], minlength=len(column.dictionary)).astype(np.int64), codes

    def _probes(self, name: str) -> list[Probe]:
        """What each image's bytes hold."""
        return probe(v.as_py() for chunk in self.table.column(name).chunks for v in chunk)

    @functools.cached_property
    def sample(self) -> NDArray[np.int64]:
        """Rows for slow comparisons: all that differ in their features, or `SAMPLE` of them, evenly spaced."""
        rows = np.sort(self.copies[2])
        return rows if len(rows) <= SAMPLE else rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64)]

    def names(self, *kinds: str) -> list[str]:
        return [n for n, k in self.kinds.items() if k in kinds]

    def examples(self, mask: Any, name: str | None = None) -> tuple[str, ...]:
        """The first rows where `mask` is true: where they came from and, of a column, their value."""
        rows = np.flatnonzero(np.asarray(mask))[:EXAMPLES].tolist()
        if name is None:
            return tuple(self.place(r) for r in rows)
        return tuple(f"{self.place(r)}: {_shown(self.table.column(name)[r].as_py())}" for r in rows)


class Subject:
    """The rows, what the project declares about them, and the checks made so far."""

    def __init__(self, train: Side, test: Side | None, objective: str, checks: Checks, split: Split, times: Mapping[str, Times]):
        self.train, self.test, self.objective, self.limits, self.split = train, test, objective, checks, split
        self.kinds, self.times = train.kinds, times
        self.found: list[Check] = []

    @property
    def sides(self) -> list[Side]:
        return [self.train] if self.test is None else [self.train, self.test]

    def add(
        self,
        name: str,
        status: Status,
        message: str,
        *,
        column: str | None = None,
        value: float | None = None,
        limit: float | None = None,
        examples: tuple[str, ...] = (),
    ) -> None:
        value = None if value is None else round(float(value), 9)
        self.found.append(Check(name, status, message, column, value, limit, examples[:EXAMPLES]))


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
