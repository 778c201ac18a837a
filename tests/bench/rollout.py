"""How often the decision is right, how soon, and at whose cost: ``python -m tests.bench.rollout``.

2,000 rollouts of a candidate exactly as good as the stable model, and 200 each of regressions, decided
by Sluice, by fixed thresholds each minute (what canary controllers usually do) and by a z-test
repeated at every look. Prints the tables that docs/rollouts.md shows.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sluice import files
from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Outcome, Scenario, World, run
from sluice.rollouts.spec import Margin, RolloutSpec
from sluice.rollouts.state import Counts, Routed

SPEC = RolloutSpec(settle_seconds=0, warmup_seconds=0, verify_seconds=0, step_deadline_seconds=1e7)
MINUTE = 60.0


#: For regressions far below the default margin: more requests a step, and a margin to match.
THOROUGH = SPEC.model_copy(update={"minimum_requests": 5000, "errors": Margin(tolerance=0.0, margin=0.002)})
#: For models that start slowly: what comes in while they do is no evidence.
PATIENT = SPEC.model_copy(update={"settle_seconds": 20.0})


def sluice(scenario: Scenario, seed: int, spec: RolloutSpec) -> Outcome:
    return run(spec, scenario, seed)


def _walk(scenario: Scenario, seed: int, spec: RolloutSpec, every: float, judge: Callable[[dict[str, Counts], dict[str, Counts], int], str]) -> Outcome:
    """A canary over the same steps; `judge` sees the counts of the last interval and of the step, and how many intervals it has."""
    world = World(scenario, np.random.default_rng(seed))
    for weight in spec.steps:
        world.routed = Routed({STABLE: 100 - weight, CANDIDATE: weight})
        begin = {a: dict(c) for a, c in world.counts.items()}
        looks = 0
        while True:
            before = {a: dict(c) for a, c in world.counts.items()}
            world.pass_time(every)
            looks += 1
            last = {a: {k: v - before[a].get(k, 0) for k, v in c.items()} for a, c in world.counts.items()}
            step = {a: {k: v - begin[a].get(k, 0) for k, v in c.items()} for a, c in world.counts.items()}
            verdict = judge(last, step, looks)
            if verdict == "fail":
                return Outcome("RolledBack", world.time, world.exposed, world.harmed, ("fail",))
            if verdict == "pass":
                break
    return Outcome("Succeeded", world.time, world.exposed, world.harmed, ())


def thresholds(scenario: Scenario, seed: int, spec: RolloutSpec) -> Outcome:
    """Each minute: at most 1 % errors and 5 % slow answers in the candidate; the third bad minute ends it, five minutes are a step."""
    bad = [0]

    def judge(last: dict[str, Counts], step: dict[str, Counts], looks: int) -> str:
        c = last["candidate"]
        n = c.get("requests", 0)
        bad[0] += n > 0 and (c["errors"] / n > 0.01 or c["slow"] / n > 0.05)
        return "fail" if bad[0] > 2 else "pass" if looks >= 5 else "wait"

    return _walk(scenario, seed, spec, MINUTE, judge)


def repeated_z(scenario: Scenario, seed: int, spec: RolloutSpec) -> Outcome:
    """At every look a two-proportion z-test at 5 % on errors and on slow answers; passes at the minimum of requests."""

    def judge(last: dict[str, Counts], step: dict[str, Counts], looks: int) -> str:
        a, b = step["stable"], step["candidate"]
        n_a, n_b = a.get("requests", 0), b.get("requests", 0)
        if min(n_a, n_b) >= 30:
            for key in ("errors", "slow"):
                pooled = (a[key] + b[key]) / (n_a + n_b)
                spread = math.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
                if spread > 0 and (b[key] / n_b - a[key] / n_a) / spread > 1.645:
                    return "fail"
        return "pass" if n_b >= spec.minimum_requests else "wait"

    return _walk(scenario, seed, spec, scenario.interval(spec), judge)


METHODS: dict[str, Callable[[Scenario, int, RolloutSpec], Outcome]] = {"Sluice": sluice, "fixed thresholds": thresholds, "repeated z-test": repeated_z}


@dataclass(frozen=True)
class Case:
    name: str
    scenario: Scenario
    runs: int
    spec: RolloutSpec = SPEC


def alike(runs: int) -> list[Case]:
    """Candidate and stable the same: every rollback is false."""
    out = []
    for rate in (0.2, 2.0, 20.0, 100.0, 500.0):
        base = Behaviour(errors=0.003, slow=0.01)
        out.append(Case(f"as good, {rate:g}/s", Scenario(rate, base, base), runs // 5))
    base = Behaviour(errors=0.02, slow=0.03)
    out.append(Case("as good, 2 % errors and 3 % slow in both, 50/s", Scenario(50.0, base, base), runs // 5))
    base = Behaviour(errors=0.003, slow=0.01)
    out.append(Case("as good, bursts of faults in both, 50/s", Scenario(50.0, base, base, traffic="bursts"), runs // 5))
    out.append(Case("as good, traffic by time of day, 2/s", Scenario(2.0, base, base, traffic="diurnal", period=7200), runs // 5))
    out.append(Case("as good, 60 % slow in its first 20 s, 50/s, `settle_seconds: 20`",
                    Scenario(50.0, base, replace(base, slow_at_start=0.6, start_seconds=20)), runs // 5, PATIENT))  # fmt: skip
    return out


def worse(runs: int) -> list[Case]:
    base = Behaviour(errors=0.001, slow=0.01)
    out = [Case(f"+{100 * more:g} points of errors, 50/s", Scenario(50.0, base, replace(base, errors=0.001 + more)), runs)
           for more in (0.005, 0.01, 0.02, 0.05)]  # fmt: skip
    out.append(Case("+20 points of slow answers, 50/s", Scenario(50.0, base, replace(base, slow=0.21)), runs))
    out.append(Case("1 error in 200 against none, 500/s", Scenario(500.0, Behaviour(), Behaviour(errors=0.005)), runs))
    out.append(Case("1 error in 200 against none, 500/s, thorough", Scenario(500.0, Behaviour(), Behaviour(errors=0.005)), runs, THOROUGH))
    out.append(Case("1 error in 1,000 against none, 500/s, thorough", Scenario(500.0, Behaviour(), Behaviour(errors=0.001)), runs, THOROUGH))
    out.append(Case("+2 points of errors, 0.5/s", Scenario(0.5, base, replace(base, errors=0.021)), runs))
    out.append(Case("+5 points of errors, bursts in both, 50/s",
                    Scenario(50.0, base, replace(base, errors=0.051), traffic="bursts"), runs))  # fmt: skip
    return out


def _some(job: tuple[str, Case, range]) -> list[Outcome]:
    method, case, seeds = job
    return [METHODS[method](case.scenario, s, case.spec) for s in seeds]


def measure(cases: list[Case], workers: int) -> list[dict[str, Any]]:
    """One row a case and method: shares of endings, medians of time and of users met with a fault."""
    rows = []
    with ProcessPoolExecutor(workers) as pool:
        for case in cases:
            for method in METHODS:
                chunks = [range(i, min(i + 20, case.runs)) for i in range(0, case.runs, 20)]
                outcomes = [o for part in pool.map(_some, [(method, case, c) for c in chunks]) for o in part]
                back = np.array([o.phase == "RolledBack" for o in outcomes])
                rows.append({
                    "case": case.name, "method": method, "runs": len(outcomes), "rolled_back": float(back.mean()),
                    "seconds": float(np.median([o.seconds for o in outcomes])), "exposed": float(np.median([o.exposed for o in outcomes])),
                    "harmed": float(np.median([o.harmed for o in outcomes])), "harmed_p95": float(np.quantile([o.harmed for o in outcomes], 0.95)),
                })  # fmt: skip
                print(rows[-1], flush=True)
    return rows


def table(rows: list[dict[str, Any]], *, false: bool) -> str:
    head = "| | " + " | ".join(METHODS) + " |\n|---|" + "---|" * len(METHODS)
    lines = [head]
    for name in dict.fromkeys(r["case"] for r in rows):
        cells = []
        for method in METHODS:
            r = next(r for r in rows if r["case"] == name and r["method"] == method)
            said = f"{100 * r['rolled_back']:.1f} %"
            cells.append(said if false else f"{said}, {r['harmed']:.0f} ({r['harmed_p95']:.0f}), {_span(r['seconds'])}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="rollouts alike at the five rates together")
    parser.add_argument("--regressions", type=int, default=200, help="rollouts a regression")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("bench-results/rollout.json"))
    args = parser.parse_args()
    begun = time.time()
    same, regressed = measure(alike(args.runs), args.workers), measure(worse(args.regressions), args.workers)
    files.write_json(args.out, {"alike": same, "worse": regressed, "seconds": time.time() - begun})
    print("\nFalse rollbacks of a candidate as good as stable:\n\n" + table(same, false=True))
    print("\nRegressions: rolled back, users met with a fault (median, 95th percentile), time to the end:\n\n" + table(regressed, false=False))
    print(f"\n{time.time() - begun:.0f} s")


if __name__ == "__main__":
    main()
