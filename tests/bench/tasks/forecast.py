"""Forecasts: what is served beside the seasonal naive forecast. ``python -m tests.bench.tasks.forecast`` prints one JSON line.

Two real sets: employees of US industries by month (`examples/forecast`, 15 series) and bicycles hired by hour (one series, with the weather; not
committed: it is left out where ``--data`` has none).
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
from sluice.engines.rows import tensors_from_arrow
from sluice.formats.export import export_graph
from sluice.learners.fit import fit
from sluice.project import parse
from sluice.tasks import load_task

ROOT = Path(__file__).parents[3]
FOLDER = ROOT.parent / "shared" / "data" / "tables"
_CONFIDENCE, _RESAMPLES = 0.95, 1000


def sets(folder: Path) -> dict[str, dict[str, Any]]:
    """Each set's ``data:`` and ``model:``."""
    found = {
        "US employment, monthly": {
            "data": {"source": str(ROOT / "examples/forecast/data/employment.csv"), "columns": {"label": "employees"}},
            "model": {"horizon": 12},
        }
    }
    bikes = folder / "bikeshare.csv"
    if bikes.exists():
        found["bike hire, hourly"] = {
            "data": {"source": str(bikes), "columns": {"label": "count", "ignore": ["casual", "registered", "atemp"]}},
            "model": {"horizon": 24, "known": ["holiday", "workingday", "weather", "temp", "humidity", "windspeed"]},
        }
    return found


def measure(raw: dict[str, Any]) -> dict[str, Any]:
    """Metrics with intervals on the held-out times, the naive forecast's, the paired difference; size and latency of the graph."""
    project = parse({"name": "bench", "task": "forecast", **raw})
    with tempfile.TemporaryDirectory() as out:
        dataset = prepare(project, Path(), load_task(project, Path()), Path(out) / "data")
        begun = time.perf_counter()
        trained = fit(project, dataset, Path(out) / "model")
        seconds = time.perf_counter() - begun
        test, asked, labels = dataset.read("test"), dataset.problem, trained.state.labels
        graph = export_graph(trained, 20)
        engine = OnnxRuntime.open(graph)
        outputs = next(iter(engine.run(tensors_from_arrow(trained.processor, test)).values()))
        targets, units = asked.targets(test.column("label"), labels), asked.units(dataset, "test")
        ours = asked.answers(outputs, targets, labels, units=units)
        name, naive = asked.trivial(dataset, labels, "mase", None)
        theirs = asked.answers(naive, targets, labels, units=units)
        mase = asked.metrics()["mase"]
        return {
            "metric": "mase",
            "value": mase.value(ours),
            "interval": mase.interval(ours, _CONFIDENCE, _RESAMPLES),
            "units": units and units.told_as(),
            "baseline": {name: mase.value(theirs)},
            "better_by": mase.difference(ours, theirs, _CONFIDENCE, _RESAMPLES),
            "metrics": {n: m.value(ours) for n, m in asked.metrics().items()},
            "rows": {s: dataset.rows(s) for s in ("train", "validation", "test")},
            "seconds": seconds,
            "bytes": len(graph),
            **{f"ms_{n}": _milliseconds(engine, tensors_from_arrow(trained.processor, test.slice(0, n))) for n in (1, 32)},
        }


def _milliseconds(engine: OnnxRuntime, tensors: dict[str, np.ndarray]) -> float:
    """The median of 200 runs."""
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        engine.run(tensors)
        times.append(time.perf_counter() - begun)
    return 1000 * float(np.median(times))


def main(argv: list[str] | None = None) -> None:
    """Measure each set, print the line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.forecast", description=__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of the real tables")
    parser.add_argument("--only", nargs="*", help="sets whose name begins so")
    args = parser.parse_args(argv)
    chosen = {n: raw for n, raw in sets(args.data).items() if not args.only or n.startswith(tuple(args.only))}
    print(orjson.dumps({"task": "forecast", "sets": {name: measure(raw) for name, raw in chosen.items()}}).decode())


if __name__ == "__main__":
    main()
