"""What the shadow and each step have in common: settle, collect, judge, and what happens when no verdict comes in time."""

from __future__ import annotations

import math

from sluice.rollouts import evidence, judge, traffic, users
from sluice.rollouts.counting import count
from sluice.rollouts.turn import Turn

#: Of the trouble of a process, how long the shadow collects at least, and where it has seen what may be one.
_SHADOW, _SUSPECTED = 1.5, 4.0


class Measuring:
    """Collects evidence in a turn and acts on the verdict.

    A rollout may be held for want of traffic: then no verdict is to be had in time, and that is no fault of the candidate.
    """

    def __init__(self, turn: Turn):
        self.turn = turn

    def measure(self) -> None:
        """Settle, collect, judge: the same in the shadow and in each step."""
        s, spec = self.turn.state, self.turn.spec
        if self.early() and self.thin():
            return
        if self.turn.seen.error and not self.turn.seen.arms:
            # Nothing could be looked at: no sign that anybody moved the weights, and the next block covers this time too.
            self.deadline()
            return
        if s.stage == "settle" or not self.turn.routed_as_meant():
            # Also when a hand moved the weights mid-step: what came in meanwhile is no evidence.
            count(self.turn, False)
            settled = (self.turn.now if s.settled is None else s.settled) if self.turn.routed_as_meant() else None
            self.turn.put(settled=settled, stage="settle")
            if settled is not None and self.turn.now - settled >= spec.settle_seconds:
                self.turn.put(stage="collect", since=self.turn.now)
            self.deadline()
            return
        if not count(self.turn, True):
            self.deadline()
            return
        self.judge()
        s = self.turn.state
        if s.verdict == "fail":
            self.turn.roll_back(*s.reasons)
        elif s.verdict == "pass" and (s.phase == "Step" or self.turn.now - s.since >= self.shadow()):
            # Copies cost no user anything: the shadow lasts until more than one trouble can have spoken.
            self.passed()
        else:
            self.deadline()

    def shadow(self) -> float:
        """Seconds that the shadow collects at least: more where the candidate looks worse in one stretch alone, so that it is told there, not among users."""
        spec = self.turn.spec
        level = 0.99 * math.exp(evidence.suspected(spec))
        seen = any(c.get("e_worse", 0.0) >= level for c in self.turn.state.checks)
        return (_SUSPECTED if seen else _SHADOW) * spec.trouble_seconds

    def paused(self) -> None:
        """Held: nothing advances, but a failure still rolls back; for want of traffic only until there is enough."""
        if self.turn.state.held and self.turn.state.resume in ("Shadow", "Warmup") and not self.thin(sure=False):
            self.turn.go_on(f"{traffic.pace(traffic.rate(self.turn.state.traffic, self.turn.now))}: the plan can be kept now")
            return
        if self.turn.state.resume in ("Shadow", "Step") and self.turn.state.stage == "collect" and self.turn.routed_as_meant():
            if count(self.turn, True):
                held = self.turn.state.reasons if self.turn.state.held else None
                self.judge()
                if self.turn.state.verdict == "fail":
                    self.turn.roll_back(*self.turn.state.reasons)
                elif held and self.turn.state.verdict == "pass":
                    self.turn.go_on("the evidence has come in")
                    self.passed()
                elif held:
                    self.turn.put(reasons=held)
        else:
            count(self.turn, False)

    def judge(self) -> None:
        """The verdict on what was collected; a new one is noted."""
        verdict, reasons, checks = judge.judge(self.turn.spec, self.turn.state)
        if verdict != self.turn.state.verdict:
            self.turn.note("verdict", f"{verdict}: " + "; ".join(reasons), verdict=verdict, checks=list(checks))
        self.turn.put(verdict=verdict, reasons=reasons, checks=checks)

    def passed(self) -> None:
        """The shadow or a step is done: on to the next."""
        s = self.turn.state
        why = "; ".join(s.reasons)
        self.turn.put(tests=evidence.new_window(s.tests, counted=True))
        if s.phase == "Shadow":
            self.turn.warm_up(f"shadow passed ({why})")
        elif s.step + 1 < len(self.turn.spec.steps):
            self.turn.note("phase", f"step {s.step + 1} passed: {why}", phase="Step", checks=list(s.checks))
            self.turn.begin_step(s.step + 1)
        else:
            self.turn.promote(f"the last step passed ({why})")

    def deadline(self) -> None:
        """No verdict: nothing before the deadline; after it hold, pause or go back, by what is missing."""
        s, spec = self.turn.state, self.turn.spec
        if not self.turn.late(s.deadline_from, spec.step_deadline_seconds):
            return
        where = "the shadow" if s.phase == "Shadow" else f"the step at {s.weight} %"
        if self.turn.seen.error and self.turn.seen.limit:
            # A machine that is too busy to answer a look says nothing of a candidate.
            self.turn.hold(
                f"held, no verdict on {where} within {self.turn.now - s.deadline_from:.0f} s: {self.turn.seen.limit}, and could not be measured: "
                f"{self.turn.seen.error}"
            )
            return
        if self.turn.seen.error:
            why = f"could not be measured: {self.turn.seen.error}"
        elif not self.turn.routed_as_meant():
            why = "was not routed as told"
        elif few := self.lacks_traffic():
            # A want of traffic speaks against no candidate: the tests go on, and so does the rollout once they have an answer.
            if s.unhurried:
                self.turn.put(deadline_from=self.turn.now)
            else:
                self.turn.hold(
                    f"held, no verdict on {where} for want of traffic{self.turn.of_which()}: {few}; goes on by itself when there is a verdict"
                )
            return
        else:
            why = "; ".join(s.reasons) or "no data"
        message = f"no verdict on {where} within {self.turn.now - s.deadline_from:.0f} s{self.turn.of_which()}: {why}"
        if spec.on_deadline == "pause":
            self.turn.put(deadline_from=self.turn.now)
            self.turn.pause(message)
        else:
            self.turn.roll_back(message)

    def thin(self, sure: bool = True) -> bool:
        """Hold what cannot end in time at the traffic there is, before a user meets the candidate. True when it is held."""
        s, spec = self.turn.state, self.turn.spec
        if s.unhurried or self.turn.seen.limit is not None or s.stable is None:
            return False
        why = traffic.too_thin(spec, s.tests["known"], s.traffic, self.turn.now, share=self.turn.seen.pace, sure=sure)
        if why is None:
            return False
        said = f"held before the first step: {why}"
        if s.held:
            self.turn.put(reasons=(said,))
            return True
        self.turn.hold(said, weight=0)
        if s.phase == "Step":
            self.turn.put(resume="Warmup", stage="", settled=None)
        return True

    def early(self) -> bool:
        """A plan that cannot be kept is told from the traffic seen before users meet the candidate, or where there is no shadow, soon after."""
        s = self.turn.state
        return s.phase == "Shadow" or (
            s.step == 0
            and not self.turn.spec.shadow.requests
            and self.turn.now - s.deadline_from < self.turn.spec.step_deadline_seconds / 4
        )

    def lacks_traffic(self) -> str | None:
        """How far a step without a verdict is from the requests a good candidate takes; None where it has had them, or one model alone is asked."""
        s, spec = self.turn.state, self.turn.spec
        b, worth = s.window.get("candidate", {}).get("requests", 0.0), 1.0
        if s.phase == "Shadow":
            wanted, share = float(spec.shadow.requests), spec.shadow.percent / 100
        else:
            # Of users who stay so many requests are worth one: what one of them repeats and repeats speaks for no model, and against none.
            worth = max(users.dispersions(s.total).values(), default=1.0)
            # As many again: by chance a good candidate takes more than half of the good ones do.
            wanted, share = 2 * worth * traffic.wanted(spec, s.tests["known"], s.weight)[0], s.weight / 100
        shares = {"candidate": share, "stable": 1 - share if s.phase == "Step" else 1.0}
        if b >= wanted or traffic.one_sided(s.traffic, shares):
            return None
        seconds = self.turn.now - s.deadline_from
        said = f"{b:.0f} of {wanted:.0f} candidate requests in {traffic.span(seconds)}, {traffic.pace(traffic.rate(s.traffic, self.turn.now))} of late"
        return said if worth < 1.5 else f"{said}; of users who come again {worth:.0f} requests are worth one"
