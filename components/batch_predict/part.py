"""One part: the rows of a Parquet file, predicted in windows, its file and then its record written whole."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core import files
from sluice.core.errors import DataError, InputError
from sluice.core.ordered import in_order
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.prediction.answers import Answered, Tally, answer, columns_of
from sluice.problems.problem import problem

#: Rows read, predicted and written at a time: memory is a few of these, whatever the files' size.
WINDOW = 4096


@dataclasses.dataclass(frozen=True)
class Work:
    """How parts are predicted; it can go to another process, which sees the same folders.

    Attributes:
        root, digest: of the package. folder: where finished parts and their records stand. keep: columns copied.
        tolerate: rows that cannot be used are marked. batch_size: rows of one run of the graph. threads: of a part.
    """

    root: Path
    digest: str
    folder: Path
    keep: tuple[str, ...]
    tolerate: bool
    batch_size: int
    threads: int

    def __call__(self, key: str, path: Path) -> dict[str, Any]:
        """Predict a part; its record, which is written last. Raises as `predict_part`."""
        target = self.folder / f"{key}.parquet"
        predictor = _opened(self.root, self.digest)
        with files.new_file(target) as tmp:
            record = predict_part(predictor, path, tmp, self)
        record |= {"bytes": target.stat().st_size, "sha256": files.sha256_file(target)}
        files.write_json(self.folder / f"{key}.json", record)
        return record


@functools.lru_cache(maxsize=1)
def _opened(root: Path, digest: str) -> Predictor:
    return Predictor(packages.read(root, digest), threads=1)


def predict_part(predictor: Predictor, path: Path, out: Path, work: Work) -> dict[str, Any]:
    """Write a file's predictions; returns ``rows``, ``bad``, ``empty``, ``labels`` and ``first_bad``.

    Raises:
        DataError: the file cannot be read or lacks a feature, or a row cannot be used and `work.tolerate` is off.
    """
    job, tally, empty = _Job(predictor, work), Tally(), 0
    writer: pq.ParquetWriter | None = None
    try:
        for table, bad, first in in_order(lambda window: job.predict(path, *window), _windows(path), work.threads):
            tally.add(table.num_rows, bad, first, table.column("prediction") if job.classes else None)
            empty += table.num_rows - table.column("error").null_count - bad
            writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    return {"rows": tally.rows, "bad": tally.bad, "empty": empty, "labels": dict(tally.labels), "first_bad": tally.first_bad}


def _windows(path: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    try:
        with pq.ParquetFile(path) as file:
            start = 0
            for batch in file.iter_batches(WINDOW):
                yield start, batch
                start += batch.num_rows
            if not start:
                yield 0, pa.RecordBatch.from_pylist([], schema=file.schema_arrow)
    except (pa.ArrowException, OSError) as e:
        raise DataError(f"cannot be read as Parquet: {e}", field=str(path), fix="write the file again") from e


class _Job:
    """What all windows share."""

    def __init__(self, predictor: Predictor, work: Work):
        self._predictor, self._work = predictor, work
        self._labels = list(predictor.package.labels)
        self.classes = problem(predictor.package.objective).classes
        self._metadata = {"labels": orjson.dumps(self._labels), "digest": predictor.package.digest, "model": predictor.package.name}

    def predict(self, path: Path, start: int, batch: pa.RecordBatch) -> tuple[pa.Table, int, str | None]:
        """(predictions of a window, rows that cannot be used, the first of them). Called on any thread."""
        rows = rows_from_arrow(self._predictor.processor.spec(), batch)
        try:
            found = answer(self._predictor, rows, self._work.batch_size, tolerate=self._work.tolerate)
        except InputError as e:
            raise DataError(
                f"cannot be predicted: {e.message}", field=f"{path} (rows counted from {start}): {e.field}", fix=e.fix, value=e.value
            ) from e
        first = next((f"{path}: row {start + i}: {e}" for i, e in enumerate(found.errors) if e), None) if found.bad else None
        return self._table(batch, found), found.bad, first

    def _table(self, batch: pa.RecordBatch, found: Answered) -> pa.Table:
        columns = {name: batch.column(name) for name in self._work.keep if name in batch.schema.names}
        made, answers = columns_of(self._predictor, found.answers), found.answers
        if self.classes:
            made["probabilities"] = pa.ListArray.from_arrays(
                pa.array(np.arange(len(answers) + 1) * len(self._labels), pa.int32()), pa.array(answers.ravel(), pa.float32())
            )
        if len(found.good) < batch.num_rows:
            spread = np.full(batch.num_rows, -1)
            spread[found.good] = np.arange(len(found.good))
            made = {name: column.take(pa.array(spread, mask=spread < 0)) for name, column in made.items()}
        columns |= made
        columns["error"] = pa.array(found.errors, pa.string())
        return pa.table(columns).replace_schema_metadata(self._metadata)


def key_of(package: Package, path: Path, work: Work) -> str:
    """What a part's predictions depend on, as a name: the package, the file's content and name, and how it is asked."""
    return files.digest_of([package.digest, path.name, files.sha256_file(path), list(work.keep), work.tolerate])[:32]
