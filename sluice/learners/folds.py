"""Which fold a training row is in: stratified by label, rows of a group together, the same again for the same rows and seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core.errors import DataError, ProjectError
from sluice.data.strata import strata
from sluice.learners.seeds import permuted, seed_of
from sluice.problems.units import GROUP

if TYPE_CHECKING:
    from sluice.data.dataset import Dataset


def assign(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, int64 [rows], in 0..folds-1.

    Groups of several rows go, the largest first, where they level the strata best; rows that stand
    alone then fill up what is short, stratum by stratum.

    Args:
        labels: as for `sluice.data.splits.strata`.
        groups: int64 codes from 0, [rows]: rows of a code stay together.
        folds: how many, at least 2.
        seed: breaks ties and shuffles.

    Raises:
        DataError: fewer groups than folds.
    """
    kinds = strata(labels)
    number = int(groups.max()) + 1 if len(groups) else 0
    sizes = np.bincount(groups, minlength=number)
    if np.count_nonzero(sizes) < folds:
        raise DataError(
            f"there are {np.count_nonzero(sizes)} groups of training rows for {folds} folds",
            field="train.folds",
            value=folds,
            fix="fewer folds, or group by a column with more values",
        )
    width = int(kinds.max()) + 1
    totals = np.maximum(np.bincount(kinds, minlength=width), 1)
    counts = np.zeros((folds, width), dtype=np.int64)
    of_group = np.full(number, -1, dtype=np.int64)
    shuffled = permuted(np.arange(number), number, seed_of(seed, 0))
    several = np.flatnonzero(sizes > 1)
    by_group = np.argsort(groups, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for g in several[np.lexsort((shuffled[several], -sizes[several]))]:
        held = np.bincount(kinds[by_group[starts[g] : starts[g + 1]]], minlength=width)
        spread = [float((((counts + held * (np.arange(folds) == f)[:, None]) / totals).std(axis=0)).mean()) for f in range(folds)]
        best = min(range(folds), key=lambda f: (round(spread[f], 12), counts[f].sum(), f))
        of_group[g] = best
        counts[best] += held
    out = of_group[groups]
    alone = np.flatnonzero(out < 0)
    for kind in np.unique(kinds[alone]):
        rows = alone[kinds[alone] == kind]
        rows = rows[permuted(np.arange(len(rows)), len(rows), seed_of(seed, 1, int(kind)))]
        given = _level(counts[:, kind], counts.sum(axis=1), len(rows))
        out[rows] = np.repeat(np.arange(folds), given)
        counts[:, kind] += given
    return out


def groups_of(dataset: Dataset, column: str | None, splits: Sequence[str] = ("train",)) -> np.ndarray:
    """Codes of the rows' groups: equal values of a column, the groups the dataset was split by, or equal features (rows of one id).

    Args:
        dataset: the data.
        column: the feature whose equal values make a group, or null.
        splits: whose rows, one split after another.

    Raises:
        ProjectError: the column is no feature.
    """
    if column is not None and column not in dataset.columns:
        raise ProjectError(
            "is no feature of the dataset", field="train.fold_groups", value=column, fix=f"columns: {', '.join(list(dataset.columns)[:20])}"
        )

    def cells(name: str) -> list[Any]:
        return [v for split in splits for v in dataset.read(split, [name]).column(name).to_pylist()]

    ids = cells("row_id")
    column = GROUP if column is None and dataset.grouped_by else column
    keys = ids if column is None else [f"id {i}" if v is None else v for i, v in zip(ids, cells(column), strict=True)]
    codes: dict[Any, int] = {}
    return np.array([codes.setdefault(key, len(codes)) for key in keys], dtype=np.int64)


def _level(counts: np.ndarray, sizes: np.ndarray, rows: int) -> np.ndarray:
    """How many of `rows` each fold is given, so that its stratum is as level as can be; a remainder goes to the smallest folds."""
    order = np.lexsort((sizes, counts))
    given = np.zeros(len(counts), dtype=np.int64)
    for used in range(len(order), 0, -1):
        low = order[:used]
        level = (int(counts[low].sum()) + rows) // used
        if level >= counts[low[-1]]:
            given[low] = level - counts[low]
            rest = rows - int(given.sum())
            given[low[np.argsort(sizes[low], kind="stable")][:rest]] += 1
            return given
    raise AssertionError("the lowest fold alone can always take all")
