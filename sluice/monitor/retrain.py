"""When a model is trained again: a pure decision over what has been seen, so that it can be made again after any interruption.

Events may come twice, in any order, or not at all. What is decided follows from the state alone: windows are kept by their number,
counts by their maximum, requests by their id, and nothing that began before the last retraining ended asks for another. A run's name
follows from the monitor and from how many there were, so whoever starts it twice finds it there. Whoever acts writes the state first:

    state, action = decide(policy, state, events, now)   # then store the state, as of what was read; then act
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from sluice.core import cron
from sluice.core.files import digest_of
from sluice.monitor.config import Retrain

#: Of a retraining that ended well; after any other the next one waits longer.
GOOD = ("promoted", "completed")
#: How many windows and ids of requests are remembered.
_WINDOWS, _IDS = 64, 256
_DAY, _WEEK, _NAME = 86400.0, 7 * 86400.0, 52

What = Literal["drift", "quality", "errors", "rows", "asked", "ended"]


@dataclasses.dataclass(frozen=True)
class Event:
    """What was seen.

    Attributes:
        what: ``drift``, ``quality``: the `value` of window number `window`, over `rows` rows. ``rows``: `value` labelled rows so far.
            ``errors``: at `at` answers were wrong more often than they were, `why`; with a `value` of 0: they were not, or no more.
            ``asked``: request `id` to train again. ``ended``: the run `id` came to `by`.
        at: when what it tells of began, in seconds since the epoch; of ``errors`` when it was seen.
        lower: of a quality, whether less of it is better.
        by: of a request, who asks: ``hand``, ``alert``, ``event``; of an end, the outcome (`GOOD`, or any other word).
        why: in words.
    """

    what: What
    at: float
    id: str = ""
    window: int = 0
    value: float = 0.0
    rows: int = 0
    by: str = ""
    why: str = ""
    lower: bool = False


@dataclasses.dataclass(frozen=True)
class Run:
    """A retraining: `number` from 1, when it was decided and why; when it ended, and how."""

    name: str
    number: int
    at: float
    reason: str
    why: str
    ended: float | None = None
    outcome: str = ""
    said: str = ""


@dataclasses.dataclass(frozen=True)
class State:
    """What is remembered between decisions; JSON by `to_dict`.

    Attributes:
        name, uid: of the monitor.
        since: what began before counts no more. tick: up to when the schedule has been looked at. due: the tick that waits.
        drift, quality: number of a window -> (value, rows). lower: whether less of that quality is better.
        rose: (when it was seen last, in words) that answers are wrong more often, "" where they are not; None: not told since. rows: labelled rows so far; used: at the last retraining.
        asked: (by, id, why) of a request that waits. handled: ids of requests that were acted on, the newest last.
        number: retrainings so far. begun: when those of the last day began. run: the last one.
        failed: how many in a row did not end well. until: the end of a cool-down or back-off.
    """

    name: str
    uid: str
    since: float = 0.0
    tick: float | None = None
    due: float | None = None
    drift: Mapping[int, tuple[float, int]] = dataclasses.field(default_factory=dict)
    quality: Mapping[int, tuple[float, int]] = dataclasses.field(default_factory=dict)
    lower: bool = False
    rose: tuple[float, str] | None = None
    rows: int = 0
    used: int = 0
    asked: tuple[str, str, str] | None = None
    handled: tuple[str, ...] = ()
    number: int = 0
    begun: tuple[float, ...] = ()
    run: Run | None = None
    failed: int = 0
    until: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: lists, and no tuples."""
        raw: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        return raw | {k: [[n, *seen] for n, seen in sorted(raw[k].items())] for k in ("drift", "quality")}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> State:
        """What `to_dict` gave; keys of a later version are left out."""
        known = {k: v for k, v in raw.items() if k in {f.name for f in dataclasses.fields(cls)}}
        for key in ("drift", "quality"):
            known[key] = {int(n): (float(value), int(rows)) for n, value, rows in known.get(key) or ()}
        for key in ("handled", "begun", "asked", "rose"):
            known[key] = tuple(known[key]) if known.get(key) else None if key in ("asked", "rose") else ()
        run = known.get("run")
        known["run"] = Run(**{k: v for k, v in run.items() if k in {f.name for f in dataclasses.fields(Run)}}) if run else None
        return cls(**known)


@dataclasses.dataclass(frozen=True)
class Action:
    """What is to be done.

    Attributes:
        what: ``start``: the run of the state is to be made, if there is none of its name; ``follow``: it goes on; ``held``: there is a
            reason and it has to wait; ``none``.
        reason, why: what speaks for a retraining. held: what it waits for; until: when that ends.
    """

    what: Literal["start", "follow", "held", "none"]
    reason: str = ""
    why: str = ""
    held: str = ""
    until: float = 0.0

    def told(self) -> str:
        """In words; empty where there is nothing to tell."""
        return f"a retraining ({self.why}) waits {self.held}, until {clock(self.until)}" if self.what == "held" else ""


def run_name(name: str, uid: str, number: int) -> str:
    """A DNS label: the same for the same monitor and number, and no other's."""
    return f"{name[:_NAME].rstrip('-.')}-{digest_of([uid, number])[:10]}"


def decide(policy: Retrain, state: State, events: Iterable[Event], now: float) -> tuple[State, Action]:
    """The next state, and what to do. Pure: the same again until the state it gave is stored.

    Args:
        policy: `monitor.retrain`. state: what the last one gave. events: seen since, in any order, any of them more than once.
        now: seconds since the epoch.

    Raises:
        MissingExtra: the policy has a schedule and croniter is not installed.
    """
    for event in events:
        state = _taken(state, event, now, policy)
    state = _clocked(policy, state, now)
    if state.run is not None and state.run.ended is None:
        # It goes on: what asks now is answered by it.
        return dataclasses.replace(state, asked=None, due=None), Action("follow", state.run.reason, state.run.why)
    found = _reason(policy, state)
    if found is None:
        return state, Action("none")
    reason, why = found
    held = None if reason == "hand" else _held(policy, state, now)
    if held is not None:
        return state, Action("held", reason, why, *held)
    number = state.number + 1
    run = Run(run_name(state.name, state.uid, number), number, now, reason, why)
    begun = tuple(t for t in state.begun if now - t < _DAY)
    after = dataclasses.replace(state, run=run, number=number, begun=(*begun, now), used=state.rows, asked=None, due=None)
    return after, Action("start", reason, why)


def _taken(state: State, event: Event, now: float, policy: Retrain) -> State:
    """The state with an event in it."""
    if event.what == "ended":
        return _ended(state, event, now, policy)
    if event.what == "rows":
        return dataclasses.replace(state, rows=max(state.rows, int(event.value)))
    if event.at <= state.since:
        return state
    if event.what == "asked":
        if event.id in state.handled:
            return state
        handled = (*state.handled, event.id)[-_IDS:]
        # A person's request goes before those of machines, and is not lost to one that came first.
        first = state.asked is None or (event.by == "hand" and state.asked[0] != "hand")
        return dataclasses.replace(state, handled=handled, asked=(event.by, event.id, event.why) if first else state.asked)
    if event.what == "errors":
        newer = state.rose is None or event.at >= state.rose[0]
        return dataclasses.replace(state, rose=(event.at, event.why if event.value else "")) if newer else state
    known = dict(state.drift if event.what == "drift" else state.quality)
    # Of a window that is told of again, as labels come in or are corrected, what stands on as many rows or more.
    known[event.window] = max((event.value, event.rows), known.get(event.window, (event.value, -1)), key=lambda seen: seen[1])
    kept = {n: known[n] for n in sorted(known)[-_WINDOWS:]}
    if event.what == "drift":
        return dataclasses.replace(state, drift=kept)
    return dataclasses.replace(state, quality=kept, lower=event.lower)


def _ended(state: State, event: Event, now: float, policy: Retrain) -> State:
    run = state.run
    if run is None or run.name != event.id or run.ended is not None:
        return state
    good = event.by in GOOD
    failed = 0 if good else state.failed + 1
    wait = policy.cool_down_hours * 3600 if good else min(_WEEK, policy.back_off_hours * 3600 * 2.0 ** min(failed - 1, 20))
    return dataclasses.replace(
        state,
        run=dataclasses.replace(run, ended=now, outcome=event.by, said=event.why[:500]),
        failed=failed,
        until=now + wait,
        since=now,
        drift={},
        quality={},
        rose=None,
    )


def _clocked(policy: Retrain, state: State, now: float) -> State:
    """The schedule's ticks up to now: of several that were missed, one."""
    if policy.schedule is None:
        return dataclasses.replace(state, tick=None, due=None)
    tick = None if state.tick is None else cron.parse(policy.schedule).after(state.tick, cron.zone(policy.time_zone))
    due = tick if tick is not None and tick <= now else state.due
    return dataclasses.replace(state, tick=now if state.tick is None else max(state.tick, now), due=due)


def _reason(policy: Retrain, state: State) -> tuple[str, str] | None:
    """What speaks for a retraining, and in words; the strongest first."""
    if state.asked is not None:
        by, key, why = state.asked
        return by, why or f"asked for by {by}: {key}"
    if policy.quality is not None:
        floor = policy.quality.floor
        worse = {n: value > floor if state.lower else value < floor for n, (value, _) in state.quality.items()}
        if run := _in_a_row(worse, policy.quality.windows):
            side = "over the bound" if state.lower else "under the floor"
            return "quality", f"quality is {state.quality[run[-1]][0]:.4g}, {side} of {floor:g}, {_windows(run)}"
    if policy.errors and state.rose is not None and state.rose[1]:
        return "errors", state.rose[1]
    if policy.drift is not None:
        threshold = policy.drift.threshold
        if run := _in_a_row({n: value > threshold for n, (value, _) in state.drift.items()}, policy.drift.windows):
            return "drift", f"drift is {state.drift[run[-1]][0]:.3g}, over {threshold:g}, {_windows(run)}"
    if policy.new_rows is not None and state.rows - state.used >= policy.new_rows:
        return "rows", f"{state.rows - state.used} labelled rows have come in since the last one"
    return ("schedule", f"the schedule's tick of {clock(state.due)}") if state.due is not None else None


def _in_a_row(over: Mapping[int, bool], wanted: int) -> list[int]:
    """The first `wanted` windows without a gap that all are over; a window that was not told of is no evidence for anything."""
    run: list[int] = []
    for n in sorted(over):
        run = [*(run if run and run[-1] == n - 1 else []), n] if over[n] else []
        if len(run) == wanted:
            return run
    return []


def _windows(run: list[int]) -> str:
    return f"in windows {run[0]} to {run[-1]}" if len(run) > 1 else f"in window {run[0]}"


def _held(policy: Retrain, state: State, now: float) -> tuple[str, float] | None:
    """What it waits for, and until when."""
    if now < state.until:
        last = state.run
        if state.failed and last is not None:
            said = f": {last.said}" if last.said else ""
            return f"after {state.failed} in a row without a new model (the last was {last.outcome}{said})", state.until
        return "for the cool-down after the last one", state.until
    recent = sorted(t for t in state.begun if now - t < _DAY)
    if len(recent) >= policy.per_day:
        return f"because {policy.per_day} may begin within a day", recent[-policy.per_day] + _DAY
    return None


def clock(moment: float) -> str:
    """A moment for people."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
