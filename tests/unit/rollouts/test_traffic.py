"""Verdicts in traffic as it is: scrapes out of step, processes missing from a look, faults that strike both models, clocks set back, rare labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sluice.rollouts import evidence
from sluice.rollouts.core import decide
from sluice.rollouts.judge import judge
from sluice.rollouts.simulate import CANDIDATE, STABLE, Behaviour, Scenario, World, run
from sluice.rollouts.spec import Margin, RolloutSpec, Shadow
from sluice.rollouts.state import LABEL, Arm, Observations, Replica, State

SPEC = RolloutSpec(warmup_seconds=1, settle_seconds=1, verify_seconds=1, step_deadline_seconds=200)


class Rollout:
    """A rollout against a simulated world."""

    def __init__(self) -> None:
        self.world, self.state = World(Scenario(200.0), np.random.default_rng(1)), State(stable=STABLE)

    def look(self, seconds: float = 0.5, **changes: Any) -> State:
        self.world.pass_time(seconds)
        self.state, actions = decide(SPEC, self.state, self.world.look(**changes), self.world.time)
        self.world.apply(actions)
        return self.state

    def until(self, phase: str, stage: str | None = None) -> State:
        for _ in range(2000):
            if self.state.phase == phase and stage in (None, self.state.stage):
                return self.state
            self.look()
        raise AssertionError(f"still {self.state.phase}/{self.state.stage}, {self.state.reasons}")


def test_counters_scraped_out_of_step_with_the_looks_lose_no_evidence():
    """Each arm's counters move at other looks: blocks of one arm alone were dropped, and so was nearly all evidence."""
    shipped = RolloutSpec(settle_seconds=15, warmup_seconds=10, verify_seconds=120, unready_seconds=5)
    base = Behaviour(errors=0.003, slow=0.01)
    for scrape in (15.0, 60.0):
        good = [run(shipped, Scenario(50.0, base, base, every=5.0, scrape=scrape), seed, 8000) for seed in range(4)]
        assert {o.phase for o in good} == {"Succeeded"}
        bad = [run(shipped, Scenario(50.0, base, replace(base, errors=0.023), every=5.0, scrape=scrape), seed, 8000) for seed in range(4)]
        assert {o.phase for o in bad} == {"RolledBack"} and not any("no verdict" in o.reasons[0] for o in bad)


def test_a_process_missing_from_a_look_comes_back_with_the_counters_it_left():
    """One of the candidate's two processes was cold in the shadow. Unready for one look, it came back as new, its whole life counted."""
    r = Rollout()
    r.until("Step", "settle")
    cold = {"requests": 50_000.0, "errors": 0.0, "timed": 50_000.0, "slow": 30_000.0}

    def look(there: bool) -> State:
        for name in ("requests", "timed"):
            cold[name] += 3
        arms = r.world.look().arms
        one = arms["candidate"].replicas
        return r.look(arms={**arms, "candidate": Arm((*one, Replica("d", True, dict(cold))) if there else one, True)})

    while r.state.stage != "collect":
        look(True)
    for there in (True, True, False, False, True, True):
        look(there)
    assert 0 < r.state.window["candidate"]["requests"] < 1000 and r.state.window["candidate"].get("slow", 0) == 0
    assert r.state.phase == "Step"


def test_faults_that_strike_both_models_alike_take_no_model_back_at_full_traffic():
    base = Behaviour(errors=0.003, slow=0.01)
    spec = RolloutSpec(settle_seconds=15, warmup_seconds=10, verify_seconds=120)
    ended = [run(spec, Scenario(50.0, base, base, traffic="bursts", every=5.0), seed, 8000) for seed in range(12)]
    assert {o.phase for o in ended} == {"Succeeded"}


def test_a_clock_set_back_an_hour_stops_no_check_and_no_deadline():
    r = Rollout()
    r.until("Step", stage="collect")
    r.look()
    r.world.time -= 3600
    before = r.state.window["candidate"]["requests"]
    assert r.look().window["candidate"]["requests"] > before
    crashed = replace(r.world.look().arms["candidate"], failure="exited with status 139")
    state = r.look(arms={**r.world.look().arms, "candidate": crashed})
    assert state.phase == "RollingBack" and "139" in state.reasons[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_counter_that_is_no_count_is_no_evidence_and_poisons_nothing(value: float):
    r = Rollout()
    r.until("Step", stage="collect")
    r.look()
    before, arms = r.state, r.world.look().arms
    more = {
        arm: {k: v + 5 if k in ("requests", "timed") else v for k, v in (at.replicas[0].counts or {}).items()} for arm, at in arms.items()
    }
    more["candidate"]["errors"] = value  # in a block that both arms' requests close
    r.look(arms={arm: Arm((Replica(arm[0], True, counts),), True) for arm, counts in more.items()})
    assert r.state.window == before.window and r.state.tests == before.tests
    assert r.until("Succeeded").stable == CANDIDATE
    with pytest.raises(ValueError):
        decide(SPEC, r.state, Observations(float("nan"), STABLE), 1.0)


def test_a_rare_label_that_vanishes_takes_the_candidate_back_and_is_named():
    """A tenth of the answers cannot move by the tolerance of ten points: in 99.5 % such a candidate was promoted."""

    def ended(labels: tuple[float, ...], seed: int) -> Any:
        return run(SPEC, Scenario(50.0, Behaviour(labels=(0.45, 0.45, 0.1)), Behaviour(labels=labels), every=5.0), seed, 8000)

    for seed in range(4):
        gone = ended((0.5, 0.5, 0.0), seed)
        assert gone.phase == "RolledBack" and "'2'" in gone.reasons[0] and "rare" in gone.reasons[0]
        assert ended((0.45, 0.45, 0.1), seed).phase == ended((0.475, 0.475, 0.05), seed).phase == "Succeeded"


@pytest.mark.parametrize(("old", "new"), [(("False", "True"), ("false", "true")), (("0.0", "1.0"), ("0", "1"))])
def test_a_label_that_an_older_champion_spells_otherwise_is_the_same_label(old: tuple[str, str], new: tuple[str, str]):
    counts = {
        "stable": {f"{LABEL}{n}": x for n, x in zip(old, (30, 70), strict=True)},
        "candidate": {f"{LABEL}{n}": x for n, x in zip(new, (30, 70), strict=True)},
    }
    tests = evidence.learn(evidence.begin(SPEC), {**counts["stable"], "requests": 100})
    found = evidence.distance(counts, {**tests, "tracks": {}})
    assert found is not None and found[0] == found[2] == 0


def test_the_ceiling_of_errors_is_judged_beside_stable_and_only_when_it_is_shown():
    """Both at 15 % sat in the shadow for the whole hour; a bad minute of a candidate below the ceiling was held up too."""
    spec = SPEC.model_copy(update={"step_deadline_seconds": 3600})
    both = Behaviour(errors=0.15)
    assert run(spec, Scenario(200.0, both, both, every=5.0), 1, 20_000).phase == "Succeeded"
    wide = spec.model_copy(update={"step_deadline_seconds": 300, "errors": Margin(tolerance=0.2, margin=0.4)})
    over = run(wide, Scenario(200.0, Behaviour(errors=0.03), both, every=5.0), 1, 20_000)
    assert over.phase == "RolledBack" and "above the ceiling of 10%" in over.reasons[0] and "stable's 2.9%" in over.reasons[0]
    few = {"stable": {"requests": 900.0, "errors": 9.0}, "candidate": {"requests": 50.0, "errors": 6.0}}
    assert "ceiling" not in "".join(judge(wide, State(phase="Step", window=few, tests=evidence.begin(wide)))[1])


SHIPPED = RolloutSpec(settle_seconds=15, warmup_seconds=10, verify_seconds=120, ready_seconds=600, unready_seconds=5)


@pytest.mark.parametrize(("rate", "shadow"), [(0.2, 200), (0.5, 0)])
def test_a_plan_that_cannot_end_at_the_traffic_seen_is_held_with_the_figures_before_users_meet_the_candidate(rate: float, shadow: int):
    """Every good candidate was rolled back by the deadline of an hour."""
    spec, both = SHIPPED.model_copy(update={"shadow": Shadow(requests=shadow)}), Behaviour(errors=0.003, slow=0.01)
    world, state, held = World(Scenario(rate, both, both), np.random.default_rng(3)), State(stable=STABLE), 0.0

    def look(plan: RolloutSpec, **changes: Any) -> None:
        nonlocal state
        world.pass_time(30.0)
        state, actions = decide(plan, State.from_dict(state.to_dict()), world.look(**changes), world.time)
        world.apply(actions)

    while world.time < 2 * 3600:
        look(spec)
        held = held or (world.time if state.phase == "Paused" else 0.0)
    assert 60 < held < 1200 and state.phase == "Paused" and state.held and world.routed.weights == {STABLE: 100}
    assert world.exposed < 20 and "the deadline is 1 h: set step" in state.reasons[0] and "step_deadline_seconds above" in state.reasons[0]
    longer = float(state.reasons[0].partition("step_deadline_seconds above ")[2].split()[0])
    patient = spec.model_copy(update={"step_deadline_seconds": longer})
    while state.phase != "Succeeded" and world.time < 40 * 3600:
        look(patient)
    assert state.phase == "Succeeded", state.reasons


def test_a_person_who_goes_on_with_too_little_traffic_is_let():
    world, state, told = World(Scenario(0.5), np.random.default_rng(3)), State(stable=STABLE), False
    while state.phase != "Succeeded" and world.time < 20 * 3600:
        world.pass_time(5.0)
        orders = {"commands": (("1", "resume"),)} if state.held else {}
        told = told or state.held
        state, actions = decide(SHIPPED, state, world.look(**orders), world.time)
        world.apply(actions)
    assert told and state.phase == "Succeeded"


def test_traffic_that_comes_back_lets_a_held_plan_go_on():
    world, state = World(Scenario(0.1), np.random.default_rng(3)), State(stable=STABLE)
    phases = []
    while state.phase != "Succeeded" and world.time < 20 * 3600:
        world.pass_time(5.0)
        if world.time > 3600:
            world.scenario = Scenario(20.0)
        state, actions = decide(SHIPPED, state, world.look(), world.time)
        world.apply(actions)
        phases += [state.phase] if phases[-1:] != [state.phase] else []
    assert phases == ["Pending", "Shadow", "Paused", "Shadow", "Warmup", "Step", "Promoting", "Verifying", "Succeeded"]
