"""The pre-processing of users at a cut, fitted to the training rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sluice.core.spelling import Spelling
from sluice.fields import Column, TabularProcessor
from sluice.learners.state import State

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset

#: Of a state's `extra`: how many users took each item.
COUNTS = "counts"
#: The feature every row has, and what the dataset keeps beside the features.
HISTORY, KEPT = "history", ("user", "weights")


def fit_histories(dataset: Dataset, length: int) -> State:
    """The history's column alone, items as the dataset spells them.

    Args:
        dataset: of users at cuts.
        length: names of a history that are looked at.
    """
    return State(
        dataset.objective, dataset.labels, TabularProcessor([history_column(dataset, length)]).spec(), {}, {COUNTS: counts(dataset)}
    )


def history_column(dataset: Dataset, length: int) -> Column:
    """The history as the package keeps it."""
    spelling = Spelling.kept(dataset.labels).kind
    return Column(HISTORY, "history", own={"length": length, "spelling": spelling})


def counts(dataset: Dataset) -> list[int]:
    """How many training rows' answers hold each item."""
    from sluice.problems.ranking import popularity

    return [int(n) for n in popularity(dataset, dataset.labels)]


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
