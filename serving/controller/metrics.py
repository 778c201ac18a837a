"""What the controller shows of itself on ``/metrics``."""

from __future__ import annotations

from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.controller.rollouts.resource import Rollout
from sluice.rollouts.backend import View
from sluice.rollouts.state import Note, Phase, State


class Metrics:
    """The names of the design: phase and weight of each rollout, decisions by reason."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.phase = Gauge(
            "sluice_rollout_phase", "1 for the phase a rollout is in.", ["namespace", "name", "phase"], registry=self.registry
        )
        self.weight = Gauge(
            "sluice_rollout_weight", "Per cent of traffic routed to an arm.", ["namespace", "name", "arm"], registry=self.registry
        )
        self.decisions = Counter(
            "sluice_rollout_decisions", "Decisions, by what was decided and why.", ["decision", "reason"], registry=self.registry
        )
        self.faults = Counter(
            "sluice_rollout_action_faults", "Actions that failed and were asked for again.", ["action"], registry=self.registry
        )
        self.looks = Histogram("sluice_rollout_look_seconds", "How long one look takes.", registry=self.registry)
        self.leading = Gauge("sluice_rollout_leader", "1 while this replica acts.", registry=self.registry)
        self._phases: dict[tuple[str, str], str] = {}

    def seen(self, rollout: Rollout, state: State, view: View) -> None:
        """Show the phase and the weights of a rollout."""
        key = (rollout.namespace, rollout.name)
        before = self._phases.get(key)
        if before is not None and before != state.phase:
            self.phase.remove(*key, before)
        self._phases[key] = state.phase
        self.phase.labels(*key, state.phase).set(1)
        weights = view.routed.weights if view.routed else {}
        self.weight.labels(*key, "candidate").set(weights.get(state.candidate or "", 0))
        self.weight.labels(*key, "stable").set(weights.get(state.stable or "", 0))

    def forget(self, namespace: str, name: str) -> None:
        """Show a rollout that is gone no more."""
        before = self._phases.pop((namespace, name), None)
        if before is not None:
            self.phase.remove(namespace, name, before)
            for arm in ("stable", "candidate"):
                self.weight.remove(namespace, name, arm)

    def decided(self, note: Note) -> None:
        """Count a decision, by what spoke for it."""
        phase = note.data.get("phase")
        if phase in get_args(Phase):
            reasons = note.data.get("checks") or []
            failed = [c["metric"] for c in reasons if c.get("verdict") == "fail"]
            self.decisions.labels(str(phase), failed[0] if failed else "none").inc()
