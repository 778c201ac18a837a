"""The training rows of a dataset that is being written, read where they still lie in pieces: there they need not be unpacked from Parquet, a column at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sluice.data.blocks import Blocks
from sluice.data.dataset import Dataset
from sluice.data.profile import profile_dataset


@dataclasses.dataclass(frozen=True)
class TrainRows(Dataset):
    """The dataset; what it holds to train on comes from the pieces it was written from.

    Attributes:
        held: all rows. trained: of each piece a bit a row, whether it is a training row.
    """

    held: Blocks
    trained: Sequence[NDArray[np.uint8]]

    def read(self, split: str, columns: list[str] | None = None) -> pa.Table:
        """As `Dataset.read`."""
        if not self._lie_there(split, columns):
            return super().read(split, columns)
        return pa.concat_tables(self._pieces(columns or []))

    def batches(self, split: str, columns: list[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """As `Dataset.batches`; where a batch ends may differ."""
        if not self._lie_there(split, columns):
            yield from super().batches(split, columns, rows)
            return
        for table in self._pieces(columns or []):
            yield from table.combine_chunks().to_batches(max_chunksize=rows)

    def _lie_there(self, split: str, columns: list[str] | None) -> bool:
        self._known(columns)
        return split == "train" and columns is not None and set(columns) <= set(self.held.schema.names)

    def _pieces(self, columns: list[str]) -> Iterator[pa.Table]:
        for (_, block), bits in zip(self.held.blocks(columns), self.trained, strict=True):
            yield block.filter(pa.array(np.unpackbits(bits, count=block.num_rows).astype(bool)))


def profile_of_pieces(held: Blocks, trained: Sequence[NDArray[np.uint8]], dataset: Dataset) -> dict[str, Any]:
    """`profile_dataset`."""
    return profile_dataset(TrainRows(**{f.name: getattr(dataset, f.name) for f in dataclasses.fields(dataset)}, held=held, trained=trained))
