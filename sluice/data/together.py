"""Columns of a dataset one after the other, read some hundred at a time: opening a file of thousands of columns costs more than reading one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from sluice.data.dataset import Dataset

#: Columns read at a time, bytes of them, and of a cell about.
_COLUMNS, _BYTES, _CELL = 512, 32 << 20, 32


class Together:
    """The rows of a dataset (`sluice.fields.parts.Rows`), of which a column of the training rows is read with those behind it.

    Args:
        dataset: the dataset. names: its columns in the order in which they will be asked for.
    """

    def __init__(self, dataset: Dataset, names: Iterable[str]):
        self._dataset, self._names = dataset, list(names)
        self._place = {name: i for i, name in enumerate(self._names)}
        self._many = min(_COLUMNS, _BYTES // (_CELL * max(1, dataset.rows("train"))))
        self._held: dict[tuple[str, int], list[pa.RecordBatch]] = {}
        self._table: pa.Table | None = None

    @property
    def times(self) -> Mapping[str, Any]:
        """As the dataset's."""
        return self._dataset.times

    def rows(self, split: str) -> int:
        """As the dataset's."""
        return self._dataset.rows(split)

    def read(self, split: str, columns: list[str] | None = None) -> pa.Table:
        """As the dataset's."""
        if not self._one(split, columns) or columns is None:
            return self._dataset.read(split, columns)
        if self._table is None or columns[0] not in self._table.schema.names:
            self._table = self._dataset.read("train", self._group(columns[0]))
        return self._table.select(columns)

    def batches(self, split: str, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """As the dataset's, batch by batch."""
        if not self._one(split, columns) or columns is None:
            yield from self._dataset.batches(split, columns, rows)
            return
        key = (columns[0], rows)
        if key not in self._held:
            group = self._group(columns[0])
            whole = list(self._dataset.batches("train", group, rows))
            self._held = {(name, rows): [b.select([name]) for b in whole] for name in group}
        yield from self._held[key]

    def _one(self, split: str, columns: list[str] | None) -> bool:
        return split == "train" and columns is not None and len(columns) == 1 and columns[0] in self._place and self._many > 1

    def _group(self, name: str) -> list[str]:
        begin = self._place[name]
        return self._names[begin : begin + self._many]
