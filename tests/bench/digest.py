"""How fast a dataset's digest is on one core, how soon one changed cell of 200,000 rows is seen, and what judging a large file takes.

    python -m tests.bench.digest [--rows 2000000] [--csv-megabytes 400]

Prints a JSON line for each measurement: megabytes of Arrow memory a second of processor time, seconds, and the peak of memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from sluice.data.difference import difference
from sluice.data.digests import table_digest


def tables(rows: int) -> dict[str, pa.Table]:
    """Kinds of columns that datasets hold."""
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(5000)])
    few = rng.choice(["red", "green", "blue"], rows)
    return {
        "20 columns of numbers": pa.table({f"x{i}": rng.normal(size=rows) for i in range(20)}),
        "numbers, a tenth missing": pa.table({f"x{i}": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1) for i in range(10)}),
        "whole numbers of 32 bits": pa.table({f"x{i}": rng.integers(0, 1000, rows, dtype=np.int32) for i in range(10)}),
        "10 numbers, 5 categories": pa.table(
            {**{f"x{i}": rng.normal(size=rows) for i in range(10)}, **{f"c{i}": few.tolist() for i in range(5)}}
        ),
        "texts of ten words": pa.table({"text": [" ".join(w) for w in words[rng.integers(0, 5000, (rows // 10, 10))]]}),
        "pictures of 4 KB": pa.table({"image": [rng.bytes(4096) for _ in range(rows // 100)]}),
    }


def digests(rows: int) -> None:
    """The digest of each kind of table: the best of three."""
    for name, table in tables(rows).items():
        took = []
        for _ in range(3):
            began = time.process_time()
            table_digest(table)
            took.append(time.process_time() - began)
        print(
            json.dumps({"digest": name, "megabytes": round(table.nbytes / 1e6), "mb_per_s": round(table.nbytes / 1e6 / min(took))}),
            flush=True,
        )


def one_cell() -> None:
    """One cell changed in row 150,000 of 200,000."""
    rng = np.random.default_rng(1)
    a = pa.table({f"x{i}": rng.normal(size=200_000) for i in range(20)})
    values = a.column("x7").to_numpy().copy()
    values[149_999] += 1e-9
    b = a.set_column(7, "x7", pa.array(values))
    began = time.process_time()
    found = difference(a, b)
    seconds = time.process_time() - began
    print(
        json.dumps(
            {
                "one cell of": a.num_rows * a.num_columns,
                "digest differs": table_digest(a) != table_digest(b),
                "seen": [(e["row_b"], e["column"]) for e in found.examples],
                "seconds": round(seconds, 2),
            }
        ),
        flush=True,
    )


_JUDGE = """
import json, resource, sys, time
from pathlib import Path
from sluice.data.config import DataConfig
from sluice.data.rules.compiled import load_rules
from sluice.data.rules.judge import judge
from sluice.data.stream import batches
folder = Path(sys.argv[1]); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rules = load_rules(folder / "schema.yaml", "schema_file")
judge(rules, batches("small.csv", DataConfig(source="x"), folder))
warm = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rules = load_rules(folder / "schema.yaml", "schema_file")
began = time.process_time()
found = judge(rules, batches("rows.csv", DataConfig(source="x"), folder))
print(json.dumps({"rows": found.rows, "rules": len(found.findings), "refused": found.refused, "seconds": round(time.process_time() - began, 1),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "peak_mb_of_a_thousand_rows": warm // 1024}))
"""


def judged(megabytes: int) -> None:
    """A CSV judged by a file of rules, in a process of its own."""
    schema = (
        "rows_min: 1\ncolumns:\n  id: {type: integer, unique: true, nulls_max: 0}\n  x: {type: number, min: -10, max: 10}\n"
        "  y: {type: number}\n  city: {type: text, values: [Oslo, Rome, Paris]}\n  code: {type: text, regex: '[A-Z]{2}[0-9]+'}\n"
        "expressions: [x < y + 100]\n"
    )
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as tmp:
        folder = Path(tmp)
        (folder / "schema.yaml").write_text(schema)
        for name, most in (("small.csv", 0), ("rows.csv", megabytes * 1_000_000)):
            with (folder / name).open("w") as f:
                f.write("id,x,y,city,code\n")
                n = 0
                while n == 0 or f.tell() < most:
                    x = rng.normal(size=(1000, 2)).round(6)
                    f.writelines(f"{n + i},{x[i, 0]},{x[i, 1]},{('Oslo', 'Rome', 'Paris')[i % 3]},AB{i}\n" for i in range(1000))
                    n += 1000
        done = subprocess.run([sys.executable, "-c", _JUDGE, tmp], check=True, capture_output=True, text=True, timeout=3600)
        print(json.dumps({"judged_csv_megabytes": megabytes, **json.loads(done.stdout)}), flush=True)


def main() -> None:
    """Measure all."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--csv-megabytes", type=int, default=400)
    args = arguments.parse_args()
    digests(args.rows)
    one_cell()
    judged(args.csv_megabytes)
    print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    main()
