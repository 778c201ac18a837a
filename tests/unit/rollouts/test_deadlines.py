"""Steps without a verdict at their deadline: held for want of traffic, else back or paused."""

from __future__ import annotations

from sluice.rollouts.core import decide
from sluice.rollouts.simulate import CANDIDATE, Behaviour, Scenario
from tests.unit.rollouts.player import BUSY, SPEC, Rollout, order


def test_deadlines_wait_for_a_busy_machine_but_not_for_ever_and_say_so():
    r = Rollout(spec=SPEC.model_copy(update={"step_deadline_seconds": 20}))
    r.until("Step")
    begun, r.world.scenario = r.world.time, Scenario(0.0)
    state = r.until("Paused", **BUSY)
    assert 5 * 20 <= r.world.time - begun <= 5 * 20 + 5
    assert "the machine was the limit: other work" in state.reasons[0]


def test_step_whose_traffic_fades_is_held_at_its_deadline_and_goes_on_by_itself():
    """It was rolled back, however good the candidate."""
    r = Rollout()
    r.until("Step", stage="collect")
    r.world.scenario = Scenario(0.0)
    begun = r.world.time
    state = r.until("Paused")
    assert 199 <= r.world.time - begun <= 202 and state.weight == 10
    assert (
        state.reasons[0].startswith("held, no verdict on the step at 10 % for want of traffic") and "candidate requests" in state.reasons[0]
    )
    for _ in range(100):
        r.look()
    assert r.state.phase == "Paused" and r.state.reasons == state.reasons
    r.world.scenario = Scenario(200.0)
    assert r.until("Succeeded").stable == CANDIDATE


def test_candidate_that_is_bad_is_rolled_back_while_its_rollout_is_held():
    r = Rollout()
    r.until("Step", stage="collect")
    r.world.scenario = Scenario(0.0)
    r.until("Paused")
    r.world.scenario = Scenario(50.0, candidate=Behaviour(errors=0.3))
    assert "errors" in r.until("RolledBack").reasons[0]


def test_step_whose_candidate_alone_gets_no_requests_is_no_want_of_traffic():
    r = Rollout()
    r.until("Step", stage="collect")
    stuck = r.world.look().arms["candidate"]
    while r.state.phase == "Step":
        r.world.pass_time(0.5)
        r.state, _ = decide(SPEC, r.state, r.world.look(arms={**r.world.look().arms, "candidate": stuck}), r.world.time)
    assert r.state.phase == "RollingBack" and "no verdict on the step at 10 % within 200 s" in r.state.reasons[0]


def test_step_that_cannot_be_measured_says_so_at_its_deadline():
    r = Rollout()
    r.until("Step", stage="collect")
    state = r.until("RolledBack", error="Prometheus answers NaN")
    assert "could not be measured: Prometheus answers NaN" in state.reasons[0]


def test_step_that_a_busy_machine_cannot_measure_speaks_against_no_candidate():
    r = Rollout()
    r.until("Step", stage="collect")
    state = r.until("Paused", error="no counters from the candidate server", limit="other work takes 95 % of the CPUs")
    assert state.held and state.reasons[0].startswith(
        "held, no verdict on the step at 10 % within 1000 s: other work takes 95 % of the CPUs"
    )
    assert "no counters from the candidate server" in state.reasons[0]


def test_deadline_can_pause_instead():
    r = Rollout(spec=SPEC.model_copy(update={"on_deadline": "pause"}))
    r.until("Step", stage="collect")
    r.world.scenario = Scenario(0.0)
    assert r.until("Paused").weight == 10
    r.world.scenario = Scenario(200.0)
    r.look(**order("resume"))
    assert r.until("Succeeded").phase == "Succeeded"
