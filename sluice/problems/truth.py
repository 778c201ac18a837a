"""What came after a cut, as numbers that metrics of rankings read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

#: Behind the last item, and an item the model does not know.
NONE, UNKNOWN = -1, -2
#: Before the items: the length of the history and the size of the catalogue; the last items of the history.
_LAST = 5
_HEAD = 1 + _LAST


class Truth:
    """The targets of a ranking: float64 [rows, 6 + longest, 2].

    Args:
        array: of each row the length of its history (-1: not known) and the number of items there are; its last five items (`NONE` for none);
            then each item that came, as its place among the labels (`NONE`, `UNKNOWN`) with its bits.
    """

    def __init__(self, array: np.ndarray):
        self.array = array

    @classmethod
    def of(
        cls, column: pa.ChunkedArray, labels: Sequence[str], history: pa.ChunkedArray | None = None, bits: np.ndarray | None = None
    ) -> Truth:
        """From lists of items; an item that stands twice in one counts once.

        Args:
            column: lists of the items that came.
            labels: the model's items.
            history: lists of those before.
            bits: of each item, by which the head is told from the tail; an unknown one has as many as the rarest.
        """
        index = {label: i for i, label in enumerate(labels)}
        lists = [[index.get(v, UNKNOWN) for v in dict.fromkeys(row or ())] for row in column.to_pylist()]
        longest = max(map(len, lists), default=0)
        out = np.full((len(lists), _HEAD + longest, 2), float(NONE))
        out[:, :, 1] = 0.0
        out[:, 0, 1] = len(labels)
        for row, found in enumerate(lists):
            out[row, _HEAD : _HEAD + len(found), 0] = found
        if bits is not None:
            table = np.concatenate([bits, [bits.max(initial=0.0), 0.0]])  # -2, -1
            out[:, _HEAD:, 1] = table[out[:, _HEAD:, 0].astype(np.int64)]
        for row, before in enumerate(history.to_pylist() if history is not None else ()):
            last = [index.get(v, UNKNOWN) for v in (before or ())[-_LAST:]]
            out[row, 0, 0] = len(before or ())
            out[row, 1 : 1 + len(last), 0] = last
        return cls(out)

    @property
    def codes(self) -> np.ndarray:
        """The items that came, int64 [rows, longest]."""
        return self.array[:, _HEAD:, 0].astype(np.int64)

    @property
    def bits(self) -> np.ndarray:
        """Of these [rows, longest]."""
        return self.array[:, _HEAD:, 1]

    @property
    def length(self) -> np.ndarray:
        """Of each history, int64 [rows]."""
        return self.array[:, 0, 0].astype(np.int64)

    @property
    def last(self) -> np.ndarray:
        """The last items of each history, int64 [rows, 5]."""
        return self.array[:, 1:_HEAD, 0].astype(np.int64)

    @property
    def catalogue(self) -> int:
        """How many items there are."""
        return int(self.array[0, 0, 1]) if len(self.array) else 0
