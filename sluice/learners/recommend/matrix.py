"""A dataset of a ranking as numbers: who took what, and histories as places among the items."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from sluice.data.dataset import Dataset


@dataclasses.dataclass(frozen=True, eq=False)
class Taken:
    """What the training rows hold.

    Attributes:
        matrix: float64 [users, items], how much an interaction says, 1 on average; 0 where there is none.
        before: histories, float64 [rows, items] of 0 and 1.
        after: answers, float64 [rows, items], weighed as `matrix`.
    """

    matrix: sparse.csr_matrix
    before: sparse.csr_matrix
    after: sparse.csr_matrix


def taken(dataset: Dataset) -> Taken:
    """The training rows' answers, each user's rows together: every interaction stands in one of them."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from scipy import sparse

    weighted = "weights" in dataset.columns
    table = dataset.read("train", ["user", "history", "label", *(["weights"] if weighted else [])])
    users = np.asarray(table.column("user").combine_chunks().dictionary_encode().indices).astype(np.int64)
    labels = pa.array(dataset.labels, pa.string())

    def placed(name: str) -> tuple[np.ndarray, np.ndarray]:
        """Of each item of the lists its row and its place."""
        lists = table.column(name).combine_chunks()
        items = pc.index_in(pc.list_flatten(lists), labels).fill_null(-1)
        rows = np.repeat(np.arange(len(lists)), np.asarray(pc.list_value_length(lists)))
        return rows, np.asarray(items).astype(np.int64)

    rows, items = placed("label")
    weights = np.asarray(pc.list_flatten(table.column("weights").combine_chunks())) if weighted else np.ones(len(items))
    weights = weights / weights.mean()
    earlier, seen = placed("history")
    earlier, seen = earlier[seen >= 0], seen[seen >= 0]
    shape = (len(users), len(labels))
    before = sparse.csr_matrix((np.ones(len(seen)), (earlier, seen)), shape=shape)
    before.data = np.ones_like(before.data)
    matrix = sparse.csr_matrix((weights, (users[rows], items)), shape=(int(users.max()) + 1, len(labels)))
    return Taken(matrix, before, sparse.csr_matrix((weights, (rows, items)), shape=shape))


def codes_of(strings: np.ndarray, index: dict[str, int]) -> np.ndarray:
    """Histories as a processor gives them (strings [rows, length]) as places among the items, INT64; one more than the last for what no item is
    called, and two more where there is nothing."""
    known = {**index, "": len(index) + 1}
    return np.fromiter((known.get(v, len(index)) for v in strings.flat), dtype=np.int64, count=strings.size).reshape(strings.shape)
