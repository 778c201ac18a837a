"""Encoded rows on disk: pre-processed once, read by every process through a memory map.

Training jumps about in the rows, so they are kept as flat arrays the operating system pages in
and out: memory does not grow with the data, processes of a machine share the pages, and a text
is tokenised or an image decoded once and not once an epoch.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluice.core import files
from sluice.core.errors import DataError, InputError
from sluice.engines.rows import rows_from_arrow, tensors_from_arrow
from sluice.fields.tensor import NUMPY

if TYPE_CHECKING:
    import pyarrow as pa

    from sluice.core.datatypes import TensorSpec
    from sluice.data.dataset import Dataset
    from sluice.fields import Processor
    from sluice.learners.state import State

_META = "encoded.json"
_CHUNK = 1024


def encode_split(state: State, dataset: Dataset, split: str, root: Path) -> None:
    """Write a split's rows as the processor's tensors, with labels, lengths and row ids.

    Args:
        state: fitted to the training rows; gives the processor.
        dataset: an open dataset.
        split: ``train``, ``validation`` or ``test``.
        root: a directory to create.

    Raises:
        DataError: a row cannot be pre-processed; its number and id are named.
    """
    import pyarrow as pa

    processor, asked = state.processor, state.problem
    with files.new_dir(root) as tmp:
        writers = [_Column(tmp, i, t) for i, t in enumerate(processor.inputs)]
        ragged = any(w.ragged for w in writers)
        rows = 0
        with (tmp / "label.bin").open("wb") as labels, (tmp / "length.bin").open("wb") as lengths, (tmp / "row_id.bin").open("wb") as ids:
            for batch in dataset.batches(split, rows=_CHUNK):
                try:
                    if ragged:
                        lengths.write(_write_ragged(processor, writers, batch))
                    else:
                        tensors = tensors_from_arrow(processor, batch)
                        for w in writers:
                            w.rectangle(tensors[w.spec.name])
                except InputError as e:
                    raise _located(e, split, rows, batch) from e
                truth = np.ascontiguousarray(asked.targets(pa.chunked_array([batch.column("label")]), state.labels))
                labels.write(truth.tobytes())
                ids.write(np.array(batch.column("row_id").to_pylist(), dtype="S16").tobytes())
                rows += batch.num_rows
        files.write_json(
            tmp / _META,
            {
                "rows": rows,
                "label": {"dtype": truth.dtype.str, "shape": list(truth.shape[1:])} if rows else None,
                "ragged": ragged,
                "columns": [w.close() for w in writers],
            },
        )


def _write_ragged(processor: Processor, writers: list[_Column], batch: pa.RecordBatch) -> bytes:
    examples = processor.encode(rows_from_arrow(processor.spec(), batch))
    for w in writers:
        w.examples([e[w.spec.name] for e in examples])
    return np.array([processor.length(e) for e in examples], dtype=np.int32).tobytes()


def _located(error: InputError, split: str, before: int, batch: pa.RecordBatch) -> DataError:
    found = re.match(r"rows\[(\d+)\](.*)", error.field or "")
    if not found:
        return DataError(error.message, field=f"{split}: {error.field}", fix=error.fix)
    at = int(found[1])
    return DataError(
        error.message,
        field=f"{split} row {before + at + 1} (row_id {batch.column('row_id')[at]}){found[2]}",
        value=error.value,
        fix=error.fix,
    )


class _Column:
    """Writes one input: a rectangle of fixed rows, rows of free sizes with their offsets, or strings as codes."""

    def __init__(self, root: Path, at: int, spec: TensorSpec):
        self.spec, self.at = spec, at
        self.ragged = -1 in spec.shape[1:]
        self._file = (root / f"{at}.bin").open("wb")
        self._shapes = (root / f"{at}.shapes.bin").open("wb") if self.ragged else None
        self._codes: dict[str, int] = {}

    def rectangle(self, array: np.ndarray) -> None:
        if self.spec.datatype == "BYTES":
            array = np.fromiter((self._codes.setdefault(v, len(self._codes)) for v in array.flat), dtype=np.int32, count=array.size)
        self._file.write(np.ascontiguousarray(array).data)

    def examples(self, arrays: list[np.ndarray]) -> None:
        if self._shapes is None:
            self.rectangle(np.stack(arrays))
            return
        self._file.write(np.concatenate([a.ravel() for a in arrays]).data)
        self._shapes.write(np.array([a.shape for a in arrays], dtype=np.int32).tobytes())

    def close(self) -> dict[str, Any]:
        self._file.close()
        if self._shapes:
            self._shapes.close()
        return {"name": self.spec.name, "datatype": self.spec.datatype, "shape": list(self.spec.shape), "strings": list(self._codes)}


class Encoded:
    """A split that `encode_split` wrote.

    Attributes:
        rows: number of rows.
        lengths: int32 [rows], or None where all rows are alike.
        labels: the problem's targets: int64 class indices or float64 values [rows], arrays [rows, ...].
    """

    def __init__(self, root: Path, processor: Processor):
        meta = files.read_json(root / _META)
        self._processor = processor
        self.rows: int = meta["rows"]
        self.lengths = _mapped(root / "length.bin", np.int32, (self.rows,)) if meta["ragged"] else None
        label = meta["label"] or {"dtype": "<f8", "shape": []}
        self.labels = _mapped(root / "label.bin", label["dtype"], (self.rows, *label["shape"]))
        self._ids = _mapped(root / "row_id.bin", "S16", (self.rows,))
        self._fixed: dict[str, np.ndarray] = {}
        self._strings: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._ragged: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        for at, column in enumerate(meta["columns"]):
            name, shape, datatype = column["name"], column["shape"], column["datatype"]
            if -1 in shape[1:]:
                shapes = _mapped(root / f"{at}.shapes.bin", np.int32, (self.rows, len(shape) - 1))
                offsets = np.concatenate([[0], np.cumsum(shapes.prod(axis=1, dtype=np.int64))])
                self._ragged[name] = (_mapped(root / f"{at}.bin", NUMPY[datatype], (int(offsets[-1]),)), shapes, offsets)
            elif datatype == "BYTES":
                codes = _mapped(root / f"{at}.bin", np.int32, (self.rows, *shape[1:]))
                self._strings[name] = (codes, np.array(column["strings"], dtype=object))
            else:
                self._fixed[name] = _mapped(root / f"{at}.bin", NUMPY[datatype], (self.rows, *shape[1:]))

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The processor's batch of some rows, as `Processor.batch` makes it; `rows` is not empty."""
        out = {name: array[rows] for name, array in self._fixed.items()}
        out |= {name: strings[codes[rows]] for name, (codes, strings) in self._strings.items()}
        if not self._ragged:
            return out
        examples = []
        for at, row in enumerate(rows):
            example = {name: array[at] for name, array in out.items()}
            for name, (flat, shapes, offsets) in self._ragged.items():
                example[name] = flat[offsets[row] : offsets[row + 1]].reshape(shapes[row])
            examples.append(example)
        return self._processor.batch(examples)

    def distinct(self, name: str) -> np.ndarray:
        """The sorted distinct values of an integer input of free size, read in parts."""
        flat = self._ragged[name][0]
        found = np.zeros(0, dtype=flat.dtype)
        for at in range(0, len(flat), 1 << 24):
            found = np.union1d(found, flat[at : at + (1 << 24)])
        return found

    def bags(self, name: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """An input of free size over some rows: their values one after another, and how many each has."""
        flat, shapes, offsets = self._ragged[name]
        lengths = shapes[rows, 0].astype(np.int64)
        inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return flat[np.repeat(offsets[rows], lengths) + inside], lengths

    def row_ids(self, rows: np.ndarray) -> list[str]:
        """Ids of some rows, 16 hex digits each."""
        return [i.decode() for i in self._ids[rows]]


def _mapped(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A file as a read-only array that is paged in where it is touched."""
    if not np.prod(shape):
        return np.zeros(shape, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))
