"""CartPole as a stranger gets it: `sluice init --task policy`, learnt, exported, judged. ``python -m tests.bench.tasks.policy`` prints one JSON line."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from sluice.commands.project import template
from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.engines.scoring import judged
from sluice.formats.export import export_package
from sluice.learners.fit import fit
from sluice.project import load
from sluice.tasks import load_task
from tests.bench.latency import latencies


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.policy", description=__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=V", help="another setting of the project; may be repeated")
    args = parser.parse_args(argv)
    path = template("policy") / "sluice.yaml"
    project = load(path, args.set)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = prepare(project, path.parent, load_task(project, path.parent), root / "data")
        begun = time.process_time()
        trained = fit(project, dataset, root / "model", base_dir=path.parent)
        seconds = time.process_time() - begun
        package = export_package(project, root / "model", dataset, root / "package", base_dir=path.parent).package
        if package is None:
            raise SystemExit("nothing was packaged")
        predictor, asked = Predictor(package), dataset.problem
        outputs, targets = judged(predictor.predict, package.preprocess, list(package.labels), dataset, "test")
        metric = asked.metrics()["mean_return"]
        ours = asked.answers(outputs, targets, package.labels)
        chance = asked.answers(asked.trivial(dataset, package.labels, metric.name, None)[1], targets, package.labels)
        found: dict[str, Any] = {
            "task": "policy",
            "data": project.data.source,
            "model": f"{trained.record['algorithm']}, {trained.best['step']} steps",
            "metric": metric.name,
            "value": metric.value(ours),
            "interval": metric.interval(ours, 0.95, 1000),
            "baseline": {"acting at random": metric.value(chance)},
            "train_cpu_seconds": round(seconds, 1),
            "bytes": package.model.stat().st_size,
            "latency_ms": latencies(predictor, dataset),
        }
    print(orjson.dumps(found).decode())


if __name__ == "__main__":
    main()
