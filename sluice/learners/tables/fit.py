"""The pre-processing of tables, fitted to the training rows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.numerals import Numerals
from sluice.core.spelling import Spelling
from sluice.data.together import Together
from sluice.fields import Column, ColumnField, TabularProcessor, fields_of
from sluice.fields.category import Category
from sluice.fields.column import input_name
from sluice.learners.state import State
from sluice.learners.tables.moments import Moments

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.data.dataset import Dataset

_MOST_CATEGORIES = 50_000
#: Words of a text, and pairs of them, those of most rows first; of fewer rows than this none.
_MOST_WORDS, _FEWEST_ROWS = 6000, 2


def fit_table(dataset: Dataset) -> State:
    """Mean and deviation of each number, the values of each category, the words of each text, the parts and the newest of times, scale of a numeric label."""
    from sluice.fields.parts import value_counts

    features = _features_of(dataset)
    inputs = [t for c in features for t in c.inputs()]
    moments = {t.name: Moments() for t in inputs if t.datatype != "BYTES"}
    values: dict[str, Counter[str]] = {t.name: Counter() for t in inputs if t.datatype == "BYTES"}
    texts = {t.name for c in features if c.field.words for t in c.inputs()}
    label = Moments()
    for batch in dataset.batches("train", columns=[*(c.name for c in features), "label"], rows=65_536):
        for c in features:
            assert isinstance(c.field, ColumnField)
            for name, found in c.field.seen(c, batch.column(c.name)).items():
                if name in moments:
                    moments[name].add(found)
                elif name in texts:
                    values[name].update(w for text in found for w in set(text.split()))
                else:
                    values[name].update({v: n for v, n in value_counts([_strings(found)]).items() if v})
        if dataset.problem.scalar:
            label.add(batch.column("label").to_numpy(zero_copy_only=False))
    known = {name: [v for v, _ in sorted(c.items(), key=lambda item: (-item[1], item[0]))] for name, c in values.items()}
    words = {name: [w for w in known.pop(name) if values[name][w] >= _FEWEST_ROWS][:_MOST_WORDS] for name in sorted(texts)}
    spellings = {c.name: Spelling.kept(known[c.tensor]) for c in features if c.field.category}
    numerals = {name: Numerals.load(n) for name, n in dataset.manifest["source"].get("numerals", {}).items()}
    features = [
        dataclasses.replace(c, spelling=spellings[c.name].kind)
        if c.name in spellings
        else dataclasses.replace(c, numerals=numerals.get(c.name))
        if c.field.quantity
        else c
        for c in features
    ]
    processor = TabularProcessor(features, {name: s.written for name, s in spellings.items()})
    extra: dict[str, Any] = {
        "numeric": {name: m.summary() for name, m in moments.items()},
        "categories": {name: v[:_MOST_CATEGORIES] for name, v in known.items()},
    }
    if words:
        extra["texts"] = words
    if dataset.problem.scalar:
        extra["target"] = label.summary()
    return State(dataset.objective, dataset.labels, processor.spec(), processor.files(), extra)


def _features_of(dataset: Dataset) -> list[Column]:
    """The features as the package keeps them: what each kind learns beforehand, and the inputs' names."""
    made, rows = {}, Together(dataset, dataset.columns)
    for name, field in fields_of(dataset.columns).items():
        known = field if isinstance(field, ColumnField) else Category(name)  # a kind that a task made up
        made[name] = Column(name, known.kind, **known.fit(rows))
    several = {
        name: dataclasses.replace(c, input=input_name(name, dataset.columns))
        for name, c in made.items()
        if [t.name for t in c.inputs()] != [c.tensor]
    }
    taken = {t.name for c in several.values() for t in c.inputs()}
    return [
        several[name] if name in several else dataclasses.replace(c, input=input_name(name, dataset.columns, taken))
        for name, c in made.items()
    ]


def _strings(found: Any) -> pa.Array:
    import pyarrow as pa

    return pa.array(found, pa.string()) if isinstance(found, np.ndarray) else found
