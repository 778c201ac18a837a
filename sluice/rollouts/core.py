"""The decision: a pure function from what was seen to what is to be done.

``decide(spec, state, seen, now)`` reads no clock and no network. Everything around it only
observes and applies, and may be killed anywhere: actions ask for a state of the world, not for a
change of it, and are asked for again until they are observed.

Rules: no data never passes; failure outranks a failing measurement, which outranks missing
evidence; a digest that was rolled back never starts again by itself, one that failed for want of
something (a node, an image, credentials) does when that is there; a newer digest supersedes,
routes first; what was counted while weights were settling is no evidence.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from sluice.rollouts import evidence, judge, traffic
from sluice.rollouts.counting import sound
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import (
    TERMINAL,
    Action,
    Arm,
    Launch,
    Observations,
    Retire,
    Route,
    State,
)
from sluice.rollouts.waiting import Waiting

#: Seconds a first model is watched at most: there is no other to go back to.
_FIRST = 5.0
#: What a rollout that leaves no model behind says.
NOTHING_SERVES = "nothing serves now: there was no model before it"


#: Of the trouble of a process, how long the shadow collects at least.
_SHADOW = 1.5


def decide(spec: RolloutSpec, state: State, seen: Observations, now: float) -> tuple[State, tuple[Action, ...]]:
    """One step of a rollout.

    Args:
        spec: the plan. state: as the last call returned it (or ``State(stable=...)`` at first).
        seen: one look at the world; one that is not newer than the last changes nothing.
        now: seconds on the clock of `seen.time`. Earlier than the last look, it is a clock that was set back: what the state
            remembers of times goes back with it, so that no deadline and no check waits for the clock to come round again.

    Returns:
        The new state, to be stored before the actions are applied, and the actions: `Launch`,
        `Route` and `Retire` repeat until their effect is observed, `Note` comes once.

    Raises:
        ValueError: a time that is no number.
    """
    if not math.isfinite(seen.time) or not math.isfinite(now):
        raise ValueError(f"a look at {seen.time} decided at {now}")
    if seen.time <= now < state.last_time:
        state = state.moved(seen.time - state.last_time)
    elif seen.time <= state.last_time:
        return state, ()
    seen = sound(seen)
    run = _Run(spec, replace(state, last_time=seen.time), seen, now, state.last_time)
    run.advance()
    return run.state, tuple(run.notes + run.wanted())


class _Run(Waiting):
    """One call of `decide`."""

    # -- one look ------------------------------------------------------------------------------

    def advance(self) -> None:
        self.hold_up(self.last)
        if self.state.phase not in TERMINAL:
            self.put(
                traffic=traffic.observe(
                    self.state.traffic, self.seen.arms, self.now, copies=self.state.weight == 0, deadline=self.spec.step_deadline_seconds
                )
            )
        if self.seen.present is not None:
            self.put(retire={d: t for d, t in self.state.retire.items() if d in self.seen.present or t > self.now})
        self.commands()
        if self.superseded():
            return
        s = self.state
        if s.phase in ("Pending", "Shadow", "Warmup", "Step", "Paused", "Promoting", "Verifying") and s.candidate:
            broken, away = self.broken(), self.away()
            if broken or away:
                self.count(False)
                # A pod that was evicted, or whose node is gone, is no fault of the model's.
                obstacle = None if broken else self.candidate.obstacle
                self.roll_back(*filter(None, (broken or away, *self.obstacle_reasons())), blameless=obstacle is not None)
                return
        handler = getattr(self, "in_" + self.state.phase.lower(), None)
        if handler:
            handler()

    def broken(self) -> str | None:
        """Why the candidate cannot serve at all; outranks everything that was measured."""
        s, arm = self.state, self.candidate
        if arm.failure:
            return f"the candidate {arm.failure}"
        if s.restarts is not None and arm.restarts - s.restarts > self.spec.restarts:
            return f"the candidate was restarted {arm.restarts - s.restarts} time(s), {self.spec.restarts} forgiven"
        return None

    def away(self) -> str | None:
        """Why a candidate that takes traffic answers nobody: no process of it has been ready for a while.

        Its users' requests fail at the router, so no counter of its own would ever show them.
        """
        s = self.state
        if "candidate" not in self.seen.arms:
            return None
        if self.candidate.ready or s.weight == 0:
            self.put(unready_since=None)
            return None
        since = self.now if s.unready_since is None else s.unready_since
        self.put(unready_since=since)
        gone = self.now - since
        return f"the candidate has not been ready for {gone:.0f} s while it takes traffic" if gone >= self.spec.unready_seconds else None

    def superseded(self) -> bool:
        """Follow the digest the user wants. True when this look is spent on it."""
        s, want = self.state, self.seen.desired
        if s.phase in TERMINAL or (s.phase == "Pending" and s.candidate is None):
            if want in (s.stable, *s.rejected) or (s.phase == "Failed" and want == s.candidate and not self.mended()):
                return False
            self.start(want)
            return False
        if s.phase in ("RollingBack", "Superseded") or want == s.candidate:
            return False
        if s.phase in ("Promoting", "Verifying") and want != s.stable:
            # Promotion stands on its evidence: the newer digest starts from the promoted one.
            return False
        self.enter("Superseded", f"superseded by {want[:12]}", weight=0, mirror=False, reasons=(f"superseded by {want[:12]}",))
        return True

    def start(self, digest: str) -> None:
        s = self.state
        # What was seen of the candidate's arm was another's.
        self.candidate = Arm(exists=False)
        left = {s.candidate: self.now} if s.candidate else {}
        retire = {d: t for d, t in {**s.retire, **left}.items() if d != digest}
        self.state = State(
            stable=s.stable,
            previous=s.previous,
            candidate=digest,
            last_time=s.last_time,
            rejected=s.rejected,
            handled=s.handled,
            sequence=s.sequence,
            retire=retire,
            tests=evidence.begin(self.spec),
            deadline_from=self.now,
            generation=self.seen.generation,
        )
        self.enter("Pending", f"rollout of {digest[:12]}" + (f" beside {s.stable[:12]}" if s.stable else ", the first model"))

    # -- phases --------------------------------------------------------------------------------

    def in_pending(self) -> None:
        s = self.state
        if s.candidate is None:
            return
        if self.seen.generation != s.generation:
            # Asked for again as the spec says now, which may be what was missing.
            self.put(generation=self.seen.generation, obstructed=None, obstacle=())
            self.candidate = replace(self.candidate, exists=False)
        if self.candidate.ready:
            self.put(restarts=self.candidate.restarts, obstructed=None, obstacle=(), reasons=())
            if s.stable is None and self.spec.dry_run:
                self.report("all traffic to the first model")
            elif s.stable is None:
                self.promote("the first model is ready")
            elif self.spec.shadow.requests:
                self.open_window(counted=False)
                self.enter("Shadow", "ready: copies of live requests to the candidate", stage="settle", mirror=True, deadline_from=self.now)
            else:
                self.warm_up("ready")
        elif self.obstructed():
            self.roll_back(*self.obstacle_reasons(), blameless=True)
        elif self.late(s.since, self.spec.ready_seconds):
            self.roll_back(
                f"the candidate was not ready after {self.now - s.since:.0f} s{self.of_which()}",
                *self.state.obstacle,
                blameless=bool(self.state.obstacle),
            )

    def warm_up(self, message: str) -> None:
        self.enter(
            "Warmup",
            f"{message}: staying ready for {self.spec.warmup_seconds:g} s before the first live request",
            mirror=False,
            ready_since=None,
        )

    def in_warmup(self) -> None:
        s = self.state
        if not self.candidate.ready:
            self.put(ready_since=None)
            if self.late(s.since, self.spec.ready_seconds):
                self.roll_back(f"the candidate did not stay ready within {self.now - s.since:.0f} s{self.of_which()}")
            return
        since = self.now if s.ready_since is None else s.ready_since
        self.put(ready_since=since)
        if self.now - since < self.spec.warmup_seconds:
            return
        if self.thin():
            return
        if self.spec.dry_run:
            self.report(f"{self.spec.steps[0]} % to the candidate")
        else:
            self.begin_step(0)

    def report(self, what: str) -> None:
        """A dry run ends here, before the first live request."""
        why = f"dry run: would now send {what}"
        self.put(reported=True, reasons=(why, *self.state.reasons))
        self.pause(why)

    def begin_step(self, index: int) -> None:
        weight = self.spec.steps[index]
        self.open_window(counted=False)
        self.enter(
            "Step",
            f"step {index + 1} of {len(self.spec.steps)}: {weight} % to the candidate",
            stage="settle",
            step=index,
            weight=weight,
            mirror=False,
            deadline_from=self.now,
        )

    def open_window(self, *, counted: bool) -> None:
        self.put(window={}, tests=evidence.new_window(self.state.tests, counted=counted), verdict="no data", reasons=(), checks=())

    def in_shadow(self) -> None:
        self.measure()

    def in_step(self) -> None:
        self.measure()

    def in_paused(self) -> None:
        """Held: nothing advances, but a failure still rolls back; for want of traffic only until there is enough."""
        if self.state.held and self.state.resume in ("Shadow", "Warmup") and not self.thin(sure=False):
            self.go_on(f"{traffic.pace(traffic.rate(self.state.traffic, self.now))}: the plan can be kept now")
            return
        if self.state.resume in ("Shadow", "Step") and self.state.stage == "collect" and self.routed_as_meant():
            if self.count(True):
                held = self.state.reasons if self.state.held else None
                self.judge()
                if self.state.verdict == "fail":
                    self.roll_back(*self.state.reasons)
                elif held and self.state.verdict == "pass":
                    self.go_on("the evidence has come in")
                    self.passed()
                elif held:
                    self.put(reasons=held)
        else:
            self.count(False)

    def measure(self) -> None:
        """Settle, collect, judge: the same in the shadow and in each step."""
        s, spec = self.state, self.spec
        if self.early() and self.thin():
            return
        if self.seen.error and not self.seen.arms:
            # Nothing could be looked at: no sign that anybody moved the weights, and the next block covers this time too.
            self.deadline()
            return
        if s.stage == "settle" or not self.routed_as_meant():
            # Also when a hand moved the weights mid-step: what came in meanwhile is no evidence.
            self.count(False)
            settled = (self.now if s.settled is None else s.settled) if self.routed_as_meant() else None
            self.put(settled=settled, stage="settle")
            if settled is not None and self.now - settled >= spec.settle_seconds:
                self.put(stage="collect", since=self.now)
            self.deadline()
            return
        if not self.count(True):
            self.deadline()
            return
        self.judge()
        s = self.state
        if s.verdict == "fail":
            self.roll_back(*s.reasons)
        elif s.verdict == "pass" and (s.phase == "Step" or self.now - s.since >= _SHADOW * self.spec.trouble_seconds):
            # Copies cost no user anything: the shadow lasts until more than one trouble can have spoken.
            self.passed()
        else:
            self.deadline()

    def judge(self) -> None:
        verdict, reasons, checks = judge.judge(self.spec, self.state)
        if verdict != self.state.verdict:
            self.note("verdict", f"{verdict}: " + "; ".join(reasons), verdict=verdict, checks=list(checks))
        self.put(verdict=verdict, reasons=reasons, checks=checks)

    def passed(self) -> None:
        s = self.state
        why = "; ".join(s.reasons)
        self.put(tests=evidence.new_window(s.tests, counted=True))
        if s.phase == "Shadow":
            self.warm_up(f"shadow passed ({why})")
        elif s.step + 1 < len(self.spec.steps):
            self.note("phase", f"step {s.step + 1} passed: {why}", phase="Step", checks=list(s.checks))
            self.begin_step(s.step + 1)
        else:
            self.promote(f"the last step passed ({why})")

    def deadline(self) -> None:
        s, spec = self.state, self.spec
        if not self.late(s.deadline_from, spec.step_deadline_seconds):
            return
        where = "the shadow" if s.phase == "Shadow" else f"the step at {s.weight} %"
        if self.seen.error:
            why = f"could not be measured: {self.seen.error}"
        elif not self.routed_as_meant():
            why = "was not routed as told"
        elif few := self.lacks_traffic():
            # A want of traffic speaks against no candidate: the tests go on, and so does the rollout once they have an answer.
            if s.unhurried:
                self.put(deadline_from=self.now)
            else:
                self.hold(
                    f"held, no verdict on {where} for want of traffic{self.of_which()}: {few}; goes on by itself when there is a verdict"
                )
            return
        else:
            why = "; ".join(s.reasons) or "no data"
        message = f"no verdict on {where} within {self.now - s.deadline_from:.0f} s{self.of_which()}: {why}"
        if spec.on_deadline == "pause":
            self.put(deadline_from=self.now)
            self.pause(message)
        else:
            self.roll_back(message)

    def promote(self, why: str) -> None:
        held = self.spec.hold_back if self.state.stable else 0
        self.enter(
            "Promoting",
            f"{why}: {100 - held} % of traffic to the candidate" if held else f"{why}: all traffic to the candidate",
            weight=100 - held,
            mirror=False,
        )

    def in_promoting(self) -> None:
        self.count(False)
        if self.routed_as_meant():
            self.put(window={})
            beside = "with the old model at hand" if self.state.stable else "the first model"
            self.enter("Verifying", f"at {self.state.weight} %: watched for {self.watched:g} s, {beside}")
        elif self.late(self.state.since, self.spec.ready_seconds):
            self.fail(f"traffic was not routed as told within {self.now - self.state.since:.0f} s")

    def in_verifying(self) -> None:
        s = self.state
        if self.routed_as_meant() and (bad := self.at_full_traffic()):
            self.roll_back(*bad)
            return
        if not self.candidate.ready:
            self.put(ready_since=None)
            if self.late(s.since, self.spec.ready_seconds):
                self.roll_back(f"the candidate stopped being ready at {s.weight} %")
            return
        if self.now - s.since >= self.watched and not self.too_early() and self.routed_as_meant():
            if s.weight < 100:
                self.put(weight=100)
                return
            old = {s.stable: self.now + self.spec.keep_seconds} if s.stable else {}
            self.put(stable=s.candidate, previous=s.stable, candidate=None, retire={**s.retire, **old}, weight=0, cursor={}, restarts=None)
            self.enter("Succeeded", f"{(s.candidate or '')[:12]} serves", reasons=s.reasons + judge.caution(self.spec, s))

    @property
    def watched(self) -> float:
        """Seconds at (almost) all traffic before it is over; a first model has no other to go back to, and waits for none."""
        return self.spec.verify_seconds if self.state.stable else min(self.spec.verify_seconds, _FIRST)

    def too_early(self) -> bool:
        """A busy machine has hidden how fast the candidate is, and may not hide it for ever."""
        return judge.asked(self.spec, self.state) and not self.late(self.state.since, self.watched)

    def at_full_traffic(self) -> tuple[str, ...]:
        """Why to go back from (almost) all traffic; empty where nothing says so.

        While a part of it stays on the stable model, the paired test of the steps goes on: what strikes both alike is no reason. A first model
        has nothing to be compared with.
        """
        s = self.state
        if s.weight == 100:
            self.count(False, remember=True)
            bad = judge.verify(self.spec, self.state) if s.stable is None or not self.spec.hold_back else None
            return (bad,) if bad else ()
        if not self.count(True):
            return ()
        verdict, reasons, checks = judge.judge(self.spec, self.state)
        if verdict != "fail":
            return ()
        self.put(checks=checks)
        return reasons

    def fail(self, why: str) -> None:
        """Over, with no word against the digest: the candidate stays, so that it can be seen when what was missing is there."""
        self.put(reasons=(why,), generation=self.seen.generation)
        self.enter("Failed", why, weight=0, mirror=False)

    def mended(self) -> bool:
        """What failed begins again: on another spec, on `retry`, or because the candidate has become ready meanwhile."""
        s = self.state
        return self.seen.generation != s.generation or (
            self.candidate.ready and (s.blameless or self.now - s.since >= self.spec.ready_seconds)
        )

    def in_failed(self) -> None:
        s = self.state
        if s.candidate is not None and self.seen.desired in (s.stable, *s.rejected):
            self.gone()
            self.enter(
                "Succeeded" if self.seen.desired == s.stable else "RolledBack",
                "back to the stable model" if s.stable else "nothing serves",
                reasons=(),
            )

    def in_rollingback(self) -> None:
        s = self.state
        if not self.routed_as_meant() and not self.left_alone():
            return
        nothing = () if s.stable else (NOTHING_SERVES,)
        reasons = (*(r for r in s.reasons if r not in nothing), *nothing)
        if s.blameless:
            self.put(reasons=reasons, generation=self.seen.generation)
            self.enter("Failed", "; ".join(reasons))
            return
        self.gone(rejected=(*(d for d in s.rejected if d != s.candidate), s.candidate or "")[-20:])
        self.enter("RolledBack", "rolled back: " + "; ".join(reasons), reasons=reasons)

    def left_alone(self) -> bool:
        """A first model that failed by no fault of its own keeps its place: there is no other to take it, and it may come back."""
        return self.state.blameless and self.state.stable is None

    def in_superseded(self) -> None:
        if self.routed_as_meant() or self.state.stable is None:
            self.gone()
            if self.seen.desired in (self.state.stable, *self.state.rejected):
                self.enter("Succeeded" if self.seen.desired == self.state.stable else "RolledBack", "back to the stable model")
            else:
                self.start(self.seen.desired)

    def gone(self, **changes: Any) -> None:
        s = self.state
        self.put(retire={**s.retire, s.candidate or "": self.now}, candidate=None, cursor={}, restarts=None, **changes)

    # -- what is wanted of the world -------------------------------------------------------------

    def wanted(self) -> list[Action]:
        s = self.state
        out: list[Action] = []
        if s.candidate and s.phase not in ("RollingBack", "Superseded", *TERMINAL) and not self.candidate.exists:
            out.append(Launch(s.candidate))
        # A first model that is rolled back leaves nobody to send to: the route goes before the model does.
        if (self.weights() or (s.phase == "RollingBack" and not self.left_alone())) and not self.routed_as_meant():
            out.append(Route(self.weights(), s.candidate if s.mirror else None))
        due = [d for d, t in s.retire.items() if t <= self.now and d not in (s.stable, s.candidate)]
        out.extend(Retire(d) for d in due)
        return out
