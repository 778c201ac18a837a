"""What keeps a candidate from starting, and the first model, which has no other behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Scenario
from sluice.rollouts.state import Arm, Launch, Obstacle, Replica, Retire, Route, Routed
from tests.unit.rollouts.player import QUICK, SPEC, Rollout, order

WANTING = Obstacle("cannot run: the image cannot be pulled", "name an image that is there")
UNREADY = {"arms": {"stable": Arm((Replica("s", True, {}),), True), "candidate": Arm()}}


def wanting(patient: bool = False, **arm: Any) -> dict[str, Any]:
    return {"arms": {**UNREADY["arms"], "candidate": Arm(obstacle=replace(WANTING, patient=patient), **arm)}}


def test_what_keeps_a_candidate_from_starting_is_said_at_once_and_not_held_against_it():
    r = Rollout()
    r.look(**UNREADY)
    r.look(**wanting())
    assert r.state.phase == "Pending" and r.state.reasons == (
        "the candidate cannot start, by no fault of its own: cannot run: the image cannot be pulled",
        "to mend it: name an image that is there",
    )
    begun = r.world.time
    r.until("Failed", **wanting(said="403 from the registry"))
    assert 120 <= r.world.time - begun < 125
    assert (
        r.state.rejected == () and r.state.candidate == CANDIDATE and r.state.stable == STABLE and r.state.said == "403 from the registry"
    )
    assert "no fault of its own" in r.notes[-1].message and not any(isinstance(a, Retire | Launch) for a in r.actions)
    for _ in range(5):
        r.look(**wanting())
    assert r.state.phase == "Failed"


def test_an_obstacle_that_may_go_by_itself_is_borne_as_long_as_a_start_may_take():
    r = Rollout(spec=SPEC.model_copy(update={"ready_seconds": 300}))
    r.look(**wanting(True))
    begun = r.world.time
    r.until("Failed", **wanting(True))
    assert 300 <= r.world.time - begun < 305 and r.state.rejected == ()


def test_obstacle_that_goes_in_time_leaves_no_word():
    r = Rollout()
    r.look(**wanting())
    r.look(**UNREADY)
    assert r.state.phase == "Pending" and r.state.reasons == ()
    assert r.until("Shadow").obstructed is None
    assert r.until("Succeeded").stable == CANDIDATE


def test_the_deadline_between_two_tries_of_a_container_remembers_what_hindered_it():
    r = Rollout(spec=SPEC.model_copy(update={"ready_seconds": 60}))
    r.look(**UNREADY)
    r.look(**wanting(True))
    r.until("Failed", **UNREADY)
    assert (
        r.state.rejected == () and "the image cannot be pulled" in " ".join(r.state.reasons) and "to mend it" in " ".join(r.state.reasons)
    )


def test_a_container_that_is_started_over_and_over_is_one_obstacle():
    r = Rollout()
    r.look(**UNREADY)
    begun = r.world.time
    while r.state.phase == "Pending":
        r.look(5.0, **wanting())
        r.look(5.0, **UNREADY)
        assert r.world.time < begun + 200
    assert r.state.phase in ("RollingBack", "Failed") and 120 <= r.world.time - begun <= 140
    assert len([n for n in r.notes if n.kind == "verdict"]) == 1


@pytest.mark.parametrize("by", ["environment", "spec", "retry", "newer"])
def test_what_failed_for_want_of_something_begins_again(by: str):
    r = Rollout()
    r.look(**wanting())
    r.until("Failed", **wanting())
    change = {
        "environment": {},
        "spec": {**wanting(), "generation": 2},
        "retry": {**wanting(), **order("retry")},
        "newer": {"desired": "newer-digest"},
    }[by]
    r.look(**change)
    assert r.state.phase == "Pending" and r.state.candidate == ("newer-digest" if by == "newer" else CANDIDATE)
    assert Launch(r.state.candidate) in r.actions and (Retire(CANDIDATE) in r.actions) == (by == "newer")
    generation = {"generation": 2} if by == "spec" else {}
    if by != "newer":
        assert r.until("Succeeded", **generation).stable == CANDIDATE


def test_failed_rollout_whose_spec_goes_back_to_stable_is_over():
    r = Rollout()
    r.look(**wanting())
    r.until("Failed", **wanting())
    r.look(desired=STABLE)
    assert r.state.phase == "Succeeded" and r.state.candidate is None
    r.look(desired=STABLE)
    assert Retire(CANDIDATE) in r.actions


def test_spec_that_changes_while_the_candidate_cannot_start_is_asked_for_at_once():
    r = Rollout()
    r.look(**wanting(), generation=1)
    r.look(**wanting(), generation=2)
    assert Launch(CANDIDATE) in r.actions and r.state.phase == "Pending"
    r.look(**wanting(), generation=2)
    assert r.actions == ()


def test_package_that_crashes_is_rejected_with_its_last_lines():
    r = Rollout()
    r.look(**UNREADY)
    r.until("RolledBack", arms={**UNREADY["arms"], "candidate": Arm(failure="cannot run: it exits", said="KeyError: 'weights'")})
    assert r.state.rejected == (CANDIDATE,) and r.state.said == "KeyError: 'weights'" and not r.state.blameless


def test_candidate_evicted_while_it_takes_traffic_gives_it_back_and_is_not_rejected():
    r = Rollout(spec=QUICK)
    r.until("Step", stage="collect")
    r.until("Failed", **wanting())
    assert r.world.routed.weights == {STABLE: 100} and r.state.rejected == () and r.weights[-1] == 0
    assert "has not been ready" in r.state.reasons[0] and "no fault of its own" in r.state.reasons[1]
    assert r.until("Succeeded").stable == CANDIDATE


def test_first_model_waits_for_no_other_and_says_so():
    r = Rollout(spec=SPEC.model_copy(update={"verify_seconds": 120}), stable=None)
    begun = r.world.time
    assert r.until("Succeeded").stable == CANDIDATE and r.state.previous is None
    assert r.world.time - begun < 10
    assert not any("old model" in n.message for n in r.notes) and any("the first model" in n.message for n in r.notes)


def test_promoted_model_remembers_the_one_before():
    assert Rollout().until("Succeeded").previous == STABLE


def test_first_model_that_is_rolled_back_gives_its_route_up_before_it_goes_and_says_that_nothing_serves():
    r = Rollout(Scenario(100.0, candidate=Behaviour(errors=0.9)), stable=None)
    r.until("RollingBack")
    assert r.world.routed.weights == {} and Retire(CANDIDATE) not in r.actions and r.state.candidate == CANDIDATE
    r.look(routed=Routed({CANDIDATE: 100}))
    assert r.state.phase == "RollingBack", "the router has not followed yet"
    r.look()
    assert r.state.phase == "RolledBack" and r.state.rejected == (CANDIDATE,) and r.state.stable is None
    assert "errors" in r.state.reasons[0] and r.state.reasons[-1] == "nothing serves now: there was no model before it"
    r.look()
    assert Retire(CANDIDATE) in r.actions


def test_first_model_that_cannot_start_keeps_its_place():
    r = Rollout(stable=None)
    r.look(**wanting(), routed=Routed({}))
    r.until("Failed", **wanting(), routed=Routed({}))
    assert not any(isinstance(a, Route) for a in r.actions) and r.state.rejected == ()
    assert r.state.reasons[-1] == "nothing serves now: there was no model before it"
    assert r.until("Succeeded").stable == CANDIDATE
