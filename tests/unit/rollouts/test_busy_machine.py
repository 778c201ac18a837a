"""A machine that is the limit, and traffic thinner than planned: no evidence against a candidate, and no deadline."""

from __future__ import annotations

from sluice.rollouts.simulate import Behaviour, Scenario
from tests.unit.rollouts.player import BUSY, QUICK, SPEC, Rollout


def test_slow_candidate_is_not_condemned_while_the_machine_is_the_limit_and_is_when_it_is_not():
    r = Rollout(Scenario(200.0, Behaviour(slow=0.02), Behaviour(slow=0.4)), QUICK)
    r.until("Step", stage="collect")
    for _ in range(100):
        r.look(**BUSY)
    assert r.state.phase == "Step" and "slow answers" in " ".join(r.state.reasons)
    assert r.until("RolledBack", "Succeeded").phase == "RolledBack"


def test_candidate_as_good_as_stable_passes_on_a_busy_machine_too():
    both = Behaviour(slow=0.3)
    r = Rollout(Scenario(400.0, both, both), QUICK.model_copy(update={"step_deadline_seconds": 3600}))
    assert r.until("Succeeded", "RolledBack", **BUSY).phase == "Succeeded"


def test_thin_traffic_puts_a_deadline_off_by_what_it_lacks():
    r = Rollout(spec=SPEC.model_copy(update={"step_deadline_seconds": 20}))
    r.until("Step")
    begun, r.world.scenario = r.world.time, Scenario(0.0)
    state = r.until("Paused", pace=0.5)
    assert 40 <= r.world.time - begun <= 42
    assert "there was less traffic than planned" in state.reasons[0]
