"""Argo Rollouts' own code, its rules as we play them, a Flagger-like threshold and Sluice on the same recorded counters: ``python -m tests.bench.rollout_argo``.

Traffic is made up once for each rollout, and its counters are recorded at the weight of each step and at that of the last watch, look by look.
``record FILE`` writes what an ``AnalysisRun`` measures of them: by step and minute the candidate's success rate (`successCondition: result[0] >=
0.95`, `failureLimit: 3`, `count: 5`, `interval: 1m`, as in Argo's documentation). A program that gives these to Argo's analysis (the functions that
its controller calls at each look: `reconcileAnalysisRun`, `assessRunStatus`, `EvaluateResult`) writes ``{series: {phase, measurements}}``;
``table FILE DECIDED`` sets that beside the others. Such a program is not part of this project.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core import files
from sluice.rollouts.core import decide
from sluice.rollouts.simulate import CANDIDATE, STABLE, Outcome, World
from sluice.rollouts.spec import RolloutSpec, Shadow
from sluice.rollouts.state import TERMINAL, Counts, Route, Routed, State
from tests.bench.rollout import EVERY, MINUTE, SHIPPED, Case, cases, sluice

LEAST, FAILURES, COUNT = 0.95, 3, 5
LOOKS = round(MINUTE / EVERY)
#: Minutes recorded at each weight: as long as Argo looks at a step, and as many more for who takes longer.
MINUTES = 12
SHOWN = (
    "+0.5 points",
    "+2 points of errors",
    "+5 points of errors",
    "+50 points",
    "of 2 and 2 processes",
    "of one of 1 and 1, 10 %",
    "traffic: bursts of faults in both",
    "both at 15 %",
)
#: Sluice without a shadow, since the recorded counters have none.
BARE = SHIPPED.model_copy(update={"shadow": Shadow(requests=0)})


@dataclass
class Recorded(World):
    """A world whose counters were recorded: what comes at a weight is the next block that came at it."""

    def tape(self) -> dict[int, list[tuple[dict[str, list[Counts]], int, int]]]:
        """By weight and look: (what each process counted by then, live requests and bad answers of the candidate by then)."""
        out = {}
        for weight in (*BARE.steps, 100 - BARE.hold_back):
            self.routed = Routed({STABLE: 100 - weight, CANDIDATE: weight})
            out[weight] = [self._now()]
            for _ in range(MINUTES * LOOKS):
                self.pass_time(EVERY)
                out[weight].append(self._now())
        return out

    def _now(self) -> tuple[dict[str, list[Counts]], int, int]:
        return {arm: [dict(c) for c in pods] for arm, pods in self.pods.items()}, self.exposed, self.harmed


def recorded(case: Case, seed: int) -> Any:
    return Recorded(case.scenario, np.random.default_rng(seed)).tape()


def minutes(tape: Any, weight: int, key: str) -> list[float]:
    """The candidate's share of `key` in each of the first minutes; NaN for a minute without a request."""
    seen = [[sum(c.get(k, 0) for c in tape[weight][LOOKS * i][0]["candidate"]) for k in ("requests", key)] for i in range(COUNT + 1)]
    return [float(k / n) if n else float("nan") for n, k in np.diff(np.array(seen, dtype=float), axis=0)]


def by_minutes(tape: Any, measured: Callable[[int], int | None]) -> Outcome:
    """How it ends where `measured` gives for a weight the minutes after which it is rolled back, or None."""
    done = exposed = harmed = 0
    for weight in BARE.steps:
        n = measured(weight)
        first, last = tape[weight][0], tape[weight][LOOKS * (COUNT if n is None else n)]
        exposed, harmed, done = exposed + last[1] - first[1], harmed + last[2] - first[2], done + (COUNT if n is None else n)
        if n is not None:
            return Outcome("RolledBack", done * MINUTE, exposed, harmed, ())
    return Outcome("Succeeded", done * MINUTE, exposed, harmed, ())


def played(tape: Any, weight: int, least: float = LEAST, failures: int = FAILURES, slow: float | None = None) -> int | None:
    """The measurements after which a step has failed by the rule that more than `failures` bad ones end it."""
    bad = [
        not 1 - r >= least or (slow is not None and w > slow)
        for r, w in zip(minutes(tape, weight, "errors"), minutes(tape, weight, "slow"), strict=True)
    ]
    found = np.flatnonzero(np.cumsum(bad) > failures)
    return int(found[0]) + 1 if found.size else None


def by_sluice(case: Case, tape: Any, spec: RolloutSpec = BARE) -> Outcome:
    """`decide` on the recorded counters: blocks in their order at each weight; where they are used up it stands open."""
    world, state, at = World(case.scenario, np.random.default_rng(0)), State(stable=STABLE), dict.fromkeys(tape, 0)
    while state.phase not in TERMINAL:
        world.time += EVERY
        weight = world.routed.weights.get(CANDIDATE, 0)
        if weight in tape:
            i = at[weight] = at[weight] + 1
            if i >= len(tape[weight]):
                return Outcome("open", world.time, world.exposed, world.harmed, state.reasons)
            (before, n, bad), (now, m, worse) = tape[weight][i - 1], tape[weight][i]
            world.live_from = world.time - EVERY if world.live_from is None else world.live_from
            world.exposed, world.harmed = world.exposed + m - n, world.harmed + worse - bad
            for arm, pods in world.pods.items():
                for j, c in enumerate(pods):
                    for k, v in now[arm][j].items():
                        c[k] = c.get(k, 0) + v - before[arm][j].get(k, 0)
            world.shown = world.pods
        state, actions = decide(spec, state, world.look(), world.time)
        world.apply([a for a in actions if isinstance(a, Route)])
    return Outcome(state.phase, world.time - (world.live_from or world.time), world.exposed, world.harmed, state.reasons)


def tried() -> list[Case]:
    return [c for c in cases() if any(s in c.title for s in SHOWN)]


def record(runs: int) -> dict[str, Any]:
    series = {}
    for i, case in enumerate(tried()):
        for seed in range(runs):
            tape = recorded(case, seed)
            for k, weight in enumerate(BARE.steps):
                series[f"{i}-{seed}-{k}"] = [None if np.isnan(r) else 1 - r for r in minutes(tape, weight, "errors")]
    return {"success": f"result[0] >= {LEAST}", "failures": FAILURES, "count": COUNT, "interval": "60s", "runs": runs, "series": series}


def compared(runs: int, decided: dict[str, Any]) -> Iterator[tuple[str, dict[str, list[Outcome]], int]]:
    """By case the outcomes of each, and on how many steps Argo's own code and its rules as played agree."""
    for i, case in enumerate(tried()):
        found: dict[str, list[Outcome]] = {}
        agree = 0
        for seed in range(runs):
            tape = recorded(case, seed)
            theirs = {w: decided[f"{i}-{seed}-{k}"] for k, w in enumerate(BARE.steps)}
            failed = {w: v["measurements"] if v["phase"] in ("Failed", "Error") else None for w, v in theirs.items()}
            agree += sum(failed[w] == played(tape, w) for w in BARE.steps)
            for name, outcome in (
                ("Argo Rollouts' code", by_minutes(tape, failed.__getitem__)),
                ("its rules as played", by_minutes(tape, lambda w, tape=tape: played(tape, w))),
                ("Flagger-like threshold", by_minutes(tape, lambda w, tape=tape: played(tape, w, 0.99, 2, 0.05))),
                ("Sluice, no shadow", by_sluice(case, tape)),
                ("Sluice as shipped (its own draws)", sluice(case.scenario, seed, case.spec)),
            ):
                found.setdefault(name, []).append(outcome)
        yield case.title, found, agree


def _cell(outcomes: list[Outcome]) -> str:
    back = [o for o in outcomes if o.phase == "RolledBack"]
    share = f"{100 * len(back) / len(outcomes):.0f} %"
    if not back:
        return share
    return f"{share}, {np.median([o.seconds for o in back]) / 60:.1f} min, {np.median([o.exposed for o in back]):.0f} met it, {np.median([o.harmed for o in back]):.0f} bad"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "table"))
    parser.add_argument("file", type=Path)
    parser.add_argument("decided", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=40, help="rollouts a case")
    args = parser.parse_args()
    if args.what == "record":
        files.write_json(args.file, record(args.runs))
        return
    runs = min(args.runs, json.loads(args.file.read_text())["runs"])
    for i, (title, found, agree) in enumerate(compared(runs, json.loads(args.decided.read_text()))):
        if i == 0:
            print("| | " + " | ".join(found) + " | steps on which the first two agree |\n|---|" + "---|" * (len(found) + 1))
        print(f"| {title} | " + " | ".join(map(_cell, found.values())) + f" | {agree} of {len(BARE.steps) * runs} |", flush=True)


if __name__ == "__main__":
    main()
