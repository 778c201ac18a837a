"""Is the data fit to train on? Every check, one report, before any training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.core.check import built_in
from sluice.data.blocks import Blocks
from sluice.data.checks import columns, labels, rows
from sluice.data.checks.subject import Side, Subject
from sluice.data.config import Checks, Split
from sluice.data.report import HIDDEN, Report, Status, ordered
from sluice.data.timestamps import Times
from sluice.fields import Field, fields_of

if TYPE_CHECKING:
    from sluice.core.check import Check
    from sluice.core.section import Section

__all__ = ["validate"]

#: A decision as the report of the data says it.
_STATUS: Mapping[str, Status] = {"pass": "pass", "inconclusive": "warn", "refuse": "refuse"}


def validate(
    train: pa.Table | Blocks,
    test: pa.Table | Blocks | None,
    *,
    kinds: Mapping[str, str],
    objective: str,
    checks: Checks,
    split: Split,
    place: Callable[[int], str] | None = None,
    test_place: Callable[[int], str] | None = None,
    keys: pa.ChunkedArray | None = None,
    test_keys: pa.ChunkedArray | None = None,
    sides: NDArray[np.int8] | None = None,
    notes: Sequence[str] = (),
    told: Sequence[str] = (),
    times: Mapping[str, Times] | None = None,
    own: Sequence[tuple[str, Check, Section]] = (),
    secret: Collection[str] = (),
) -> Report:
    """Check rows in canonical form (`Task.canonical`: features and ``label``).

    Args:
        train: the source's rows, in memory or on disk.
        test: held-out rows that come from elsewhere; null: `split` takes them from the source.
        kinds: feature -> kind (`sluice.fields.FIELDS`), or a plug-in's own word.
        objective: the name of the problem.
        checks: the limits.
        split: how the source will be divided.
        place, test_place: where a row (from 0) came from, in words, for examples.
        keys, test_keys: what `split.column` holds for each row; null on ``hash``.
        times: how features of kind ``timestamp`` are written.
        sides: the part each row belongs to, an index into `SPLITS`, where the task divides them; null: `split` does.
        notes: what was found out or left out while reading, in sentences.
        told: what the task says of how it read them.
        secret: features whose values are not shown.
        own: checks of the project's own with their sections, by name (`sluice.core.check.own_checks`); each is a line of the report.

    Raises:
        MissingExtra: images without Pillow.
    """
    fields = fields_of(kinds)
    side = Side(train, fields, "train", place, keys, sides, secret)
    subject = Subject(
        side,
        None if test is None else Side(test, fields, "test", test_place, test_keys, secret=secret),
        objective,
        checks,
        split,
        times or {},
    )
    for note in notes:
        subject.add("reading", "warn", _told(note, secret))
    for note in told:
        subject.add("task", "pass", note)
    return _report(objective, subject, _judge(subject, checks, own))


def _judge(subject: Subject, checks: Checks, own: Sequence[tuple[str, Check, Section]]) -> bool:
    """Have each check add what it finds; whether the rows were fit to be looked at at all."""
    sound = columns.schema(subject)
    sound = rows.enough(subject) and sound
    if sound:
        for look in built_in("validate_data"):
            look.judge(subject, checks)
        for name, check, section in own:
            found = check.judge(subject, section)
            subject.add(name, _STATUS[found.decision], "; ".join(found.reasons) or found.decision)
    return sound


def _report(objective: str, subject: Subject, sound: bool) -> Report:
    return Report(
        objective=objective,
        rows={s.name: s.rows for s in subject.sides},
        checks=ordered(subject.found),
        columns=tuple(_summaries(subject)) if sound else (),
        labels=labels.counts(subject.train) if sound and subject.problem.classes else {},
        test_labels=labels.counts(subject.test) if sound and subject.test is not None and subject.problem.classes else {},
    )


def _summaries(subject: Subject) -> list[dict[str, Any]]:
    return [_summary(subject, field) for field in (*subject.fields.values(), subject.label)]


def _summary(subject: Subject, field: Field) -> dict[str, Any]:
    """Of a sensitive column how many values there are, and none of them."""
    cells = subject.train.cells(field.name)
    if field.name not in subject.train.secret:
        return field.summary(cells)
    return {"name": field.name, "type": field.kind, "rows": cells.rows, "nulls": cells.nulls, "distinct": None}


def _told(note: str, secret: Collection[str]) -> str:
    """A word of the reader's, which may hold an example of the column it names."""
    return next((f"column {name!r} was read: {HIDDEN}" for name in secret if repr(name) in note), note)
