"""Users who come again: no winner among equals, a real one found, and what a rollout's status takes for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from sluice.rollouts import business
from sluice.rollouts.core import decide
from sluice.rollouts.crowd import Crowd, Users
from sluice.rollouts.judge import with_intervals
from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Scenario, World, run
from sluice.rollouts.spec import Business, RolloutSpec, Shadow
from sluice.rollouts.state import Route, Routed, State, delta


def plan(**more: Any) -> RolloutSpec:
    return RolloutSpec.model_validate(
        {
            "strategy": "ab",
            "steps": [50],
            "business": Business(),
            "shadow": Shadow(requests=0),
            "settle_seconds": 15,
            "warmup_seconds": 10,
            "verify_seconds": 0,
            "hold_back": 0,
            **more,
        }
    )


def winners(
    visits: float, correlation: float, unit: str, runs: int, weight: float = 50.0, looks: int = 25, better: float = 0.0
) -> tuple[int, int]:
    """(A/B comparisons that named a winner, or a loser) when the candidate's users buy in 10 + 100 `better` % of their visits; 400 visits between looks."""
    spec, found = plan(business=Business(unit=unit)), [0, 0]  # type: ignore[arg-type]
    for seed in range(runs):
        world = World(
            Scenario(100.0, Behaviour(outcome=0.1), Behaviour(outcome=0.1 + better), users=Users(visits, correlation)),
            np.random.default_rng(seed),
        )
        world.routed = Routed({STABLE: 100 - round(weight), CANDIDATE: round(weight)})
        for _ in range(looks):
            world.pass_time(4.0)
            check = business.check(spec, world.counts["stable"], world.counts["candidate"])
            if check["verdict"] != "wait":
                found[check["verdict"] == "fail"] += 1
                break
    return found[0], found[1]


@pytest.mark.parametrize(("visits", "correlation", "weight"), [(1, 0.0, 50), (5, 0.29, 50), (15, 0.29, 10), (60, 0.9, 50)])
def test_no_winner_among_equals_whatever_their_users_do(visits: float, correlation: float, weight: float):
    assert sum(winners(visits, correlation, "user", 12, weight)) == 0


def test_visits_taken_as_independent_name_a_winner_among_equals():
    """The measurement that made users the unit: the same traffic, each visit an observation of its own."""
    assert sum(winners(60, 0.9, "request", 12)) >= 4  # chance: below one in a hundred thousand


def test_a_real_winner_and_a_real_loser_are_found():
    """Found in most, and never the wrong one; how many outcomes it takes is measured by the bench."""
    better, worse = winners(5, 0.29, "user", 4, better=0.06), winners(5, 0.29, "user", 4, better=-0.06)
    assert better[0] >= 3 and better[1] == 0 and worse[1] >= 3 and worse[0] == 0


def test_few_users_with_many_visits_name_nobody():
    """A dozen users: each group is one person, and nothing is known of how people differ."""
    how = Users(visits=1e9, correlation=0.9, at_once=12)
    world = World(Scenario(100.0, Behaviour(outcome=0.1), Behaviour(outcome=0.9), users=how), np.random.default_rng(2))
    world.routed = Routed({STABLE: 50, CANDIDATE: 50})
    world.pass_time(60.0)
    check = business.check(plan(), world.counts["stable"], world.counts["candidate"])
    assert check["verdict"] == "wait" and "groups of users so far, 20 are needed" in check["reason"] and check["low"] is None


def test_a_whole_comparison_through_scrapes_pods_and_a_clock_set_back_ends_with_the_winner_and_a_small_status():
    spec = plan(step_deadline_seconds=7200)
    scenario = Scenario(
        50.0, Behaviour(outcome=0.1), Behaviour(outcome=0.16), every=15.0, scrape=30.0, pods=3, users=Users(8, 0.3), clock=(400.0, -3600.0)
    )
    seen = run(spec, scenario, 1, 8000)
    assert seen.phase == "Succeeded"
    world, state = World(scenario, np.random.default_rng(1)), State(stable=STABLE)
    for _ in range(30):
        world.pass_time(15.0)
        state, actions = decide(spec, state, world.look(), world.now)
        world.apply([a for a in actions if isinstance(a, Route)])
    check = next(c for c in state.checks if c["metric"] == "business")
    assert check["unit"] == "users" and check["groups"] == [64, 64] and max(check["dispersion"]) > 1.5
    assert "users who come again, worth" in check["reason"]
    # Of six processes: no more than 3 KB each, and 15 KB beside them.
    assert len(orjson.dumps(state.to_dict())) < 33_000
    assert not any("@" in k for k in state.tests["known"]) and not any(k[:2] in ("n@", "s@") for k in state.total["stable"])


def test_made_up_users_are_as_alike_as_they_are_said_to_be():
    generator = np.random.default_rng(4)
    crowd = Crowd(Users(visits=1e9, correlation=0.4, at_once=4000), generator)
    who = np.repeat(np.arange(4000), 2)
    first, second = crowd.turns_out("outcome", who, 0.3).reshape(-1, 2).T
    assert first.mean() == pytest.approx(0.3, abs=0.03)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.4, abs=0.06)
    crowd = Crowd(Users(visits=4, correlation=0.4, at_once=100), generator)
    for _ in range(400):
        crowd.leave(crowd.come(20, 50.0)[0])
    assert 400 * 20 / (crowd.met - 100) == pytest.approx(4, rel=0.15)


def test_errors_that_cluster_by_user_take_no_good_candidate_back_and_say_their_unit():
    """Sticky users of whom two errors correlate by 0.3: taken as requests, every fourth candidate as good as stable was rolled back."""
    spec = RolloutSpec(settle_seconds=15, warmup_seconds=10, verify_seconds=0, hold_back=0, slow=None, wrong=None, unready_seconds=5)
    base = Behaviour(errors=0.02)
    scenario = Scenario(50.0, base, base, every=10.0, users=Users(15, 0.3))
    back = [i for i in range(8) if run(spec, scenario, i, 1500).phase in ("RollingBack", "RolledBack")]
    unknown = replace(scenario, users=Users(15, 0.3, known=0.5))
    assert not back and any(run(spec, unknown, i, 1500).phase == "RolledBack" for i in range(8))
    world, state = World(scenario, np.random.default_rng(1)), State(stable=STABLE)
    for _ in range(60):
        world.pass_time(10.0)
        state, actions = decide(spec, state, world.look(), world.now)
        world.apply([a for a in actions if isinstance(a, Route)])
    (check,) = with_intervals(state.checks, spec.alpha)
    assert check["unit"] == "users" and 2 < check["dispersion"] < 12
    apart = with_intervals(tuple({**c, "dispersion": 1.0} for c in state.checks), spec.alpha)[0]
    assert check["low"] < apart["low"] < apart["high"] < check["high"]


def test_errors_of_everybody_are_found_as_fast_by_user_as_by_request():
    spec = RolloutSpec(settle_seconds=15, warmup_seconds=10, verify_seconds=0, hold_back=0, slow=None, wrong=None, unready_seconds=5)
    scenario = Scenario(50.0, Behaviour(errors=0.003), Behaviour(errors=0.023), every=5.0, users=Users(1, 0.0))
    ended = [run(spec, scenario, i, 3000) for i in range(6)]
    assert {o.phase for o in ended} == {"RolledBack"} and np.median([o.harmed for o in ended]) <= 10


def test_label_shares_of_few_users_at_a_time_take_no_good_candidate_back():
    """Eighty users at once, each with labels of its own: the candidate's few are unlike stable's many, whatever the model does."""
    spec = RolloutSpec(settle_seconds=15, warmup_seconds=10, verify_seconds=0, hold_back=0, slow=None, wrong=None, unready_seconds=5)
    base = Behaviour(labels=(0.4, 0.3, 0.2, 0.1))
    scenario = Scenario(50.0, base, base, every=10.0, users=Users(40, 0.6, at_once=80))
    assert not any(run(spec, scenario, i, 400).phase in ("RollingBack", "RolledBack") for i in range(4))
    unknown = replace(scenario, users=Users(40, 0.6, at_once=80, known=0.5))
    assert any(run(spec, unknown, i, 400).phase == "RolledBack" for i in range(4))
    moved = replace(scenario, candidate=Behaviour(labels=(0.02, 0.68, 0.2, 0.1)), users=Users(3, 0.3))
    assert {run(spec, moved, i, 4000).phase for i in range(2)} == {"RolledBack"}


@pytest.mark.parametrize("fell", ["outcome_sum", "s@07"])
def test_outcomes_below_nothing_make_a_sum_fall_and_are_no_restart(fell: str) -> None:
    before = {"requests": 90.0, "r@07": 9.0, fell: 4.0}
    assert delta(before, {"requests": 91.0, "r@07": 10.0, fell: -1.0}) == ({"requests": 1.0, "r@07": 1.0, fell: -5.0}, False)


@pytest.mark.parametrize("now", [{"requests": 3.0, "r@07": 9.0}, {"requests": 91.0, "r@07": 1.0}, {"requests": 91.0}])
def test_a_count_that_fell_or_is_gone_is_a_restart(now: dict[str, float]) -> None:
    """Of a group of users too; all that is shown was then counted since."""
    assert delta({"requests": 90.0, "r@07": 9.0}, now) == (now, True)
