"""Tables: the model a stranger gets against scikit-learn's and FLAML's. ``python -m tests.bench.tasks.tabular`` prints one JSON line.

Each table (`tests.bench.tables.sets`) is split by as many seeds as are asked for. Ours is given source and label and nothing else; the peers learn
the rows of training and of validation, as a person would have them do, and all are judged on the same held-out rows. ``points`` is how far ours is
ahead of the better of HistGradientBoosting and a linear model (the better one of the table: of the means over its splits), in hundredths of ROC-AUC
(two labels), accuracy (more) or R² (a quantity). FLAML has an
environment of its own, made by `uv`, and as many seconds as our fit took, at least `_LEAST`. Results are kept a table and model a file.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from sluice.core.errors import SluiceError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.engines.rows import tensors_from_arrow
from sluice.formats.export import export_graph
from sluice.learners.estimators.config import MIXED
from sluice.learners.fit import fit
from sluice.problems import evaluator
from sluice.problems.answers import Answers, rarer
from sluice.problems.metrics import TABLE as METRICS
from sluice.project import parse
from sluice.tasks import load_task
from tests.bench.tables import peers
from tests.bench.tables.sets import Table, find
from tests.bench.tools import uv

ROOT = Path(__file__).parents[3]
OUT = ROOT / "bench-results" / "tabular"
FOLDER = ROOT.parent / "shared" / "data" / "tables"
PEERS = {"HistGradientBoosting": peers.boosting, "linear": peers.linear}
FLAML = ("flaml[automl]==2.3.5", "pandas<3", "pyarrow")
#: FLAML finds nothing in less, in seconds.
_LEAST = 10.0


def main(argv: list[str] | None = None) -> None:
    """Measure what is not yet measured; print the table, or the line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tasks.tabular", description=__doc__)
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of the real tables; those that are not there are left out")
    parser.add_argument("--only", nargs="*", help="tables by name")
    parser.add_argument(
        "--models",
        nargs="*",
        default=["auto"],
        help="beside the peers: auto, what learns where nothing is said; network, or another estimator",
    )
    parser.add_argument("--seeds", type=int, default=1, help="splits of each table; samples of few rows are three times as many")
    parser.add_argument("--flaml", action="store_true", help="beside FLAML too, which is fetched")
    parser.add_argument("--table", action="store_true", help="print Markdown")
    args = parser.parse_args(argv)
    tables = {
        n: t
        for n, t in find(args.data, OUT / "data", args.seeds).items()
        if not args.only or n in args.only or n.split("/")[0] in args.only
    }
    names = [*args.models, *PEERS, *(["flaml"] if args.flaml else [])]
    found = {n: {m: kept(n, t, m) for m in names} for n, t in tables.items()}
    print(markdown(found, names) if args.table else orjson.dumps(line(found, args.models[0])).decode())


def kept(name: str, table: Table, model: str) -> dict[str, Any]:
    """What was measured, now or before."""
    path = OUT / f"{name.replace('/', '-')}+{model}.json"
    if not path.exists():
        try:
            found = measure(name, table, model)
        except SluiceError as e:
            found = {"why": str(e)}
        path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return dict(orjson.loads(path.read_bytes()))


def measure(name: str, table: Table, model: str) -> dict[str, Any]:
    """Metrics on the held-out rows with the interval of the first, seconds of the fit; of ours the graph's size and latencies too."""
    columns = {"label": table.label, "ignore": list(table.ignore)}
    raw: dict[str, Any] = {
        "name": "bench",
        "task": "tabular",
        "data": {"source": str(table.source), "columns": columns, "split": {"seed": table.seed}},
    }
    raw["data"] |= {"test": str(table.test)} if table.test else {}
    # The network, which `members` alone asks for, reads no texts: to it they are categories. The rows and their split are the same.
    work = OUT / "work" / (name.replace("/", "-") + ("+network" if model == "network" else ""))
    if not work.exists():
        project = parse({**raw, "model": {"members": 8} if model == "network" else {}})
        prepare(project, Path(), load_task(project, Path()), work)
    dataset = Dataset.open(work, verify=False)
    test = dataset.read("test")
    begun = time.perf_counter()
    more: dict[str, Any] = {}
    if model in PEERS:
        answers = _peer(model, dataset, test)
    elif model == "flaml":
        answers = _flaml(dataset, test, _budget(name))
    else:
        settings: dict[str, Any] = {"network": {"members": 8}, MIXED: {}}.get(model, {"estimator": model})
        with tempfile.TemporaryDirectory() as out:
            trained = fit(parse({**raw, "model": settings}), dataset, Path(out) / "model")
            more = {"seconds": time.perf_counter() - begun, "text": trained.text}
            answers, served = _served(trained, test)
        more |= served
    return {"seconds": time.perf_counter() - begun, **judged(answers, test, dataset), **more}


def judged(answers: np.ndarray, test: pa.Table, dataset: Dataset) -> dict[str, Any]:
    """All metrics, and which one counts, with its interval."""
    labels, targets = dataset.labels, dataset.problem.targets(test.column("label"), dataset.labels)
    positive = rarer(targets, labels) if labels else None
    values = evaluator.values(answers, targets, labels, positive=positive)
    metric = ("roc_auc" if len(labels) == 2 else "accuracy") if labels else "r2"
    shown = Answers.of(answers, targets, positive=labels.index(positive) if positive is not None else None)
    interval = METRICS[metric].interval(shown, 0.95, 2000)
    return {"metric": metric, "value": values[metric], "interval": interval, "metrics": values, "rows": dataset.rows("train")}


def _served(trained: Any, test: pa.Table) -> tuple[np.ndarray, dict[str, Any]]:
    """The graph's own answers, its size in bytes, and milliseconds a request of 1 and of 32 rows (medians, one thread)."""
    graph = export_graph(trained, 20)
    engine, took = OnnxRuntime.open(graph), {}
    for rows in (1, 32):
        tensors = tensors_from_arrow(trained.processor, test.slice(0, rows))
        times = []
        for _ in range(200):
            begun = time.perf_counter()
            engine.run(tensors)
            times.append(time.perf_counter() - begun)
        took[f"ms_{rows}"] = 1000 * float(np.median(times))
    return next(iter(engine.run(tensors_from_arrow(trained.processor, test)).values())), {"bytes": len(graph), **took}


def _learnt_by_peers(dataset: Dataset) -> tuple[pa.Table, np.ndarray]:
    rows = pa.concat_tables([dataset.read(s) for s in ("train", "validation") if s in dataset.manifest["splits"]])
    return rows, dataset.problem.targets(rows.column("label"), dataset.labels)


def _peer(name: str, dataset: Dataset, test: pa.Table) -> np.ndarray:
    rows, y = _learnt_by_peers(dataset)
    frame = peers.frame_of(rows)
    return peers.answers(PEERS[name](bool(dataset.labels), frame), frame, y, peers.frame_of(test), len(dataset.labels))


def _budget(name: str) -> float:
    ours = OUT / f"{name.replace('/', '-')}+{MIXED}.json"
    return max(_LEAST, orjson.loads(ours.read_bytes())["seconds"] if ours.exists() else 0.0)


def _flaml(dataset: Dataset, test: pa.Table, seconds: float) -> np.ndarray:
    """FLAML in its own environment and process."""
    python = OUT / "flaml" / "bin" / "python"
    if not python.exists():
        subprocess.run([uv(), "venv", "--quiet", str(OUT / "flaml")], check=True)
        subprocess.run([uv(), "pip", "install", "--quiet", "--python", str(python), *FLAML], check=True)
    rows, y = _learnt_by_peers(dataset)
    with tempfile.TemporaryDirectory() as root:
        at = Path(root)
        for file, frame in (("train", peers.frame_of(rows)), ("test", peers.frame_of(test))):
            frame.to_parquet(at / f"{file}.parquet")
        np.save(at / "y.npy", y)
        (at / "asked.json").write_bytes(orjson.dumps({"labels": len(dataset.labels), "seconds": seconds}))
        script = Path(peers.__file__).with_name("flaml_fit.py")
        subprocess.run([str(python), "-W", "ignore", str(script), root], check=True, capture_output=True, timeout=600)
        return np.asarray(np.load(at / "answers.npy"))


def line(found: Mapping[str, Mapping[str, dict[str, Any]]], ours: str) -> dict[str, Any]:
    """What `make bench-tasks` shows: a table a line of `tables`; of samples of one table the mean."""
    return {"task": "tabular", "model": ours, "tables": {name: _summary(rows, ours) for name, rows in _grouped(found).items()}}


def _summary(found: Mapping[str, dict[str, Any]], ours: str) -> dict[str, Any]:
    mine = found[ours]
    points, doubt = _points(found, ours)
    keys = ("metric", "value", "interval", "rows", "bytes", "ms_1", "ms_32", "seconds", "why")
    baseline = {p: f.get("value") for p, f in found.items() if p != ours}
    return {**{k: mine[k] for k in keys if k in mine}, "baseline": baseline, "points": points, "points_error": doubt}


def _points(found: Mapping[str, dict[str, Any]], ours: str) -> tuple[float, float]:
    """How far ours is ahead of the better of scikit-learn's two, in hundredths: the mean over splits and its standard error (nan of one)."""
    best = max(PEERS, key=lambda p: _value(found[p]))
    each = [np.atleast_1d(np.array(found[m].get("values", _value(found[m])), dtype=float)) for m in (ours, best)]
    ahead = 100 * (each[0] - each[1])
    return float(ahead.mean()), float(ahead.std(ddof=1) / np.sqrt(len(ahead))) if len(ahead) > 1 else float("nan")


def _value(found: Mapping[str, Any]) -> float:
    value = found.get("value")
    return float("nan") if value is None else float(value)


def _grouped(found: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Samples of one table become one: the mean of what was measured."""
    groups: defaultdict[str, list[Mapping[str, dict[str, Any]]]] = defaultdict(list)
    for name, models in found.items():
        groups[name.rpartition("/")[0] or name].append(models)
    return {n: {m: _mean([s[m] for s in samples]) for m in samples[0]} for n, samples in groups.items()}


def _mean(samples: list[dict[str, Any]]) -> dict[str, Any]:
    if len(samples) == 1 or any("why" in s for s in samples):
        return next((s for s in samples if "why" in s), samples[0])
    means = {k: float(np.mean([s[k] for s in samples])) for k in ("value", "seconds", "bytes", "ms_1", "ms_32") if k in samples[0]}
    metrics = {
        k: float(np.mean([s["metrics"][k] for s in samples]))
        for k in samples[0]["metrics"]
        if all(s["metrics"][k] is not None for s in samples)
    }
    return {
        "metric": samples[0]["metric"],
        "rows": samples[0]["rows"],
        "values": [s["value"] for s in samples],
        "metrics": metrics,
        **means,
    }


def markdown(found: Mapping[str, Mapping[str, dict[str, Any]]], names: list[str]) -> str:
    """The metric of each model, log loss or the mean absolute error behind it; the best in bold; how far the first is ahead of scikit-learn's better one,
    with the standard error over splits."""
    lines = [
        f"| table | splits | rows | metric | {' | '.join(names)} | points | ms, 1 row | KiB |",
        "|---|---|---|---|" + "---|" * (len(names) + 3),
    ]
    for name, models in _grouped(found).items():
        mine = models[names[0]]
        best = max(_value(m) for m in models.values() if m.get("value") is not None)
        cells = " | ".join(_cell(models[m], best) for m in names)
        points, doubt = _points(models, names[0])
        told = f"{points:+.1f}" + ("" if np.isnan(doubt) else f" ± {doubt:.1f}")
        size = f"{mine['ms_1']:.2f} | {mine['bytes'] / 1024:.0f}" if "bytes" in mine else "- | -"
        rows, metric = models["linear"]["rows"], models["linear"]["metric"]
        lines.append(f"| {name} | {len(mine.get('values', [0]))} | {rows:,} | {metric} | {cells} | {told} | {size} |")
    return "\n".join(lines)


def _cell(found: Mapping[str, Any], best: float) -> str:
    if found.get("value") is None:
        return "-"
    shown = f"{found['value']:.3f}"
    loss = found["metrics"].get("log_loss", found["metrics"].get("mae"))
    return (f"**{shown}**" if shown == f"{best:.3f}" else shown) + f" ({loss:.3g})"


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
