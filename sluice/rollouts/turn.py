"""One turn of the decision: what is seen, the state being worked on with the notes that are made, and the moves from phase to phase."""

from __future__ import annotations

import math
from typing import Any

from sluice.rollouts import evidence
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import MEND, Action, Arm, Note, Observations, State

_NO_ARM = Arm(exists=False)
#: A deadline is put off by at most this many times its length, however busy the machine is.
STRETCH = 4.0
#: Seconds for which an obstacle that does not go away by itself is borne.
OBSTRUCTED = 120.0
#: Between two looks no more than this counts as held up: a machine that slept was not busy.
_LOOK = 10.0


class Turn:
    """One call of `decide`.

    Attributes:
        spec, seen, now: as `decide` was given them. last: the time of the look before.
        state: as it is by now. notes: made so far. stable, candidate: the arms as they are seen.
    """

    def __init__(self, spec: RolloutSpec, state: State, seen: Observations, now: float, last: float):
        self.spec, self.state, self.seen, self.now, self.last = spec, state, seen, now, last
        self.notes: list[Action] = []
        self.stable, self.candidate = seen.arms.get("stable", _NO_ARM), seen.arms.get("candidate", _NO_ARM)

    def put(self, **changes: Any) -> None:
        """Change fields of the state."""
        self.state = self.state.having(**changes)

    def note(self, kind: str, message: str, **data: Any) -> None:
        """Write down what happened, once."""
        self.put(sequence=self.state.sequence + 1)
        self.notes.append(Note(self.state.sequence, kind, message, data))

    def enter(self, phase: Any, message: str, *, stage: str = "", **changes: Any) -> None:
        """Go into a phase, and write it down."""
        self.put(**{"phase": phase, "stage": stage, "since": self.now, "settled": None, "held_up": 0.0, "held": False, **changes})
        where = {"phase": phase, "weight": self.state.weight, "step": self.state.step}
        self.note("phase", message, **where, reasons=list(self.state.reasons), checks=list(self.state.checks))

    def hold_up(self, since: float) -> None:
        """Note how much of the time since the last look says nothing of the models."""
        passed = min(max(self.now - since, 0.0), _LOOK) if math.isfinite(since) else 0.0
        limited = self.seen.limit is not None
        # Where evidence is collected, time with half the traffic is half the time.
        thin = 1.0 - min(max(self.seen.pace, 0.0), 1.0) if self.state.phase in ("Shadow", "Step") else 0.0
        lost = passed if limited else passed * thin
        if lost > 0:
            self.put(held_up=self.state.held_up + lost)
        if limited:
            self.put(limited=self.state.limited + passed, limit=self.seen.limit)

    def late(self, since: float, seconds: float) -> bool:
        """`seconds` have passed, and as many more as the machine took, up to `STRETCH` times as many."""
        return self.now - since - min(self.state.held_up, STRETCH * seconds) > seconds

    def of_which(self) -> str:
        """How much of a deadline that is over went by for want of a machine or of traffic; empty where hardly any did."""
        if self.state.held_up < 1:
            return ""
        why = f"the machine was the limit: {self.state.limit}" if self.state.limit else "there was less traffic than planned"
        return f" ({self.state.held_up:.0f} s of them {why})"

    def routed_as_meant(self) -> bool:
        """The router does what was asked."""
        routed, s = self.seen.routed, self.state
        if routed is None:
            return False
        return dict(routed.weights) == self.weights() and routed.mirror == (s.candidate if s.mirror else None)

    def weights(self) -> dict[str, int]:
        """Per cents of traffic by digest, as the state wants them."""
        s = self.state
        parts = {s.stable: 100 - s.weight, s.candidate: s.weight} if s.stable else {s.candidate: s.weight}
        return {d: w for d, w in parts.items() if d and w > 0}

    def obstructed(self) -> bool:
        """Whether an obstacle that needs a person has been there for long enough; what it is, is said at once."""
        s, obstacle = self.state, self.candidate.obstacle
        if obstacle is None or "candidate" not in self.seen.arms:
            if s.obstructed is not None and "candidate" in self.seen.arms:
                # A container that is started over shows none for a moment: since when it is so counts on, until the candidate is ready.
                self.put(reasons=())
            return False
        since = self.now if s.obstructed is None else s.obstructed
        if s.obstructed is None:
            self.note("verdict", "; ".join(self.obstacle_reasons()), verdict="wait")
        self.put(obstructed=since, obstacle=self.obstacle_reasons(), reasons=self.obstacle_reasons(), said=self.candidate.said)
        return not obstacle.patient and self.now - since >= min(OBSTRUCTED, self.spec.ready_seconds)

    def obstacle_reasons(self) -> tuple[str, ...]:
        """What keeps the candidate from starting, and how to mend it."""
        obstacle = self.candidate.obstacle
        return () if obstacle is None else (f"the candidate cannot start, by no fault of its own: {obstacle.why}", MEND + obstacle.mend)

    def broken(self) -> str | None:
        """Why the candidate cannot serve at all; outranks everything that was measured."""
        s, arm = self.state, self.candidate
        if arm.failure:
            return f"the candidate {arm.failure}"
        if s.restarts is not None and arm.restarts - s.restarts > self.spec.restarts:
            return f"the candidate was restarted {arm.restarts - s.restarts} time(s), {self.spec.restarts} forgiven"
        return None

    def left_alone(self) -> bool:
        """A first model that failed by no fault of its own keeps its place: there is no other to take it, and it may come back."""
        return self.state.blameless and self.state.stable is None

    # -- moves ---------------------------------------------------------------------------------

    def start(self, digest: str) -> None:
        """Begin the rollout of a digest."""
        s = self.state
        # What was seen of the candidate's arm was another's.
        self.candidate = Arm(exists=False)
        left = {s.candidate: self.now} if s.candidate else {}
        retire = {d: t for d, t in {**s.retire, **left}.items() if d != digest}
        self.state = State(
            stable=s.stable,
            previous=s.previous,
            past=s.past,
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

    def warm_up(self, message: str) -> None:
        """Wait until the candidate has stayed ready."""
        self.enter(
            "Warmup",
            f"{message}: staying ready for {self.spec.warmup_seconds:g} s before the first live request",
            mirror=False,
            ready_since=None,
        )

    def report(self, what: str) -> None:
        """A dry run ends here, before the first live request."""
        why = f"dry run: would now send {what}"
        self.put(reported=True, reasons=(why, *self.state.reasons))
        self.pause(why)

    def begin_step(self, index: int) -> None:
        """Send the candidate this step's share."""
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
        """Begin a window of evidence; `counted`: the one before had its verdict."""
        self.put(window={}, tests=evidence.new_window(self.state.tests, counted=counted), verdict="no data", reasons=(), checks=())

    def pause(self, why: str) -> None:
        """Hold where it is until told to go on."""
        self.enter("Paused", why, stage=self.state.stage, resume=self.state.phase, paused_at=self.now)

    def hold(self, why: str, **changes: Any) -> None:
        """Pause for want of traffic: it goes on by itself when there is enough."""
        self.put(reasons=(why,), **changes)
        self.pause(why)
        self.put(held=True)

    def go_on(self, why: str) -> None:
        """Leave a hold for the phase it interrupted."""
        self.enter(self.state.resume, f"goes on: {why}", stage=self.state.stage, resume=None, deadline_from=self.now, ready_since=None)

    def promote(self, why: str) -> None:
        """Give the candidate all traffic, but for what is held back."""
        held = self.spec.hold_back if self.state.stable else 0
        self.enter(
            "Promoting",
            f"{why}: {100 - held} % of traffic to the candidate" if held else f"{why}: all traffic to the candidate",
            weight=100 - held,
            mirror=False,
        )

    def roll_back(self, *reasons: str, blameless: bool = False) -> None:
        """Take all traffic from the candidate; `blameless`: for want of something that is no fault of its own.

        One that was to serve again, and cannot, is not rejected: whatever serves goes on.
        """
        if self.state.back:
            why = ("the model before cannot be put back, what serves goes on", *reasons)
            self.gone(back="", reasons=why, generation=self.seen.generation)
            self.enter("Failed", "; ".join(why))
            return
        self.put(blameless=blameless, said=self.candidate.said or self.state.said)
        self.enter("RollingBack", "rolling back: " + "; ".join(reasons), weight=0, mirror=False, verdict="fail", reasons=reasons)

    def swap(self) -> None:
        """The one that served before is ready again: it takes all traffic, and the one that serves goes, rejected."""
        s, why = self.state, self.state.back
        known = [d for d in (*s.past, *([s.previous] if s.previous else [])) if d not in (s.candidate, s.stable, *s.rejected)]
        self.put(
            stable=s.candidate, candidate=s.stable, previous=known[-1] if known else None, past=tuple(known[:-1]), restarts=None, back=""
        )
        self.stable, self.candidate = self.candidate, self.stable
        self.roll_back(why)

    def fail(self, why: str) -> None:
        """Over, with no word against the digest: the candidate stays, so that it can be seen when what was missing is there."""
        self.put(reasons=(why,), generation=self.seen.generation)
        self.enter("Failed", why, weight=0, mirror=False)

    def gone(self, **changes: Any) -> None:
        """The candidate is nobody's any more: it is removed."""
        s = self.state
        self.put(retire={**s.retire, s.candidate or "": self.now}, candidate=None, cursor={}, restarts=None, **changes)
