"""The pre-processing of users at a cut, fitted to the training rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.core.spelling import Spelling
from sluice.fields import Column, TabularProcessor
from sluice.learners.state import State

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset

#: Of a state's `extra`: in how many rows' answers each item is, and in how many of rows without a history.
COUNTS, FIRST = "counts", "first"
#: The feature every row has, and what the dataset keeps beside the features.
HISTORY, KEPT = "history", ("user", "weights")


def fit_histories(dataset: Dataset, length: int) -> State:
    """The history's column alone, items as the dataset spells them.

    Args:
        dataset: of users at cuts.
        length: names of a history that are looked at.
    """
    return State(dataset.objective, dataset.labels, TabularProcessor([history_column(dataset, length)]).spec(), {}, counts(dataset))


def history_column(dataset: Dataset, length: int) -> Column:
    """The history as the package keeps it."""
    spelling = Spelling.kept(dataset.labels).kind
    return Column(HISTORY, "history", own={"length": length, "spelling": spelling})


def counts(dataset: Dataset) -> dict[str, list[int]]:
    """How many training rows' answers hold each item, and how many of those without a history."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    table = dataset.read("train", ["history", "label"])
    new = pc.equal(pc.list_value_length(table.column("history")), 0)
    out = {}
    for name, column in ((COUNTS, table.column("label")), (FIRST, table.column("label").filter(new))):
        places = pc.index_in(pc.list_flatten(column), pa.array(dataset.labels, pa.string()))
        out[name] = np.bincount(np.asarray(places), minlength=len(dataset.labels)).tolist()
    return out


def history_input(state: State) -> str:
    """The graph's input of the history."""
    return next(c.tensor for c in _columns(state) if c.name == HISTORY)


def _columns(state: State) -> tuple[Column, ...]:
    processor = state.processor
    assert isinstance(processor, TabularProcessor)
    return processor.columns


def features_of(dataset: Dataset) -> Dataset:
    """The same dataset with the user's own columns as its only features."""
    return dataclasses.replace(dataset, columns={n: k for n, k in dataset.columns.items() if n not in (HISTORY, *KEPT)})
