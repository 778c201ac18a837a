"""The pre-processing of tables, fitted to the training rows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

from sluice.core.numerals import Numerals
from sluice.core.spelling import Spelling
from sluice.learners.state import State
from sluice.learners.tables.moments import Moments

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset
    from sluice.fields import Column

_MOST_CATEGORIES = 50_000


def fit_table(dataset: Dataset) -> State:
    """Mean and deviation of each number, the values of each category, the parts and the newest of times, scale of a numeric label."""
    from sluice.data import timestamps
    from sluice.fields import TabularProcessor

    features = _features_of(dataset)
    inputs = [t for c in features for t in c.inputs()]
    moments = {t.name: Moments() for t in inputs if t.datatype != "BYTES"}
    values: dict[str, Counter[str]] = {t.name: Counter() for t in inputs if t.datatype == "BYTES"}
    label = Moments()
    for batch in dataset.batches("train", columns=[*(c.name for c in features), "label"], rows=65_536):
        for c in features:
            column = batch.column(c.name)
            if c.time is not None:
                for name, tensor in c.time.tensors(timestamps.wall_clock(column), c.tensor).items():
                    if name in moments:
                        moments[name].add(tensor[:, 0])
                    else:
                        values[name].update(v for v in tensor[:, 0] if v)
            elif c.type == "numeric":
                moments[c.tensor].add(column.to_numpy(zero_copy_only=False) - c.centre)
            else:
                counted = column.value_counts()
                counts = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
                values[c.tensor].update({v: n for v, n in counts if v})
        if dataset.objective == "regression":
            label.add(batch.column("label").to_numpy(zero_copy_only=False))
    known = {name: [v for v, _ in sorted(c.items(), key=lambda item: (-item[1], item[0]))] for name, c in values.items()}
    spellings = {c.name: Spelling.kept(known[c.tensor]) for c in features if c.type == "categorical"}
    numerals = {name: Numerals.load(n) for name, n in dataset.manifest["source"].get("numerals", {}).items()}
    features = [
        dataclasses.replace(c, spelling=spellings[c.name].kind)
        if c.name in spellings
        else dataclasses.replace(c, numerals=numerals.get(c.name))
        if c.type == "numeric"
        else c
        for c in features
    ]
    processor = TabularProcessor(features, {name: s.written for name, s in spellings.items()})
    extra: dict[str, Any] = {
        "numeric": {name: m.summary() for name, m in moments.items()},
        "categories": {name: v[:_MOST_CATEGORIES] for name, v in known.items()},
    }
    if dataset.objective == "regression":
        extra["target"] = label.summary()
    return State(dataset.objective, dataset.labels, processor.spec(), processor.files(), extra)


def _features_of(dataset: Dataset) -> list[Column]:
    """The features as the package keeps them: what is made of times, what numbers are centred at, and the inputs' names."""
    from sluice.data import timestamps
    from sluice.fields import Column
    from sluice.fields.centre import centre
    from sluice.fields.column import input_name
    from sluice.fields.timeparts import TimeColumn, parts_of

    times = {}
    for name in (n for n, kind in dataset.columns.items() if kind == "timestamp"):
        reader = dataset.times[name].reader
        wall = timestamps.known(dataset.read("train", [name]).column(name))
        time = TimeColumn(reader, int(wall.max()) if len(wall) else None, parts_of(wall, reader.dated))
        times[name] = Column(name, "timestamp", None, input_name(name, dataset.columns), time=time)
    taken = [t.name for c in times.values() for t in c.inputs()]

    def column(name: str, kind: str) -> Column:
        given = input_name(name, dataset.columns, taken)
        if kind != "numeric":
            return Column(name, "categorical", None, given)
        return Column(name, kind, None, given, centre=centre(dataset.read("train", [name]).column(name).to_numpy()))

    return [times[name] if name in times else column(name, kind) for name, kind in dataset.columns.items()]
