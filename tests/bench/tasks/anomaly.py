"""Anomaly detection on labelled tables: ``python -m tests.bench.tasks.anomaly`` prints one JSON line.

Each set is split once (40 % held out); the models learn its normal training rows, without a setting beyond which labels are anomalies. Beside
them: the share of anomalies, which is the average precision of answers at random, and the distance from the mean (`AnomalyDetection.simple`).
The last set has its labels taken away: it is judged against rows with shuffled columns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.rows import tensors_from_arrow
from sluice.formats.export import export_graph
from sluice.gates.baselines import learn
from sluice.gates.features import blocks_of
from sluice.learners.base import Trained
from sluice.learners.fit import fit
from sluice.problems.anomaly import ANOMALY
from sluice.project import parse
from sluice.tasks import load_task

FOLDER = Path(__file__).parents[3].parent / "shared" / "data" / "tables"
MODELS: dict[str, dict[str, Any]] = {
    "isolation_forest": {"estimator": "isolation_forest"},
    "detector": {"estimator": "detector"},
    "autoencoder": {},
}
#: name -> where it is, which labels are anomalies, what else of `data.columns`.
SETS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "breast_cancer, malignant": ("sklearn://breast_cancer", {"anomalous": ["malignant"]}, {}),
    "digits, all but 1": ("sklearn://digits", {"normal": ["1"]}, {}),
    "digits, 0": ("sklearn://digits", {"anomalous": ["0"]}, {}),
    "breast_cancer, no labels": ("sklearn://breast_cancer", {}, {"ignore": ["label"]}),
}


def main(argv: list[str] | None = None) -> None:
    """Measure; print the line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.anomaly", description=__doc__)
    parser.add_argument("--only", nargs="*", help="sets by the start of their names")
    args = parser.parse_args(argv)
    chosen = {n: s for n, s in SETS.items() if not args.only or any(n.startswith(o) for o in args.only)}
    print(orjson.dumps({"task": "anomaly", "metric": "average_precision", "sets": {n: measure(*s) for n, s in chosen.items()}}).decode())


def measure(source: str, labels: dict[str, Any], columns: dict[str, Any]) -> dict[str, Any]:
    """Each model's average precision with its interval, size, latencies and seconds; and what is beside them."""
    out: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as tmp:
        dataset: Dataset | None = None
        for name, model in MODELS.items():
            data = {"source": source, "split": {"test": 0.4, "validation": 0.15}, "columns": columns}
            project = parse({"name": "bench", "task": "anomaly", "data": data, "model": model | labels})
            if dataset is None:
                dataset = prepare(project, Path(), load_task(project, Path()), Path(tmp) / "data")
            begun = time.perf_counter()
            trained = fit(project, dataset, Path(tmp) / name)
            seconds = time.perf_counter() - begun
            answers, served = _served(trained, dataset.read("test"))
            out[name] = {**judged(answers, dataset), **served, "seconds": seconds}
        assert dataset is not None
        fields = blocks_of(dataset.columns, trained.processor)
        found, (answers,), _ = learn(dataset.read("train"), [dataset.read("test")], fields, dataset.labels, dataset.problem)
        truth = [v == ANOMALY for v in dataset.read("test").column("label").to_pylist()]
        return {
            "rows": dataset.rows("train"),
            "held_out": len(truth),
            "share": float(np.mean(truth)),
            **out,
            found: judged(answers, dataset),
        }


def judged(answers: np.ndarray, dataset: Dataset) -> dict[str, Any]:
    """Average precision with its interval, and the area under the ROC curve."""
    asked, labels = dataset.problem, dataset.labels
    a = asked.answers(answers, asked.targets(dataset.read("test", ["label"]).column("label"), labels), labels)
    metrics = asked.metrics()
    first = metrics["average_precision"]
    return {"value": first.value(a), "interval": first.interval(a, 0.95, 2000), "roc_auc": metrics["roc_auc"].value(a)}


def _served(trained: Trained, test: pa.Table) -> tuple[np.ndarray, dict[str, Any]]:
    """The graph's own answers, its size in bytes, and milliseconds a request of 1 and of 32 rows (medians, one thread)."""
    graph, took = export_graph(trained, 20), {}
    engine = OnnxRuntime.open(graph)
    for rows in (1, 32):
        tensors, times = tensors_from_arrow(trained.processor, test.slice(0, rows)), []
        for _ in range(200):
            begun = time.perf_counter()
            engine.run(tensors)
            times.append(time.perf_counter() - begun)
        took[f"ms_{rows}"] = 1000 * float(np.median(times))
    return next(iter(engine.run(tensors_from_arrow(trained.processor, test)).values())), {"bytes": len(graph), **took}


if __name__ == "__main__":
    main()
