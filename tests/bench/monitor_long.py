"""A log of many million rows on disk, read on by the watch of `sluice monitor` in one look. ``python -m tests.bench.monitor_long [--millions N]``.

A line of JSON at each ten million rows: how much CPU, and the most memory the reader has had. A hundred million rows take 12 GB of disk, which
are given back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sluice.monitor import MonitorConfig, PredictionLog, profile_of
from sluice.monitor.watch import Watch
from tests.bench.monitor import BEGUN, EVERY, PARTS, REFERENCE, ROWS, kinds_of, tell, twenty, written
from tests.bench.tools import peak

_STEP = 10_000_000


class Told(PredictionLog):
    """Says how far it has been read."""

    def read(self, *args: Any, **options: Any) -> Iterator[Any]:
        rows = 0
        for batch, cursor in super().read(*args, **options):
            yield batch, cursor
            before, rows = rows, rows + batch.num_rows
            if rows // _STEP > before // _STEP or before < ROWS <= rows:
                tell("long", rows=rows, cpu_seconds=round(time.process_time()), peak_mb=peak())


def log(root: Path, millions: int) -> None:
    """The million rows of `written`, a day, again and again at days of their own, in parts of 20,000.

    The last day is `BEGUN`'s: times later than a day from now would count as none.
    """
    written(root, 0.0, BEGUN - (millions - 1) * ROWS * EVERY // 1_000_000)
    first, *_ = parts = sorted(root.rglob("*.parquet"))
    held = [pq.read_table(p) for p in parts]
    for k in range(PARTS, PARTS * millions):
        table = held[k % PARTS]
        later = table.column("time").cast(pa.int64()).to_numpy() + (k - k % PARTS) * table.num_rows * EVERY
        times = pa.array(later, pa.int64()).cast(table.schema.field("time").type)
        pq.write_table(table.set_column(0, "time", times), first.with_name(f"20261130T{k:06d}-h-000001.parquet"), compression="zstd")
    tell("long", written=millions * ROWS, parts=len(list(first.parent.iterdir())))


def look(root: Path) -> None:
    """One look at windows of 500."""
    kept = root / "kept.json"
    found = Watch(json.loads((root / "profile.json").read_text()), MonitorConfig(), Told(root, "m"), kept).look()
    size = kept.stat().st_size // 1000
    tell("long", rows=found.rows, windows=found.windows, cpu_seconds=round(time.process_time()), peak_mb=peak(), kept_kb=size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=int, default=100, metavar="N", help="of rows")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        reference = twenty(np.random.default_rng(0), REFERENCE)
        Path(folder, "profile.json").write_text(json.dumps(profile_of(reference, kinds_of(reference), ["yes", "no"] * 500)))
        log(Path(folder), args.millions)
        code = f"from pathlib import Path; from tests.bench.monitor_long import look; look(Path({folder!r}))"
        return subprocess.run([sys.executable, "-c", code], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
