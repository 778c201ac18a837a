"""What parts are levelled over, so that labels, or like quantities, are in all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.fields.summaries import Counted

#: Units of a label from which on a side is a matter of the unit's own number.
LARGE = 1000
#: Bins a quantity is cut into, so that parts have like values.
BINS = 10


def strata(labels: NDArray[Any]) -> NDArray[np.int64]:
    """What parts are levelled over: class codes as they are, values as their decile, int64 [rows].

    Args:
        labels: int64 class codes, or float64 values, [rows].
    """
    if np.issubdtype(labels.dtype, np.integer):
        return np.asarray(labels, dtype=np.int64)
    return np.searchsorted(edges_of(labels), labels, side="right").astype(np.int64)


def edges_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the deciles of quantities begin."""
    return np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))


class Labels:
    """What rows count for. Quantities have no names, and are one kind where they are many; of lists no two need be alike.

    Attributes:
        names: the labels', in order. rank: of each label its place among them by how rare it is, int64 [labels].
    """

    def __init__(self, pieces: Iterable[pa.ChunkedArray]):
        self.names: list[str] = []
        self._edges: NDArray[np.float64] | None = None
        counted, few, rows, sound = Counted(), list[NDArray[np.float64]](), 0, True
        for labels in pieces:
            rows += len(labels)
            if pa.types.is_floating(labels.type):
                values = np.asarray(labels.to_numpy(), np.float64)
                sound = sound and bool(np.isfinite(values).all())
                if rows < LARGE and sound:
                    few.append(values)
            elif pa.types.is_string(labels.type) or pa.types.is_large_string(labels.type):
                counted.add(labels)
        counts = np.array([rows], np.int64)[: int(rows > 0)]
        if len(counted.values):
            order = np.asarray(pc.sort_indices(counted.values))
            self._values, counts = counted.values.take(pa.array(order)), counted.counts[order]
            self.names = self._values.to_pylist()
        elif 0 < rows < LARGE and few and sound:
            values = np.concatenate(few)
            self._edges = edges_of(values)
            counts = np.bincount(np.searchsorted(self._edges, values, side="right"))
        self.rank = np.argsort(np.argsort(counts, kind="stable"), kind="stable")

    def codes(self, labels: pa.ChunkedArray) -> NDArray[np.int64]:
        """The number of each row's label, int64 [rows]."""
        if self.names:
            return np.asarray(pc.index_in(labels, self._values)).astype(np.int64)
        if self._edges is not None:
            return np.searchsorted(self._edges, np.asarray(labels.to_numpy(), np.float64), side="right").astype(np.int64)
        return np.zeros(len(labels), np.int64)
