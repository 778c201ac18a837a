"""A/B: the business outcome names the winner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from sluice.rollouts.core import decide
from sluice.rollouts.simulate import Scenario
from sluice.rollouts.spec import Business, RolloutSpec, Shadow
from sluice.rollouts.state import Arm, Replica, State
from tests.unit.rollouts.player import Rollout


def business(r: Rollout, better: float, known: float = 1.0) -> dict[str, Arm]:
    """Outcomes of 40 groups of users alike, as many as requests; the users of a part of them are not known."""
    arms = dict(r.world.look().arms)
    for arm, mean in (("stable", 0.1), ("candidate", 0.1 + better)):
        n = r.world.counts[arm].get("requests", 0)
        counts = {"outcomes": n, "outcome_sum": n * mean, "outcome_squares": n * mean}
        counts |= {f"{sign}{g}": known * v / 40 for sign, v in (("n@", n), ("s@", n * mean)) for g in range(40 if known else 0)}
        arms[arm] = replace(arms[arm], replicas=(*arms[arm].replicas, Replica("feedback", True, counts)))
    return arms


@pytest.mark.parametrize(
    ("better", "known", "unit", "phase"),
    [
        (0.05, 1.0, "user", "Succeeded"),
        (0.05, 0.95, "user", "Succeeded"),
        (-0.05, 1.0, "user", "RolledBack"),
        (0.0, 1.0, "user", "RolledBack"),
        (0.05, 0.8, "user", "RolledBack"),
        (0.05, 0.0, "user", "RolledBack"),
        (0.05, 0.0, "request", "Succeeded"),
    ],
)
def test_ab_names_the_winner_by_its_business_outcome(better: float, known: float, unit: Any, phase: str):
    spec = RolloutSpec(strategy="ab", steps=[50], business=Business(unit=unit), shadow=Shadow(requests=0), step_deadline_seconds=120)
    r = Rollout(Scenario(300.0), spec)
    shown: dict[str, Any] = {}
    while r.state.phase not in ("Succeeded", "RolledBack"):
        r.world.pass_time(0.5)
        r.state, actions = decide(spec, r.state, r.world.look(arms=business(r, better, known)), r.world.time)
        r.world.apply(actions)
        shown = next((c for c in r.state.checks if c["metric"] == "business"), shown)
    assert r.state.phase == phase and shown["unit"] == f"{unit}s"
    assert State.from_dict(orjson.loads(orjson.dumps(r.state.to_dict()))) == r.state
    if better == 0.0:
        assert "no verdict" in r.state.reasons[0] and shown["low"] < 0 < shown["high"]
    elif known < 0.9 and unit == "user":
        # Who came is not known, and they may come again: nobody wins, and the reason says what makes them known.
        assert "no verdict" in r.state.reasons[0] and "nobody knows whom" in r.state.reasons[0] and "x-sluice-user" in r.state.reasons[0]
        assert shown["low"] is None and shown["verdict"] == "wait"
    else:
        assert phase == "Succeeded" or "business outcome" in r.state.reasons[0]
        assert shown["low"] < better < shown["high"]
