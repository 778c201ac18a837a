"""Commands of people: each acts once, and what makes no sense is refused with the reason."""

from __future__ import annotations

from sluice.rollouts.simulate import CANDIDATE, Behaviour, Scenario
from sluice.rollouts.state import Route
from tests.unit.rollouts.player import SPEC, Rollout, order


def test_dry_run_says_what_it_would_do_and_sends_no_user():
    spec = SPEC.model_copy(update={"dry_run": True})
    r = Rollout(spec=spec)
    state = r.until("Paused")
    assert (state.reasons[0], state.reported, max(r.weights)) == ("dry run: would now send 10 % to the candidate", True, 0)
    r.look(**order("resume"))
    assert r.until("Paused").reasons[0].startswith("dry run")
    r.spec = SPEC
    r.look(**order("resume", "2"))
    assert r.until("Succeeded").stable == CANDIDATE
    first = Rollout(spec=spec, stable=None)
    assert first.until("Paused").reasons[0] == "dry run: would now send all traffic to the first model"
    assert not any(isinstance(a, Route) for a in first.actions)


def test_failure_outranks_a_promote_command():
    r = Rollout(Scenario(200.0, candidate=Behaviour(errors=0.3)))
    r.until("Shadow", stage="collect")
    for _ in range(20):
        r.look(apply=False, **order("promote", str(r.world.time)) if r.state.verdict == "fail" else {})
        if r.state.phase == "RolledBack":
            break
    assert 100 not in r.weights


def test_pause_holds_the_weight_and_resume_goes_on():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look(**order("pause"))
    for _ in range(500):
        r.look()
    assert (r.state.phase, r.world.routed.weights[CANDIDATE]) == ("Paused", 10)
    r.look(**order("resume", "2"))
    assert r.until("Succeeded").phase == "Succeeded"


def test_abort_and_promote_do_what_they_say_and_each_command_acts_once():
    r = Rollout()
    r.until("Step")
    r.look(**order("abort"))
    assert r.until("RolledBack").reasons == ("aborted by command",)
    r = Rollout()
    r.until("Step")
    r.look(**order("promote"))
    assert r.state.phase == "Promoting"
    notes = len([n for n in r.notes if n.kind == "command"])
    r.look(**order("promote"))
    assert len([n for n in r.notes if n.kind == "command"]) == notes


def test_commands_that_make_no_sense_now_are_refused_with_the_reason():
    r = Rollout()
    r.until("Step")
    r.look(**order("resume"))
    assert "refused, not paused" in r.notes[-1].message
    r.until("Succeeded")
    r.look(**order("abort", "2"))
    assert "refused" in r.notes[-1].message


def test_rejected_digest_never_starts_again_by_itself_but_on_retry():
    r = Rollout(Scenario(200.0, candidate=Behaviour(errors=0.5)))
    r.until("RolledBack")
    for _ in range(50):
        r.look()
    assert r.state.phase == "RolledBack"
    r.world.scenario = Scenario(200.0)
    r.look(**order("retry"))
    assert r.until("Succeeded").stable == CANDIDATE
