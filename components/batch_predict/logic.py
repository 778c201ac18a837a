"""Predict every row of Parquet files with a package: streamed, on all cores, through the code that serves."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice import files
from sluice.data import places
from sluice.errors import DataError, InputError
from sluice.gates import Gate
from sluice.home import Home
from sluice.packaging import package as packages
from sluice.packaging.package import Package
from sluice.packaging.predictor import Predictor
from sluice.packaging.rows import rows_from_arrow
from sluice.packaging.store import open_store
from sluice.process import cpu_quota
from sluice.step import run_step

#: Rows read, predicted and written at a time: memory is a few of these, whatever the files' size.
WINDOW = 4096
_PART = "part-{:05d}.parquet"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did. `bad`: rows that could not be predicted; `first_bad`: where the first is and why."""

    rows: int
    bad: int
    labels: dict[str, int]
    first_bad: str | None


def run(package: str, source: str, output_path: str, *, digest: str = "", home: str = "", keep: str = "row_id", max_bad: float = 0.0, batch_size: int = 64,
        workers: int = 0, gate_path: str) -> Gate:  # fmt: skip
    """The step: a gate with the rows, labels and rows a second as evidence; refused when too many rows cannot be used.

    Args:
        package: a package's directory, or its registered address (``.../sha256/<digest>``).
        keep: columns copied to the output, separated by commas; those a file does not have are left out.
    """

    def work() -> Gate:
        directory = Path(package)
        found = (
            packages.read(directory, digest or None)
            if directory.is_dir()
            else open_store(package, Home(home or None)).get(digest or package.rsplit("/", 1)[-1])
        )
        columns = [c.strip() for c in keep.split(",") if c.strip()]
        with places.find(source, Path()) as here:
            inputs = [path for place in here for path in sources(str(place.path))]
            done = predict_files(found, inputs, Path(output_path), keep=columns, tolerate=max_bad > 0, batch_size=batch_size,
                                 workers=workers or cpu_quota())  # fmt: skip
        share = done.bad / done.rows if done.rows else 0.0
        evidence: dict[str, Any] = {**dataclasses.asdict(done), "digest": found.digest, "output": output_path}
        if share > max_bad:
            return Gate(
                "batch_predict", "refuse", (f"{done.bad} of {done.rows} rows cannot be predicted; the first: {done.first_bad}",), evidence
            )
        return Gate("batch_predict", "pass", (), evidence)

    return run_step(work, gate_path, step="batch_predict")


def sources(source: str) -> list[Path]:
    """Parquet files of a folder (searched below), in the order of their names, or the one file.

    Raises:
        DataError: there is none.
    """
    path = Path(source)
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*.parquet") if not p.name.startswith((files.PARTIAL, ".", "_")))
    if not found:
        raise DataError("no Parquet file is there", field="source", value=source, fix="name a .parquet file, a folder of them, or a glob")
    return found


def predict_files(package: Package, inputs: list[Path], out: Path, *, keep: list[str] | None = None, tolerate: bool = False, batch_size: int = 64,
                  workers: int = 1) -> Summary:  # fmt: skip
    """Write one part of predictions an input file; the folder appears whole, in the rows' order.

    Columns: `keep`'s, then ``prediction`` (string), ``probability`` (float32) and ``probabilities``
    (list of float32, in the order of the labels in the schema's metadata), or ``value`` (float32); then
    ``error`` (string), null where a row was predicted. The package's digest is in the metadata too.

    Args:
        package: verified.
        tolerate: rows that cannot be used are marked in ``error``; otherwise the first ends the run.
        batch_size: rows of one run of the graph.
        workers: threads; ONNX Runtime and the tokenizer let go of the interpreter's lock.

    Raises:
        DataError: a file cannot be read or lacks a feature, or a row cannot be used and `tolerate` is off.
    """
    predictor = Predictor(package, threads=1)
    job = _Job(predictor, keep or [], tolerate, batch_size)
    with files.new_dir(out) as tmp, ThreadPoolExecutor(workers, thread_name_prefix="predict") as pool:
        for number, path in enumerate(inputs):
            writer: pq.ParquetWriter | None = None
            try:
                for table in _in_order(pool, job, path, workers * 2):
                    writer = writer or pq.ParquetWriter(tmp / _PART.format(number), table.schema, compression="zstd")
                    writer.write_table(table)
            finally:
                if writer is not None:
                    writer.close()
    return Summary(job.rows, job.bad, dict(sorted(job.labels.items())), job.first_bad)


def _in_order(pool: ThreadPoolExecutor, job: _Job, path: Path, ahead: int) -> Iterator[pa.Table]:
    """Predicted windows of a file, in its order; at most `ahead` of them are in memory."""
    waiting: deque[Future[tuple[pa.Table, int, str | None]]] = deque()
    try:
        for start, batch in _windows(path):
            waiting.append(pool.submit(job.predict, path, start, batch))
            if len(waiting) >= ahead:
                yield job.count(waiting.popleft().result())
        while waiting:
            yield job.count(waiting.popleft().result())
    finally:
        for future in waiting:
            future.cancel()


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
    """What all windows share, and the counts over them."""

    def __init__(self, predictor: Predictor, keep: list[str], tolerate: bool, batch_size: int):
        self._predictor, self._keep, self._tolerate, self._batch_size = predictor, keep, tolerate, batch_size
        self._labels = list(predictor.package.labels)
        self._metadata = {"labels": orjson.dumps(self._labels), "digest": predictor.package.digest, "model": predictor.package.name}
        self.rows = self.bad = 0
        self.labels: Counter[str] = Counter()
        self.first_bad: str | None = None

    def predict(self, path: Path, start: int, batch: pa.RecordBatch) -> tuple[pa.Table, int, str | None]:
        """(predictions of a window, rows that cannot be used, the first of them). Called on any thread."""
        rows = rows_from_arrow(self._predictor.processor.spec(), batch)
        errors: list[str | None] = [None] * len(rows)
        good = list(range(len(rows)))
        try:
            answers = self._predictor.predict(rows, self._batch_size)
        except InputError as e:
            if not self._tolerate:
                raise DataError(
                    f"cannot be predicted: {e.message}", field=f"{path} (rows counted from {start}): {e.field}", fix=e.fix, value=e.value
                ) from e
            errors = [self._problem(row) for row in rows]
            good = [i for i, problem in enumerate(errors) if problem is None]
            answers = self._predictor.predict([rows[i] for i in good], self._batch_size)
        first = next((f"{path}: row {start + i}: {e}" for i, e in enumerate(errors) if e), None)
        return self._table(batch, answers, good, errors), len(rows) - len(good), first

    def _problem(self, row: Any) -> str | None:
        try:
            self._predictor.processor.encode([row])
        except InputError as e:
            return (e.field or "").removeprefix("rows[0]").lstrip(".") + (": " if "." in (e.field or "") else "") + e.message
        return None

    def _table(self, batch: pa.RecordBatch, answers: np.ndarray, good: list[int], errors: list[str | None]) -> pa.Table:
        columns = {name: batch.column(name) for name in self._keep if name in batch.schema.names}
        whole = len(good) == batch.num_rows
        spread = np.full(batch.num_rows, -1)
        spread[good] = np.arange(len(good))
        index = pa.array(np.arange(batch.num_rows) if whole else spread, mask=None if whole else spread < 0)
        if self._labels:
            best = self._predictor.codes(answers)
            found = {
                "prediction": pa.array(self._labels, pa.string()).take(pa.array(best)),
                "probability": pa.array(answers[np.arange(len(best)), best], pa.float32()),
                "probabilities": pa.ListArray.from_arrays(pa.array(np.arange(len(answers) + 1) * len(self._labels), pa.int32()), pa.array(answers.ravel(), pa.float32())),
            }  # fmt: skip
        else:
            found = {"value": pa.array(answers, pa.float32())}
        columns |= {name: column if whole else column.take(index) for name, column in found.items()}
        columns["error"] = pa.array(errors, pa.string())
        return pa.table(columns).replace_schema_metadata(self._metadata)

    def count(self, found: tuple[pa.Table, int, str | None]) -> pa.Table:
        """Add a window to the counts. Called in the rows' order, on one thread."""
        table, bad, first = found
        self.rows += table.num_rows
        self.bad += bad
        self.first_bad = self.first_bad or first
        if self._labels:
            counts = table.column("prediction").drop_null().value_counts()
            self.labels.update({c["values"].as_py(): c["counts"].as_py() for c in counts})
        return table
