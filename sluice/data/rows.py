"""What a task says of a source's rows, and the rows in its terms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from sluice.core.spelling import Spelling
from sluice.data.blocks import Blocks, InMemory
from sluice.data.inpieces import InPieces
from sluice.data.sources import Source
from sluice.data.timestamps import Times
from sluice.fields.summaries import Counted
from sluice.problems.problem import problem


class TaskData(Protocol):
    """The data side of a task (`sluice.tasks.base.Task`)."""

    def kinds(self, table: pa.Table) -> dict[str, str]: ...
    def objective(self, table: pa.Table) -> str: ...
    def canonical(self, table: pa.Table) -> pa.Table: ...


@runtime_checkable
class ReadsTimes(TaskData, Protocol):
    """A task some of whose features are times."""

    def times(self, table: pa.Table) -> dict[str, Times]: ...
    def reading(self, times: Mapping[str, Times]) -> TaskData: ...


@runtime_checkable
class Divides(TaskData, Protocol):
    """A task that may divide its rows by itself, or tell what keeps them apart, and tells what it found out."""

    def sides(self, table: pa.Table) -> Any: ...
    def keys(self, table: pa.Table, by: str) -> pa.ChunkedArray | None: ...
    def found(self, table: pa.Table) -> dict[str, Any]: ...
    def notes(self, table: pa.Table) -> list[str]: ...


@dataclasses.dataclass(frozen=True)
class Rows:
    """A source in the task's terms: `blocks` have the features and ``label``; `source` is what was read.

    `spellings`: of the columns of categories, ``label`` among them where it has classes; `times`: how its times are
    written; `keys`: what it is split by; `sides`: the part each row belongs to, where the task says so; `found`, `notes`: what it found out;
    `beside`, `held`: kinds and values of the columns that are no features and that settings name; `caution`: why they are in memory though they should not be.
    """

    blocks: Blocks
    kinds: dict[str, str]
    objective: str
    source: Source | InPieces
    spellings: dict[str, Spelling]
    times: Mapping[str, Times]
    keys: pa.ChunkedArray | None = None
    sides: Any = None
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    beside: Mapping[str, str] = dataclasses.field(default_factory=dict)
    held: Mapping[str, pa.ChunkedArray] = dataclasses.field(default_factory=dict)
    caution: str | None = None

    @property
    def table(self) -> pa.Table:
        """The rows, where they are in memory."""
        assert isinstance(self.blocks, InMemory)
        return self.blocks.table

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column."""
        return pa.concat_tables([t for _, t in self.blocks.blocks([name])]).column(0)

    def labels(self) -> list[str]:
        """Those that occur."""
        asked = problem(self.objective)
        if isinstance(self.blocks, InMemory) or not asked.classes:
            return asked.labels(self.column("label"))
        counted = Counted()
        for _, block in self.blocks.blocks(["label"]):
            counted.add(block.column(0))
        return asked.labels(pa.chunked_array([counted.values]))

    @property
    def place(self) -> Callable[[int], str] | None:
        """Where a row came from, if the task kept the rows one to one."""
        return self.source.place if self.source.rows == self.blocks.rows else None
