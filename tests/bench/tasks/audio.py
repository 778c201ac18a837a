"""Sounds: spoken digits by clip and with whole speakers held out, or made-up calls where the recordings are absent. ``python -m tests.bench.tasks.audio`` prints one JSON line.

The settings are those a stranger gets. A speaker is held out as ``data.test``, a tenth of the other three's clips say when
to stop; the figure is the mean over the speakers, each beside it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.data.sources import read_source
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.predictor import run_examples
from sluice.engines.rows import rows_from_arrow
from sluice.fields import field_of
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.problems.answers import Answers
from sluice.problems.metrics import TABLE as METRICS
from sluice.project import parse
from sluice.tasks import load_task

DATA = Path(os.environ.get("SLUICE_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
DIGITS = DATA / "spoken-digits" / "recordings.tar.xz"
PATTERN = "{label}_{speaker}_{take}"


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.audio", description=__doc__)
    parser.add_argument("--data", type=Path, default=DIGITS, help="archive of recordings named LABEL_SPEAKER_TAKE.wav")
    parser.add_argument("--model", type=orjson.loads, default={}, help="model: of the project, as JSON")
    parser.add_argument("--train", type=orjson.loads, default={}, help="train: of the project, as JSON")
    parser.add_argument("--only", nargs="*", help="clip, or speakers by name")
    args = parser.parse_args(argv)
    more = {"model": args.model, "train": args.train}
    if not args.data.exists():
        split = {"by": "group", "column": "caller"}
        print(orjson.dumps({"data": "sounds://calls", **measure({"source": "sounds://calls", "split": split}, more)}).decode())
        return
    out: dict[str, Any] = {"data": args.data.name}
    columns = {"file_name": PATTERN}
    if not args.only or "clip" in args.only:
        out["clip"] = measure({"source": str(args.data), "columns": columns}, more)
    with tempfile.TemporaryDirectory() as folder:
        table = read_source(str(args.data), "auto", Path(), field_of("audio", "audio"), parse_columns()).table
        speakers = sorted(set(table.column("speaker").to_pylist()) & set(args.only or table.column("speaker").to_pylist()))
        held = {s: measure(_apart(table, s, Path(folder)), more) for s in speakers}
    if held:
        out |= {"speakers": held, "speaker": round(float(np.mean([h["value"] for h in held.values()])), 4)}
    print(orjson.dumps(out).decode())


def parse_columns() -> Any:
    """``data.columns`` of recordings named so."""
    from sluice.data.config import Columns

    return Columns(file_name=PATTERN)


def _apart(table: pa.Table, speaker: str, folder: Path) -> dict[str, str]:
    own = pc.equal(table.column("speaker"), speaker)
    for name, rows in (("train", table.filter(pc.invert(own))), ("test", table.filter(own))):
        pq.write_table(rows, folder / f"{name}.parquet")
    return {"source": str(folder / "train.parquet"), "test": str(folder / "test.parquet")}


def measure(data: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Accuracy on the held-out rows with its interval, seconds of CPU of the training, the graph's bytes, milliseconds a request of 1 and 32 rows."""
    project = parse({"name": "bench", "task": "audio", "data": data, **more})
    with tempfile.TemporaryDirectory() as folder:
        dataset: Dataset = prepare(project, Path(), load_task(project, Path()), Path(folder) / "data")
        begun = time.perf_counter()
        trained = fit(project, dataset, Path(folder) / "model")
        seconds = time.perf_counter() - begun
        graph = export_graph(trained, 20)
        test = dataset.read("test")
        engine, rows = OnnxRuntime.open(graph), rows_from_arrow(trained.processor.spec(), test)
        examples = trained.processor.encode(rows)
        outputs = run_examples(engine, trained.processor, examples, 16)
        targets = dataset.problem.targets(test.column("label"), dataset.labels)
        shown = Answers.of(outputs, targets)
        took = {f"ms_{n}": round(milliseconds(engine, trained.processor.batch(examples[:n])), 3) for n in (1, 32)}
    commonest = float(np.bincount(targets[targets >= 0]).max() / len(targets))
    metric = METRICS["accuracy"]
    return {
        "metric": "accuracy",
        "value": round(float((outputs.argmax(1) == targets).mean()), 4),
        "interval": metric.interval(shown, 0.95, 1000),
        "baseline": round(commonest, 4),
        "rows": dataset.rows("train"),
        "seconds": round(seconds, 1),
        "text": trained.text,
        "bytes": len(graph),
        **took,
    }


def milliseconds(engine: OnnxRuntime, tensors: dict[str, np.ndarray]) -> float:
    """The median of a batch, one thread."""
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        engine.run(tensors)
        times.append(time.perf_counter() - begun)
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    main()
