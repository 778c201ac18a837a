"""Pictures of digits: how far what is made lies from held-out digits. ``python -m tests.bench.tasks.generate`` prints one JSON line.

The settings are those a stranger gets. Beside the model's kernel distance stand those of the Gaussian that has to be beaten, of training
digits (what no model can be below but by chance), and of two classes of held-out digits, the nearest pair.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.predictor import predict_rows, run_examples
from sluice.engines.rows import rows_from_arrow
from sluice.engines.scoring import judged
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.problems.evaluator import evaluate
from sluice.problems.generation.problem import featured, training
from sluice.project import Project, parse
from sluice.tasks import load_task


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.generate", description=__doc__)
    parser.add_argument("--source", default="sklearn://digits", help="data.source: a folder of pictures, say")
    parser.add_argument("--model", type=orjson.loads, default={"size": [8, 8], "channels": 1}, help="model: of the project, as JSON")
    parser.add_argument("--train", type=orjson.loads, default={}, help="train: of the project, as JSON")
    args = parser.parse_args(argv)
    raw = {"name": "bench", "task": "generate", "data": {"source": args.source}, "model": args.model, "train": args.train}
    with tempfile.TemporaryDirectory() as folder:
        print(orjson.dumps({"data": args.source, **measure(parse(raw), Path(folder))}).decode())


def measure(project: Project, folder: Path) -> dict[str, Any]:
    """Metrics with their intervals, the distances they are to be read beside, seconds of the training, bytes, milliseconds for 1 and 32 rows."""
    dataset: Dataset = prepare(project, Path(), load_task(project, Path()), folder / "data")
    begun = time.perf_counter()
    trained = fit(project, dataset, folder / "model")
    seconds = time.perf_counter() - begun
    graph = export_graph(trained, project.export.opset)
    engine, processor = OnnxRuntime.open(graph), trained.processor

    def predict(rows: Any) -> np.ndarray:
        return predict_rows(engine, processor, rows)

    outputs, targets = judged(predict, processor.spec(), dataset.labels, dataset, "test")
    found = evaluate(outputs, targets, dataset.labels, project.evaluate, asked=dataset.problem)
    name, gaussian = dataset.problem.trivial(dataset, dataset.labels, "kernel_distance", None)
    examples = processor.encode(rows_from_arrow(processor.spec(), dataset.read("test"))[:32])
    return {
        "metrics": {n: {k: round(m[k], 4) for k in ("value", "low", "high")} for n, m in found["metrics"].items()},
        "rows": found["rows"],
        "repeated": found["repeated"],
        "baseline": name,
        "baseline_kernel_distance": distance(gaussian, targets, dataset),
        "training_pictures_kernel_distance": distance(featured(training(dataset)[: len(targets)], dataset), targets, dataset),
        "nearest_classes_kernel_distance": nearest_classes(targets, dataset),
        "train_seconds": round(seconds, 1),
        "bytes": len(graph),
        "ms_1": latency(engine, processor, examples[:1]),
        "ms_32": latency(engine, processor, examples),
    }


def distance(ours: np.ndarray, theirs: np.ndarray, dataset: Dataset) -> float:
    """The kernel distance of two sets, cut to the smaller one's size."""
    n = min(len(ours), len(theirs))
    asked = dataset.problem
    answers = asked.answers(ours[:n], theirs[:n], dataset.labels)
    return round(asked.metrics()["kernel_distance"].value(answers), 4)


def nearest_classes(targets: np.ndarray, dataset: Dataset) -> float | None:
    """Between the two classes that are nearest to each other; None without classes."""
    if "class" not in dataset.columns:
        return None
    labels = np.array(dataset.read("test", ["class"]).column("class").to_pylist())
    pairs = itertools.combinations(sorted(set(labels)), 2)
    return min(distance(targets[labels == a], targets[labels == b], dataset) for a, b in pairs)


def latency(engine: OnnxRuntime, processor: Any, examples: Any) -> float:
    """Median milliseconds of a request, of 50."""
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        run_examples(engine, processor, examples, len(examples))
        times.append(time.perf_counter() - begun)
    return round(1e3 * float(np.median(times)), 3)


if __name__ == "__main__":
    main()
