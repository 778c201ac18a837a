"""What the decision core is given, what it keeps, and what it asks for. Plain values, all of them JSON-able."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

#: Cumulative counters of one process (or one arm), by name: ``requests``, ``errors``, ``timed``,
#: ``slow``, ``judged``, ``wrong``, ``compared``, ``disagreed``, ``outcomes``, ``outcome_sum``,
#: ``outcome_squares`` and ``label:<name>`` for each label answered; those of `BY_USER` by group of users too.
Counts = dict[str, float]
#: Counters that also come by group of whole users, as ``n@17`` for group 17: short names keep a rollout's status small.
BY_USER = {"requests": "r@", "errors": "e@", "slow": "w@", "odd_labels": "o@", "outcomes": "n@", "outcome_sum": "s@"}

Phase = Literal[
    "Pending",
    "Shadow",
    "Warmup",
    "Step",
    "Promoting",
    "Verifying",
    "Succeeded",
    "Paused",
    "RollingBack",
    "RolledBack",
    "Superseded",
    "Failed",
]
Verdict = Literal["pass", "fail", "wait", "no data"]
Command = Literal["pause", "resume", "abort", "promote", "retry", "rollback"]
ARMS = ("stable", "candidate")
LABEL = "label:"
#: How a reason begins that says what a person does about the one before it.
MEND = "to mend it: "
#: Phases that end a rollout.
TERMINAL = ("Succeeded", "RolledBack", "Failed")


@dataclasses.dataclass(frozen=True)
class Replica:
    """One process of an arm.

    Attributes:
        id: differs from every other process's, also from a replacement's.
        ready: it says it can answer.
        counts: its counters since it started; None when they could not be read now.
    """

    id: str
    ready: bool = True
    counts: Counts | None = None


@dataclasses.dataclass(frozen=True)
class Obstacle:
    """A fault of what is around a model: no node, no image, no credentials. It says nothing of the model.

    Attributes:
        why: in words. mend: what a person does about it. patient: it may go away by itself in the time a start may take.
    """

    why: str
    mend: str
    patient: bool = False


@dataclasses.dataclass(frozen=True)
class Arm:
    """One of the two models, as it is seen now.

    Attributes:
        replicas: its processes; more entries may carry counts only (feedback by arm).
        ready: enough of it answers to be sent traffic.
        restarts: how often its processes have been restarted since it was launched.
        failure: why the model can never serve (it exits, it takes too much memory), else None.
        exists: something of it is still running or declared.
        obstacle: what is not the model's doing and keeps it from starting, else None.
        said: the last lines its process wrote, where it failed.
    """

    replicas: tuple[Replica, ...] = ()
    ready: bool = False
    restarts: int = 0
    failure: str | None = None
    exists: bool = True
    obstacle: Obstacle | None = None
    said: str = ""


@dataclasses.dataclass(frozen=True)
class Routed:
    """Where traffic goes: per cent by digest, and the digest that gets copies."""

    weights: Mapping[str, int]
    mirror: str | None = None


@dataclasses.dataclass(frozen=True)
class Observations:
    """One look at the world.

    Attributes:
        time: seconds, when it was taken; an older or equal one than the last changes nothing.
        desired: the digest the user wants served.
        arms: by ``stable`` and ``candidate``; an arm that was not looked at is absent.
        routed: what the router says it does, None when it could not be asked.
        present: digests of which something still exists, None when that is not known.
        commands: (id, command), oldest first; each id acts once. What stands behind a colon in a command is what it is about.
        reason: why the newest of them was given, and by whom; "" where nobody said.
        error: why something could not be measured, else None.
        limit: why the machine rather than the models sets the pace now, else None: then slowness is no fault of theirs.
        pace: the share of the planned traffic that could be sent; deadlines are meant for all of it.
        generation: of the spec the rollout is made by; where it changes, what failed for want of something may start now.
    """

    time: float
    desired: str
    arms: Mapping[str, Arm] = dataclasses.field(default_factory=dict)
    routed: Routed | None = None
    present: frozenset[str] | None = None
    commands: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    error: str | None = None
    limit: str | None = None
    pace: float = 1.0
    generation: int = 0


@dataclasses.dataclass(frozen=True)
class Launch:
    """Have this model running."""

    digest: str


@dataclasses.dataclass(frozen=True)
class Route:
    """Send traffic so."""

    weights: Mapping[str, int]
    mirror: str | None = None


@dataclasses.dataclass(frozen=True)
class Retire:
    """This model gets no traffic any more: drain and remove it."""

    digest: str


@dataclasses.dataclass(frozen=True)
class Note:
    """Something worth telling: one line of the audit trail.

    Attributes:
        sequence: rises by one from note to note of a rollout: a repeated note has a known number.
        kind: ``phase``, ``verdict`` or ``command``.
        message: for a person. data: the numbers it stands on.
    """

    sequence: int
    kind: str
    message: str
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)


Action = Launch | Route | Retire | Note


@dataclasses.dataclass(frozen=True)
class State:
    """Where a rollout stands. Everything `decide` remembers; survives as JSON.

    Attributes:
        stable, candidate: digests; no stable before the first model. previous: the stable one before, None before the second.
        past: those that were stable before `previous`, newest last: the way farther back.
        back: why the candidate is one that served before and is to serve again, else "": it gets all traffic as soon as it is ready.
        phase: of `Phase`. stage: within a step (or shadow) ``settle`` or ``collect``.
        step: index into the plan's steps. weight: per cent meant for the candidate. mirror: it gets copies.
        since: when phase or stage began. deadline_from: when the step's clock began.
        settled: since when the router has done as told, else None. ready_since: candidate ready without a break.
        unready_since: since when a candidate that takes traffic has not been ready, else None.
        resume: the phase to return to from Paused. paused_at: when it was paused.
        cursor: by arm and replica, the counters last seen. window: by arm, counts since the step's evidence began.
        total: by arm, all evidence counts of the rollout. tests: the running tests (`evidence`).
        restarts: of the candidate, seen before it was sent anything.
        verdict, reasons: the last judgement. checks: its numbers, one entry a share.
        rejected: digests rolled back, newest last. handled: command ids acted on, newest last.
        retire: digests still to be removed, with the time from which on.
        reported: a dry run has come as far as it goes and has said what would follow.
        held_up: seconds of the phase or step that do not count for its deadline: the machine was busy, or traffic thinner than planned.
        spared: the machine was the limit in a part of the block of evidence that is open.
        counted: when the cursor last moved.
        traffic: how many live requests there were in which time (`sluice.rollouts.traffic`).
        held: Paused for want of traffic: it goes on by itself once there is enough. unhurried: a person said to go on with too little.
        limited: seconds of the whole rollout in which the machine was the limit, and `limit` why, the last time.
        obstructed: since when an obstacle keeps the candidate from starting, else None, and obstacle what it was. blameless: the rollout ends for one, so the digest is not rejected.
        generation: of the spec it began with, or failed at. said: the last lines the candidate's process wrote.
    """

    stable: str | None = None
    previous: str | None = None
    candidate: str | None = None
    phase: Phase = "Pending"
    stage: str = ""
    step: int = 0
    weight: int = 0
    mirror: bool = False
    since: float = 0.0
    deadline_from: float = 0.0
    settled: float | None = None
    ready_since: float | None = None
    unready_since: float | None = None
    resume: str | None = None
    paused_at: float = 0.0
    last_time: float = float("-inf")
    cursor: dict[str, dict[str, Counts]] = dataclasses.field(default_factory=dict)
    window: dict[str, Counts] = dataclasses.field(default_factory=dict)
    total: dict[str, Counts] = dataclasses.field(default_factory=dict)
    tests: dict[str, Any] = dataclasses.field(default_factory=dict)
    restarts: int | None = None
    verdict: str = "no data"
    reasons: tuple[str, ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    rejected: tuple[str, ...] = ()
    handled: tuple[str, ...] = ()
    retire: dict[str, float] = dataclasses.field(default_factory=dict)
    sequence: int = 0
    reported: bool = False
    held_up: float = 0.0
    limited: float = 0.0
    limit: str | None = None
    spared: bool = False
    obstructed: float | None = None
    obstacle: tuple[str, ...] = ()
    blameless: bool = False
    generation: int = 0
    said: str = ""
    counted: float = float("-inf")
    traffic: dict[str, Any] = dataclasses.field(default_factory=dict)
    held: bool = False
    unhurried: bool = False
    past: tuple[str, ...] = ()
    back: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; ``from_dict`` gives the same state back."""
        out = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        out |= {name: None if out[name] == float("-inf") else out[name] for name in ("last_time", "counted")}
        return out

    def having(self, **changes: Any) -> State:
        """As `dataclasses.replace`, in a tenth of its time: a decision changes dozens of fields one after the other."""
        if unknown := changes.keys() - self.__dict__.keys():
            raise TypeError(f"a state has no {', '.join(sorted(unknown))}")
        new = object.__new__(State)
        new.__dict__.update(self.__dict__, **changes)
        return new

    def moved(self, seconds: float) -> State:
        """The same with all its times moved by so much: after the clock was set."""
        at: dict[str, Any] = {
            name: getattr(self, name) + seconds for name in ("since", "deadline_from", "paused_at", "last_time", "counted")
        }
        maybe = {name: getattr(self, name) for name in ("settled", "ready_since", "unready_since", "obstructed")}
        at |= {name: None if value is None else value + seconds for name, value in maybe.items()}
        if self.traffic:
            at["traffic"] = {**self.traffic, "since": self.traffic["since"] + seconds}
        return self.having(**at, retire={d: t + seconds for d, t in self.retire.items()})

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> State:
        """Unknown keys are left out, so that an older program reads a newer state as far as it goes."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {k: v for k, v in raw.items() if k in known}
        values |= {name: float("-inf") for name in ("last_time", "counted") if values.get(name) is None}
        for name in ("reasons", "checks", "rejected", "handled", "obstacle", "past"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)


def add(a: Mapping[str, float], b: Mapping[str, float]) -> Counts:
    """Counts summed by name."""
    if not a:
        return dict(b)
    out = dict(a)
    for k, v in b.items():
        out[k] = out.get(k, 0) + v
    return out


def has_labels(counts: Mapping[str, float]) -> bool:
    """Whether any of the counters is of a label. Of hundreds by group of users none is, so they are looked at all together."""
    return "\n" + LABEL in "\n" + "\n".join(counts)


def signed(name: str) -> bool:
    """A counter that may fall without a restart: an outcome may be negative. Their number then says whether there was one."""
    return name == "outcome_sum" or name.startswith(BY_USER["outcome_sum"])


def delta(before: Mapping[str, float] | None, now: Mapping[str, float]) -> tuple[Counts, bool]:
    """What was counted since `before`, and whether the process started over in between.

    A counter that fell means a restart: then everything it shows now came after it.
    """
    if before is None:
        return dict(now), False
    # The comparison first: hundreds of counters by group, and hardly one that fell.
    if any(now.get(k, 0) < v and not signed(k) for k, v in before.items()):
        return dict(now), True
    return {k: v - before.get(k, 0) for k, v in now.items() if v != before.get(k, 0)}, False
