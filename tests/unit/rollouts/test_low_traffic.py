"""Plans that cannot end at the traffic there is: replayed on this machine, and asked of the simulator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sluice.core.errors import ProjectError
from sluice.rollouts import again, control
from sluice.rollouts.local import Request, deadline, run_local
from sluice.rollouts.simulate import detects
from sluice.rollouts.spec import Replay, RolloutSpec
from tests.unit.serving import builders


@pytest.mark.parametrize(("rate", "seconds"), [(300, 60.0), (50, 244.0), (1, 600.0)])
def test_a_replay_has_the_time_its_rate_takes(rate: float, seconds: float):
    """At 50 requests a second a step takes all of the minute it had: 17 of 20 good candidates were rolled back."""
    assert deadline(RolloutSpec(replay=Replay(rate=rate))) == seconds
    assert deadline(RolloutSpec(replay=Replay(rate=rate, step_deadline_seconds=7))) == 7


@pytest.mark.parametrize("replay", [Replay(rate=1), Replay(rate=50, step_deadline_seconds=30)])
def test_a_replay_that_cannot_end_in_time_is_refused_before_a_server_starts_and_can_be_tried_again(tmp_path: Path, replay: Replay):
    old, new = builders.tabular(tmp_path / "a"), builders.tabular(tmp_path / "b", labels=["no", "yes", "maybe"])
    plan = RolloutSpec(replay=replay)
    with pytest.raises(ProjectError) as e:
        run_local("m", plan, stable=old.root, candidate=new.root, server=["/no/such/server"], requests=[Request(b"{}", "/")], home=tmp_path)
    assert e.value.field == "rollout.replay.rate" and "a step at 10 % takes" in e.value.message and "the deadline is" in e.value.message
    assert "replay.step_deadline_seconds" in (e.value.fix or "") and not control.status(tmp_path, "m")["running"]
    with pytest.raises(Exception, match="there any more"):
        again.kept(tmp_path, "m")  # only because no rows were kept here


def test_what_a_plan_detects_is_told_with_its_own_deadline():
    plan = RolloutSpec(settle_seconds=15)
    slow = detects(plan, 0.2, runs=1)
    assert {row["held"] for row in slow} == {1.0} and re.search(
        r"a step at 10 % takes [34][.\d]* h at 0\.[12]\d*/s .*, the deadline is 1 h: set", slow[0]["says"]
    )
