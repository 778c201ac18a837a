"""The learning rate as a function of the step: nothing to save but a plateau's few numbers."""

from __future__ import annotations

import dataclasses
import math

from sluice.learners.torch.plan import Plan


def warmup_steps(config: Plan, steps: int) -> int:
    """Steps over which the rate grows from nearly nothing; `steps` is the whole run's number."""
    return math.ceil(config.warmup * steps)


def multiplier(config: Plan, step: int, steps: int, steps_per_epoch: int, plateau: float = 1.0) -> float:
    """What ``learning_rate`` is multiplied by in a step.

    Args:
        config: schedule, warm-up and decay.
        step: optimiser step from 0.
        steps: steps of the whole run.
        steps_per_epoch: steps of an epoch.
        plateau: the multiplier a plateau schedule has come to.
    """
    warm = warmup_steps(config, steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    match config.schedule:
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        case "linear":
            return max(0.0, 1.0 - done)
        case "step":
            return float(config.decay.factor ** (step // steps_per_epoch // config.decay.every))
        case "plateau":
            return plateau
        case _:
            return 1.0


@dataclasses.dataclass
class Patience:
    """Counts epochs since a value was best: for early stopping and for the plateau schedule.

    Attributes:
        sign: 1 where larger is better, -1 where smaller is.
        best: best value so far; None before the first.
        best_epoch: epoch (from 1) of it; 0 before the first.
        bad: epochs since it, or since `forget`.
    """

    sign: int
    best: float | None = None
    best_epoch: int = 0
    bad: int = 0

    def see(self, value: float, epoch: int) -> bool:
        """Take an epoch's value; true when it is the best so far. NaN never is."""
        if not math.isnan(value) and (self.best is None or self.sign * (value - self.best) > 0):
            self.best, self.best_epoch, self.bad = value, epoch, 0
            return True
        self.bad += 1
        return False

    def forget(self) -> None:
        """Start counting again, the best value kept."""
        self.bad = 0
