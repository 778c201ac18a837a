"""Trouble of one process or one user, by the same law in both arms, against regressions: the level holds, and detection stays quick."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from serving.controller.rollouts.resource import SHIPPED as DEFAULTS
from sluice.rollouts import stretches
from sluice.rollouts.crowd import Users
from sluice.rollouts.evidence import suspected
from sluice.rollouts.measuring import Measuring
from sluice.rollouts.simulate import Behaviour, Outcome, Scenario, Trouble, run
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import Observations, State
from sluice.rollouts.turn import Turn

SHIPPED = RolloutSpec(**DEFAULTS)
BASE = Behaviour(errors=0.003, slow=0.01)


def ended(candidate: Behaviour = BASE, runs: int = 8, spec: RolloutSpec = SHIPPED, **how: object) -> list[Outcome]:
    return [run(spec, Scenario(50.0, BASE, candidate, every=5.0, **how), seed, 8000) for seed in range(runs)]  # type: ignore[arg-type]


def back(outcomes: list[Outcome]) -> int:
    return sum(o.phase == "RolledBack" and not o.reasons[0].startswith("no verdict") for o in outcomes)


@pytest.mark.parametrize("how", [{"trouble": Trouble(0.1), "pods": 2}, {"users": Users(visits=40, correlation=0.6)}])
def test_trouble_that_strikes_either_arm_by_the_same_law_takes_no_candidate_back(how: dict[str, object]):
    """Of one process for a while, or of one user: 15 and 13 % false rollbacks, more with more of it."""
    assert back(ended(**how)) <= 1  # type: ignore[arg-type]


@pytest.mark.parametrize("scrape", [None, 30.0])
def test_two_points_more_errors_are_caught_after_a_handful_of_them(scrape: float | None):
    outcomes = ended(replace(BASE, errors=0.023), 7, scrape=scrape)
    assert back(outcomes) == 7 and np.median([o.harmed for o in outcomes]) <= 10
    assert "the candidate has one process" in "".join(o.reasons[0] for o in outcomes)


@pytest.mark.parametrize("seed", [15, 18, 31])
def test_trouble_of_the_only_process_that_comes_twice_in_the_shadow_takes_no_good_candidate_back(seed: int):
    """17 of 100 went back: nearly all bad answers were the trouble's, so about their overall odds it was no dispersion."""
    assert run(SHIPPED, Scenario(50.0, BASE, BASE, every=5.0, trouble=Trouble(0.1)), seed, 8000).phase == "Succeeded"


def kept(blocks: list[tuple[dict[str, dict[str, tuple[int, int]]], float]], trouble: float = 45.0) -> dict[str, object]:
    state, begun = stretches.begin(), 0.0
    for arms, now in blocks:
        counts = {arm: {pod: {"requests": float(n), "errors": float(k)} for pod, (n, k) in pods.items()} for arm, pods in arms.items()}
        state, begun = stretches.take(state, counts, begun, now, trouble), now
    return state


def test_evidence_of_one_stretch_does_not_agree_and_of_two_does():
    quiet = {"stable": {"s": (200, 1)}, "candidate": {"c": (25, 0)}}
    bad = {"stable": {"s": (200, 1)}, "candidate": {"c": (25, 12)}}
    times = [5.0 * (i + 1) for i in range(30)]
    once = [(bad if 10 <= i < 15 else quiet, t) for i, t in enumerate(times)]
    twice = [(bad if i in (4, 5, 25, 26) else quiet, t) for i, t in enumerate(times)]
    assert not stretches.agrees(kept(once), "errors", 0.0, 45.0, 1.0)
    assert stretches.agrees(kept(twice), "errors", 0.0, 45.0, 1.0)
    assert stretches.agrees(kept(once), "errors", 0.0, 0.0, 1.0), "0 turns it off"
    assert stretches.agrees(kept([(bad, 60.0), (bad, 120.0)]), "errors", 0.0, 45.0, 1.0), "a block longer than the trouble is a stretch"


def test_bad_answers_of_one_process_are_counted_as_of_one_cause_and_what_strikes_all_is_not():
    one = {"stable": {"s": (200, 1)}, "candidate": {"c": (15, 9), "d": (15, 0)}}
    both = {"stable": {"s": (200, 1)}, "candidate": {"c": (15, 5), "d": (15, 5)}}
    shared = {"stable": {"s": (200, 100)}, "candidate": {"c": (15, 8), "d": (15, 7)}}
    times = [5.0 * (i + 1) for i in range(12)]
    found = stretches.clumped(kept([(one, t) for t in times]), "errors")
    assert found[0] > 10 and found[1] == "between candidate's processes"
    assert stretches.clumped(kept([(both, t) for t in times]), "errors")[0] < 1.3
    well = {"stable": {"s": (200, 1)}, "candidate": {"c": (15, 0), "d": (15, 0)}}
    assert stretches.clumped(kept([(shared if i % 4 == 0 else well, t) for i, t in enumerate(times)]), "errors")[0] < 1.3


def test_two_troubles_are_two_causes_however_much_of_the_bad_they_made_and_a_regression_is_none():
    quiet = {"stable": {"s": (250, 1)}, "candidate": {"c": (250, 1)}}
    bad = {"stable": {"s": (250, 1)}, "candidate": {"c": (250, 125)}}
    worse = {"stable": {"s": (250, 1)}, "candidate": {"c": (250, 13)}}
    times = [5.0 * (i + 1) for i in range(30)]
    twice = kept([(bad if i in (4, 5, 6, 18, 19, 20) else quiet, t) for i, t in enumerate(times)])
    clump, seen = stretches.clumped(twice, "errors")
    assert clump > 100 and seen == "over time"
    assert stretches.clumped(kept([(worse, t) for t in times]), "errors")[0] < 1.3


@pytest.mark.parametrize(("troubled", "after"), [((), 105), ((4,), 165), ((4, 5), 165)])
def test_an_excess_is_a_change_once_it_outlasts_a_trouble_and_later_where_there_were_troubles_before(troubled: tuple[int, ...], after: int):
    """Quiet for five minutes but for the stretches of 15 s named, in which half of stable's answers are bad; then half of the candidate's for good."""
    well, bad = {"p": (500, 2)}, {"p": (500, 250)}
    blocks = [{"stable": bad if i in troubled else well, "candidate": well} for i in range(20)] + [{"stable": well, "candidate": bad}] * 14
    times = [(block, 15.0 * (i + 1)) for i, block in enumerate(blocks)]
    since = [stretches.clumped(kept(times[: 21 + more]), "errors", trouble=45.0)[0] for more in range(14)]
    assert next(15 * (i + 1) for i, clump in enumerate(since) if clump < 1.5) == after, since


def test_the_shadow_waits_longer_where_the_candidate_looks_worse_in_one_stretch_alone():
    turn = Turn(SHIPPED, State(phase="Shadow"), Observations(0.0, "c"), 0.0, 0.0)
    assert Measuring(turn).shadow() == 1.5 * 45
    turn.put(checks=({"metric": "errors", "e_worse": math.exp(suspected(SHIPPED))},))
    assert Measuring(turn).shadow() == 4 * 45


def test_what_is_kept_stays_small_however_long_a_rollout_lasts():
    quiet = {"stable": {f"s{i}": (50, 1) for i in range(3)}, "candidate": {"c": (25, 0)}}
    state = kept([(quiet, 20.0 * (i + 1)) for i in range(300)])
    assert len(state["rows"]) == 40 and sum(r[2] for r in state["rows"]) == 300 * 150 and state["rows"][0][0] == 0.0  # type: ignore[arg-type, index, misc]
