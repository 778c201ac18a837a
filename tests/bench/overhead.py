"""What the line costs beside the work: the wall clock of each step against the same work in one process, and of the whole against a plain script.

Run as ``python -m tests.bench.overhead [RUNS]``. The project is digits as ``make run`` begins, in a home that is new each time: its first
model. Targets: 0.25 s a step beside its own work; 20 s for the whole on two idle cores. What the whole does and the script does not: checks
of the data, proof that the graph answers as the model does, intervals, a baseline, the model card, a rollout by real servers. CPU
seconds are those of the whole process tree: on a busy machine look at them.
"""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

PROJECT = Path(__file__).parents[2] / "examples" / "digits" / "sluice.yaml"
EPOCHS, WIDTH = 2, 8
OVERRIDES = (f"train.epochs={EPOCHS}", f"model.width={WIDTH}")
_TIME = r"^(\d\d):(\d\d):(\d\d\.\d+) - INFO - (Executing task|Task) \S*'([a-z-]+)'\S*( finished)?"


def timed(command: list[str]) -> tuple[str, float, float]:
    """Run it: what it prints, its wall-clock seconds, the CPU seconds of its whole tree."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    out = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if out.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {out.returncode}\n{out.stdout}{out.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return out.stdout, time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def walls(log: str) -> dict[str, float]:
    """Seconds from a step's beginning to its end, from what kfp.local writes into the run's log."""
    begun: dict[str, float] = {}
    found: dict[str, float] = {}
    for hours, minutes, seconds, what, task, done in re.findall(_TIME, log, re.MULTILINE):
        at = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        step = task.replace("-", "_")
        if what == "Executing task":
            begun[step] = at
        elif done:
            found[step] = (at - begun[step]) % 86400
    return found


def run() -> tuple[dict[str, float], float, float]:
    """One first model: seconds by step, of the whole command, and its CPU seconds."""
    with tempfile.TemporaryDirectory() as home:
        sets = [word for item in OVERRIDES for word in ("--set", item)]
        out, wall, cpu = timed(["sluice", "run", str(PROJECT), "--home", home, "--json", *sets])
        return walls(Path(orjson.loads(out)["log"]).read_text()), wall, cpu


def main(runs: int = 3) -> None:
    """Print each step's two figures, and the three totals."""
    own = orjson.loads(timed(["tests.bench.one_process", str(PROJECT), *OVERRIDES])[0])
    found = [run() for _ in range(runs)]
    steps = {step: statistics.median(f[0][step] for f in found) for step in own}
    print(f"{'':16}{'in the line':>12}{'in one process':>16}{'beside it':>11}")
    for step, wall in steps.items():
        print(f"{step:16}{wall:10.2f} s{own[step]:14.2f} s{wall - own[step]:9.2f} s")
    beside = sum(steps.values()) - sum(own.values())
    print(
        f"{'all':16}{sum(steps.values()):10.2f} s{sum(own.values()):14.2f} s{beside:9.2f} s, {beside / len(own):.2f} s a step (target 0.25)"
    )
    plain = [timed(["tests.bench.plain_line", str(EPOCHS), str(WIDTH)]) for _ in range(runs)]
    for name, wall, cpu in (
        ("sluice run", *(statistics.median(f[i] for f in found) for i in (1, 2))),
        ("plain script", *(statistics.median(f[i] for f in plain) for i in (1, 2))),
    ):
        print(f"{name:14}{wall:7.1f} s by the clock, {cpu:6.1f} s of CPU" + (" (target 20)" if name == "sluice run" else ""))
    print(f"the script: {plain[0][0].strip()}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
