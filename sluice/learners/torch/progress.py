"""Where a run is."""

from __future__ import annotations

import dataclasses
from typing import Any

from sluice.learners.torch.schedule import Patience


@dataclasses.dataclass
class Progress:
    """Where a run is: all of a checkpoint that is no tensor.

    Attributes:
        step: optimiser steps done.
        epoch: epochs whose validation is done.
        seconds: time spent so far, interruptions left out.
        ended: what ended the run before its last epoch: ``patience`` or ``time``; empty while it goes on.
    """

    step: int = 0
    epoch: int = 0
    loss_sum: float = 0.0
    loss_rows: int = 0
    epoch_seconds: float = 0.0
    epoch_cpu: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    stopping: Patience = dataclasses.field(default_factory=lambda: Patience(-1))
    plateau: Patience = dataclasses.field(default_factory=lambda: Patience(-1))
    plateau_factor: float = 1.0
    ended: str = ""

    @classmethod
    def load(cls, raw: dict[str, Any]) -> Progress:
        """From what `dataclasses.asdict` made of one."""
        return cls(**{**raw, "stopping": Patience(**raw["stopping"]), "plateau": Patience(**raw["plateau"])})
