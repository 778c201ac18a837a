"""A project's training source in the task's terms, read in pieces and kept on disk."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sluice.core.errors import DataError
from sluice.core.numerals import Numerals
from sluice.core.spelling import Spelling
from sluice.core.spread import workers
from sluice.data import filerows, flow, spreadout, timestamps
from sluice.data.beside import named_beside
from sluice.data.blocks import APART, Blocks
from sluice.data.columns import null_for_nan
from sluice.data.config import DataConfig
from sluice.data.digests import plain
from sluice.data.locations import brought
from sluice.data.names import columns_named
from sluice.data.pieces import form_in_pieces
from sluice.data.sensitive import without_values
from sluice.data.shared import ROWS, Reading, kept, place
from sluice.data.sources import place_in
from sluice.data.spellings import respelled_table, spelling_of
from sluice.data.split_keys import split_keys
from sluice.data.timestamps import Times
from sluice.fields import Field, field_of, fields_of
from sluice.problems.problem import problem

if TYPE_CHECKING:
    from sluice.project import Portable, Project


@dataclasses.dataclass(frozen=True)
class InPieces:
    """What `sluice.data.sources.Source` tells of a source, without its rows."""

    schema: pa.Schema
    rows: int
    digest: str
    parts: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    numerals: dict[str, Numerals]
    names: Sequence[str] | None = None

    def place(self, row: int) -> str:
        """Where a row (from 0) came from, in words."""
        return place_in(self.parts, row) if self.names is None else self.names[row]


Found = tuple[Blocks, dict[str, str], str, InPieces, dict[str, Spelling], Mapping[str, Times]]


def rows_in_pieces(project: Project, base_dir: Path, task: Any, folder: Path) -> Found | str | None:
    """The rows, their kinds, the objective, what was read, spellings, and times; None where the source is read whole, since it fits.

    Where it should be read in pieces but cannot: why, and what to change, in a sentence.

    Args:
        folder: where rows are kept.

    Raises:
        DataError: the source cannot be read, or not as declared.
    """
    data = project.data
    asked = data.engine != "auto"
    value = getattr(task, "value", None)
    if not (vars(type(task)).get("streams", False) if value else getattr(task, "streams", False)):
        return (
            _whole(data, f"task {project.task} reads all of a source's rows at once", "a table of records is read in pieces")
            if asked
            else None
        )
    if data.checks.own:
        return (
            _whole(data, "data.checks.own is given all rows as one table", "take its checks out, or declare them in data.checks")
            if asked
            else None
        )
    with without_values(data.sensitive), brought(data.source, base_dir, data.columns, field_of(value, value) if value else None) as found:
        if value:
            return _of_files(project, base_dir, task, found, field_of(value, value), folder)
        form = form_in_pieces(found, data)
        if form is None or not isinstance(found, list):
            return _whole(data, "this form of source is read whole", "name Parquet, CSV or JSON-lines files, not packed") if asked else None
        shared = place(project, found)
        folder = shared or folder
        try:
            if shared is not None and (before := kept(shared)) is not None:
                return _told(*before)
            columns = data.columns
            named = {columns.label, *columns.categorical, *columns.numbers, *columns.kinds, *columns.ignore, *(columns.features or ())}
            looked = flow.look(found, form, data, [*named, *columns_named(project)], folder)
            held, reading = _made(project, base_dir, task, looked, folder)
            for path in folder.glob("cells-*.arrow"):
                path.unlink()
            if shared is not None:
                reading.keep(shared)
            return _told(held, reading)
        except flow.Unfit as e:
            return _whole(data, e.why, e.fix)
        except DataError as e:  # read whole, it says what is wrong and where
            return _whole(data, e.message, e.fix or "")


def _of_files(project: Project, base_dir: Path, task: Any, found: Any, value: Field, folder: Path) -> Found | str | None:
    """As `rows_in_pieces`, of a source whose rows are files. Raises `DataError`, as the whole reading does."""
    data, why = project.data, ""
    with filerows.listed(found, value, data) as listing:
        if listing is None or data.engine == "ray":
            why = "this form of source is read whole"
        else:
            reader = filerows.Files(*listing, data.bytes_of_memory)
            if data.engine == "auto" and reader.takes <= data.bytes_of_memory:
                return None
            try:
                held, reading = _made(project, base_dir, task, reader.looked(), folder, reader.rows)
                return _told(held, reading, reader.listing.names)
            except flow.Unfit as e:
                return _whole(data, e.why, e.fix)
    return _whole(data, why, "name a folder, an archive or files, and data.engine: local") if data.engine != "auto" else None


def _whole(data: DataConfig, why: str, fix: str) -> str:
    """What is said, and logged, of a source that is read whole though it should not be."""
    said = f"read whole, so that memory grows with its rows (data.memory: {data.memory} holds for pieces only): {why}" + (
        f"; {fix}" if fix else ""
    )
    logging.getLogger(__name__).warning("%s: %s", data.source, said)
    return f"the source is {said}"


def _told(held: Blocks, r: Reading, names: Sequence[str] | None = None) -> Found:
    source = InPieces(r.schema, held.rows, r.digest, r.parts, r.notes, r.numerals, names)
    return held, r.kinds, r.objective, source, r.spellings, r.times


def _made(
    project: Project, base_dir: Path, task: Any, looked: flow.Looked, folder: Path, size: int | None = None
) -> tuple[Blocks, Reading]:
    """The rows in the task's terms, in `folder`; `size`: of a piece there."""
    data, values = project.data, looked.values
    kinds, objective = dict(task.kinds(values)), task.objective(values)
    if named_beside(project, values, kinds) or any(n.startswith(APART) for n in values.schema.names):
        raise flow.Unfit("settings name columns that are no features, or are called as pieces call theirs", "make them features")
    times = dict(task.times(values))
    by = data.split.column
    if data.split.by == "time" and by is not None and by not in times and by in values.schema.names:
        column = plain(values.select([by])).column(0)
        if not pa.types.is_string(column.type) and not timestamps.speaks_of_time(by) and by not in data.columns.timestamps:
            told = None
        else:
            told = timestamps.find(column, by, data.columns.timestamps.get(by), data.columns.time_zone)
        if told is not None:
            times[by] = told
    fixed = task.settled_for(kinds, {n: t for n, t in times.items() if n in kinds}, objective)
    label = field_of(problem(objective).label, "label")
    sample = _canonical(fixed, values, kinds)
    named = [*(n for n, f in fields_of(kinds).items() if f.category), *(["label"] if label.category else [])]
    spellings = {n: spelling_of(sample.column(n)) for n in named if pa.types.is_string(sample.schema.field(n).type)}

    make = Make(fixed, kinds, objective, spellings, times)
    found: tuple[Blocks, str, pa.Schema]
    if (many := workers()) is None:
        made = flow.spool(flow.read(looked, data.columns.label), make, kinds, folder / ROWS, size)
        found = made.held, made.digest, made.schema
    else:
        reading = spreadout.Reading(tuple(looked.reader.names), looked.numerals, data.columns.label)
        spread = spreadout.spread_out(many, looked.reader.apart(), reading, make.portable(project.portable(base_dir)), list(kinds))
        if isinstance(spread, str):
            raise flow.Unfit(spread)
        found = spread.held, spread.digest, spread.schema
    held, digest, schema = found
    return held, Reading(kinds, objective, schema, digest, looked.parts, looked.notes, looked.numerals, spellings, times)


@dataclasses.dataclass(frozen=True)
class Make:
    """Turns a piece of a source into the dataset's rows.

    Attributes:
        task: it, or what opens it in another process. kinds, objective, spellings, times: of the whole source.
    """

    task: Any
    kinds: dict[str, str]
    objective: str
    spellings: dict[str, Spelling]
    times: Mapping[str, Times]

    def portable(self, project: Portable) -> Make:
        """The same for another process."""
        return dataclasses.replace(self, task=_Settled(project, dict(self.times), self.objective, self.kinds))

    def __call__(self, block: pa.Table) -> tuple[pa.Table, pa.ChunkedArray | None]:
        """The rows, and what they are split by or null."""
        task = self.task.open() if isinstance(self.task, _Settled) else self.task
        table = respelled_table(_canonical(task, block, self.kinds), self.spellings, block, task.project.data.columns.label)
        return table, split_keys(task.project, block, block.num_rows, self.times)


@dataclasses.dataclass(frozen=True)
class _Settled:
    """A task that reads each column as it was found to be."""

    project: Portable
    times: dict[str, Times]
    objective: str
    kinds: dict[str, str]

    def open(self) -> Any:
        return self.project.task().settled_for(self.kinds, {n: t for n, t in self.times.items() if n in self.kinds}, self.objective)


def _canonical(task: Any, table: pa.Table, kinds: Mapping[str, str]) -> pa.Table:
    made = plain(task.canonical(table)).select([*kinds, "label"])
    return pa.table(
        {n: null_for_nan(c) if pa.types.is_floating(c.type) else c for n, c in zip(made.schema.names, made.columns, strict=True)}
    )
