"""What is checked: the tables, and what several checks ask of them, worked out once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.data.config import Checks, Split
from sluice.data.digests import row_ids
from sluice.data.report import EXAMPLES, HIDDEN, Check, Status
from sluice.data.splits import id_numbers
from sluice.data.timestamps import Times
from sluice.fields import Field, field_of
from sluice.fields.pixels import Probe
from sluice.fields.summaries import Cells, Coded, Numbers
from sluice.problems.problem import problem

#: Rows that slow comparisons look at, evenly spaced.
SAMPLE = 100_000


#: Checks whose words and numbers hold a column's values, not only how many there are.
_OF_VALUES = frozenset({"ranges", "times", "ahead", "precision"})


class Side:
    """One table of rows.

    Args:
        table: the features and ``label``.
        fields: the features, by name.
        name: ``train`` or ``test``.
        place: where a row (from 0) came from, in words.
        keys: what the rows are split by: groups or times; null: their content.
        sides: the part each row belongs to, where the task says so.
        secret: columns whose values are not shown.
    """

    def __init__(
        self,
        table: pa.Table,
        fields: Mapping[str, Field],
        name: str,
        place: Callable[[int], str] | None,
        keys: pa.ChunkedArray | None = None,
        sides: NDArray[np.int8] | None = None,
        secret: Collection[str] = (),
    ):
        self.table, self.fields, self.name, self.keys, self.sides = table, fields, name, keys, sides
        self.secret = frozenset(secret)
        self.place = place or (lambda row: f"row {row + 1}")
        self.rows = table.num_rows
        #: Put before a sentence about the rows.
        self.prefix = "held-out rows: " if name == "test" else ""
        #: Each column is looked at once; the answers live as long as the side.
        self.cells: Callable[[str], Cells] = functools.cache(self._cells)

    @functools.cached_property
    def ids(self) -> NDArray[np.uint64]:
        """A number a row: equal for equal features."""
        return id_numbers(row_ids(self.table, list(self.fields)))

    @functools.cached_property
    def copies(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each row the group of rows with its features; how many rows each group has; and the first of them."""
        _, first, group, counts = np.unique(self.ids, return_index=True, return_inverse=True, return_counts=True)
        return group, counts, first

    def _cells(self, name: str) -> Cells:
        alone = len(self.fields) == 1 and name in self.fields  # then its values differ where the rows do
        return Cells(self.table.column(name), (lambda: len(np.unique(self.ids))) if alone else None)

    def numbers(self, name: str) -> Numbers:
        """A quantity's values."""
        return self.cells(name).numbers

    def coded(self, name: str) -> Coded:
        """A category's values."""
        return self.cells(name).coded

    def probes(self, name: str) -> list[Probe]:
        """What each image's bytes hold."""
        return self.cells(name).probes

    @functools.cached_property
    def sample(self) -> NDArray[np.int64]:
        """Rows for slow comparisons: all that differ in their features, or `SAMPLE` of them, evenly spaced."""
        rows = np.sort(self.copies[2])
        return rows if len(rows) <= SAMPLE else rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(np.int64)]

    def having(self, check: str) -> list[str]:
        """The features that a check makes sense for."""
        return [n for n, f in self.fields.items() if check in f.checks]

    def examples(self, mask: Any, name: str | None = None) -> tuple[str, ...]:
        """The first rows where `mask` is true: where they came from and, of a column, their value."""
        rows = np.flatnonzero(np.asarray(mask))[:EXAMPLES].tolist()
        if name is None or name in self.secret:
            return tuple(self.place(r) for r in rows)
        return tuple(f"{self.place(r)}: {_shown(self.table.column(name)[r].as_py())}" for r in rows)


class Subject:
    """The rows, what the project declares about them, and the checks made so far."""

    def __init__(self, train: Side, test: Side | None, objective: str, checks: Checks, split: Split, times: Mapping[str, Times]):
        self.train, self.test, self.limits, self.split = train, test, checks, split
        self.fields, self.times = train.fields, times
        self.problem = problem(objective)
        self.label: Field = field_of(self.problem.label, "label")
        self.found: list[Check] = []

    @property
    def sides(self) -> list[Side]:
        """The training rows and, where they come from elsewhere, the held-out ones."""
        return [self.train] if self.test is None else [self.train, self.test]

    def field(self, name: str) -> Field:
        """A feature, or the label."""
        return self.label if name == "label" else self.fields[name]

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
        """Write down what a look found, as a line of the report."""
        if column in self.train.secret and name in _OF_VALUES:
            message, value = f"column {column!r}: {HIDDEN}" if status == "pass" else _without_values(message), None
        value = None if value is None else round(float(value), 9)
        self.found.append(Check(name, status, message, column, value, limit, examples[:EXAMPLES]))


def _without_values(message: str) -> str:
    """A message without the values behind "such as"."""
    before, _, after = message.partition(", such as ")
    return "; ".join([before, *after.split("; ")[1:]])


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
