"""Is the data fit to train on? Every check, one report, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sluice.data import summaries
from sluice.data.checks import columns, division, heuristics, labels, rows
from sluice.data.checks import times as times_
from sluice.data.checks.subject import Side, Subject
from sluice.data.config import Checks, Split
from sluice.data.report import Report, ordered
from sluice.data.timestamps import TIME, Times

__all__ = ["validate"]


def validate(
    train: pa.Table,
    test: pa.Table | None,
    *,
    kinds: Mapping[str, str],
    objective: str,
    checks: Checks,
    split: Split,
    place: Callable[[int], str] | None = None,
    test_place: Callable[[int], str] | None = None,
    keys: pa.ChunkedArray | None = None,
    test_keys: pa.ChunkedArray | None = None,
    notes: Sequence[str] = (),
    times: Mapping[str, Times] | None = None,
) -> Report:
    """Check rows in canonical form (`Task.canonical`: features and ``label``).

    Args:
        train: the source's rows.
        test: held-out rows that come from elsewhere; null: `split` takes them from the source.
        kinds: feature -> ``text``, ``image``, ``numeric``, ``categorical``, or a plug-in's own.
        objective: ``classification`` or ``regression``.
        checks: the limits.
        split: how the source will be divided.
        place, test_place: where a row (from 0) came from, in words, for examples.
        keys, test_keys: what `split.column` holds for each row; null on ``hash``.
        times: how features of kind ``timestamp`` are written.
        notes: what was found out or left out while reading, in sentences.

    Raises:
        MissingExtra: images without Pillow.
    """
    kinds = dict(kinds)
    side = Side(train, kinds, "train", place, keys)
    subject = Subject(
        side, None if test is None else Side(test, kinds, "test", test_place, test_keys), objective, checks, split, times or {}
    )
    for note in notes:
        subject.add("reading", "warn", note)
    sound = columns.schema(subject)
    sound = rows.enough(subject) and sound
    if sound:
        for look in (
            columns.nulls,
            columns.non_finite,
            columns.ranges,
            columns.images,
            columns.texts,
            columns.constant,
            times_.times,
            times_.precision,
            labels.label_set,
            labels.one_class,
            labels.label_rows,
            labels.balance,
            labels.spelling,
            rows.duplicates,
            rows.conflicts,
            rows.leakage,
            rows.unseen_labels,
            division.division,
            division.apart,
            heuristics.mixed,
            heuristics.identifiers,
            heuristics.predictive,
            heuristics.shift,
        ):
            look(subject)
    return Report(
        objective=objective,
        rows={s.name: s.rows for s in subject.sides},
        checks=ordered(subject.found),
        columns=tuple(_summaries(subject)) if sound else (),
        labels=labels.counts(side) if sound and objective == "classification" else {},
        test_labels=labels.counts(subject.test) if sound and subject.test is not None and objective == "classification" else {},
    )


def _summaries(subject: Subject) -> list[dict[str, Any]]:
    side = subject.train
    out = [_summary(side, name, kind) for name, kind in subject.kinds.items()]
    return [*out, _summary(side, "label", "numeric" if subject.objective == "regression" else "categorical")]


def _summary(side: Side, name: str, kind: str) -> dict[str, Any]:
    column = side.table.column(name)
    if kind == "numeric" and pa.types.is_floating(column.type):
        return summaries.numeric(name, side.numbers(name))
    if kind == "categorical" and pa.types.is_string(column.type):
        values, counts, _ = side.coded(name)
        return summaries.categorical(name, values, counts, side.rows)
    if kind == "timestamp" and column.type == TIME:
        return summaries.timestamp(name, column)
    if kind == "text" and pa.types.is_string(column.type):
        return summaries.text(name, column)
    if kind == "image" and pa.types.is_binary(column.type):
        distinct = len(np.unique(side.ids)) if len(side.kinds) == 1 else None
        return summaries.image(name, column, side.probes(name), distinct if distinct is not None else len(column.unique()))
    return summaries.other(name, kind, column)
