"""What is checked: the tables, and what several checks ask of them, worked out once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.data.blocks import APART, ID, KEY, Blocks, InMemory, Where, where
from sluice.data.config import Checks, Split
from sluice.data.digests import row_numbers
from sluice.data.partitions import Copies, Partitions
from sluice.data.report import EXAMPLES, HIDDEN, Check, Status
from sluice.data.spreadout import Spread
from sluice.data.timestamps import Times
from sluice.fields import Field, field_of
from sluice.fields.pixels import Probe
from sluice.fields.summaries import Cells, Coded
from sluice.problems.problem import problem
from sluice.stats.tally import Tally

#: Rows that slow comparisons look at, evenly spaced.
SAMPLE = 100_000


#: Checks whose words and numbers hold a column's values, not only how many there are.
_OF_VALUES = frozenset({"ranges", "times", "ahead", "precision"})


class Side:
    """Rows, in memory or on disk: a check asks for what it counts, or goes through them a piece at a time.

    Args:
        held: the features and ``label``.
        fields: the features, by name.
        name: ``train`` or ``test``.
        place: where a row (from 0) came from, in words.
        keys: what the rows are split by: groups or times; null: their content.
        sides: the part each row belongs to, where the task says so.
        secret: columns whose values are not shown.
    """

    def __init__(
        self,
        held: pa.Table | Blocks,
        fields: Mapping[str, Field],
        name: str,
        place: Callable[[int], str] | None,
        keys: pa.ChunkedArray | None = None,
        sides: NDArray[np.int8] | None = None,
        secret: Collection[str] = (),
    ):
        self.held: Blocks = InMemory(held) if isinstance(held, pa.Table) else held
        self.fields, self.name, self._keys, self.sides = fields, name, keys, sides
        self.secret = frozenset(secret)
        self.place = place or (lambda row: f"row {row + 1}")
        self.rows = self.held.rows
        #: Put before a sentence about the rows.
        self.prefix = "held-out rows: " if name == "test" else ""
        #: Each column is looked at once; the answers live as long as the side.
        self.cells: Callable[[str], Cells] = functools.cache(self._cells)
        self.missing: Callable[[str, Field], Where] = functools.cache(self._missing)

    @property
    def on_disk(self) -> bool:
        """Whether the rows lie on disk, for they may be more than memory holds."""
        return not isinstance(self.held, InMemory)

    @property
    def table(self) -> pa.Table:
        """All rows, in memory."""
        names = [n for n in self.held.schema.names if not n.startswith(APART)]
        return self.held.table if isinstance(self.held, InMemory) else pa.concat_tables([t for _, t in self.held.blocks(names)])

    @property
    def keys(self) -> pa.ChunkedArray | None:
        """What the rows are split by."""
        if self._keys is None and KEY in self.held.schema.names:
            return pa.concat_tables([t for _, t in self.held.blocks([KEY])]).column(0)
        return self._keys

    @property
    def keyed(self) -> bool:
        """Whether the rows are split by anything but their content."""
        return self._keys is not None or KEY in self.held.schema.names

    @functools.cached_property
    def ids(self) -> NDArray[np.uint64]:
        """A number a row: equal for equal features."""
        return np.concatenate([np.empty(0, np.uint64), *(ids for _, ids, _ in self.numbered([]))])

    def numbered(self, names: Sequence[str]) -> Iterator[tuple[int, NDArray[np.uint64], pa.Table]]:
        """A piece at a time: rows before, a number a row that is equal for equal features, and some columns."""
        if ID in self.held.schema.names:
            for first, block in self.held.blocks([ID, *names]):
                yield first, np.asarray(block.column(0)), block.select(list(names))
            return
        for first, block in self.held.blocks(self.held.schema.names):
            yield first, self._ids(block), block.select(list(names))

    def _ids(self, block: pa.Table) -> NDArray[np.uint64]:
        if self._known is None:
            self._known = row_numbers(block, list(self.fields))
        return self._known

    _known: NDArray[np.uint64] | None = None

    def parted(self, on_disk: bool) -> Partitions:
        """The rows by the number of their features."""
        return Partitions.of(((first, ids, None) for first, ids, _ in self.numbered([])), on_disk)

    def copies_with(self, label: Field | None) -> Copies:
        """Rows with equal features, and those among them whose label is another; null: no label is compared."""
        names = [] if label is None else ["label"]
        values = self.coded("label")[0] if label is not None and label.category else None
        pieces = (
            (first, ids, None if label is None else _as_numbers(block.column(0), values)) for first, ids, block in self.numbered(names)
        )
        return Copies.of(Partitions.of(pieces, self.on_disk), self.rows, EXAMPLES)

    def _cells(self, name: str) -> Cells:
        alone = len(self.fields) == 1 and name in self.fields  # then its values differ where the rows do
        distinct = (lambda: len(np.unique(self.ids))) if alone else None
        if isinstance(self.held, InMemory):
            return Cells(self.held.table.column(name), distinct)
        mapped = self.held.of_column(name) if isinstance(self.held, Spread) else None
        return Cells(lambda: self.column(name), distinct, lambda: (b.column(0) for _, b in self.held.blocks([name])), self.rows, mapped)

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column, in memory."""
        return pa.concat_tables([t for _, t in self.held.blocks([name])]).column(0)

    def numbers(self, name: str) -> Tally:
        """What a quantity's values are, and how often each stands."""
        return self.cells(name).numbers

    def coded(self, name: str) -> Coded:
        """What a category's values are, and how often each stands."""
        return self.cells(name).coded

    def probes(self, name: str) -> list[Probe]:
        """What each image's bytes hold."""
        return self.cells(name).probes

    def where(self, name: str, test: Callable[[pa.ChunkedArray], Any], most: int = EXAMPLES) -> Where:
        """The rows of which `test` says true, given a piece of a column: bool [rows of it]."""
        return where(self.held, name, test, most)

    def among(self, name: str, values: Sequence[str]) -> Where:
        """The rows that have one of these values."""
        found = pa.array(list(values), pa.string())
        return self.where(name, lambda c: pc.is_in(c, value_set=found)) if len(found) else Where(0, ())

    def _missing(self, name: str, field: Field) -> Where:
        if self.on_disk and type(field).missing is Field.missing:  # what is null: the column's counts, which are taken anyway, say how many
            if field.quantity and not self.numbers(name).nulls:
                return Where(0, ())
            if field.category and int(self.coded(name)[1].sum()) == self.rows:
                return Where(0, ())
        return self.where(name, field.missing)

    def sampled(self, copies: Copies) -> pa.Table:
        """Rows for slow comparisons: all that differ in their features, or `SAMPLE` of them, evenly spaced."""
        names = [n for n, f in [*self.fields.items()] if f.quantity or f.category]
        return self.held.take(list(dict.fromkeys([*names, "label"])), copies.spread(SAMPLE))

    def head(self, names: Sequence[str], rows: int) -> pa.Table:
        """The first rows."""
        return self.held.take(names, np.arange(min(rows, self.rows)))

    def having(self, check: str) -> list[str]:
        """The features that a check makes sense for."""
        return [n for n, f in self.fields.items() if check in f.checks]

    def examples(self, which: Any, name: str | None = None) -> tuple[str, ...]:
        """The first of some rows: where they came from and, of a column, their value.

        Args:
            which: `Where`, rows by number, or for each row whether it is one, bool [rows].
        """
        if isinstance(which, Where):
            which = which.rows
        rows = list(which)[:EXAMPLES] if isinstance(which, list | tuple) and not _is_mask(which) else _rows_of(which)
        if name is None or name in self.secret:
            return tuple(self.place(r) for r in rows)
        order = sorted(rows)
        values = dict(zip(order, self.held.take([name], np.array(order, np.int64)).column(0).to_pylist(), strict=True))
        return tuple(f"{self.place(r)}: {_shown(values[r])}" for r in rows)


def _is_mask(which: Any) -> bool:
    return len(which) > 0 and isinstance(which[0], bool | np.bool_)


def _rows_of(mask: Any) -> list[int]:
    found: list[int] = np.flatnonzero(np.asarray(mask))[:EXAMPLES].tolist()
    return found


def _as_numbers(column: pa.ChunkedArray, values: pa.Array | None) -> NDArray[np.float64]:
    """A quantity's values, or for each of a category's the place of it among `values`; NaN where null."""
    if values is None:
        return np.asarray(column.cast(pa.float64()).to_numpy())
    return np.asarray(pc.index_in(column, values).cast(pa.float64()).to_numpy())


class Subject:
    """The rows, what the project declares about them, and the checks made so far."""

    def __init__(self, train: Side, test: Side | None, objective: str, checks: Checks, split: Split, times: Mapping[str, Times]):
        self.train, self.test, self.limits, self.split = train, test, checks, split
        self.fields, self.times = train.fields, times
        self.problem = problem(objective)
        self.label: Field = field_of(self.problem.label, "label")
        self.found: list[Check] = []

    @functools.cached_property
    def copies(self) -> Copies:
        """Training rows with equal features, and those of them with another label."""
        compared = self.label.quantity or self.label.category
        return self.train.copies_with(self.label if compared else None)

    @functools.cached_property
    def sample(self) -> pa.Table:
        """Training rows for slow comparisons (`Side.sampled`)."""
        return self.train.sampled(self.copies)

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
