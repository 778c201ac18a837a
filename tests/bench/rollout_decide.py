"""What a decision costs, beside an older checkout's: ``python -m tests.bench.rollout_decide [--against DIR]``.

The same rollouts (one process and three in each arm, without labels and with ten) are decided by either version in a process of its own, in turn,
so that what else the machine does falls on both. Prints a JSON line a scenario: CPU time of `decide` (median, 99th percentile), bytes it holds at
its peak, bytes of the state as JSON, and the ratios to the other version, each the median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parents[2]
SCENARIOS: dict[str, tuple[int, int]] = {"1 process": (1, 0), "3 processes": (3, 0), "1 process, 10 labels": (1, 10)}

#: Runs in either version, whose simulators differ: draws the same counts and asks `decide` as a controller does, a look every 5 s.
WORKER = """
import json, sys, time, tracemalloc
import numpy as np
from sluice.rollouts.core import decide
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import Arm, Observations, Replica, Route, Routed, State
pods, labels, seeds, traced = json.loads(sys.argv[1])
plan = dict(settle_seconds=15, warmup_seconds=10, verify_seconds=120, ready_seconds=600, unready_seconds=5, trouble_seconds=45)
spec = RolloutSpec(**{k: v for k, v in plan.items() if k in RolloutSpec.model_fields})
took, peak, size = [], 0, 0
for seed in seeds:
    draw = np.random.default_rng(seed)
    state, routed, now = State(stable="s"), Routed({"s": 100}), 0.0
    counts = {arm: [dict.fromkeys(("requests", "errors", "timed", "slow"), 0) for _ in range(pods)] for arm in ("stable", "candidate")}
    while state.phase not in ("Succeeded", "RolledBack", "Failed") and now < 2000:
        now += 5.0
        for arm, at in (("stable", "s"), ("candidate", "c")):
            share = 100 if routed.mirror == at else routed.weights.get(at, 0)
            for c in counts[arm]:
                n = int(draw.poisson(250 * share / 100 / pods))
                new = {"requests": n, "errors": int(draw.binomial(n, 0.003)), "timed": n, "slow": int(draw.binomial(n, 0.01))}
                new |= {f"label:{i}": int(x) for i, x in enumerate(draw.multinomial(n, [1 / labels] * labels))} if labels else {}
                for k, v in new.items():
                    c[k] = c.get(k, 0) + v
        arms = {arm: Arm(tuple(Replica(arm[0] + str(i), True, dict(c)) for i, c in enumerate(counts[arm])), True) for arm in counts}
        seen = Observations(now, "c", arms, routed, frozenset("sc"))
        if traced:
            tracemalloc.start()
        begun = time.thread_time()
        state, actions = decide(spec, state, seen, now)
        took.append(time.thread_time() - begun)
        if traced:
            peak = max(peak, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            size = max(size, len(json.dumps(state.to_dict())))
        for a in actions:
            if isinstance(a, Route):
                routed = Routed(dict(a.weights), a.mirror)
print(json.dumps({"took": took[3:], "peak": peak, "size": size}))
"""


def asked(root: Path, pods: int, labels: int, seeds: list[int], traced: bool) -> dict[str, Any]:
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-c", WORKER, json.dumps([pods, labels, seeds, traced])]
    out: dict[str, Any] = json.loads(subprocess.run(run, env=env, cwd=root, capture_output=True, text=True, timeout=600, check=True).stdout)
    return out


def measure(roots: dict[str, Path], pods: int, labels: int, rounds: int) -> dict[str, Any]:
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in roots}
    for r in range(rounds):
        for name in sorted(roots, reverse=bool(r % 2)):
            times = asked(roots[name], pods, labels, list(range(10 * r, 10 * r + 10)), False)["took"]
            took[name].append((1e3 * float(np.quantile(times, 0.5)), 1e3 * float(np.quantile(times, 0.99))))
    held = {name: asked(root, pods, labels, [0], True) for name, root in roots.items()}
    row: dict[str, Any] = {}
    for name, found in took.items():
        p50, p99 = np.median(found, axis=0)
        row[name] = {
            "p50_ms": round(p50, 3),
            "p99_ms": round(p99, 3),
            "peak_kb": held[name]["peak"] // 1024,
            "state_kb": held[name]["size"] / 1024,
        }
    if "before" in took:
        ratios = np.median(np.array(took["now"]) / np.array(took["before"]), axis=0)
        row["ratio"] = {"p50": round(float(ratios[0]), 3), "p99": round(float(ratios[1]), 3)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="the root of an older checkout")
    parser.add_argument("--rounds", type=int, default=7, help="of ten rollouts by each version in turn")
    args = parser.parse_args()
    roots = {"now": HERE, **({"before": args.against.resolve()} if args.against else {})}
    for name, (pods, labels) in SCENARIOS.items():
        print(json.dumps({"scenario": name, **measure(roots, pods, labels, args.rounds)}), flush=True)


if __name__ == "__main__":
    main()
