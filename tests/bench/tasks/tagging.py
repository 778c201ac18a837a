"""Tags of words: ``python -m tests.bench.tasks.tagging`` prints one JSON line.

The example's rows, split as its project says: the span F1 of the exported graph with its interval, that of each word's commonest tag, the graph's
size, and its time for 1 and for 32 texts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.predictor import run_examples
from sluice.engines.rows import rows_from_arrow
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.project import parse, read_yaml
from sluice.tasks import load_task

EXAMPLE = Path(__file__).parents[3] / "examples" / "tagging" / "sluice.yaml"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.tagging", description=__doc__)
    parser.add_argument("--model", type=orjson.loads, default={}, help='model: of the project, as JSON: {"pretrained": DIR}')
    args = parser.parse_args()
    raw = read_yaml(EXAMPLE)
    project = parse({**raw, "model": {**raw.get("model", {}), **args.model}}, base_dir=EXAMPLE.parent)
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepare(project, EXAMPLE.parent, load_task(project, EXAMPLE.parent), Path(folder) / "data")
        begun = time.perf_counter()
        trained = fit(project, dataset, Path(folder) / "model")
        seconds = time.perf_counter() - begun
        graph = export_graph(trained, 20)
        engine, test, asked = OnnxRuntime.open(graph), dataset.read("test"), dataset.problem
        examples = trained.processor.encode(rows_from_arrow(trained.processor.spec(), test))
        targets = asked.targets(test.column("label"), dataset.labels)
        f1 = asked.metrics()["span_f1"]
        ours = asked.answers(run_examples(engine, trained.processor, examples, 16), targets, dataset.labels)
        name, trivial = asked.trivial(dataset, dataset.labels, "span_f1", None)
        print(
            orjson.dumps(
                {
                    "task": "tagging",
                    "metric": "span_f1",
                    "value": round(f1.value(ours), 4),
                    "interval": f1.interval(ours, 0.95, 1000),
                    "baseline": {name: round(f1.value(asked.answers(trivial, targets, dataset.labels)), 4)},
                    "rows": {"train": dataset.rows("train"), "test": len(targets)},
                    "seconds": round(seconds, 1),
                    "bytes": len(graph),
                    **{f"ms_{n}": round(milliseconds(engine, trained.processor.batch(examples[:n])), 3) for n in (1, 32)},
                }
            ).decode()
        )


def milliseconds(engine: Any, tensors: dict[str, np.ndarray]) -> float:
    """The median time of a request, after some that warm up."""
    took = []
    for _ in range(60):
        begun = time.perf_counter()
        engine.run(tensors)
        took.append(time.perf_counter() - begun)
    return float(np.median(took[10:]) * 1000)


if __name__ == "__main__":
    main()
