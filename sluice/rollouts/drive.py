"""The loop around the decision: observe, decide, store, apply, again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sluice.core.errors import DeadlineError, SluiceError
from sluice.rollouts.backend import Backend, View
from sluice.rollouts.core import decide
from sluice.rollouts.judge import with_intervals
from sluice.rollouts.spec import RolloutSpec
from sluice.rollouts.state import TERMINAL, Action, Launch, Note, Observations, Retire, Route, State
from sluice.rollouts.store import Store

#: Seconds a rollout that is over may take to move its traffic and remove a model.
_TIDY = 30.0
#: Seconds between looks for each second that has passed: a look costs 15 ms of CPU, which a long rollout feels.
_SPARSE = 0.01
#: Timeline entries kept; beyond it every other one goes.
_ENTRIES = 400
_COUNTED = ("requests", "errors", "timed", "slow", "judged", "wrong", "compared", "disagreed", "outcomes", "outcome_sum")


class Driver:
    """Drives one rollout of a back-end, one look at a time.

    Killed anywhere, a new driver with the stored state goes on: notes and state are stored before
    the actions are applied, and actions are asked for until their effect is observed.

    Args:
        spec: the plan. backend: what moves the traffic. desired: the digest to roll out.
        state: where it stands. store: where it is kept.
        on_event: told of each note and, as ``{"kind": "look", ...}``, of each look.
        around: more to store beside the state, asked at each look.
        clock: wall-clock seconds.
    """

    def __init__(
        self,
        spec: RolloutSpec,
        backend: Backend,
        desired: str,
        state: State,
        store: Store,
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        around: Callable[[], Mapping[str, Any]] = dict,
        clock: Callable[[], float] = time.time,
    ):
        self.spec, self.backend, self.desired, self.state, self.store = spec, backend, desired, state, store
        self.on_event, self.around, self.clock = on_event or (lambda _: None), around, clock
        self.started = clock()
        self.timeline: list[dict[str, Any]] = []

    def look(self) -> tuple[Action, ...]:
        """One round. Returns the actions that were asked for."""
        s = self.state
        try:
            view = self.backend.observe(s.stable, s.candidate)
        except (SluiceError, OSError) as e:
            view = View(error=str(e))
        now = self.clock()
        seen = Observations(
            time=now,
            desired=self.desired,
            arms=view.arms,
            routed=view.routed,
            present=view.present,
            commands=self.store.commands(),
            reason=self.store.reason(),
            error=view.error,
            limit=view.limit,
            pace=view.pace,
        )
        self.state, actions = decide(self.spec, s, seen, now)
        entry = self.entry(view, now)
        self.remember(entry)
        for a in actions:
            if isinstance(a, Note):
                self.store.note(a, now)
        self.store.save(self.state, view=entry, plan=self.spec.model_dump(mode="json"), started=self.started, **self.around())
        for a in actions:
            if isinstance(a, Note):
                self.on_event({"t": round(now - self.started, 3), "sequence": a.sequence, "kind": a.kind, "message": a.message, **a.data})
            else:
                self.apply(a)
        self.on_event({"kind": "look", **entry})
        return actions

    def apply(self, action: Action) -> None:
        """Ask the back-end for one action; a fault is told, and the action comes again."""
        try:
            if isinstance(action, Launch):
                self.backend.launch(action.digest)
            elif isinstance(action, Route):
                self.backend.route(action.weights, action.mirror)
            elif isinstance(action, Retire):
                self.backend.retire(action.digest)
        except (SluiceError, OSError) as e:
            self.on_event({"kind": "fault", "message": f"{type(action).__name__} failed, asked for again: {e}"})

    def run(self, *, every: float, seconds: float, between: Callable[[], None] | None = None) -> State:
        """Look every `every` seconds, in a long rollout up to four times as far apart, until the rollout is over and nothing is left to remove, a dry run has reported, or it is held for want of traffic.

        Raises:
            DeadlineError: not over after `seconds`.
        """
        end = self.clock() + seconds
        over: float | None = None
        first = time.monotonic()
        while True:
            begun = time.monotonic()
            actions = self.look()
            if self.state.phase in TERMINAL:
                over = begun if over is None else over
                done = not any(isinstance(a, Route | Launch) for a in actions) and not self.state.retire
                # Decided is decided: what could not be tidied up in this time ends with the back-end.
                if done or begun - over > _TIDY:
                    return self.state
            if self.state.phase == "Paused" and (self.state.reported or self.state.held):
                # Replayed load is what it is: nobody comes who could bring more.
                return self.state
            if self.clock() > end and over is None:
                raise DeadlineError(f"the rollout was not over after {seconds:g} s, in phase {self.state.phase}", field=self.store.name)
            if between:
                between()
            pause = min(max(every, (begun - first) * _SPARSE), 4 * every)
            time.sleep(max(0.0, pause - (time.monotonic() - begun)))

    def entry(self, view: View, now: float) -> dict[str, Any]:
        """One point of the timeline; `weight` is what the router really sends to the model being rolled out."""
        s = self.state
        arms: dict[str, Any] = {}
        if s.phase in ("Shadow", "Step", "Paused"):
            windows = {arm: s.window.get(arm, {}) for arm in ("stable", "candidate")}
            arms = {arm: {k: w[k] for k in _COUNTED if k in w} for arm, w in windows.items()}
        weight = view.routed.weights.get(self.desired, 0) if view.routed else 0
        return {
            "t": round(now - self.started, 3),
            "phase": s.phase,
            "stage": s.stage,
            "step": s.step,
            "weight": weight,
            "wanted": s.weight,
            "mirror": bool(view.routed and view.routed.mirror),
            "verdict": s.verdict,
            "reasons": list(s.reasons),
            "limit": view.limit,
            "arms": arms,
            "tests": with_intervals(s.checks, self.spec.alpha),
            "error": view.error,
            "ready": {a: v.ready for a, v in view.arms.items()},
        }

    def remember(self, entry: dict[str, Any]) -> None:
        """Add a point to the timeline, which stays of bounded length."""
        self.timeline.append(entry)
        if len(self.timeline) > _ENTRIES:
            del self.timeline[1::2]
