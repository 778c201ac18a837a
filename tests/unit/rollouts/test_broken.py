"""A candidate that crashes, restarts or is not ready goes back at once, in whatever phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.rollouts.simulate import STABLE, Behaviour, Scenario
from sluice.rollouts.state import Arm
from tests.unit.rollouts.player import SPEC, Rollout, order


def test_candidate_that_never_gets_ready_is_rolled_back():
    r = Rollout()
    r.world.ready = False
    state = r.until("RolledBack")
    assert "not ready after 120 s" in state.reasons[0]
    assert max(r.weights) == 0


@pytest.mark.parametrize("phase", ["Pending", "Shadow", "Warmup", "Step", "Paused", "Promoting", "Verifying"])
def test_candidate_that_crashes_is_rolled_back_from_any_phase(phase: str):
    r = Rollout()
    r.reach(phase)
    assert r.state.phase == phase
    crashed = Arm(failure="was ended by SIGKILL")
    r.look(arms={**r.world.look().arms, "candidate": crashed}, **order("promote", "p"))
    assert r.state.phase == "RollingBack"
    assert "SIGKILL" in r.state.reasons[0]
    r.until("RolledBack", looks=3)
    assert r.world.routed.weights == {STABLE: 100}


def test_restart_beyond_the_forgiven_number_is_a_failure():
    r = Rollout(spec=SPEC.model_copy(update={"restarts": 1}))
    r.until("Step", stage="collect")
    arms = r.world.look().arms
    r.look(arms={**arms, "candidate": replace(arms["candidate"], restarts=1)})
    assert r.state.phase == "Step"
    r.look(arms={**arms, "candidate": replace(arms["candidate"], restarts=2)})
    assert r.state.phase == "RollingBack"


@pytest.mark.parametrize("phase", ["Step", "Paused", "Verifying"])
def test_candidate_that_takes_traffic_and_is_ready_no_more_is_rolled_back_within_seconds(phase: str):
    r = Rollout(spec=SPEC.model_copy(update={"verify_seconds": 60, "unready_seconds": 3}))
    r.until("Verifying" if phase == "Verifying" else "Step", stage=None if phase == "Verifying" else "collect")
    if phase == "Paused":
        r.look(**order("pause"))
    begun = r.world.time
    r.world.ready = False
    state = r.until("RolledBack")
    assert "not been ready for 3 s while it takes traffic" in state.reasons[0]
    assert r.world.time - begun < 6
    assert r.world.routed.weights == {STABLE: 100}


def test_candidate_unready_for_a_moment_or_not_seen_at_all_is_not_rolled_back_for_it():
    r = Rollout(spec=SPEC.model_copy(update={"unready_seconds": 3}))
    r.until("Step", stage="collect")
    for _ in range(5):
        r.world.ready = False
        r.look(2)
        r.world.ready = True
        r.look()
    for _ in range(10):
        r.look(2, arms={}, error="the API server is gone")
    assert r.state.phase == "Step"


def test_paused_candidate_that_fails_is_still_rolled_back():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look(**order("pause"))
    r.world.scenario = Scenario(200.0, candidate=Behaviour(errors=0.5))
    assert "errors" in r.until("RolledBack").reasons[0]


@pytest.mark.parametrize(("phase", "stage"), [("Step", "collect"), ("Verifying", None)])
@pytest.mark.parametrize("errors", [0.05, 1.0])
def test_a_candidate_that_breaks_late_is_taken_back_once_that_lasted_longer_than_a_trouble(phase: str, stage: str | None, errors: float):
    """However much lay before it: a change is no dispersion. The candidate has one process, so twice a trouble's length."""
    spec = SPEC.model_copy(update={"verify_seconds": 600, "minimum_requests": 3000, "step_deadline_seconds": 3000, "trouble_seconds": 45})
    r = Rollout(spec=spec)
    r.until(phase, stage=stage)
    for _ in range(40):
        r.look()
    r.world.scenario = Scenario(200.0, candidate=Behaviour(errors=errors))
    began = r.world.time
    assert "errors" in r.until("RolledBack").reasons[0] and r.world.time - began <= 100


def test_candidate_that_breaks_at_full_traffic_is_taken_back():
    r = Rollout(spec=SPEC.model_copy(update={"verify_seconds": 30}))
    r.until("Verifying")
    r.world.scenario = Scenario(200.0, candidate=Behaviour(errors=0.4))
    state = r.until("RolledBack")
    assert "errors" in state.reasons[0]
    assert r.world.routed.weights == {STABLE: 100}
    assert r.world.routed.weights == {STABLE: 100}
