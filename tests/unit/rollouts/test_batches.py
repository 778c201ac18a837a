"""Outcomes that are told in batches, each arm's between other looks: measured all the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sluice.rollouts import batches, evidence, stretches
from sluice.rollouts.measuring import Measuring
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import Observations, State
from sluice.rollouts.turn import Turn

SPEC = RolloutSpec(trouble_seconds=45)


def test_a_share_that_one_arm_alone_counted_waits_for_the_other_and_the_rest_goes_on():
    a, b = {"requests": 90.0, "errors": 1.0, "judged": 50.0, "wrong": 4.0}, {"requests": 10.0, "label:x": 9.0}
    kept, stable, candidate = batches.matched({}, a, b)
    assert kept == {"stable": {"judged": 50, "wrong": 4}, "candidate": {"label:x": 9}}
    assert stable == {"requests": 90, "errors": 1} and candidate == {"requests": 10}
    kept, stable, candidate = batches.matched(kept, {"requests": 80.0, "label:y": 70.0}, {"requests": 9.0, "judged": 7.0})
    assert kept == {} and stable == {"requests": 80, "judged": 50, "wrong": 4, "label:y": 70}
    assert candidate == {"requests": 9, "judged": 7, "label:x": 9}


def blocks(worse: float, seed: int = 3) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tests and the stretches after 40 looks of 5 s, of which the truth of stable's answers comes at every third, the candidate's between."""
    draw, tests, kept = np.random.default_rng(seed), evidence.begin(SPEC), stretches.begin()
    for i in range(40):
        arms = {"stable": {"requests": 200.0, "errors": 0.0}, "candidate": {"requests": 50.0, "errors": 0.0}}
        for arm, turn, n, share in (("stable", 0, 600, 0.05), ("candidate", 1, 150, 0.05 + worse)):
            if i % 3 == turn:
                arms[arm] |= {"judged": float(n), "wrong": float(draw.binomial(n, share))}
        kept = stretches.take(kept, {arm: {"p": c} for arm, c in arms.items()}, 5.0 * i, 5.0 * i + 5, 45.0)
        tests = evidence.update(SPEC, {**tests, "stretches": kept}, arms["stable"], arms["candidate"])
    return tests, kept


def test_truth_in_batches_out_of_step_lets_a_good_candidate_on_and_takes_a_worse_one_back():
    """Dropped, no share of wrong answers was ever measured, and three good candidates of five went back at the deadline."""
    good, _ = blocks(0.0)
    assert evidence.in_favour(good)["wrong"] > math.log(1 / SPEC.alpha)
    bad, kept = blocks(0.15)
    assert evidence.against(SPEC, bad, {})["wrong"] > math.log(len(evidence.family(SPEC)) / SPEC.alpha)
    assert stretches.agrees(kept, "wrong", 0.02, 45.0, 1.0)
    assert evidence.new_window(good, counted=True)["waiting"] == {}


def test_a_user_who_repeats_a_request_that_fails_is_no_verdict_on_the_candidate_at_the_deadline():
    """One known user in the candidate's arm, 1,200 times: the step is held, where it was rolled back for want of a verdict."""

    def ends(repeats: float) -> str | None:
        groups = {f"r@{g}": 60.0 for g in range(64)} | {f"e@{g}": float(g % 4 == 0) for g in range(64)}
        arm = {"requests": 3840.0, "errors": 16.0} | groups
        other = {**arm, "requests": 3840 + repeats, "errors": 16 + repeats, "r@5": 60 + repeats, "e@5": repeats}
        state = State(
            stable="s",
            candidate="c",
            phase="Step",
            weight=50,
            total={"stable": arm, "candidate": other},
            window={"candidate": {"requests": 3840 + repeats}},
            tests={**evidence.begin(SPEC), "known": {"requests": 3840.0, "errors": 16.0}},
            traffic={"since": 0.0, "requests": 7680 + repeats, "arms": {"stable": 3840.0, "candidate": 3840 + repeats}, "by": {}},
        )
        return Measuring(Turn(SPEC, state, Observations(3600.0, "c"), 3600.0, 3595.0)).lacks_traffic()

    assert ends(0.0) is None
    assert "of users who come again" in (ends(1200.0) or "")
