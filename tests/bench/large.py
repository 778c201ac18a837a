"""Tables larger than memory: what validating, profiling, dividing and writing one takes, over the rows, and beside a script written by hand with Polars.

    python -m tests.bench.large [--rows 10000000] [--memory "1 GB"] [--form parquet] [--picture docs/images/large-data.svg] [--polars]

Prints JSON lines. Needs about 350 bytes of disk a row while it runs, 600 of a CSV (`--folder`), and looks before it begins.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

_PIECE, _NEEDED = 500_000, {"parquet": 350, "csv": 600}
_STEPS = """
import json, os, sys, time
from pathlib import Path
from sluice import project as projects
from sluice.data.prepare import prepare, validate_project_data
from sluice.tasks import load_task
base, form, engine, memory = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
os.environ["SLUICE_RUN_ROWS"] = str(base / "run")  # as `sluice run` has its steps share one reading
data = {"source": f"part-*.{form}", "engine": engine, "memory": memory}
project = projects.parse({"name": "large", "task": "tabular", "data": data}, base_dir=base)
a = time.perf_counter()
report = validate_project_data(project, base, load_task(project, base))
b = time.perf_counter()
print("validated", flush=True)
made = prepare(project, base, load_task(project, base), base / "dataset")
print(json.dumps({"validate_s": b - a, "prepare_s": time.perf_counter() - b, "cpu_s": time.process_time(), "decision": report.decision, "digest": made.digest}))
"""
_POLARS = """
import json, sys, time
from pathlib import Path
import polars as pl
base, form = Path(sys.argv[1]), sys.argv[2]
begun = time.perf_counter()
rows = (pl.scan_parquet if form == "parquet" else pl.scan_csv)(str(base / f"part-*.{form}"))
schema = rows.collect_schema()
numbers = [n for n, t in schema.items() if t.is_numeric()]
texts = [n for n, t in schema.items() if t == pl.String]
features = [n for n in schema if n != "label"]
facts = rows.select(
    pl.all().null_count().name.suffix("_nulls"), pl.all().n_unique().name.suffix("_distinct"),
    *[f(pl.col(n)).alias(f"{n}_{k}") for n in numbers for k, f in (("mean", pl.Expr.mean), ("std", pl.Expr.std), ("min", pl.Expr.min), ("max", pl.Expr.max))],
    *[pl.col(n).quantile(q).alias(f"{n}_{q}") for n in numbers for q in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)],
).collect(engine="streaming")
for n in texts:
    rows.group_by(n).len().collect(engine="streaming")
hashed = rows.with_columns(pl.struct(features).hash(17).alias("row_id"))
copies = hashed.group_by("row_id").agg(pl.len(), pl.col("label").n_unique().alias("labels")).select(
    (pl.col("len") > 1).sum().alias("again"), (pl.col("labels") > 1).sum().alias("against")).collect(engine="streaming")
part = (pl.col("row_id") % 1000) / 1000
for name, which in (("test", part < 0.2), ("validation", (part >= 0.2) & (part < 0.3)), ("train", part >= 0.3)):
    hashed.filter(which).sink_parquet(base / f"polars-{name}.parquet", compression="zstd")
print(json.dumps({"total_s": time.perf_counter() - begun, "cpu_s": time.process_time()}))
"""


def make(folder: Path, rows: int, form: str) -> int:
    """Write parts of at most `_PIECE` rows of 20 columns; their bytes."""
    folder.mkdir(parents=True)
    for i, at in enumerate(range(0, rows, _PIECE)):
        r, n = np.random.default_rng(i), min(_PIECE, rows - at)
        table: dict[str, object] = {f"measured_{j}": np.round(r.normal(50, 10, n), 2) for j in range(8)}
        table |= {f"counted_{j}": r.integers(0, 10 ** (j + 1), n) for j in range(5)}
        table |= {f"town_{j}": _some(r, [f"town {k}" for k in range(5 * 4**j)], n) for j in range(4)}
        table["missing"] = pa.array(np.round(r.exponential(3, n), 3), mask=r.random(n) < 0.1)
        table["share"] = np.round(r.random(n), 6)
        score = (np.asarray(table["measured_0"]) - 50) / 10 + r.normal(size=n)
        table["label"] = pa.array(np.where(score > 1, "high", np.where(score < -1, "low", "middle")))
        made, path = pa.table(table), folder / f"part-{i:04d}.{form}"
        if form == "parquet":
            pq.write_table(made, path, compression="zstd")
        else:
            pyarrow.csv.write_csv(made, path)
    return sum(p.stat().st_size for p in folder.glob(f"part-*.{form}"))


def _some(r: np.random.Generator, names: list[str], rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(r.integers(0, len(names), rows, dtype=np.int32)), pa.array(names)).cast(pa.string())


def watched(code: str, *arguments: str) -> tuple[dict[str, float], list[tuple[float, float]], float]:
    """Run code in a process of its own: what it prints, its memory over time (seconds, bytes), and the largest."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    seen: list[tuple[float, float]] = []
    begun = time.monotonic()

    def look() -> None:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                line = next((x for x in status.read_text().splitlines() if x.startswith("VmRSS")), None)
            except OSError:
                return
            if line:
                seen.append((time.monotonic() - begun, float(line.split()[1]) * 1024))
            time.sleep(0.2)

    thread = threading.Thread(target=look)
    thread.start()
    out, _ = process.communicate(timeout=7200)
    thread.join()
    if process.returncode:
        raise SystemExit(f"the process ended with {process.returncode}")
    return json.loads(out.splitlines()[-1]), seen, max(m for _, m in seen)


def picture(path: Path, seen: list[tuple[float, float]], limit: float, title: str) -> None:
    """Memory over time as a drawing."""
    end, top = seen[-1][0], max(limit, max(m for _, m in seen)) * 1.1
    most: dict[int, float] = {}  # the largest of each of 350 stretches
    for t, m in seen:
        most[int(350 * t / end)] = max(m, most.get(int(350 * t / end), 0.0))
    points = " ".join(f"{60 + 2 * i},{260 - 220 * m / top:.1f}" for i, m in sorted(most.items()))
    line = 260 - 220 * limit / top
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 300" font-family="sans-serif" font-size="12"><rect width="780" height="300" fill="#fff"/>'
        f'<text x="60" y="20" font-size="14">{title}</text><path d="M60 40V260H760" fill="none" stroke="#888"/>'
        f'<path d="M60 {line:.1f}H760" stroke="#c33" stroke-dasharray="4"/><text x="64" y="{line - 4:.1f}" fill="#c33">data.memory: {limit / 1e9:g} GB</text>'
        f'<polyline points="{points}" fill="none" stroke="#246" stroke-width="1.5"/><text x="52" y="264" text-anchor="end">0</text>'
        f'<text x="60" y="280">0 s</text><text x="760" y="280" text-anchor="end">{end:.0f} s</text></svg>\n'
    )


def main() -> None:
    """Measure."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--memory", default="1 GB")
    asked.add_argument("--engine", default="local")
    asked.add_argument("--form", default="parquet", choices=["parquet", "csv"])
    asked.add_argument("--folder", type=Path, default=Path("/tmp/sluice-large"))
    asked.add_argument("--picture", type=Path)
    asked.add_argument("--polars", action="store_true")
    given = asked.parse_args()
    free = shutil.disk_usage(given.folder.parent).free
    needed = 1.2 * _NEEDED[given.form] * given.rows
    if free < needed:
        raise SystemExit(f"{given.rows:,} rows need {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} are free: fewer --rows")
    try:
        size = make(given.folder, given.rows, given.form)
        found, seen, most = watched(_STEPS, str(given.folder), given.form, given.engine, given.memory)
        shutil.rmtree(given.folder / "dataset")
        speed = size / 1e6 / found["cpu_s"]
        told = {
            "rows": given.rows,
            "form": given.form,
            "engine": given.engine,
            "source_mb": size / 1e6,
            "peak_mb": most / 1e6,
            "mb_per_cpu_s": speed,
        }
        print(json.dumps({**told, **found}), flush=True)
        if given.picture:
            title = f"{given.rows:,} rows x 20 columns of {given.form}: validated, profiled, divided, written"
            picture(given.picture, seen, float(given.memory.split()[0]) * 1e9, title)
        if given.polars:
            hand, _, used = watched(_POLARS, str(given.folder), given.form)
            print(json.dumps({"polars": True, "peak_mb": used / 1e6, **hand}), flush=True)
    finally:
        shutil.rmtree(given.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
