"""``python -m tests.bench.serving [--seconds S] [--rounds R] [--only NAME ...]``: the table of docs/serving.md.

Every comparison is run in turn, ours and theirs, `rounds` times; medians are printed with the
versions of both sides and the load of the machine, since a busy one distorts them.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from sluice.core import files
from tests.bench.serving import measures, servers
from tests.bench.serving.minilm import build

RESULTS = Path("bench-results/serving")


def main() -> None:
    p = argparse.ArgumentParser(prog="python -m tests.bench.serving")
    p.add_argument("--seconds", type=float, default=5.0, help="of one load phase")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", nargs="+", choices=list(measures.ALL), default=list(measures.ALL))
    args = p.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    models = build(RESULTS / "models")
    rows = []
    print(servers.machine())
    for name in args.only:
        for row in measures.ALL[name](models, args.rounds, args.seconds):
            row["load_average"] = round(os.getloadavg()[0], 1)
            rows.append(row)
            print(
                f"{row['what']:<58} {row['ours']:>10} {row['peer']:>10} ({row['against']})  ratio or difference {row['result']}, target {row['target']}"
                f"  [load {row['load_average']}]",
                flush=True,
            )
            files.write_json(RESULTS / "results.json", {"machine": servers.machine(), "rows": rows})
    print(json.dumps({"rows": len(rows), "file": str(RESULTS / "results.json")}))


if __name__ == "__main__":
    main()
