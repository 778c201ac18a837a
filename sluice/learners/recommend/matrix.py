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
        counts: how many users took each item, float64 [items].
    """

    matrix: sparse.csr_matrix
    counts: np.ndarray


def taken(dataset: Dataset) -> Taken:
    """The training rows' answers, each user's rows together: every interaction stands in one of them."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from scipy import sparse

    weighted = "weights" in dataset.columns
    table = dataset.read("train", ["user", "label", *(["weights"] if weighted else [])])
    label = table.column("label").combine_chunks()
    items = np.asarray(pc.index_in(pc.list_flatten(label), pa.array(dataset.labels, pa.string()))).astype(np.int64)
    users = np.asarray(table.column("user").combine_chunks().dictionary_encode().indices).astype(np.int64)
    of = np.repeat(users, np.asarray(pc.list_value_length(label)))
    weights = np.asarray(pc.list_flatten(table.column("weights").combine_chunks())) if weighted else np.ones(len(items))
    matrix = sparse.csr_matrix((weights / weights.mean(), (of, items)), shape=(int(users.max()) + 1, len(dataset.labels)))
    matrix.sum_duplicates()
    return Taken(matrix, np.asarray((matrix > 0).sum(axis=0), dtype=np.float64).ravel())


def codes_of(strings: np.ndarray, index: dict[str, int]) -> np.ndarray:
    """Histories as a processor gives them (strings [rows, length]) as places among the items, INT64; one more than the last for what no item is
    called, and two more where there is nothing."""
    known = {**index, "": len(index) + 1}
    return np.fromiter((known.get(v, len(index)) for v in strings.flat), dtype=np.int64, count=strings.size).reshape(strings.shape)
