"""What a look brings and what it does not: without data, twice, out of order, before weights settled, after a restart."""

from __future__ import annotations

from dataclasses import replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.rollouts.core import decide
from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Scenario
from sluice.rollouts.state import TERMINAL, Arm, Observations, Replica, Route, Routed, State
from tests.unit.rollouts.player import QUICK, SPEC, Rollout


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from(["unmeasured", "empty", "one_arm", "error", "unready", "unrouted"]), min_size=30, max_size=120), st.booleans()
)
def test_no_sequence_of_looks_without_data_promotes(kinds: list[str], shadow: bool):
    r = Rollout(spec=SPEC if shadow else QUICK)
    for kind in kinds:
        r.world.time += 3
        both = {"stable": Arm((Replica("s", True, {}),), True), "candidate": Arm((Replica("c", True, {}),), True)}
        look = Observations(r.world.time, CANDIDATE, both, r.world.routed)
        if kind == "unmeasured":
            look = replace(look, arms={a: replace(v, replicas=(Replica(a, True, None),)) for a, v in both.items()})
        elif kind == "one_arm":
            look = replace(look, arms={**both, "stable": Arm((Replica("s", True, {"requests": r.world.time * 9}),), True)})
        elif kind == "error":
            look = replace(look, error="Prometheus is gone")
        elif kind == "unready":
            look = replace(look, arms={**both, "candidate": Arm((Replica("c", False, {}),), False)})
        elif kind == "unrouted":
            look = replace(look, routed=None)
        r.state, actions = decide(r.spec, r.state, look, r.world.time)
        r.world.apply(actions)
        assert r.world.routed.weights.get(CANDIDATE, 0) < 100
        assert r.state.phase not in ("Promoting", "Verifying", "Succeeded")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.06), st.lists(st.sampled_from([0, 1, 2, 3]), min_size=5, max_size=30))
def test_duplicated_stale_and_replayed_looks_change_nothing(seed: int, errors: float, disturb: list[int]):
    scenario = Scenario(300.0, candidate=Behaviour(errors=errors))
    plain, rough = Rollout(scenario, seed=seed), Rollout(scenario, seed=seed)
    old: list[Observations] = []
    for i in range(400):
        plain.look()
        rough.world.pass_time(0.5)
        seen = rough.world.look()
        old.append(seen)
        before = rough.state
        rough.state, actions = decide(SPEC, before, seen, rough.world.time)
        kind = disturb[i % len(disturb)]
        if kind == 1:
            assert decide(SPEC, rough.state, seen, rough.world.time + 1) == (rough.state, ())
        elif kind == 2:
            stale = old[max(0, len(old) - 3)]
            assert decide(SPEC, rough.state, stale, rough.world.time)[0] == rough.state
        elif kind == 3:
            again = State.from_dict(orjson.loads(orjson.dumps(before.to_dict())))
            assert decide(SPEC, again, seen, rough.world.time) == (rough.state, actions)
        rough.world.apply(actions)
        assert rough.state == plain.state
        if plain.state.phase in TERMINAL:
            break
    assert rough.state.phase == plain.state.phase


def test_weights_moved_by_hand_are_put_back_and_what_came_in_meanwhile_is_no_evidence():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look()
    before = r.state.window
    r.world.routed = Routed({STABLE: 30, CANDIDATE: 70})
    r.look(apply=False)
    assert r.state.window == before
    assert Route({STABLE: 90, CANDIDATE: 10}) in r.actions
    assert r.state.stage == "settle"
    assert r.until("Succeeded").phase == "Succeeded"


def test_look_that_sees_nothing_at_all_neither_settles_again_nor_loses_what_was_served_meanwhile():
    r = Rollout(Scenario(50.0))
    r.until("Step", stage="collect")
    r.look(2)
    before = r.state.window["stable"]["requests"]
    r.look(10, arms={}, routed=None, error="the API server is gone")
    assert r.state.stage == "collect"
    r.look(2)
    assert r.state.window["stable"]["requests"] > before + 400


def test_requests_before_the_weight_settled_are_no_evidence():
    r = Rollout(Scenario(1000.0), QUICK)
    r.until("Step", stage="settle")
    r.look(0.4)
    r.look(0.4)
    assert r.state.window == {}


def test_counters_that_start_over_are_counted_from_zero():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look()
    before = r.state.window["stable"]["requests"]
    arms = r.world.look().arms
    fallen = Arm((Replica("s", True, {"requests": 7.0, "errors": 0.0, "timed": 7.0, "slow": 0.0}),), True)
    some = {k: v + 3 for k, v in (arms["candidate"].replicas[0].counts or {}).items() if k in ("requests", "timed")}
    r.look(arms={"candidate": Arm((Replica("c", True, {**(arms["candidate"].replicas[0].counts or {}), **some}),), True), "stable": fallen})
    assert r.state.window["stable"]["requests"] == before + 7


def test_an_unmeasured_look_moves_neither_arm():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look()
    before = r.state
    arms = r.world.look().arms
    r.look(arms={**arms, "candidate": Arm((Replica("c", True, None),), True)})
    assert (r.state.window, r.state.cursor) == (before.window, before.cursor)
    r.look()
    assert r.state.window["stable"]["requests"] > before.window["stable"]["requests"] + 100


def test_state_survives_json_at_every_look():
    r = Rollout(Scenario(200.0, Behaviour(labels=(0.5, 0.5)), Behaviour(labels=(0.5, 0.5))))
    while r.state.phase != "Succeeded":
        r.look()
        assert State.from_dict(orjson.loads(orjson.dumps(r.state.to_dict()))) == r.state
        assert len(orjson.dumps(r.state.to_dict())) < 20_000
