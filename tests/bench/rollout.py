"""How often the decision is right, how soon, and at whose cost: ``python -m tests.bench.rollout``.

Rollouts with the defaults a ``ModelRollout`` ships, by families of traffic: candidates exactly as good as stable, and regressions, decided
by Sluice, by the analysis rules that Argo Rollouts documents, by a Flagger-like threshold each minute, and by a z-test repeated at every look,
all on the same made-up users, processes and scrapes. Prints the tables that docs/rollouts.md shows and draws its plots.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.controller.rollouts.resource import SHIPPED as DEFAULTS
from sluice.core import files
from sluice.rollouts.crowd import Users
from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Outcome, Scenario, Trouble, World, run
from sluice.rollouts.spec import RolloutSpec, Shadow
from sluice.rollouts.state import Counts, Routed
from sluice.stats import wilson
from tests.bench.dots import dots

#: The plan of a ModelRollout that says nothing, looked at every five seconds.
SHIPPED = RolloutSpec(**DEFAULTS)
EVERY, MINUTE, LONGEST = 5.0, 60.0, 60_000.0
#: Seconds of CPU that a case has before the next one has its turn.
_TURN = 0.3
BASE = Behaviour(errors=0.003, slow=0.01)
LABELLED = replace(BASE, labels=(0.5, 0.3, 0.2))


def sluice(scenario: Scenario, seed: int, spec: RolloutSpec) -> Outcome:
    return run(spec, scenario, seed, LONGEST)


def _walk(
    scenario: Scenario, seed: int, spec: RolloutSpec, every: float, judge: Callable[[dict[str, Counts], dict[str, Counts], int], str]
) -> Outcome:
    """A canary over the same steps; `judge` sees the counts of the last interval and of the step, and how many intervals it has."""
    world = World(scenario, np.random.default_rng(seed))
    for weight in spec.steps:
        world.routed = Routed({STABLE: 100 - weight, CANDIDATE: weight})
        begin = {a: dict(c) for a, c in world.counts.items()}
        looks = 0
        while True:
            before = {a: dict(c) for a, c in world.counts.items()}
            for _ in range(max(1, round(every / EVERY))):
                world.pass_time(EVERY)
            looks += 1
            last = {a: {k: v - before[a].get(k, 0) for k, v in c.items()} for a, c in world.counts.items()}
            step = {a: {k: v - begin[a].get(k, 0) for k, v in c.items()} for a, c in world.counts.items()}
            verdict = judge(last, step, looks)
            if verdict == "fail":
                return Outcome("RolledBack", world.time, world.exposed, world.harmed, ("fail",))
            if verdict == "pass" or world.time > LONGEST:
                break
    return Outcome("Succeeded", world.time, world.exposed, world.harmed, ())


def _rule(least: float, failures: int, slow: float | None) -> Callable[[Scenario, int, RolloutSpec], Outcome]:
    """Each minute, five to a step: the share of good answers at least `least`; more than `failures` bad minutes in a step end it."""

    def decide(scenario: Scenario, seed: int, spec: RolloutSpec) -> Outcome:
        bad = 0

        def judge(last: dict[str, Counts], step: dict[str, Counts], looks: int) -> str:
            nonlocal bad
            c, bad = last["candidate"], 0 if looks == 1 else bad
            n = c.get("requests", 0)
            bad += n > 0 and (1 - c["errors"] / n < least or (slow is not None and c["slow"] / n > slow))
            return "fail" if bad > failures else "pass" if looks >= 5 else "wait"

        return _walk(scenario, seed, spec, MINUTE, judge)

    return decide


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

    return _walk(scenario, seed, spec, EVERY, judge)


#: Argo Rollouts: `successCondition: result >= 0.95`, `failureLimit: 3`, `interval: 1m`, `count: 5`, as its documentation's example of a success rate.
#: Flagger: `request-success-rate` at least 99 % and `request-duration` within the objective (here of 95 %), `interval: 1m`, the third failed check rolls back.
METHODS: dict[str, Callable[[Scenario, int, RolloutSpec], Outcome]] = {
    "Sluice": sluice,
    "Argo Rollouts' rules": _rule(0.95, 3, None),
    "Flagger-like threshold": _rule(0.99, 2, 0.05),
    "repeated z-test": repeated_z,
}


@dataclass(frozen=True)
class Case:
    family: str
    name: str
    scenario: Scenario
    spec: RolloutSpec = SHIPPED
    alike: bool = True

    @property
    def title(self) -> str:
        return f"{self.family}: {self.name}"


def _case(
    family: str,
    name: str,
    rate: float = 50.0,
    model: Behaviour = BASE,
    worse: Behaviour | None = None,
    spec: RolloutSpec = SHIPPED,
    **how: Any,
) -> Case:
    return Case(family, name, Scenario(rate, model, worse or model, every=EVERY, **how), spec, worse is None)


def cases() -> list[Case]:
    """What is tried, by family."""
    errors = {more: replace(BASE, errors=BASE.errors + more) for more in (0.005, 0.02, 0.05, 0.5)}
    bare = SHIPPED.model_copy(update={"shadow": Shadow(requests=0)})
    return [
        *(_case("regressions", f"+{100 * more:g} points of errors", worse=w) for more, w in errors.items()),
        *(_case("regressions", f"+2 points, scraped every {every:g} s", worse=errors[0.02], scrape=every) for every in (15.0, 30.0, 60.0)),
        _case("regressions", "+2 points, no shadow", worse=errors[0.02], spec=bare),
        _case("regressions", "+2 points, no shadow, scraped every 30 s", worse=errors[0.02], spec=bare, scrape=30.0),
        _case("regressions", "+20 points of slow answers", worse=replace(BASE, slow=0.21)),
        _case("regressions", "+5 points, bursts of faults in both", worse=errors[0.05], traffic="bursts"),
        _case("processes", "trouble of one of 2 and 2 processes, 10 % of the time", trouble=Trouble(0.1), pods=2),
        _case("processes", "of one of 3 and 3, 3 % of the time, a minute long", trouble=Trouble(0.03, 60.0, 0.3), pods=3),
        _case("processes", "of one of 3 and 1, 10 %", trouble=Trouble(0.1), pods=(3, 1)),
        _case("processes", "of one of 1 and 1, 3 %", trouble=Trouble(0.03), pods=1),
        _case("processes", "of one of 1 and 1, 10 %", trouble=Trouble(0.1), pods=1),
        _case("processes", "flapping: 3 and 3, a fifth of the looks", pods=3, flapping=0.2),
        _case("users", "20 visits, correlation 0.3, known", users=Users(20, 0.3)),
        _case("users", "40 visits, correlation 0.6, known", users=Users(40, 0.6)),
        _case("users", "the same 300 for ever, 0.3, known", users=Users(1e9, 0.3)),
        _case("users", "20 visits, correlation 0.3, not known", users=Users(20, 0.3, known=0.0)),
        *(_case("counters", f"scraped every {every:g} s, 3 and 3 processes", scrape=every, pods=3) for every in (15.0, 30.0, 60.0)),
        _case("plans", "steps [1, 99]", spec=SHIPPED.model_copy(update={"steps": [1, 99]})),
        _case("plans", "minimum_requests: 1", spec=SHIPPED.model_copy(update={"minimum_requests": 1})),
        _case("plans", "no shadow", spec=bare),
        *(_case("traffic", f"{rate:g}/s", rate) for rate in (50.0, 500.0, 2.0, 0.5, 0.2)),
        _case("traffic", "bursts of faults in both", traffic="bursts"),
        _case("traffic", "by time of day, 5/s on average", 5.0, traffic="diurnal", period=7200.0),
        _case("traffic", "both at 15 % errors", model=replace(BASE, errors=0.15)),
        _case("traffic", "label mixes that turn in both", model=LABELLED, turning=0.25, period=600.0),
    ]


def measure(tried: list[Case], methods: list[str], runs: int, folder: Path, seconds: float) -> list[dict[str, Any]]:
    """One row a case and method of what its file holds, after more rollouts: a turn of each in turn until all have `runs`, or time is up.

    A file a case and method, a line a rollout: what was killed goes on where it was, and more runs add to the former ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {(case.title, method): folder / f"{_slug(case.title)}.{_slug(method)}.jsonl" for case in tried for method in METHODS}
    # The others decide by simple rules: fewer runs show what there is to see.
    open_ = [(case, method, runs if method == "Sluice" else max(20, runs // 10)) for case in tried for method in methods]
    end = time.monotonic() + seconds
    while open_ and time.monotonic() < end:
        open_ = [(case, method, many) for case, method, many in open_ if _add(paths[case.title, method], case, method, many, end)]
    return [_row(case, method, found) for case in tried for method in METHODS if (found := _read(paths[case.title, method], case))]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _add(path: Path, case: Case, method: str, many: int, end: float) -> bool:
    """Rollouts with the next seeds that the file lacks, for a turn; whether it lacks more of the `many`."""
    seed = len(_read(path, case))
    if seed == 0:
        files.write_text(path, json.dumps({"case": repr(case)}) + "\n")
    turn = time.process_time() + _TURN
    with path.open("a") as out:
        while seed < many and time.process_time() < turn and time.monotonic() < end:
            o = METHODS[method](case.scenario, seed, case.spec)
            out.write(json.dumps([o.phase, o.seconds, o.exposed, o.harmed, o.reasons[0] if o.reasons else ""]) + "\n")
            out.flush()
            seed += 1
    return seed < many


def _read(path: Path, case: Case) -> list[Outcome]:
    """What the file holds; nothing where it was made of another case by that name."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    if not lines or json.loads(lines[0]) != {"case": repr(case)}:
        return []
    return [Outcome(phase, seconds, exposed, harmed, (said,)) for phase, seconds, exposed, harmed, said in map(json.loads, lines[1:])]


def _row(case: Case, method: str, outcomes: list[Outcome]) -> dict[str, Any]:
    n = len(outcomes)
    back = sum(o.phase == "RolledBack" for o in outcomes)
    low, high = wilson(n, back)
    ends = {"promoted": "Succeeded", "held": "Held"}
    return {
        "family": case.family,
        "case": case.name,
        "alike": case.alike,
        "method": method,
        "runs": n,
        "rolled_back": back / n,
        "low": float(low),
        "high": float(high),
        **{name: sum(o.phase == phase for o in outcomes) / n for name, phase in ends.items()},
        **{name: float(np.median([getattr(o, name) for o in outcomes])) for name in ("seconds", "exposed", "harmed")},
        "harmed_p95": float(np.quantile([o.harmed for o in outcomes], 0.95)),
    }


def table(rows: list[dict[str, Any]], *, alike: bool) -> str:
    head = "| | " + " | ".join(METHODS) + " |\n|---|" + "---|" * len(METHODS)
    lines = [head]
    for name in dict.fromkeys((r["family"], r["case"]) for r in rows if r["alike"] == alike):
        cells = []
        for method in METHODS:
            r = next((r for r in rows if (r["family"], r["case"]) == name and r["method"] == method), None)
            if r is None:
                cells.append("")
                continue
            said = f"{100 * r['rolled_back']:.1f} %"
            if alike and method == "Sluice":
                said = f"{r['runs']}: {said} (below {100 * r['high']:.1f}), " + (
                    "held" if r["held"] > 0.5 else f"promoted {100 * r['promoted']:.0f} %"
                )
            cells.append(said if alike else f"{said}, {r['harmed']:.0f} ({r['harmed_p95']:.0f}), {_span(r['seconds'])}")
        lines.append(f"| {name[0]}: {name[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def draw(rows: list[dict[str, Any]], folder: Path) -> None:
    """A plot a family: the share rolled back by each method, with its interval."""
    folder.mkdir(parents=True, exist_ok=True)
    for family in dict.fromkeys(r["family"] for r in rows):
        mine = [r for r in rows if r["family"] == family]
        title = "Regressions: rolled back" if family == "regressions" else f"Candidates as good as stable: rolled back ({family})"
        line = None if family == "regressions" else SHIPPED.alpha
        files.write_text(folder / f"rollout-{family}.svg", dots(title, mine, list(METHODS), line))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="rollouts a case by Sluice; by the other methods a tenth of them")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no more rollouts after so long; another call goes on")
    parser.add_argument("--out", type=Path, default=Path("bench-results/rollout"), help="a file of rollouts each case and method")
    parser.add_argument("--methods", default=",".join(METHODS), help="whose rollouts are added; tables show what there is of all")
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", default="", help="cases in whose family and name this pattern is found")
    args = parser.parse_args()
    begun = time.time()
    rows = measure([c for c in cases() if re.search(args.only, c.title)], args.methods.split(","), args.runs, args.out, args.seconds)
    draw(rows, args.images)
    print("\nFalse rollbacks of a candidate as good as stable:\n\n" + table(rows, alike=True))
    print("\nRegressions: rolled back, users met with a fault (median, 95th percentile), time to the end:\n\n" + table(rows, alike=False))
    print(f"\n{time.time() - begun:.0f} s")


if __name__ == "__main__":
    main()
