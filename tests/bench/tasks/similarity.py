"""Similarity of texts: ``python -m tests.bench.tasks.similarity`` prints one JSON line.

The example's pairs, split as its project says: the rank correlation of the exported graph's cosines with its interval, that of the share of words in
common, the graph's size, and its time for 1 and for 32 texts. ``--pretrained DIR`` tunes an encoder instead.
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
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.project import load
from sluice.tasks import load_task
from tests.bench.tasks.tagging import milliseconds

EXAMPLE = Path(__file__).parents[3] / "examples" / "similarity" / "sluice.yaml"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.similarity", description=__doc__)
    parser.add_argument("--pretrained", help="directory of an encoder")
    args = parser.parse_args()
    project = load(
        EXAMPLE, [f"model.pretrained={args.pretrained}", "train.learning_rate=5e-5", "train.epochs=4"] if args.pretrained else []
    )
    with tempfile.TemporaryDirectory() as folder:
        dataset = prepare(project, EXAMPLE.parent, load_task(project, EXAMPLE.parent), Path(folder) / "data")
        begun = time.perf_counter()
        trained = fit(project, dataset, Path(folder) / "model")
        seconds = time.perf_counter() - begun
        graph = export_graph(trained, 20)
        engine, asked = OnnxRuntime.open(graph), dataset.problem

        def predict(texts: Any) -> np.ndarray:
            return run_examples(engine, trained.processor, trained.processor.encode(list(texts)), 16)

        outputs, targets = asked.judged(predict, None, dataset, "test", trained.state.labels)  # type: ignore[arg-type]
        rho, units = asked.metrics()["spearman"], asked.units(dataset, "test")
        ours = asked.answers(outputs, targets, trained.state.labels, units=units)
        name, trivial = asked.trivial(dataset, dataset.labels, "spearman", None)
        texts = [pair[0] for pair in dataset.read("test", ["pair"]).column("pair").to_pylist()[:32]]
        examples = trained.processor.encode(texts)
        print(
            orjson.dumps(
                {
                    "task": "similarity",
                    "metric": "spearman",
                    "value": round(rho.value(ours), 4),
                    "interval": rho.interval(ours, 0.95, 1000),
                    "auc": round(asked.metrics()["pair_auc"].value(ours), 4),
                    "baseline": {name: round(rho.value(asked.answers(trivial, targets, [])), 4)},
                    "rows": {"train": dataset.rows("train"), "test": dataset.rows("test")},
                    "seconds": round(seconds, 1),
                    "bytes": len(graph),
                    **{f"ms_{n}": round(milliseconds(engine, trained.processor.batch(examples[:n])), 3) for n in (1, 32)},
                }
            ).decode()
        )


if __name__ == "__main__":
    main()
