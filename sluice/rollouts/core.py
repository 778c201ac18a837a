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
from collections.abc import Callable
from dataclasses import replace

from sluice.rollouts import commands, judge, traffic
from sluice.rollouts.counting import count, sound
from sluice.rollouts.measuring import Measuring
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import (
    TERMINAL,
    Action,
    Launch,
    Observations,
    Retire,
    Route,
    State,
)
from sluice.rollouts.turn import Turn

#: Seconds a first model is watched at most: there is no other to go back to.
_FIRST = 5.0
#: How many models before `previous` are remembered, for the way farther back.
_PAST = 5
#: What a rollout that leaves no model behind says.
NOTHING_SERVES = "nothing serves now: there was no model before it"


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
    turn = Turn(spec, state.having(last_time=seen.time), seen, now, state.last_time)
    phases = Phases(turn)
    phases.advance()
    return turn.state, tuple(turn.notes + phases.wanted())


class Phases:
    """What a turn does in each phase."""

    def __init__(self, turn: Turn):
        self.turn, self.measuring = turn, Measuring(turn)
        self.handlers: dict[str, Callable[[], None]] = {
            "Pending": self.pending,
            "Shadow": self.measuring.measure,
            "Warmup": self.warmup,
            "Step": self.measuring.measure,
            "Paused": self.measuring.paused,
            "Promoting": self.promoting,
            "Verifying": self.verifying,
            "Failed": self.failed,
            "RollingBack": self.rolling_back,
            "Superseded": self.superseded_by_another,
        }

    def advance(self) -> None:
        """One turn: what holds in every phase, then the phase's own."""
        self.turn.hold_up(self.turn.last)
        if self.turn.state.phase not in TERMINAL:
            self.turn.put(
                traffic=traffic.observe(
                    self.turn.state.traffic,
                    self.turn.seen.arms,
                    self.turn.now,
                    copies=self.turn.state.weight == 0,
                    deadline=self.turn.spec.step_deadline_seconds,
                )
            )
        if self.turn.seen.present is not None:
            self.turn.put(retire={d: t for d, t in self.turn.state.retire.items() if d in self.turn.seen.present or t > self.turn.now})
        commands.obey(self.turn)
        if self.superseded():
            return
        s = self.turn.state
        if s.phase in ("Pending", "Shadow", "Warmup", "Step", "Paused", "Promoting", "Verifying") and s.candidate:
            broken, away = self.turn.broken(), self.away()
            if broken or away:
                count(self.turn, False)
                # A pod that was evicted, or whose node is gone, is no fault of the model's.
                obstacle = None if broken else self.turn.candidate.obstacle
                self.turn.roll_back(*filter(None, (broken or away, *self.turn.obstacle_reasons())), blameless=obstacle is not None)
                return
        if handler := self.handlers.get(self.turn.state.phase):
            handler()

    def away(self) -> str | None:
        """Why a candidate that takes traffic answers nobody: no process of it has been ready for a while.

        Its users' requests fail at the router, so no counter of its own would ever show them.
        """
        s = self.turn.state
        if "candidate" not in self.turn.seen.arms:
            return None
        if self.turn.candidate.ready or s.weight == 0:
            self.turn.put(unready_since=None)
            return None
        since = self.turn.now if s.unready_since is None else s.unready_since
        self.turn.put(unready_since=since)
        gone = self.turn.now - since
        return (
            f"the candidate has not been ready for {gone:.0f} s while it takes traffic" if gone >= self.turn.spec.unready_seconds else None
        )

    def superseded(self) -> bool:
        """Follow the digest the user wants. True when this look is spent on it."""
        s, want = self.turn.state, self.turn.seen.desired
        if s.phase in TERMINAL or (s.phase == "Pending" and s.candidate is None):
            if want in (s.stable, *s.rejected) or (s.phase == "Failed" and want == s.candidate and not self.mended()):
                return False
            self.turn.start(want)
            return False
        if s.phase in ("RollingBack", "Superseded") or want == s.candidate or s.back:
            return False
        if s.phase in ("Promoting", "Verifying") and want != s.stable:
            # Promotion stands on its evidence: the newer digest starts from the promoted one.
            return False
        self.turn.enter("Superseded", f"superseded by {want[:12]}", weight=0, mirror=False, reasons=(f"superseded by {want[:12]}",))
        return True

    def pending(self) -> None:
        """Until the candidate is ready."""
        s = self.turn.state
        if s.candidate is None:
            return
        if self.turn.seen.generation != s.generation:
            # Asked for again as the spec says now, which may be what was missing.
            self.turn.put(generation=self.turn.seen.generation, obstructed=None, obstacle=())
            self.turn.candidate = replace(self.turn.candidate, exists=False)
        if self.turn.candidate.ready and s.back:
            self.turn.swap()
        elif self.turn.candidate.ready:
            self.turn.put(restarts=self.turn.candidate.restarts, obstructed=None, obstacle=(), reasons=())
            if s.stable is None and self.turn.spec.dry_run:
                self.turn.report("all traffic to the first model")
            elif s.stable is None:
                self.turn.promote("the first model is ready")
            elif self.turn.spec.shadow.requests:
                self.turn.open_window(counted=False)
                self.turn.enter(
                    "Shadow", "ready: copies of live requests to the candidate", stage="settle", mirror=True, deadline_from=self.turn.now
                )
            else:
                self.turn.warm_up("ready")
        elif self.turn.obstructed():
            self.turn.roll_back(*self.turn.obstacle_reasons(), blameless=True)
        elif self.turn.late(s.since, self.turn.spec.ready_seconds):
            self.turn.roll_back(
                f"the candidate was not ready after {self.turn.now - s.since:.0f} s{self.turn.of_which()}",
                *self.turn.state.obstacle,
                blameless=bool(self.turn.state.obstacle),
            )

    def warmup(self) -> None:
        """Until the candidate has stayed ready for a while, before its first live request."""
        s = self.turn.state
        if not self.turn.candidate.ready:
            self.turn.put(ready_since=None)
            if self.turn.late(s.since, self.turn.spec.ready_seconds):
                self.turn.roll_back(f"the candidate did not stay ready within {self.turn.now - s.since:.0f} s{self.turn.of_which()}")
            return
        since = self.turn.now if s.ready_since is None else s.ready_since
        self.turn.put(ready_since=since)
        if self.turn.now - since < self.turn.spec.warmup_seconds:
            return
        if self.measuring.thin():
            return
        if self.turn.spec.dry_run:
            self.turn.report(f"{self.turn.spec.steps[0]} % to the candidate")
        else:
            self.turn.begin_step(0)

    def promoting(self) -> None:
        """Until the router sends the candidate its share."""
        count(self.turn, False)
        if self.turn.routed_as_meant():
            self.turn.put(window={})
            beside = "with the old model at hand" if self.turn.state.stable else "the first model"
            self.turn.enter("Verifying", f"at {self.turn.state.weight} %: watched for {self.watched:g} s, {beside}")
        elif self.turn.late(self.turn.state.since, self.turn.spec.ready_seconds):
            self.turn.fail(f"traffic was not routed as told within {self.turn.now - self.turn.state.since:.0f} s")

    def verifying(self) -> None:
        """Watch the candidate at (almost) all traffic."""
        s = self.turn.state
        if self.turn.routed_as_meant() and (bad := self.at_full_traffic()):
            self.turn.roll_back(*bad)
            return
        if not self.turn.candidate.ready:
            self.turn.put(ready_since=None)
            if self.turn.late(s.since, self.turn.spec.ready_seconds):
                self.turn.roll_back(f"the candidate stopped being ready at {s.weight} %")
            return
        if self.turn.now - s.since >= self.watched and not self.too_early() and self.turn.routed_as_meant():
            if s.weight < 100:
                self.turn.put(weight=100)
                return
            old = {s.stable: self.turn.now + self.turn.spec.keep_seconds} if s.stable else {}
            self.turn.put(
                stable=s.candidate,
                previous=s.stable,
                past=(*s.past, *([s.previous] if s.previous else []))[-_PAST:],
                candidate=None,
                retire={**s.retire, **old},
                weight=0,
                cursor={},
                restarts=None,
            )
            self.turn.enter("Succeeded", f"{(s.candidate or '')[:12]} serves", reasons=s.reasons + judge.caution(self.turn.spec, s))

    @property
    def watched(self) -> float:
        """Seconds at (almost) all traffic before it is over; a first model has no other to go back to, and waits for none."""
        return self.turn.spec.verify_seconds if self.turn.state.stable else min(self.turn.spec.verify_seconds, _FIRST)

    def too_early(self) -> bool:
        """A busy machine has hidden how fast the candidate is, and may not hide it for ever."""
        return judge.asked(self.turn.spec, self.turn.state) and not self.turn.late(self.turn.state.since, self.watched)

    def at_full_traffic(self) -> tuple[str, ...]:
        """Why to go back from (almost) all traffic; empty where nothing says so.

        While a part of it stays on the stable model, the paired test of the steps goes on: what strikes both alike is no reason. A first model
        has nothing to be compared with.
        """
        s = self.turn.state
        if s.weight == 100:
            count(self.turn, False, remember=True)
            bad = judge.verify(self.turn.spec, self.turn.state) if s.stable is None or not self.turn.spec.hold_back else None
            return (bad,) if bad else ()
        if not count(self.turn, True):
            return ()
        verdict, reasons, checks = judge.judge(self.turn.spec, self.turn.state)
        if verdict != "fail":
            return ()
        self.turn.put(checks=checks)
        return reasons

    def mended(self) -> bool:
        """What failed begins again: on another spec, on `retry`, or because the candidate has become ready meanwhile."""
        s = self.turn.state
        return self.turn.seen.generation != s.generation or (
            self.turn.candidate.ready and (s.blameless or self.turn.now - s.since >= self.turn.spec.ready_seconds)
        )

    def failed(self) -> None:
        """Over by nobody's fault, until another digest is wanted."""
        s = self.turn.state
        if s.candidate is not None and self.turn.seen.desired in (s.stable, *s.rejected):
            self.turn.gone()
            self.turn.enter(
                "Succeeded" if self.turn.seen.desired == s.stable else "RolledBack",
                "back to the stable model" if s.stable else "nothing serves",
                reasons=(),
            )

    def rolling_back(self) -> None:
        """Until nobody is sent to the candidate."""
        s = self.turn.state
        if not self.turn.routed_as_meant() and not self.turn.left_alone():
            return
        nothing = () if s.stable else (NOTHING_SERVES,)
        reasons = (*(r for r in s.reasons if r not in nothing), *nothing)
        if s.blameless:
            self.turn.put(reasons=reasons, generation=self.turn.seen.generation)
            self.turn.enter("Failed", "; ".join(reasons))
            return
        self.turn.gone(rejected=(*(d for d in s.rejected if d != s.candidate), s.candidate or "")[-20:])
        self.turn.enter("RolledBack", "rolled back: " + "; ".join(reasons), reasons=reasons)

    def superseded_by_another(self) -> None:
        """Until nobody is sent to the candidate: then the newer digest begins."""
        if self.turn.routed_as_meant() or self.turn.state.stable is None:
            self.turn.gone()
            if self.turn.seen.desired in (self.turn.state.stable, *self.turn.state.rejected):
                self.turn.enter(
                    "Succeeded" if self.turn.seen.desired == self.turn.state.stable else "RolledBack", "back to the stable model"
                )
            else:
                self.turn.start(self.turn.seen.desired)

    def wanted(self) -> list[Action]:
        """What is asked of the world now."""
        s = self.turn.state
        out: list[Action] = []
        if s.candidate and s.phase not in ("RollingBack", "Superseded", *TERMINAL) and not self.turn.candidate.exists:
            out.append(Launch(s.candidate))
        # A first model that is rolled back leaves nobody to send to: the route goes before the model does.
        if (self.turn.weights() or (s.phase == "RollingBack" and not self.turn.left_alone())) and not self.turn.routed_as_meant():
            out.append(Route(self.turn.weights(), s.candidate if s.mirror else None))
        due = [d for d, t in s.retire.items() if t <= self.turn.now and d not in (s.stable, s.candidate)]
        out.extend(Retire(d) for d in due)
        return out
