"""Predict every row of Parquet files with a package: streamed, on all cores, through the code that serves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.core import files
from sluice.core.errors import DataError, InputError
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.core.ordered import in_order
from sluice.core.processes import cpu_quota
from sluice.data import locations
from sluice.data.report import counted
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow
from sluice.package import package as packages
from sluice.package.package import Package
from sluice.package.store import open_store
from sluice.prediction.answers import Answered, Tally, answer, columns_of
from sluice.problems.problem import problem
from sluice.steps.execute import run_step

#: Rows read, predicted and written at a time: memory is a few of these, whatever the files' size.
WINDOW = 4096
_PART = "part-{:05d}.parquet"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did. `bad`: rows that could not be predicted; `first_bad`: where the first is and why; `empty`: rows without a text or image, left out."""

    rows: int
    bad: int
    labels: dict[str, int]
    first_bad: str | None
    empty: int = 0


def run(
    package: str,
    source: str,
    output_path: str,
    *,
    digest: str = "",
    home: str = "",
    keep: str = "row_id",
    max_bad: float = 0.0,
    batch_size: int = 64,
    workers: int = 0,
    gate_path: str,
) -> Gate:
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
        with locations.files_of(source, Path()) as here:
            inputs = [path for place in here for path in sources(str(place.path))]
            done = predict_files(
                found, inputs, Path(output_path), keep=columns, tolerate=max_bad > 0, batch_size=batch_size, workers=workers or cpu_quota()
            )
        share = done.bad / done.rows if done.rows else 0.0
        evidence: dict[str, Any] = {**dataclasses.asdict(done), "digest": found.digest, "output": output_path}
        if share > max_bad:
            return Gate(
                "batch_predict", "refuse", (f"{done.bad} of {done.rows} rows cannot be predicted; the first: {done.first_bad}",), evidence
            )
        left_out = (
            (f"{counted(done.empty, 'row')} of {done.rows:,} without a text or image {'was' if done.empty == 1 else 'were'} left out",)
            if done.empty
            else ()
        )
        return Gate("batch_predict", "pass", left_out, evidence)

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


def predict_files(
    package: Package,
    inputs: list[Path],
    out: Path,
    *,
    keep: list[str] | None = None,
    tolerate: bool = False,
    batch_size: int = 64,
    workers: int = 1,
) -> Summary:
    """Write one part of predictions an input file; the folder appears whole, in the rows' order.

    Columns: `keep`'s, then ``prediction`` (string), ``probability`` (float32) and ``probabilities``
    (list of float32, in the order of the labels in the schema's metadata), or ``value`` (float32); then
    ``error`` (string), null where a row was predicted. The package's digest is in the metadata too.

    Args:
        package: verified.
        tolerate: rows that cannot be used are marked in ``error`` and counted as bad; otherwise the first ends the run, but for rows
            without a text or image, which are marked and counted apart.
        batch_size: rows of one run of the graph.
        workers: threads; ONNX Runtime and the tokenizer let go of the interpreter's lock.

    Raises:
        DataError: a file cannot be read or lacks a feature, or a row cannot be used and `tolerate` is off.
    """
    predictor = Predictor(package, threads=1)
    job, tally, empty = _Job(predictor, keep or [], tolerate, batch_size), Tally(), 0
    with files.new_dir(out) as tmp:
        for number, path in enumerate(inputs):
            writer: pq.ParquetWriter | None = None
            try:
                for table, bad, first in in_order(lambda window, path=path: job.predict(path, *window), _windows(path), workers):  # type: ignore[misc]
                    tally.add(table.num_rows, bad, first, table.column("prediction") if job.classes else None)
                    empty += table.num_rows - table.column("error").null_count - bad
                    writer = writer or pq.ParquetWriter(tmp / _PART.format(number), table.schema, compression="zstd")
                    writer.write_table(table)
            finally:
                if writer is not None:
                    writer.close()
    return Summary(tally.rows, tally.bad, dict(sorted(tally.labels.items())), tally.first_bad, empty)


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

    def __init__(self, predictor: Predictor, keep: list[str], tolerate: bool, batch_size: int):
        self._predictor, self._keep, self._tolerate, self._batch_size = predictor, keep, tolerate, batch_size
        self._labels = list(predictor.package.labels)
        self.classes = problem(predictor.package.objective).classes
        self._metadata = {"labels": orjson.dumps(self._labels), "digest": predictor.package.digest, "model": predictor.package.name}

    def predict(self, path: Path, start: int, batch: pa.RecordBatch) -> tuple[pa.Table, int, str | None]:
        """(predictions of a window, rows that cannot be used, the first of them). Called on any thread."""
        rows = rows_from_arrow(self._predictor.processor.spec(), batch)
        try:
            found = answer(self._predictor, rows, self._batch_size, tolerate=self._tolerate)
        except InputError as e:
            raise DataError(
                f"cannot be predicted: {e.message}", field=f"{path} (rows counted from {start}): {e.field}", fix=e.fix, value=e.value
            ) from e
        first = next((f"{path}: row {start + i}: {e}" for i, e in enumerate(found.errors) if e), None) if found.bad else None
        return self._table(batch, found), found.bad, first

    def _table(self, batch: pa.RecordBatch, found: Answered) -> pa.Table:
        columns = {name: batch.column(name) for name in self._keep if name in batch.schema.names}
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
