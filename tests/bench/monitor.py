"""Drift measured: how fast, beside Evidently and NannyML, how often it cries wolf, and what it catches. ``python -m tests.bench.monitor [PART ...]``.

A line of JSON each. Parts: ``speed``, ``evidently``, ``nannyml`` (in a scratch environment that is removed), ``quiet``, ``caught``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.monitor import DriftMonitor, MonitorConfig, PredictionLog, Window, profile_of
from tests.bench.tools import peak, uv

ROWS, REFERENCE, PARTS = 1_000_000, 50_000, 50
#: When the million predictions of a log begin, in seconds since 1970, and how far they are apart, in microseconds: they are a day.
BEGUN, EVERY = 1_790_000_000, 86_400
NAMES = np.array([f"name{i}" for i in range(30)], dtype=object)
Column = Callable[[np.random.Generator, int], Any]


def tell(part: str, **found: Any) -> None:
    """One line."""
    print(json.dumps({"part": part, **found}), flush=True)


def twenty(rng: np.random.Generator, n: int, shift: float = 0.0) -> pa.Table:
    """Twelve normal columns, two flags, two zero-inflated ones, four of 30 names; shifted, half of them by as many deviations."""
    data: dict[str, Any] = {f"x{i}": rng.normal(i + (i % 2) * shift * (1 + i), 1 + i, n) for i in range(12)}
    data |= {f"flag{i}": (rng.random(n) < 0.1 + 0.1 * shift * i).astype(float) for i in range(2)}
    data |= {f"zero{i}": np.where(rng.random(n) < 0.8, 0.0, rng.exponential(2, n)) for i in range(2)}
    weights = 1 / np.arange(1, 31) ** (1 + 0.3 * shift)
    data |= {f"name{i}": pa.array(NAMES[rng.choice(30, n, p=weights / weights.sum())], pa.string()) for i in range(4)}
    return pa.table(data)


def kinds_of(table: pa.Table) -> dict[str, str]:
    return {f.name: "categorical" if pa.types.is_string(f.type) else "numeric" for f in table.schema}


def written(root: Path, shift: float, begun: int = BEGUN) -> None:
    """A million predictions as servers write them, a day from `begun` on."""
    rng, each = np.random.default_rng(1), ROWS // PARTS
    folder = root / "predictions/model=m/version=aaaaaaaaaaaa"
    folder.mkdir(parents=True)
    for k in range(PARTS):
        times = pa.array(begun * 1_000_000 + (np.arange(each) + k * each) * EVERY, pa.timestamp("us", tz="UTC"))
        answers = pa.array(np.where(rng.random(each) < 0.3, "yes", "no"), pa.string())
        features = twenty(rng, each, shift).combine_chunks().to_struct_array()
        table = pa.table({"time": times, "prediction": answers, "probability": rng.random(each), "features": features})
        pq.write_table(table, folder / f"20261130T{k:06d}-h-000001.parquet", compression="zstd")


def watched(root: Path, profile: dict[str, Any], rows: int) -> tuple[float, list[Any]]:
    """Seconds of CPU from files to verdicts, reading included, and the verdicts."""
    monitor, found = DriftMonitor(profile, MonitorConfig(window=Window(rows=rows))), []
    begun = time.process_time()
    state = monitor.begin()
    for batch, _ in PredictionLog(root, "m").read(columns=monitor.columns):
        state, verdicts = monitor.feed(state, batch)
        found += verdicts
    return time.process_time() - begun, found


def speed() -> None:
    """In a process of its own, so that its memory is its own."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        reference = twenty(np.random.default_rng(0), REFERENCE)
        Path(folder, "profile.json").write_text(json.dumps(profile_of(reference, kinds_of(reference), ["yes", "no"] * 500)))
        written(Path(folder), 0.0)
        for rows in (1_000_000, 10_000, 500):
            code = f"from tests.bench.monitor import alone; alone({folder!r}, {rows})"
            subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def alone(folder: str, rows: int) -> None:
    """One measurement."""
    import sluice.data.profile
    import sluice.monitor.drift  # noqa: F401 - what is imported once is not measured

    seconds, found = watched(Path(folder), json.loads(Path(folder, "profile.json").read_text()), rows)
    alarms = sum(len(v.raised) for v in found)
    tell(
        "speed",
        predictions=ROWS,
        features=20,
        window=rows,
        windows=len(found),
        cpu_seconds=round(seconds, 2),
        peak_mb=peak(),
        alarms=alarms,
    )


def scores(reference: pa.Table, current: pa.Table) -> tuple[float, dict[str, Any]]:
    """Our seconds and scores of one window of all rows."""
    monitor = DriftMonitor(profile_of(reference, kinds_of(reference)), MonitorConfig(window=Window(rows=current.num_rows)))
    begun = time.process_time()
    _, (verdict,) = monitor.feed(monitor.begin(), current)
    return time.process_time() - begun, {s.feature: s for s in verdict.scores}


def apart(theirs: dict[str, float], ours: dict[str, float | None]) -> float:
    return max(abs(v - (ours[k] or 0.0)) for k, v in theirs.items())


def evidently() -> None:
    """The same reference and a million shifted rows: Wasserstein in deviations, and Jensen-Shannon of names."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    rng = np.random.default_rng(2)
    reference, current = twenty(rng, REFERENCE), twenty(rng, ROWS, 0.3)
    seconds, ours = scores(reference, current)
    kinds = kinds_of(reference)
    definition = DataDefinition(
        numerical_columns=[k for k, v in kinds.items() if v == "numeric"],
        categorical_columns=[k for k, v in kinds.items() if v != "numeric"],
    )
    sets = [Dataset.from_pandas(t.to_pandas(), data_definition=definition) for t in (current, reference)]
    begun = time.process_time()
    found = Report([DataDriftPreset(num_method="wasserstein", cat_method="jensenshannon")]).run(*sets).dict()
    theirs_seconds = time.process_time() - begun
    theirs = {m["config"]["column"]: float(m["value"]) for m in found["metrics"] if "column" in m.get("config", {})}
    numbers = {k: v for k, v in theirs.items() if kinds[k] == "numeric"}
    tell(
        "evidently",
        rows=ROWS,
        their_cpu_seconds=round(theirs_seconds, 2),
        our_cpu_seconds=round(seconds, 2),
        times=round(theirs_seconds / seconds, 1),
        wasserstein_apart=round(apart(numbers, {k: ours[k].wasserstein for k in numbers}), 4),
        columns=len(theirs),
    )
    names = {k: v for k, v in theirs.items() if kinds[k] != "numeric"}
    monitor = DriftMonitor(
        profile_of(reference, kinds), MonitorConfig.model_validate({"drift": {"method": "js"}, "window": {"rows": ROWS}})
    )
    _, (verdict,) = monitor.feed(monitor.begin(), current)
    js = {s.feature: s.score for s in verdict.scores}
    # SciPy's, theirs, is by natural logarithms; ours by base 2, so that it ends at 1.
    tell("evidently", jensen_shannon_apart=round(apart({k: v / np.log(2) ** 0.5 for k, v in names.items()}, js), 4), columns=len(names))


_NANNYML = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import pandas as pd, nannyml as nml
r, c = (pd.read_parquet(p) for p in sys.argv[1:3])
names = list(r.columns)
begun = time.process_time()
calc = nml.UnivariateDriftCalculator(column_names=names, chunk_number=1, continuous_methods=["kolmogorov_smirnov", "wasserstein"], categorical_methods=["jensen_shannon"])
calc.fit(r)
fitted = time.process_time()
d = calc.calculate(c).filter(period="analysis").to_df()
out = {f"{n}|{m}": float(d[(n, m, "value")].iloc[0]) for n in names for m in ("kolmogorov_smirnov", "wasserstein", "jensen_shannon") if (n, m, "value") in d.columns}
print(json.dumps({"seconds": time.process_time() - fitted, "fit": fitted - begun, "scores": out}))
"""


def nannyml(python: str = "") -> None:
    """Kolmogorov-Smirnov, Wasserstein in units of the column, Jensen-Shannon of names."""
    rng = np.random.default_rng(3)
    reference, current = twenty(rng, REFERENCE), twenty(rng, ROWS, 0.3)
    seconds, ours = scores(reference, current)
    monitor = DriftMonitor(
        profile_of(reference, kinds_of(reference)), MonitorConfig.model_validate({"drift": {"method": "js"}, "window": {"rows": ROWS}})
    )
    _, (verdict,) = monitor.feed(monitor.begin(), current)
    js = {s.feature: s.score for s in verdict.scores}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        if not python:
            subprocess.run([uv(), "venv", "-q", "--python", sys.executable, f"{folder}/venv"], check=True, timeout=120)
            python = f"{folder}/venv/bin/python"
            made = subprocess.run(
                [uv(), "pip", "install", "-q", "--python", python, "nannyml", "setuptools<81", "statsmodels"],
                capture_output=True,
                text=True,
                timeout=900,
                check=False,
            )
            if made.returncode:
                tell("nannyml", skipped=made.stderr.strip().splitlines()[-1][:300])
                return
        pq.write_table(reference, f"{folder}/r.parquet")
        pq.write_table(current, f"{folder}/c.parquet")
        done = subprocess.run(
            [python, "-c", _NANNYML, f"{folder}/r.parquet", f"{folder}/c.parquet"], capture_output=True, text=True, timeout=900, check=False
        )
    if done.returncode:
        tell("nannyml", skipped=(done.stderr.strip().splitlines() or ["no answer"])[-1][:300])
        return
    found = json.loads(done.stdout.strip().splitlines()[-1])
    by = {m: {k.split("|")[0]: v for k, v in found["scores"].items() if k.endswith(m)} for m in ("smirnov", "wasserstein", "shannon")}
    std = {k: float(np.std(reference.column(k).to_numpy())) for k in by["wasserstein"]}
    tell(
        "nannyml",
        rows=ROWS,
        their_cpu_seconds=round(found["seconds"], 2),
        our_cpu_seconds=round(seconds, 2),
        times=round(found["seconds"] / seconds, 1),
        ks_apart=round(apart(by["smirnov"], {k: ours[k].ks for k in by["smirnov"]}), 4),
        wasserstein_apart=round(apart({k: v / std[k] for k, v in by["wasserstein"].items()}, {k: ours[k].wasserstein for k in std}), 4),
        jensen_shannon_apart=round(apart(by["shannon"], js), 4),
    )


# -- false alarms, and what is caught ---------------------------------------------------------------


def thirty() -> dict[str, tuple[str, Column]]:
    """Thirty columns of the kinds that fool a monitor."""
    words = np.array([f"word{i}" for i in range(800)], dtype=object)
    zipf = 1 / np.arange(1, 801)
    out: dict[str, tuple[str, Column]] = {f"normal{i}": ("numeric", lambda r, n, i=i: r.normal(i, 1 + i, n)) for i in range(6)}
    out |= {f"flag{p}": ("numeric", lambda r, n, p=p: (r.random(n) < p).astype(float)) for p in (0.5, 0.05, 0.01, 0.002, 0.3)}
    out |= {
        f"zero{p}": ("numeric", lambda r, n, p=p: np.where(r.random(n) < p, 0.0, r.exponential(3, n))) for p in (0.5, 0.9, 0.97, 0.8, 0.99)
    }
    out |= {f"cauchy{i}": ("numeric", lambda r, n, i=i: r.standard_cauchy(n) * 10**i) for i in range(2)}
    out |= {f"lognormal{i}": ("numeric", lambda r, n, i=i: np.exp((2 + i) * r.normal(size=n))) for i in range(3)}
    for k, power in ((500, 0.0), (500, 1.0), (5, 0.5), (60, 1.0)):
        share = 1 / np.arange(1, k + 1) ** power
        names = np.array([f"c{i}" for i in range(k)], dtype=object)
        out[f"names{k}-{power:g}"] = (
            "categorical",
            lambda r, n, names=names, share=share: names[r.choice(len(names), n, p=share / share.sum())],
        )
    out |= {f"gaps{i}": ("numeric", lambda r, n: np.where(r.random(n) < 0.1, np.nan, r.normal(size=n))) for i in range(3)}

    def texts(r: np.random.Generator, n: int, again: bool) -> list[str]:
        lengths = r.poisson(8, n) + 1
        return [
            " ".join(np.repeat(w[:2], k // 2 + 1) if again else w)
            for k, w in ((k, words[r.choice(800, k, p=zipf / zipf.sum())]) for k in lengths)
        ]

    return out | {f"text{i}": ("text", lambda r, n, i=i: texts(r, n, bool(i))) for i in range(2)}


def table(columns: dict[str, tuple[str, Column]], rng: np.random.Generator, n: int) -> pa.Table:
    types = {"numeric": pa.float64(), "categorical": pa.string(), "text": pa.string()}
    return pa.table({k: pa.array(make(rng, n), types[kind], from_pandas=True) for k, (kind, make) in columns.items()})


def quiet(windows: int = 720, trained: tuple[int, ...] = (1000, 20_000)) -> None:
    """Thirty days of a window of 500 an hour, by how many rows the model learnt from: alarms where nothing moves."""
    columns = thirty()
    for i, rows in enumerate(trained):
        rng = np.random.default_rng(100 + i)
        monitor = DriftMonitor(profile_of(table(columns, rng, rows), {k: kind for k, (kind, _) in columns.items()}))
        state, alarms, single = monitor.begin(), [], 0
        for _ in range(windows // 10):
            state, verdicts = monitor.feed(state, table(columns, rng, 5000))
            alarms += [a.text for v in verdicts for a in v.raised]
            single += sum(len(v.moved) for v in verdicts)
        tell(
            "quiet",
            trained_on=rows,
            features=len(columns),
            windows=windows,
            days=30,
            alarms=len(alarms),
            single_windows=single,
            which=alarms[:5],
        )


def _to(psi: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising distance is 0.25."""
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if psi(middle) < 0.25 else (low, middle)
    return high


def _of_two(p: float, q: float) -> float:
    return float((q - p) * np.log(q / p * (1 - p) / (1 - q)))


def shifts() -> dict[str, tuple[str, Column, Column]]:
    """A column of each kind before and after a shift of 0.25 PSI: of its own distribution, not of ten bins."""
    out: dict[str, tuple[str, Column, Column]] = {
        "normal, mean": ("numeric", lambda r, n: r.normal(size=n), lambda r, n: r.normal(0.5, 1, n)),
        "lognormal": ("numeric", lambda r, n: np.exp(3 * r.normal(size=n)), lambda r, n: np.exp(3 * r.normal(0.5, 1, n))),
    }
    wider = _to(lambda s: 0.5 * (s * s + 1 / s / s) - 1, 1, 3)
    out["normal, wider"] = ("numeric", lambda r, n: r.normal(size=n), lambda r, n: r.normal(0, wider, n))
    for p in (0.5, 0.05, 0.01, 0.002):
        q = _to(lambda q, p=p: _of_two(p, q), p, 0.99)
        out[f"flag {p:g}"] = ("numeric", lambda r, n, p=p: (r.random(n) < p) * 1.0, lambda r, n, q=q: (r.random(n) < q) * 1.0)
        out[f"zero-inflated {1 - p:g}"] = (
            "numeric",
            lambda r, n, p=p: np.where(r.random(n) < p, r.exponential(3, n), 0.0),
            lambda r, n, q=q: np.where(r.random(n) < q, r.exponential(3, n), 0.0),
        )
    out["flag 5 % to 95 %"] = ("numeric", lambda r, n: (r.random(n) < 0.05) * 1.0, lambda r, n: (r.random(n) < 0.95) * 1.0)
    for k in (5, 60, 500):
        before = 1 / np.arange(1, k + 1)
        before /= before.sum()

        def tilted(t: float, before: Any = before) -> Any:
            after = before * np.where(np.arange(len(before)) % 2, np.exp(t), 1.0)
            return after / after.sum()

        t = _to(lambda t, b=before, f=tilted: float(((f(t) - b) * np.log(f(t) / b)).sum()), 0, 5)  # type: ignore[misc]
        names, after = np.array([f"c{i}" for i in range(k)], dtype=object), tilted(t)
        out[f"{k} names"] = (
            "categorical",
            lambda r, n, names=names, p=before: names[r.choice(len(names), n, p=p)],
            lambda r, n, names=names, p=after: names[r.choice(len(names), n, p=p)],
        )
    return out


def caught(times: int = 300, trained: int = 20_000) -> None:
    """How often each shift raises an alarm within two windows of 500, among thirty features."""
    columns = shifts()
    rng = np.random.default_rng(7)
    before = {k: (kind, made) for k, (kind, made, _) in columns.items()}
    monitor = DriftMonitor(profile_of(table(before, rng, trained), {k: kind for k, (kind, _) in before.items()}))
    after, hits = {k: (kind, made) for k, (kind, _, made) in columns.items()}, dict.fromkeys(columns, 0)
    for _ in range(times):
        _, verdicts = monitor.feed(monitor.begin(), table(after, rng, 1000))
        for name in {a.feature for v in verdicts for a in v.raised}:
            hits[name] += 1
    for name, n in hits.items():
        tell("caught", shift=name, psi=None if "95" in name else 0.25, within_windows=2, rows=500, caught=n / times, times=times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = {"speed": speed, "evidently": evidently, "nannyml": nannyml, "quiet": quiet, "caught": caught}
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(every)}; default: all")
    parser.add_argument("--nannyml", default="", metavar="PYTHON", help="of an environment that has it")
    args = parser.parse_args()
    for part in args.parts or every:
        if part == "nannyml":
            nannyml(args.nannyml)
        else:
            every[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
