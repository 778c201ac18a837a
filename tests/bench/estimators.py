"""Tables: the network beside each estimator, on the same rows. ``python -m tests.bench.estimators [FOLDER] [--rows N]``.

Each table (a CSV of the folder, by default the two that are in scikit-learn's wheel) is prepared once; each model, with its defaults, learns
its training rows, stops by its validation rows, and is judged on the held-out ones. Results are kept a table and model a file, so a run goes
on where it stopped. What is printed is Markdown: log loss for classes, the mean absolute error over that of the mean for a quantity.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sluice.core.errors import SluiceError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.rows import tensors_from_arrow
from sluice.learners.fit import fit
from sluice.problems import evaluator
from sluice.project import parse
from sluice.tasks import load_task

OUT = Path(__file__).parents[2] / "bench-results" / "estimators"
#: What is learnt, as `model:` says it.
MODELS: dict[str, dict[str, Any]] = {
    "network": {},
    **{name: {"estimator": name} for name in ("xgboost", "lightgbm", "gradient_boosting", "random_forest", "logistic_regression")},
}
#: Of a table: its label, columns that give the label away or number the rows, and what a person would add.
TABLES: dict[str, dict[str, Any]] = {
    "bikeshare": {"label": "count", "ignore": ["casual", "registered"]},
    "caravan": {"label": "Purchase", "ignore": ["rownames"]},
    "diamonds": {"label": "price"},
    "telco": {"label": "Churn", "ignore": ["customerID"]},
    "titanic": {"label": "survived", "ignore": ["alive"]},
}
_BUNDLED = {"breast_cancer": "sklearn://breast_cancer", "diabetes": "sklearn://diabetes"}


def main(argv: list[str] | None = None) -> None:
    """Measure what is not yet measured, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.estimators", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of CSV files")
    parser.add_argument("--rows", type=int, default=8000, help="rows taken of a larger file, evenly spaced")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    args = parser.parse_args(argv)
    sources = {n: OUT / f"{n}.csv" for n in TABLES if args.folder and (args.folder / f"{n}.csv").exists()}
    for name, path in sources.items():
        _thin(args.folder / f"{name}.csv", path, args.rows)
    for name, source in {**sources, **_BUNDLED}.items():
        for model in args.models:
            kept = OUT / f"{name}-{model}.json"
            if not kept.exists():
                kept.write_bytes(orjson.dumps(measure(name, str(source), model), option=orjson.OPT_INDENT_2))
                print(f"{name} {model}", flush=True)
    print(table([*sources, *_BUNDLED], args.models))


def measure(name: str, source: str, model: str) -> dict[str, Any]:
    """Metrics on the held-out rows, seconds of the fit, and the features there are."""
    columns = {k: v for k, v in TABLES.get(name, {}).items() if k in ("label", "ignore")}
    raw = {"name": "bench", "task": "tabular", "data": {"source": source, "columns": columns}, "model": MODELS[model]}
    project = parse(raw)
    task, work = load_task(project, Path()), OUT / "work" / name
    if not work.exists():
        prepare(project, Path(), task, work)
    dataset = Dataset.open(work)
    begun = time.process_time(), time.perf_counter()
    try:
        trained = fit(project, dataset, OUT / "work" / f"{name}-{model}")
    except SluiceError as e:
        return {"why": e.message}
    seconds = time.perf_counter() - begun[1]
    test = dataset.read("test")
    answers = trained.run(tensors_from_arrow(trained.processor, test))
    targets = dataset.problem.targets(test.column("label"), dataset.labels)
    found = {
        "seconds": seconds,
        "metrics": evaluator.values(answers, targets, dataset.labels),
        "rows": {s: dataset.rows(s) for s in ("train", "test")},
    }
    if not dataset.labels:
        found["relative"] = float(np.abs(answers - targets).mean() / np.abs(targets - targets.mean()).mean())
    return found


def table(names: list[str], models: list[str]) -> str:
    """The results as Markdown, the best of each table in bold."""
    lines = [f"| table | rows | {' | '.join(models)} |", "|---|---|" + "---|" * len(models)]
    for name in names:
        found = {m: orjson.loads((OUT / f"{name}-{m}.json").read_bytes()) for m in models}
        values = {m: f.get("relative", f.get("metrics", {}).get("log_loss")) for m, f in found.items()}
        best = min(v for v in values.values() if v is not None)
        rows = next(sum(f["rows"].values()) for f in found.values() if "rows" in f)
        lines.append(f"| {name} | {rows} | " + " | ".join(_cell(found[m], values[m], best) for m in models) + " |")
    return "\n".join(lines)


def _cell(found: dict[str, Any], value: float | None, best: float) -> str:
    if value is None:
        return "-"
    shown = f"{value:.3f}"
    accuracy = found["metrics"].get("accuracy")
    return (f"**{shown}**" if shown == f"{best:.3f}" else shown) + (f" ({100 * accuracy:.1f} %)" if accuracy is not None else "")


def _thin(source: Path, out: Path, rows: int) -> None:
    """A file's header and at most so many of its rows, evenly spaced."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with source.open(newline="") as f, out.open("w", newline="") as g:
        lines: Iterator[list[str]] = csv.reader(f)
        everything = list(lines)
        step = max(1, -(-(len(everything) - 1) // rows))
        csv.writer(g).writerows(itertools.chain(everything[:1], everything[1::step]))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
