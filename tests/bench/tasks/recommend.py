"""Recommendation on MovieLens 100k: ours against popularity and implicit's ALS. ``python -m tests.bench.tasks.recommend`` prints one JSON line.

The ratings come with the package `recbole`, which is fetched for its data alone; implicit has an environment of its own, made by `uv`. All are
judged on the same rows: users that no model has seen, at cuts in time.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy import sparse

from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.rows import tensors_from_arrow
from sluice.formats.export import export_graph
from sluice.gates.config import EvaluateConfig
from sluice.learners.fit import fit
from sluice.learners.recommend.matrix import taken
from sluice.problems.comparison import compare
from sluice.problems.evaluator import evaluate
from sluice.problems.ranking import TOP, information, informed, popular, popularity
from sluice.problems.truth import Truth
from sluice.project import parse
from sluice.tasks import load_task
from tests.bench.tools import uv

ROOT = Path(__file__).parents[3]
OUT = ROOT / "bench-results" / "recommend"
CARRIER, PEER = "recbole==1.2.1", "implicit==0.7.3"


def main(argv: list[str] | None = None) -> None:
    """Measure and print the line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.recommend", description=__doc__)
    parser.add_argument("--models", nargs="*", default=["auto", "factors", "two_tower"], help="ways to recommend, the first one is ours")
    parser.add_argument("--time", action="store_true", help="hold out what came last instead of users")
    args = parser.parse_args(argv)
    source, dataset = ratings(), None
    found: dict[str, Any] = {}
    for model in args.models:
        raw = _project(source, model, args.time)
        project = parse(raw)
        if dataset is None:
            work = Path(tempfile.mkdtemp(prefix="recommend-"))
            dataset = prepare(project, Path(), load_task(project, Path()), work / "data")
        found[model] = ours(project, dataset)
    assert dataset is not None
    found["implicit ALS"] = implicit(dataset)
    line = {
        "task": "recommend",
        "data": "MovieLens 100k",
        "split": "time" if args.time else "users",
        "items": len(dataset.labels),
        "rows": {s: dataset.rows(s) for s in ("train", "test")},
        "baseline": _judged(*_popular(dataset), dataset),
        "models": found,
    }
    print(orjson.dumps(line).decode())


def ratings() -> Path:
    """The CSV, made of what the package carries."""
    path = OUT / "ratings.csv"
    if not path.exists():
        OUT.mkdir(parents=True, exist_ok=True)
        python = _environment("data", "--no-deps", CARRIER)
        inside = next((python.parents[1]).rglob("recbole/dataset_example/ml-100k/ml-100k.inter"))
        rows = inside.read_text().splitlines()[1:]
        path.write_text("user_id,item_id,rating,timestamp\n" + "\n".join(r.replace("\t", ",") for r in rows) + "\n")
    return path


def ours(project: Any, dataset: Dataset) -> dict[str, Any]:
    """The served graph's metrics, size and latency."""
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        trained = fit(project, dataset, Path(out) / "model")
        seconds = time.perf_counter() - begun
        graph, took = export_graph(trained, 20), {}
        engine, test = OnnxRuntime.open(graph), dataset.read("test")
        for rows in (1, 32):
            tensors = tensors_from_arrow(trained.processor, test.slice(100, rows))
            times = []
            for _ in range(100):
                start = time.perf_counter()
                engine.run(tensors)
                times.append(time.perf_counter() - start)
            took[f"ms_{rows}"] = round(1000 * float(np.median(times)), 2)
        parts = [
            engine.run(tensors_from_arrow(trained.processor, test.slice(at, 64)))[trained.state.output.name]
            for at in range(0, len(test), 64)
        ]
    judged = _judged(informed(np.concatenate(parts), information(dataset, dataset.labels)), trained.text, dataset)
    return {**judged, "seconds": round(seconds, 1), "bytes": len(graph), **took}


def implicit(dataset: Dataset) -> dict[str, Any]:
    """implicit's ALS; new users are told what is popular, which it does not do by itself."""
    python = _environment("implicit", PEER)
    index = {label: i for i, label in enumerate(dataset.labels)}
    with tempfile.TemporaryDirectory() as root:
        at = Path(root)
        sparse.save_npz(at / "train.npz", taken(dataset).matrix.astype(np.float32))
        for name, split, column in (
            ("validation", "validation", "history"),
            ("validation_came", "validation", "label"),
            ("test", "test", "history"),
        ):
            lists = dataset.read(split, [column]).column(0).to_pylist()
            pairs = np.array([(r, index[v]) for r, row in enumerate(lists) for v in row], dtype=np.int64).reshape(-1, 2)
            matrix = sparse.csr_matrix((np.ones(len(pairs), np.float32), (pairs[:, 0], pairs[:, 1])), shape=(len(lists), len(index)))
            sparse.save_npz(at / f"{name}.npz", matrix)
        script = Path(__file__).parents[1] / "recommend" / "implicit_fit.py"
        subprocess.run([str(python), "-W", "ignore", str(script), root], check=True, capture_output=True, timeout=1200)
        with np.load(at / "answers.npz") as loaded:
            answers, chosen, seconds = loaded["answers"], loaded["chosen"], float(loaded["seconds"])
    outputs = np.stack([answers, np.linspace(1, 0, TOP)[None].repeat(len(answers), 0)], axis=2).astype(np.float64)
    new = np.array([not row for row in dataset.read("test", ["history"]).column(0).to_pylist()])
    outputs[new] = popular(popularity(dataset, dataset.labels), None, int(new.sum()), TOP)
    said = f"factors {chosen[0]:g}, regularization {chosen[1]:g}, alpha {chosen[2]:g}, by the validation rows"
    return {**_judged(informed(outputs, information(dataset, dataset.labels)), said, dataset), "seconds": round(seconds, 1)}


def _popular(dataset: Dataset) -> tuple[np.ndarray, str]:
    name, outputs = dataset.problem.trivial(dataset, dataset.labels, "ndcg_10", None)
    return outputs, name


def _judged(outputs: np.ndarray, said: str, dataset: Dataset) -> dict[str, Any]:
    """The metrics, the first one's interval over users, and how far it is ahead of what is popular."""
    asked, labels, config = dataset.problem, dataset.labels, EvaluateConfig()
    table = dataset.read("test", ["history", "label"])
    targets = Truth.of(table.column("label"), labels, table.column("history"), information(dataset, labels)).array
    units = asked.units(dataset, "test")
    found = evaluate(outputs, targets, labels, config, asked=asked, units=units)
    ahead = compare(outputs, _popular(dataset)[0], targets, labels, labels, config, asked=asked, units=units)
    return {
        "said": said,
        "ndcg_10": [round(found[k], 4) for k in ("value", "low", "high")],
        "ahead_of_popular": [round(ahead[k], 4) for k in ("difference", "low", "high")],
        **{k: round(found["metrics"][k]["value"], 4) for k in ("recall_10", "hit_10", "mrr", "coverage", "novelty")},
        "histories": {h["history"]: round(h["value"], 3) for h in found["ranking"]["histories"]},
    }


def _environment(name: str, *packages: str) -> Path:
    """The Python of an environment of its own."""
    python = OUT / name / "bin" / "python"
    if not python.exists():
        subprocess.run([uv(), "venv", "--quiet", str(OUT / name)], check=True)
        subprocess.run([uv(), "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
    return python


def _project(source: Path, model: str, by_time: bool) -> dict[str, Any]:
    split = {"split": {"by": "time", "column": "timestamp"}} if by_time else {}
    return {"name": "bench", "task": "recommend", "data": {"source": str(source), **split}, "model": {"method": model}}


if __name__ == "__main__":
    main()
