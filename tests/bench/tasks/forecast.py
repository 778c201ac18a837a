"""Forecasts: what is served beside the seasonal naive forecast. ``python -m tests.bench.tasks.forecast`` prints a JSON line a set and method.

Real sets: employees of US industries by month (`examples/forecast`), prices of shares by month (matplotlib carries them), bicycles hired by hour (not
committed: left out where ``--data`` has none), and where statsmodels is installed carbon dioxide by week, the sea's temperature by month, the US economy by
quarter. Generated ones, whose noise does not change: many noisy months, and demand that is mostly nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
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
from sluice.problems.of_forecasts import Coverage
from sluice.project import parse
from sluice.tasks import load_task

ROOT = Path(__file__).parents[3]
FOLDER = ROOT.parent / "shared" / "data" / "tables"
_CONFIDENCE, _RESAMPLES = 0.95, 1000


def sets(folder: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Each set's ``data:`` and ``model:``; what has to be made is written into `out`."""
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
    for name, (table, model) in {**_shares(), **_statsmodels(), **_made()}.items():
        file = out / f"{name}.csv"
        table.to_csv(file, index=False)
        found[name] = {"data": {"source": str(file), "columns": {"label": "y"}}, "model": model}
    return found


Made = dict[str, tuple[Any, dict[str, Any]]]


def _shares() -> Made:
    """The logarithm of prices: of shares what counts is by how much they rise."""
    import matplotlib as mpl
    import pandas as pd

    file = Path(mpl.get_data_path()) / "sample_data" / "Stocks.csv"
    long = pd.read_csv(file, comment="#").melt("Date", var_name="share", value_name="y").dropna()
    long = long[long["Date"].str.endswith("-01")]  # the last day stands behind the last month
    return {"share prices, monthly": (long.assign(y=np.log(long["y"])), {"horizon": 6})} if file.exists() else {}


def _statsmodels() -> Made:
    import pandas as pd

    spec = importlib.util.find_spec("statsmodels")
    if spec is None or spec.origin is None:
        return {}
    root = Path(spec.origin).parent / "datasets"
    air = pd.read_csv(root / "co2/co2.csv", names=["day", "y"], header=0)
    air["day"] = pd.to_datetime(air["day"].astype(str)).dt.strftime("%Y-%m-%d")
    sea = pd.read_csv(root / "elnino/elnino.csv").set_index("YEAR").stack()
    months = pd.DataFrame(
        {"month": pd.date_range(f"{sea.index[0][0]}-01-01", periods=len(sea), freq="MS").strftime("%Y-%m"), "y": sea.to_numpy()}
    )
    us = pd.read_csv(root / "macrodata/macrodata.csv")
    us["day"] = [f"{int(y)}-{int(3 * q - 2):02d}-01" for y, q in zip(us["year"], us["quarter"], strict=True)]
    us = us.drop(columns=["year", "quarter"]).melt("day", var_name="figure", value_name="y")
    return {"carbon dioxide, weekly": (air, {}), "El Nino, monthly": (months, {}), "US economy, quarterly": (us, {})}


def _made() -> Made:
    import pandas as pd

    rng = np.random.default_rng(7)
    monthly, daily = [], []
    for s in range(40):
        t, level = np.arange(96), np.exp(rng.normal(4, 1))
        y = level * (1 + 0.3 * np.sin(2 * np.pi * (t + s) / 12) + 0.004 * t * rng.normal()) + level * 0.08 * rng.standard_t(4, 96)
        monthly += [(f"s{s}", str(np.datetime64("2015-01") + int(i)), v) for i, v in zip(t, y, strict=True)]
    for s in range(30):
        t = np.arange(500)
        y = rng.poisson(rng.gamma(1, 0.5) * (1 + 0.6 * (t % 7 > 4))) * rng.integers(1, 4, 500)
        daily += [(f"s{s}", str(np.datetime64("2022-01-01") + int(i)), int(v)) for i, v in zip(t, y, strict=True)]
    frames = [pd.DataFrame(rows, columns=["series", "time", "y"]) for rows in (monthly, daily)]
    return {"made: noisy months": (frames[0], {"horizon": 6}), "made: rare demand, daily": (frames[1], {"horizon": 14})}


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
        mase, held = asked.metrics()["mase"], Coverage("coverage", asked.name, "higher")
        return {
            "metric": "mase",
            "value": mase.value(ours),
            "interval": mase.interval(ours, _CONFIDENCE, _RESAMPLES),
            "units": units and units.told_as(),
            "baseline": {name: mase.value(theirs)},
            "better_by": mase.difference(ours, theirs, _CONFIDENCE, _RESAMPLES),
            "coverage": {"value": held.value(ours), "interval": held.interval(ours, _CONFIDENCE, _RESAMPLES)},
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
    parser.add_argument("--methods", nargs="*", default=["network", "boosted"], help="of model.method")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as out:
        for name, raw in sets(args.data, Path(out)).items():
            for method in args.methods if not args.only or name.startswith(tuple(args.only)) else ():
                told = measure({**raw, "model": {**raw["model"], "method": method}})
                print(orjson.dumps({"task": "forecast", "set": name, "method": method, **told}).decode(), flush=True)


if __name__ == "__main__":
    main()
