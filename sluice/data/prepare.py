"""From a project's source to its report, and to its dataset."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from sluice.core.check import own_checks
from sluice.core.errors import DataError, ProjectError
from sluice.core.section import Section
from sluice.core.spelling import value_text
from sluice.data import timestamps
from sluice.data.beside import alike_beside, columns_beside, with_beside
from sluice.data.blocks import InMemory
from sluice.data.checks import validate
from sluice.data.checks.subject import Side
from sluice.data.columns import null_for_nan, numbers, usable
from sluice.data.dataset import Dataset, write_dataset
from sluice.data.digests import plain, row_ids
from sluice.data.inpieces import rows_in_pieces
from sluice.data.names import check_names, columns_named
from sluice.data.parts import apart, parts
from sluice.data.pieces import bounded, divided, usable_pieces
from sluice.data.profile import profile_dataset
from sluice.data.report import Report
from sluice.data.rows import Divides, ReadsTimes, Rows, TaskData
from sluice.data.rules.sources import judged_sources
from sluice.data.sensitive import without_values
from sluice.data.shared import as_checked, note_checked
from sluice.data.sources import Source, read_source
from sluice.data.spellings import each_value, respelled_table, spelling_of
from sluice.data.split_keys import split_keys
from sluice.data.splits import Splitter, parted, split_rows
from sluice.data.timestamps import Times
from sluice.data.trainrows import profile_of_pieces
from sluice.data.where import Held, check_expressions
from sluice.fields import Field, field_of, fields_of
from sluice.fields.summaries import Counted
from sluice.problems.problem import Problem, problem
from sluice.problems.settings import check_settings
from sluice.problems.units import GROUP

if TYPE_CHECKING:
    from sluice.project import Project


def load_canonical(project: Project, base_dir: Path, task: TaskData) -> tuple[pa.Table, dict[str, str], str]:
    """The source's rows under the dataset's column names, each feature's kind, and the objective.

    Raises:
        DataError: the source cannot be read, or the task cannot use it.
        MissingExtra: an optional package is needed.
    """
    rows = _load(project, base_dir, task)
    return rows.table, rows.kinds, rows.objective


def schema_of(project: Project, base_dir: Path, task: TaskData) -> str:
    """A file of rules read off a project's source, for people to review (`sluice.data.rules.inferred`). Raises as `load_canonical`."""
    from sluice.data.rules.inferred import infer_schema

    data, source = project.data, source_of(project, base_dir, task)
    return infer_schema(
        source.table,
        data.source,
        label=data.columns.label,
        ignore=data.columns.ignore,
        secret=data.sensitive,
        times=_times(project, source.table, task),
        numerals=source.numerals,
    )


def validate_project_data(project: Project, base_dir: Path, task: TaskData) -> Report:
    """Check a project's source, and its held-out rows if it names some, against ``data.schema_file`` and ``data.checks``.

    What breaks the file's rules is refused before it is read whole: the report then holds these rules alone.

    Raises:
        ProjectError: a setting names a column, a label or a file that is not there, or ``evaluate`` asks for what such labels do not have.
        DataError, MissingExtra: as `load_canonical`; what can be read but must not be used is in the report.
    """
    with without_values(project.data.sensitive):
        ruled = judged_sources(project.data, base_dir, value_of(task), columns_named(project))
    if ruled is not None and ruled.refused:
        return ruled.alone()
    with bounded(project.data, base_dir) as folder:
        train = _load(project, base_dir, task, folder)
        report = _validated(project, base_dir, task, train)
        note_checked(project, train.source.digest, train.blocks.rows)
    return report if ruled is None else ruled.beside(report)


def _validated(project: Project, base_dir: Path, task: TaskData, train: Rows) -> Report:
    asked = problem(train.objective)
    _check_split(project, asked)
    labels = train.labels()
    names = {"columns": train.source.schema.names, "features": list(train.kinds), "labels": labels}
    fields = fields_of(train.kinds)
    suites = dict.fromkeys(name for field in fields.values() for name in field.disturbances())
    check_names(project, base_dir, **names, numbers=[name for name, field in fields.items() if field.quantity], suites=list(suites))
    check_settings(project.evaluate, train.objective, labels)
    looked_at = {**train.kinds, **train.beside, "label": asked.label}
    check_expressions(project, Held(fields_of(looked_at), lambda n: train.held[n] if n in train.held else train.column(n)))
    for section in (project.model, project.evaluate, project.export):
        if isinstance(section, Section):
            section.suits(asked, labels)
            section.meets(train.kinds, asked, labels, base_dir)
    test = _load_test(project, base_dir, task, train)
    return validate(
        train.blocks,
        test.blocks if test else None,
        kinds=train.kinds,
        objective=train.objective,
        checks=project.data.checks,
        split=project.data.split,
        place=train.place,
        test_place=test.place if test else None,
        keys=train.keys,
        test_keys=test.keys if test else None,
        times=train.times,
        sides=train.sides,
        notes=[
            *train.source.notes,
            *(test.source.notes if test else ()),
            *([] if train.caution is None else [train.caution]),
            *(kept.told() if (kept := parts()) else ()),
        ],
        told=train.notes,
        secret=project.data.sensitive,
        own=own_checks("validate_data", project.data.checks.own, field="data.checks.own", beside=base_dir),
    )


def prepare(project: Project, base_dir: Path, task: TaskData, out: Path) -> Dataset:
    """Split a project's rows and write them, with their profile, as a dataset.

    Rows without a label, a text or an image are left out; how many is in ``source`` of the manifest,
    with the digest of what was read, so that a change to a cell no feature uses is another version too.

    Args:
        project: the project.
        base_dir: where relative paths start.
        task: the project's task.
        out: the directory to make; it appears there whole.

    Raises:
        DataError: as `load_canonical`; a split would be empty, a label would have no training row, or the files changed since this run checked them.
    """
    with bounded(project.data, base_dir) as folder:
        train = _load(project, base_dir, task, folder)
        as_checked(project, train.source.digest, train.blocks.rows)
        return _prepared(project, base_dir, task, train, out)


def _prepared(project: Project, base_dir: Path, task: TaskData, train: Rows, out: Path) -> Dataset:
    test = _load_test(project, base_dir, task, train)
    groups = project.data.split.column if project.data.split.by == "group" else None
    splits: dict[str, Any] = {}
    pieces: Any = ((), ())
    profile: Any = profile_dataset
    if isinstance(train.blocks, InMemory):
        kept, keys = _with_ids(train, "data.source")
        kept = kept if groups is None else kept.append_column(GROUP, keys)
        splits |= (
            split_rows(kept, project.data.split, test is not None, keys) if train.sides is None else parted(kept, _used(train, train.sides))
        )
        if not getattr(task, "learns", True):  # nothing is learnt from them: the same rows are judged, and are drift's reference
            splits["train"] = kept
        used, labels = kept.num_rows, problem(train.objective).labels(kept.column("label"))
    else:
        trained: list[Any] = []
        used, labels, pieces = _in_pieces(project, train, test is not None, groups is not None, trained)
        profile = functools.partial(profile_of_pieces, train.blocks, trained)
    source = {**_described(project.data.source, train, used), "split": project.data.split.model_dump(), "test": None}
    if test is not None:
        splits["test"], others = _with_ids(test, "data.test")
        splits["test"] = splits["test"] if groups is None else splits["test"].append_column(GROUP, others)
        source["test"] = _described(str(project.data.test), test, splits["test"].num_rows)
    if train.found:
        source["found"] = dict(train.found)
    written = {name: dataclasses.asdict(n) for name, n in train.source.numerals.items() if name in train.kinds}
    if written:
        source["numerals"] = written
    return write_dataset(
        out,
        splits,
        task=project.task,
        objective=train.objective,
        labels=labels,
        columns=train.kinds,
        source=source,
        shard_rows=project.data.shard_rows,
        times=train.times,
        grouped_by=groups,
        beside=train.beside,
        sensitive=project.data.sensitive,
        profile=profile,
        pieces=pieces,
    )


def _in_pieces(project: Project, train: Rows, has_test: bool, grouped: bool, trained: list[Any]) -> tuple[int, list[str], Any]:
    """How many rows can be used, their labels, and the rows of each split; `trained` is filled as these are gone through (`divided`)."""
    fields = fields_of(train.kinds)
    side = Side(train.blocks, fields, "train", None)
    labels, used = Counted(), 0
    classes = problem(train.objective).classes
    for _, piece in usable_pieces(side):
        used += len(piece.labels)
        if classes:
            labels.add(piece.labels)
    if not used:
        raise DataError("has no row with both features and a label", field="data.source", fix="check data.columns")
    made = Splitter(lambda: (piece for _, piece in usable_pieces(side)), project.data.split, has_test, on_disk=True)
    known = pa.chunked_array([labels.values]) if classes else pa.chunked_array([pa.array([], pa.float64())])
    return used, problem(train.objective).labels(known), divided(train.blocks, fields, made, grouped, trained)


def _check_split(project: Project, asked: Problem) -> None:
    """Raises `ProjectError` where rows so split would be held out that depend on those trained on."""
    by = project.data.split.by
    if by not in asked.splits:
        raise ProjectError(
            f"does not keep apart what depends on each other: {asked.name} is split by {' or '.join(asked.splits)}",
            field="data.split.by",
            value=by,
            fix=f"data: {{split: {{by: {asked.splits[0]}, column: ...}}}}" if asked.splits[0] != "hash" else "by: hash",
        )


def _load(project: Project, base_dir: Path, task: TaskData, folder: Path | None = None) -> Rows:
    """The training source: on disk, in `folder`, where it is gone through in pieces."""
    found = None if folder is None else rows_in_pieces(project, base_dir, task, folder)
    if found is not None and not isinstance(found, str):
        return Rows(*found)
    rows = _load_whole(project, base_dir, task)
    return rows if found is None else dataclasses.replace(rows, caution=found)


def _load_whole(project: Project, base_dir: Path, task: TaskData) -> Rows:
    data = project.data
    source = source_of(project, base_dir, task)
    kinds = dict(task.kinds(source.table))
    table, objective = _canonical(task, source.table, kinds), task.objective(source.table)
    named = [
        *(n for n, f in fields_of(kinds).items() if f.category),
        *(["label"] if field_of(problem(objective).label, "label").category else []),
    ]
    spellings = {n: spelling_of(table.column(n)) for n in named if pa.types.is_string(table.schema.field(n).type)}
    table = respelled_table(table, spellings, source.table, data.columns.label)
    times = _times(project, source.table, task)
    told: dict[str, Any] = {}
    if isinstance(task, Divides):
        told = {"sides": task.sides(source.table), "found": task.found(source.table), "notes": tuple(task.notes(source.table))}
    keys = None
    if told.get("sides") is None:
        keys = _own_keys(project, source.table, task)
        keys = split_keys(project, source.table, table.num_rows, times) if keys is None else keys
    beside, held = columns_beside(project, source.table, kinds, table.num_rows)
    return Rows(InMemory(table), kinds, objective, source, spellings, times, keys, **told, beside=beside, held=held)


def source_of(project: Project, base_dir: Path, task: TaskData) -> Source:
    """A project's source as it is read. Raises as `load_canonical`."""
    data = project.data
    with without_values(data.sensitive):
        return read_source(
            data.source,
            data.format,
            base_dir,
            value_of(task),
            data.columns,
            dialect=data.dialect,
            named=columns_named(project),
            numerals=data.numerals,
            labelled=getattr(task, "labelled", True),
        )


def _own_keys(project: Project, table: pa.Table, task: TaskData) -> pa.ChunkedArray | None:
    """What a task that makes its own rows says they are kept apart by."""
    return task.keys(table, project.data.split.by) if isinstance(task, Divides) else None


def value_of(task: TaskData | type[TaskData]) -> Field | None:
    """The field that a row of a task is alone; null: its rows are records."""
    kind = getattr(task, "value", None)
    return None if kind is None else field_of(kind, kind)


def _load_test(project: Project, base_dir: Path, task: TaskData, train: Rows) -> Rows | None:
    """Held-out rows with the columns and types of the training rows, as far as they have them."""
    data = project.data
    if data.test is None:
        return None
    try:
        with without_values(data.sensitive), apart():
            source = read_source(
                data.test,
                data.format,
                base_dir,
                value_of(task),
                data.columns,
                like=train.source.schema,
                dialect=data.dialect,
                named=columns_named(project),
                numerals=train.source.numerals,
                labelled=getattr(task, "labelled", True),
            )
    except DataError as e:
        raise _retold(e, e.message, (e.field or "data.test").replace("data.source", "data.test")) from e
    try:
        like = task.reading(train.times) if isinstance(task, ReadsTimes) else task
        found = plain(like.canonical(source.table))
    except DataError as e:
        raise _retold(e, f"held-out rows: {e.message}", e.field) from e
    names = [n for n in (*train.kinds, "label") if found.schema.get_field_index(n) >= 0]
    table = pa.table({n: _like(found.column(n), train.blocks.schema.field(n).type) for n in names})
    table = respelled_table(table, train.spellings, source.table, data.columns.label)
    keys = _own_keys(project, source.table, like)
    keys = split_keys(project, source.table, table.num_rows, train.times) if keys is None else keys
    held = alike_beside(project, source.table, train.beside, table.num_rows)
    return Rows(InMemory(table), train.kinds, train.objective, source, train.spellings, train.times, keys, beside=train.beside, held=held)


def _retold(error: DataError, message: str, field: str | None) -> DataError:
    return DataError(message, field=field, fix=error.fix, **({"value": error.value} if error.has_value else {}))


def _canonical(task: TaskData, table: pa.Table, kinds: dict[str, str]) -> pa.Table:
    made = plain(task.canonical(table))
    missing = [n for n in (*kinds, "label") if made.schema.get_field_index(n) < 0]
    if missing:
        raise DataError(
            f"{type(task).__name__}.canonical() returns no such column",
            field=missing[0],
            value=made.schema.names,
            fix="return every feature that kinds() names, and label",
        )
    made = made.select([*kinds, "label"])
    return pa.table(
        {n: null_for_nan(c) if pa.types.is_floating(c.type) else c for n, c in zip(made.schema.names, made.columns, strict=True)}
    )


def _like(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """A column in the type the training rows have, where its values allow that; the schema check tells where not."""
    if pa.types.is_floating(column.type):
        column = null_for_nan(column)
    if column.type == kind:
        return column
    if kind == pa.float64() and pa.types.is_string(column.type):
        values, _ = numbers(column)
        return column if values is None else values
    try:
        if kind == pa.string() and pa.types.is_floating(column.type):
            return each_value(column, value_text)
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
        return column


def _with_ids(rows: Rows, field: str) -> tuple[pa.Table, pa.ChunkedArray | None]:
    """The rows that can be used, with their ids first; and what they are split by."""
    table = rows.table
    for name in (*rows.kinds, "label"):
        if table.schema.get_field_index(name) < 0:
            raise DataError("has no such column, though the training rows do", field=field, value=name, fix="give both the same columns")
    use = usable(table, fields_of(rows.kinds).values())
    kept = table.filter(use)
    if not kept.num_rows:
        raise DataError("has no row with both features and a label", field=field, fix="check data.columns")
    kept = with_beside(kept, {name: values.filter(use) for name, values in rows.held.items()})
    return kept.add_column(0, "row_id", row_ids(kept, list(rows.kinds))), None if rows.keys is None else rows.keys.filter(use)


def _used(rows: Rows, values: Any) -> Any:
    """Of the rows that can be used: what `values` [rows] says of each."""
    return values[np.asarray(usable(rows.table, fields_of(rows.kinds).values()))]


def _times(project: Project, table: pa.Table, task: TaskData) -> dict[str, Times]:
    """How the features that are times are written, and the column the rows are split by."""
    found = dict(task.times(table)) if isinstance(task, ReadsTimes) else {}
    columns, name = project.data.columns, project.data.split.column
    if project.data.split.by == "time" and name is not None and name not in found and name in table.schema.names:
        times = timestamps.find(plain(table.select([name])).column(0), name, columns.timestamps.get(name), columns.time_zone)
        if times is not None:
            found[name] = times
    return found


def _described(uri: str, rows: Rows, used: int) -> dict[str, Any]:
    return {"uri": uri, "digest": rows.source.digest, "rows": rows.blocks.rows, "left_out": rows.blocks.rows - used}
