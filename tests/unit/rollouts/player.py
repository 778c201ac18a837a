"""A rollout against a simulated world, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from sluice.rollouts.core import decide
from sluice.rollouts.simulate import CANDIDATE, STABLE, Scenario, World
from sluice.rollouts.spec import RolloutSpec, Shadow
from sluice.rollouts.state import Note, State

SPEC = RolloutSpec(warmup_seconds=1, settle_seconds=1, verify_seconds=1, step_deadline_seconds=200)
QUICK = SPEC.model_copy(update={"shadow": Shadow(requests=0)})


BUSY = {"limit": "other work takes 80% of its 2 CPUs"}


class Rollout:
    """A rollout against a simulated world; keeps everything that happened."""

    def __init__(self, scenario: Scenario | None = None, spec: RolloutSpec = SPEC, seed: int = 1, stable: str | None = STABLE):
        self.spec = spec
        self.world = World(scenario or Scenario(200.0), np.random.default_rng(seed))
        self.state = State(stable=stable)
        self.weights: list[int] = []
        self.notes: list[Note] = []
        self.actions: tuple[Any, ...] = ()

    def look(self, seconds: float = 0.5, apply: bool = True, **changes: Any) -> State:
        self.world.pass_time(seconds)
        self.state, self.actions = decide(self.spec, self.state, self.world.look(**changes), self.world.time)
        self.notes += [a for a in self.actions if isinstance(a, Note)]
        if apply:
            self.world.apply(self.actions)
        self.weights.append(self.world.routed.weights.get(CANDIDATE, 0))
        return self.state

    def reach(self, phase: str) -> None:
        """Any phase, paused in a step and waiting for the candidate among them."""
        if phase == "Pending":
            self.world.ready = False
            self.look()
        elif phase == "Paused":
            self.until("Step", stage="collect")
            self.look(**order("pause"))
        else:
            self.until(phase)

    def until(self, *phases: str, stage: str | None = None, looks: int = 2000, **changes: Any) -> State:
        for _ in range(looks):
            if self.state.phase in phases and stage in (None, self.state.stage):
                return self.state
            self.look(**changes)
        raise AssertionError(f"still {self.state.phase}/{self.state.stage}, {self.state.reasons}")


def order(command: str, ident: str = "1") -> dict[str, Any]:
    return {"commands": ((ident, command),)}
