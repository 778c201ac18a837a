"""What the pipeline costs beside the steps' own work: the whole run's wall time less every gate's seconds, a step.

Run as ``python -m tests.bench.overhead [RUNS]``. Target: at most 0.25 s a step.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

#: A table that a network learns.
TABLE = Path(__file__).resolve().parents[2] / "examples" / "breast_cancer"


def main(runs: int = 3) -> None:
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            out = subprocess.run(
                [sys.executable, "-m", "sluice", "run", str(TABLE / "sluice.yaml"), "--home", home, "--json"],
                capture_output=True,
                text=True,
                check=True,
            )
        outcome = orjson.loads(out.stdout)
        steps = outcome["steps"]
        found.append((outcome["pipeline_seconds"] - sum(s["seconds"] for s in steps)) / len(steps))
        print(f"{outcome['pipeline_seconds']:6.2f} s, {len(steps)} steps, {found[-1]:.3f} s a step beside their own work")
    print(f"median {statistics.median(found):.3f} s a step (target 0.25)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
