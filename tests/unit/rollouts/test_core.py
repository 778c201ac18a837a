"""A rollout through its phases, whichever way it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Scenario
from sluice.rollouts.state import Arm, Launch, Replica, Retire, Route, Routed
from tests.unit.rollouts.player import SPEC, Rollout


def test_healthy_candidate_goes_through_all_phases_to_all_traffic():
    r = Rollout()
    state = r.until("Succeeded")
    assert state.stable == CANDIDATE
    assert r.world.routed.weights == {CANDIDATE: 100}
    assert sorted(set(r.weights)) == [0, 10, 50, 95, 100]
    said = [n.data["phase"] for n in r.notes if n.kind == "phase"]
    assert [p for i, p in enumerate(said) if i == 0 or said[i - 1] != p] == [
        "Pending",
        "Shadow",
        "Warmup",
        "Step",
        "Promoting",
        "Verifying",
        "Succeeded",
    ]


def test_three_hundred_clean_requests_are_enough_for_a_step_with_the_defaults():
    r = Rollout(Scenario(200.0, every=0.5))
    r.until("Step")
    while r.state.step == 0:
        before = r.state
        r.look()
    assert before.window["candidate"]["requests"] < 300
    assert r.state.phase == "Step"


@pytest.mark.parametrize(
    ("candidate", "word"),
    [
        (Behaviour(errors=0.05), "errors"),
        (Behaviour(slow=0.3), "slow answers"),
        (Behaviour(wrong=0.4), "wrong answers"),
        (Behaviour(wrong=0.0, labels=(0.9, 0.05, 0.05)), "label shares"),
    ],
)
def test_worse_candidate_is_rolled_back_for_the_right_reason(candidate: Behaviour, word: str):
    stable = Behaviour(wrong=0.0, labels=(0.4, 0.3, 0.3) if candidate.labels else ())
    r = Rollout(Scenario(200.0, stable, candidate))
    state = r.until("RolledBack", "Succeeded")
    assert state.phase == "RolledBack"
    assert word in " ".join(state.reasons)
    assert r.world.routed.weights == {STABLE: 100}
    assert state.rejected == (CANDIDATE,)


def test_failing_graph_is_stopped_in_the_shadow_before_its_first_live_request():
    r = Rollout(Scenario(200.0, candidate=Behaviour(errors=1.0)))
    r.until("RolledBack")
    assert r.world.exposed == 0


def test_shadow_waits_for_compared_answers_however_many_copies_came():
    r = Rollout()
    r.until("Shadow", stage="collect")
    for compared, phase in ((10.0, "Shadow"), (49.0, "Shadow"), (50.0, "Warmup")):
        arms = r.world.look().arms
        comparison = Replica("comparison", counts={"compared": compared, "disagreed": 0.0})
        if r.state.cursor.get("candidate", {}).get("comparison") is None:
            zero = replace(comparison, counts={"compared": 0.0, "disagreed": 0.0})
            r.look(arms={**arms, "candidate": replace(arms["candidate"], replicas=(*arms["candidate"].replicas, zero))})
            arms = r.world.look().arms
        r.look(2, arms={**arms, "candidate": replace(arms["candidate"], replicas=(*arms["candidate"].replicas, comparison))})
        assert r.state.phase == phase, r.state.reasons
    assert r.state.total["candidate"]["compared"] == 50


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.03), st.floats(0, 0.1))
def test_weight_only_rises_until_a_rollback_takes_it_to_nothing(seed: int, errors: float, slow: float):
    r = Rollout(Scenario(300.0, Behaviour(errors=0.005), Behaviour(errors=0.005 + errors, slow=slow)), seed=seed)
    state = r.until("Succeeded", "RolledBack", looks=1000)
    live = r.weights if state.phase == "Succeeded" else r.weights[: len(r.weights) - r.weights[::-1].index(max(r.weights))]
    assert live == sorted(live)
    assert state.phase == "Succeeded" or r.weights[-1] == 0


def test_actions_are_asked_for_until_their_effect_is_seen():
    r = Rollout()
    r.until("Step", stage="settle")
    r.world.routed = Routed({STABLE: 100})
    for _ in range(3):
        r.look(apply=False)
        assert [a for a in r.actions if isinstance(a, Route)] == [Route({STABLE: 90, CANDIDATE: 10})]
        assert r.state.stage == "settle"
    r.look()
    r.look(2.0)
    assert not [a for a in r.actions if isinstance(a, Route)]


def test_candidate_is_launched_until_it_exists():
    r = Rollout()
    r.look(arms={"stable": r.world.look().arms["stable"], "candidate": Arm(exists=False)})
    assert Launch(CANDIDATE) in r.actions
    r.world.ready = False
    r.look()
    assert Launch(CANDIDATE) not in r.actions


def test_old_model_is_kept_for_a_while_and_then_retired_until_it_is_gone():
    r = Rollout(spec=SPEC.model_copy(update={"keep_seconds": 60}))
    r.until("Succeeded")
    assert Retire(STABLE) not in r.actions
    r.look(61)
    assert Retire(STABLE) in r.actions
    r.look()
    assert Retire(STABLE) in r.actions
    r.look(present=frozenset({CANDIDATE}))
    r.look(present=frozenset({CANDIDATE}))
    assert Retire(STABLE) not in r.actions


@pytest.mark.parametrize("phase", ["Pending", "Shadow", "Warmup", "Step", "Paused"])
def test_newer_digest_supersedes_routes_first(phase: str):
    r = Rollout()
    r.reach(phase)
    r.look(desired="newer", apply=False)
    assert r.state.phase == "Superseded"
    assert not [a for a in r.actions if isinstance(a, Launch)]
    r.world.routed = Routed({STABLE: 100})
    r.look(desired="newer", apply=False)
    assert (r.state.phase, r.state.candidate) == ("Pending", "newer")
    assert CANDIDATE in r.state.retire
    assert CANDIDATE not in r.state.rejected


def test_newer_digest_waits_for_a_promotion_that_stands_on_its_evidence():
    r = Rollout()
    r.until("Promoting")
    r.look(desired="newer")
    while r.state.phase != "Succeeded":
        r.look(desired="newer")
    assert r.state.stable == CANDIDATE
    r.look(desired="newer", apply=False)
    assert (r.state.phase, r.state.candidate, r.state.stable) == ("Pending", "newer", CANDIDATE)


def test_going_back_to_the_stable_digest_ends_the_rollout_without_rejecting():
    r = Rollout()
    r.until("Step")
    r.look(desired=STABLE)
    r.look(desired=STABLE)
    assert (r.state.phase, r.state.stable, r.state.rejected) == ("Succeeded", STABLE, ())


def test_both_arms_failing_alike_never_promotes():
    r = Rollout(Scenario(200.0, Behaviour(errors=0.9), Behaviour(errors=0.9)))
    state = r.until("RolledBack")
    assert "above the ceiling" in state.reasons[0]
    assert max(r.weights) <= 10


def test_truth_known_only_in_the_shadow_is_not_waited_for_in_the_steps():
    r = Rollout(Scenario(200.0, Behaviour(wrong=0.05), Behaviour(wrong=0.05)))
    r.until("Step", stage="collect")
    assert r.state.total["candidate"]["judged"] > 0
    r.world.scenario = Scenario(200.0)
    assert r.until("Succeeded").phase == "Succeeded"
