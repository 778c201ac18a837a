"""A first model: promoted at once, judged on errors, and on slowness only where its project says so."""

from __future__ import annotations

import pytest

from sluice.rollouts.simulate import CANDIDATE, Behaviour, Scenario
from sluice.rollouts.spec import RolloutSpec
from tests.unit.rollouts.player import BUSY, Rollout


def test_first_model_is_promoted_as_soon_as_it_is_ready():
    r = Rollout(stable=None)
    r.world.ready = False
    r.look()
    assert r.state.phase == "Pending"
    r.world.ready = True
    assert r.until("Succeeded", looks=10).stable == CANDIDATE


@pytest.mark.parametrize(("set_by_project", "phase"), [(False, "Succeeded"), (True, "RolledBack")])
def test_slowness_of_a_first_model_is_a_warning_unless_the_project_says_how_fast_it_must_be(set_by_project: bool, phase: str):
    spec = RolloutSpec(verify_seconds=5, **({"latency_slo_ms": 200} if set_by_project else {}))
    r = Rollout(Scenario(30.0, candidate=Behaviour(slow=0.7)), spec, stable=None)
    state = r.until("Succeeded", "RolledBack")
    assert state.phase == phase
    said = "; ".join(state.reasons)
    assert "answers" in said and ("rollout.latency_slo_ms" in said) == (not set_by_project)


def test_errors_of_a_first_model_roll_it_back_however_busy_the_machine_is():
    r = Rollout(Scenario(30.0, candidate=Behaviour(errors=0.7)), RolloutSpec(verify_seconds=5), stable=None)
    assert "errors" in r.until("RolledBack", limit="the machine is busy").reasons[0]


def test_slow_first_model_with_a_limit_of_its_own_is_not_condemned_while_the_machine_is_the_limit():
    spec = RolloutSpec(verify_seconds=5, latency_slo_ms=200)
    r = Rollout(Scenario(30.0, candidate=Behaviour(slow=0.7)), spec, stable=None)
    state = r.until("Succeeded", "RolledBack", **BUSY)
    assert state.phase == "Succeeded" and state.limit == BUSY["limit"] and state.limited >= 5
