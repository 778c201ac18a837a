"""A rollout that is held for want of traffic: no verdict is to be had in time, and that is no fault of the candidate."""

from __future__ import annotations

from typing import Any

from sluice.rollouts import traffic
from sluice.rollouts.counting import Counting


class Waiting(Counting):
    """A turn that knows how long its plan takes at the traffic there is."""

    def thin(self, sure: bool = True) -> bool:
        """Hold what cannot end in time at the traffic there is, before a user meets the candidate. True when it is held."""
        s, spec = self.state, self.spec
        if s.unhurried or self.seen.limit is not None or s.stable is None:
            return False
        why = traffic.too_thin(spec, s.tests["known"], s.traffic, self.now, share=self.seen.pace, sure=sure)
        if why is None:
            return False
        said = f"held before the first step: {why}"
        if s.held:
            self.put(reasons=(said,))
            return True
        self.hold(said, weight=0)
        if s.phase == "Step":
            self.put(resume="Warmup", stage="", settled=None)
        return True

    def hold(self, why: str, **changes: Any) -> None:
        self.put(reasons=(why,), **changes)
        self.pause(why)
        self.put(held=True)

    def go_on(self, why: str) -> None:
        self.enter(self.state.resume, f"goes on: {why}", stage=self.state.stage, resume=None, deadline_from=self.now, ready_since=None)

    def early(self) -> bool:
        """A plan that cannot be kept is told from the traffic seen before users meet the candidate, or where there is no shadow, soon after."""
        s = self.state
        return s.phase == "Shadow" or (
            s.step == 0 and not self.spec.shadow.requests and self.now - s.deadline_from < self.spec.step_deadline_seconds / 4
        )

    def lacks_traffic(self) -> str | None:
        """How far a step without a verdict is from the requests a good candidate takes; None where it has had them, or one model alone is asked."""
        s, spec = self.state, self.spec
        b = s.window.get("candidate", {}).get("requests", 0.0)
        if s.phase == "Shadow":
            wanted, share = float(spec.shadow.requests), spec.shadow.percent / 100
        else:
            # As many again: by chance a good candidate takes more than half of the good ones do.
            wanted, share = 2 * traffic.wanted(spec, s.tests["known"], s.weight), s.weight / 100
        shares = {"candidate": share, "stable": 1 - share if s.phase == "Step" else 1.0}
        if b >= wanted or traffic.one_sided(s.traffic, shares):
            return None
        seconds = self.now - s.deadline_from
        return f"{b:.0f} of {wanted:.0f} candidate requests in {traffic.span(seconds)}, {traffic.pace(traffic.rate(s.traffic, self.now))} of late"
