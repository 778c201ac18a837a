"""One turn of the decision: the state being worked on, the notes it makes, and the commands of people."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import MEND, TERMINAL, Action, Arm, Note, Observations, State

_NO_ARM = Arm(exists=False)
#: A deadline is put off by at most this many times its length, however busy the machine is.
STRETCH = 4.0
#: Seconds for which an obstacle that does not go away by itself is borne.
OBSTRUCTED = 120.0
#: Between two looks no more than this counts as held up: a machine that slept was not busy.
_LOOK = 10.0


class Turn(ABC):
    """What `core` works with during one call of `decide`."""

    def __init__(self, spec: RolloutSpec, state: State, seen: Observations, now: float, last: float):
        self.spec, self.state, self.seen, self.now, self.last = spec, state, seen, now, last
        self.notes: list[Action] = []
        self.stable, self.candidate = seen.arms.get("stable", _NO_ARM), seen.arms.get("candidate", _NO_ARM)

    # -- small tools -------------------------------------------------------------------------

    def put(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def note(self, kind: str, message: str, **data: Any) -> None:
        self.put(sequence=self.state.sequence + 1)
        self.notes.append(Note(self.state.sequence, kind, message, data))

    def enter(self, phase: Any, message: str, *, stage: str = "", **changes: Any) -> None:
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

    def roll_back(self, *reasons: str, blameless: bool = False) -> None:
        self.put(blameless=blameless, said=self.candidate.said or self.state.said)
        self.enter("RollingBack", "rolling back: " + "; ".join(reasons), weight=0, mirror=False, verdict="fail", reasons=reasons)

    def routed_as_meant(self) -> bool:
        """The router does what was asked."""
        routed, s = self.seen.routed, self.state
        if routed is None:
            return False
        return dict(routed.weights) == self.weights() and routed.mirror == (s.candidate if s.mirror else None)

    def weights(self) -> dict[str, int]:
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
        obstacle = self.candidate.obstacle
        return () if obstacle is None else (f"the candidate cannot start, by no fault of its own: {obstacle.why}", MEND + obstacle.mend)

    @abstractmethod
    def broken(self) -> str | None: ...

    @abstractmethod
    def promote(self, why: str) -> None: ...

    @abstractmethod
    def open_window(self, *, counted: bool) -> None: ...

    # -- commands ------------------------------------------------------------------------------

    def commands(self) -> None:
        for ident, command in self.seen.commands:
            if ident in self.state.handled:
                continue
            self.put(handled=(*self.state.handled, ident)[-50:])
            refused = getattr(self, "on_" + command)()
            self.note("command", f"{command}: {refused or 'done'}", command=command, id=ident, refused=refused)

    def on_pause(self) -> str | None:
        s = self.state
        if s.phase == "Paused" and s.held:
            self.put(held=False)
            return None
        if s.phase not in ("Pending", "Shadow", "Warmup", "Step"):
            return f"refused, nothing to pause in phase {s.phase}"
        self.pause("paused by command")
        return None

    def pause(self, why: str) -> None:
        self.enter("Paused", why, stage=self.state.stage, resume=self.state.phase, paused_at=self.now)

    def on_resume(self) -> str | None:
        s = self.state
        if s.phase != "Paused" or s.resume is None:
            return f"refused, not paused but {s.phase}"
        away = self.now - s.paused_at
        # Who goes on in spite of too little traffic has seen how long it will take.
        self.put(unhurried=s.unhurried or s.held)
        self.enter(
            s.resume,
            f"resumed: {s.resume}",
            stage="settle" if s.resume in ("Step", "Shadow") else s.stage,
            resume=None,
            deadline_from=s.deadline_from + away,
        )
        if s.resume in ("Step", "Shadow"):
            self.open_window(counted=False)
        return None

    def on_abort(self) -> str | None:
        if self.state.phase in TERMINAL or self.state.phase == "RollingBack" or self.state.candidate is None:
            return f"refused, the rollout is over: {self.state.phase}"
        self.roll_back("aborted by command")
        return None

    def on_promote(self) -> str | None:
        s = self.state
        if s.phase not in ("Pending", "Shadow", "Warmup", "Step", "Paused"):
            return f"refused, nothing to promote in phase {s.phase}"
        if not self.candidate.ready or self.broken():
            return "refused, the candidate is not ready"
        if s.verdict == "fail":
            return "refused, the candidate has failed"
        self.promote("promoted by command")
        return None

    def on_retry(self) -> str | None:
        s = self.state
        if s.phase not in ("RolledBack", "Failed"):
            return f"refused, nothing to retry in phase {s.phase}"
        # No generation is this one: what failed begins again though neither spec nor surroundings changed.
        self.put(rejected=tuple(d for d in s.rejected if d != self.seen.desired), generation=-1)
        return None
