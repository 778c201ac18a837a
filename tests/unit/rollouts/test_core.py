from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.rollouts.core import decide
from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Scenario, World
from sluice.rollouts.spec import Business, RolloutSpec, Shadow
from sluice.rollouts.state import TERMINAL, Arm, Launch, Note, Observations, Replica, Retire, Route, Routed, State

SPEC = RolloutSpec(warmup_seconds=1, settle_seconds=1, verify_seconds=1, step_deadline_seconds=200)
QUICK = SPEC.model_copy(update={"shadow": Shadow(requests=0)})


BUSY = {"limit": "other work takes 80% of its 2 CPUs"}


class Rollout:
    """A rollout against a simulated world; keeps everything that happened."""

    def __init__(self, scenario: Scenario | None = None, spec: RolloutSpec = SPEC, seed: int = 1, stable: str | None = STABLE):
        self.spec = spec
        self.world = World(scenario or Scenario(200.0), np.random.default_rng(seed))
        self.state = State(stable=stable)
        self.weights: list[int] = []
        self.notes: list[Note] = []
        self.actions: tuple[Any, ...] = ()

    def look(self, seconds: float = 0.5, apply: bool = True, **changes: Any) -> State:
        self.world.pass_time(seconds)
        self.state, self.actions = decide(self.spec, self.state, self.world.look(**changes), self.world.time)
        self.notes += [a for a in self.actions if isinstance(a, Note)]
        if apply:
            self.world.apply(self.actions)
        self.weights.append(self.world.routed.weights.get(CANDIDATE, 0))
        return self.state

    def until(self, *phases: str, stage: str | None = None, looks: int = 2000, **changes: Any) -> State:
        for _ in range(looks):
            if self.state.phase in phases and stage in (None, self.state.stage):
                return self.state
            self.look(**changes)
        raise AssertionError(f"still {self.state.phase}/{self.state.stage}, {self.state.reasons}")


def order(command: str, ident: str = "1") -> dict[str, Any]:
    return {"commands": ((ident, command),)}


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


def test_deadlines_wait_for_a_busy_machine_but_not_for_ever_and_say_so():
    r = Rollout(spec=SPEC.model_copy(update={"step_deadline_seconds": 20}))
    r.until("Step")
    begun, r.world.scenario = r.world.time, Scenario(0.0)
    state = r.until("Paused", **BUSY)
    assert 5 * 20 <= r.world.time - begun <= 5 * 20 + 5
    assert "the machine was the limit: other work" in state.reasons[0]


def test_thin_traffic_puts_a_deadline_off_by_what_it_lacks():
    r = Rollout(spec=SPEC.model_copy(update={"step_deadline_seconds": 20}))
    r.until("Step")
    begun, r.world.scenario = r.world.time, Scenario(0.0)
    state = r.until("Paused", pace=0.5)
    assert 40 <= r.world.time - begun <= 42
    assert "there was less traffic than planned" in state.reasons[0]


def test_candidate_that_never_gets_ready_is_rolled_back():
    r = Rollout()
    r.world.ready = False
    state = r.until("RolledBack")
    assert "not ready after 120 s" in state.reasons[0]
    assert max(r.weights) == 0


@pytest.mark.parametrize("phase", ["Pending", "Shadow", "Warmup", "Step", "Paused", "Promoting", "Verifying"])
def test_candidate_that_crashes_is_rolled_back_from_any_phase(phase: str):
    r = Rollout()
    if phase == "Pending":
        r.world.ready = False
        r.look()
    elif phase == "Paused":
        r.until("Step", stage="collect")
        r.look(**order("pause"))
    else:
        r.until(phase)
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


def test_deadline_can_pause_instead():
    r = Rollout(spec=SPEC.model_copy(update={"on_deadline": "pause"}))
    r.until("Step", stage="collect")
    r.world.scenario = Scenario(0.0)
    assert r.until("Paused").weight == 10
    r.world.scenario = Scenario(200.0)
    r.look(**order("resume"))
    assert r.until("Succeeded").phase == "Succeeded"


def test_pause_holds_the_weight_and_resume_goes_on():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look(**order("pause"))
    for _ in range(500):
        r.look()
    assert (r.state.phase, r.world.routed.weights[CANDIDATE]) == ("Paused", 10)
    r.look(**order("resume", "2"))
    assert r.until("Succeeded").phase == "Succeeded"


def test_paused_candidate_that_fails_is_still_rolled_back():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look(**order("pause"))
    r.world.scenario = Scenario(200.0, candidate=Behaviour(errors=0.5))
    assert "errors" in r.until("RolledBack").reasons[0]


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


@pytest.mark.parametrize("phase", ["Pending", "Shadow", "Warmup", "Step", "Paused"])
def test_newer_digest_supersedes_routes_first(phase: str):
    r = Rollout()
    if phase == "Pending":
        r.world.ready = False
        r.look()
    elif phase == "Paused":
        r.until("Step", stage="collect")
        r.look(**order("pause"))
    else:
        r.until(phase)
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


def test_candidate_that_breaks_at_full_traffic_is_taken_back():
    r = Rollout(spec=SPEC.model_copy(update={"verify_seconds": 30}))
    r.until("Verifying")
    r.world.scenario = Scenario(200.0, candidate=Behaviour(errors=0.4))
    state = r.until("RolledBack")
    assert "errors" in state.reasons[0]
    assert r.world.routed.weights == {STABLE: 100}
    assert r.world.routed.weights == {STABLE: 100}


def test_both_arms_failing_alike_never_promotes():
    r = Rollout(Scenario(200.0, Behaviour(errors=0.9), Behaviour(errors=0.9)))
    state = r.until("RolledBack")
    assert "above the ceiling" in state.reasons[0]
    assert max(r.weights) <= 10


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


def test_state_survives_json_at_every_look():
    r = Rollout(Scenario(200.0, Behaviour(labels=(0.5, 0.5)), Behaviour(labels=(0.5, 0.5))))
    while r.state.phase != "Succeeded":
        r.look()
        assert State.from_dict(orjson.loads(orjson.dumps(r.state.to_dict()))) == r.state
        assert len(orjson.dumps(r.state.to_dict())) < 20_000


def test_truth_known_only_in_the_shadow_is_not_waited_for_in_the_steps():
    r = Rollout(Scenario(200.0, Behaviour(wrong=0.05), Behaviour(wrong=0.05)))
    r.until("Step", stage="collect")
    assert r.state.total["candidate"]["judged"] > 0
    r.world.scenario = Scenario(200.0)
    assert r.until("Succeeded").phase == "Succeeded"
