"""A/B with users who come again: ``python -m tests.bench.rollout_users``.

Two models of which users buy equally often, looked at again and again: how often a winner is named, by user and with each visit taken for
an observation of its own. Then one of which they buy a fifth more often: how often, and after how many outcomes, it is found. Prints the
tables that docs/rollouts.md shows.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sluice.core import files
from sluice.rollouts import business
from sluice.rollouts.crowd import Crowd, Users
from sluice.rollouts.spec import Business, RolloutSpec
from sluice.rollouts.state import BY_USER, Counts, add

RATE = 0.1


@dataclass(frozen=True)
class Case:
    """`looks` looks, `visits_a_look` visits between two; `better` is the candidate's rate over stable's, `weight` its per cent of the users."""

    users: Users
    unit: Literal["user", "request"] = "user"
    better: float = 1.0
    weight: float = 50.0
    looks: int = 60
    visits_a_look: int = 500


def play(case: Case, seed: int) -> tuple[str, int]:
    """(``pass``, ``fail``, or ``wait`` at the end; outcomes until then)."""
    spec = RolloutSpec(strategy="ab", steps=[50], business=Business(unit=case.unit))
    crowd = Crowd(case.users, np.random.default_rng(seed))
    arms: list[Counts] = [{}, {}]
    for look in range(1, case.looks + 1):
        who, arm = crowd.come(case.visits_a_look, case.weight)
        for i, rate in enumerate((RATE, RATE * case.better)):
            mine = who[arm == i]
            buys = crowd.turns_out("outcome", mine, rate).astype(np.float64)
            total = float(buys.sum())
            new = {"outcomes": float(mine.size), "outcome_sum": total, "outcome_squares": total}
            arms[i] = add(arms[i], new | crowd.by_group(BY_USER["outcomes"], mine) | crowd.by_group(BY_USER["outcome_sum"], mine, buys))
        crowd.leave(who)
        verdict = business.check(spec, arms[0], arms[1])["verdict"]
        if verdict != "wait":
            return verdict, look * case.visits_a_look
    return "wait", case.looks * case.visits_a_look


def measure(case: Case, runs: int, pool: ProcessPoolExecutor) -> list[tuple[str, int]]:
    return list(pool.map(partial(play, case), range(runs), chunksize=max(1, runs // 20)))


def equals(runs: int, pool: ProcessPoolExecutor) -> Iterable[dict[str, Any]]:
    for correlation in (0.0, 0.29, 0.9):
        for visits in (1.0, 5.0, 15.0, 60.0):
            for weight in (50.0, 10.0):
                if (visits == 1.0 and correlation > 0.0) or (weight < 50.0 and visits != 15.0):
                    continue
                users = Users(visits, correlation)
                row: dict[str, Any] = {"correlation": correlation, "visits": visits, "weight": weight, "runs": runs}
                for unit in ("user", "request"):
                    row[unit] = float(np.mean([v != "wait" for v, _ in measure(Case(users, unit, weight=weight), runs, pool)]))  # type: ignore[arg-type]
                print(row, flush=True)
                yield row


def better(runs: int, pool: ProcessPoolExecutor) -> Iterable[dict[str, Any]]:
    for correlation, visits in ((0.0, 1.0), (0.1, 5.0), (0.29, 5.0), (0.29, 15.0)):
        found = measure(Case(Users(visits, correlation), better=1.2, looks=50, visits_a_look=4000), runs, pool)
        won = [n for v, n in found if v == "pass"]
        row = {
            "correlation": correlation,
            "visits": visits,
            "runs": runs,
            "found": len(won) / runs,
            "wrong": float(np.mean([v == "fail" for v, _ in found])),
            "outcomes": float(np.median(won)) if won else None,
        }
        print(row, flush=True)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="comparisons a row among equals; a tenth of it where one is better")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("bench-results/rollout_users.json"))
    args = parser.parse_args()
    begun = time.time()
    with ProcessPoolExecutor(args.workers) as pool:
        same, won = list(equals(args.runs, pool)), list(better(max(20, args.runs // 10), pool))
    files.write_json(args.out, {"equals": same, "better": won, "seconds": time.time() - begun})
    print(
        "\n| two outcomes of a user correlate by | visits a user | candidate's share | winner among equals, by user | each visit by itself |\n|---|---|---|---|---|"
    )
    for r in same:
        print(f"| {r['correlation']:g} | {r['visits']:.0f} | {r['weight']:.0f} % | {100 * r['user']:.1f} % | {100 * r['request']:.1f} % |")
    print(
        "\n| two outcomes of a user correlate by | visits a user | 20 % more buy: found within 200,000 outcomes | after (median) |\n|---|---|---|---|"
    )
    for r in won:
        print(f"| {r['correlation']:g} | {r['visits']:.0f} | {100 * r['found']:.0f} % | {r['outcomes'] or 0:,.0f} outcomes |")
    print(f"\n{time.time() - begun:.0f} s")


if __name__ == "__main__":
    main()
