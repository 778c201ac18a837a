"""What `train:` leaves open, decided from the task and the rows before anything is trained."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sluice.learners.torch.config import Schedule, TrainConfig
from sluice.learners.weights import label_weights

if TYPE_CHECKING:
    import numpy as np

    from sluice.learners.state import State
    from sluice.learners.torch.network import Network


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a network thinks right for its model and rows, where the project does not say.

    Attributes:
        batch_size: rows a step.
        learning_rate: per step.
        weight_decay: as ``train.weight_decay``.
        schedule, ema: as in ``train``, where the number of epochs is automatic too.
        betas: of AdamW, of the two moments.
        steps: budget of optimiser steps; the run may end before.
        patience: epochs without improvement that end it; null: from the number of epochs.
        epochs: for a model that is known to need few: so many and no more, whatever `steps` says.
        least: fewest epochs the budget is stretched to.
        most: most epochs.
    """

    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    ema: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    steps: int = 3000
    patience: int | None = None
    epochs: int | None = None
    least: int = 3
    most: int = 200


class Plan(TrainConfig):
    """`train:` with nothing left open.

    Attributes:
        epochs: at most so many.
        batch_size, learning_rate, weight_decay, schedule, ema: as in `TrainConfig`.
        watch: the validation measure by which the best epoch is kept.
        patience: epochs without improvement that end the run; null: it goes on to the last.
        minutes: of training after which it ends; null: as long as it takes.
        automatic: the settings that were decided here.
        betas: of AdamW.
        label_weights: of a row in the loss, by its label's index; null: all rows weigh the same.
    """

    epochs: int = Field(3, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    schedule: Schedule = "cosine"
    watch: str = "loss"
    patience: int | None = None
    minutes: float | None = None
    automatic: list[str] = []
    betas: list[float] = [0.9, 0.999]
    label_weights: list[float] | None = None

    def shown(self) -> dict[str, Any]:
        """What was decided and what by, for the history and the report."""
        names = (
            "epochs",
            "batch_size",
            "learning_rate",
            "weight_decay",
            "schedule",
            "ema",
            "watch",
            "patience",
            "minutes",
            "automatic",
            "label_weights",
        )
        return {n: getattr(self, n) for n in names}

    def text(self, rows: int) -> str:
        """The plan in a sentence."""
        steps = self.epochs * math.ceil(rows / self.batch_size)
        if "epochs" not in self.automatic:
            how = f"{self.epochs} epochs"
        elif self.patience is None:
            how = f"{self.epochs} epochs (automatic)"
        else:
            how = f"until the validation {self.watch} has not improved for {self.patience} epochs, at most {self.epochs} epochs"
        time = f" and {self.minutes:g} minutes" if self.minutes else ""
        return f"{how} ({steps} steps){time}; batches of {self.batch_size}, learning rate {self.learning_rate:g}"


def decide(config: TrainConfig, defaults: Defaults, rows: int, measured: bool) -> Plan:
    """Fill in what the project leaves open.

    Args:
        config: the project's `train:` section.
        defaults: the network's.
        rows: of the training split.
        measured: whether there are validation rows. Without them nothing can say when to stop: a third of the budget is trained.
    """
    raw, open_ended = config.model_dump(), config.epochs is None
    automatic = [n for n in ("epochs", "batch_size", "learning_rate", "weight_decay", "schedule") if raw[n] is None]
    given = config.early_stopping
    least = config.processes * config.nodes * config.accumulate
    batch = config.batch_size or max(least, min(defaults.batch_size, rows))
    steps = math.ceil(rows / batch)
    epochs, patience, minutes = config.epochs, given.patience if given else None, config.budget.minutes if open_ended else None
    if epochs is None and defaults.epochs is not None and config.budget.steps is None:
        epochs = defaults.epochs
    elif epochs is None:
        budget = config.budget.steps or defaults.steps
        epochs = max(1, budget // steps) if config.budget.steps else min(defaults.most, max(defaults.least, budget // steps))
        if not measured:
            epochs = max(1, epochs // 3)
        elif given is None:
            patience = defaults.patience or max(3, min(20, epochs // 5))
    return Plan(
        **{
            **raw,
            "epochs": epochs,
            "batch_size": batch,
            "patience": patience,
            "minutes": minutes,
            "automatic": automatic,
            "betas": list(defaults.betas),
            "learning_rate": config.learning_rate or defaults.learning_rate,
            "schedule": config.schedule or (defaults.schedule if open_ended else "cosine"),
            "ema": (config.ema or None) if config.ema is not None or not open_ended else defaults.ema,
            "weight_decay": defaults.weight_decay if config.weight_decay is None else config.weight_decay,
            "watch": given.metric if given else "loss",
        }
    )


def plan_of(network: Network, state: State, labels: np.ndarray, measured: bool) -> Plan:
    """The plan of a network's project for training rows of such labels, as `Encoded.labels` has them; see `decide`. Raises `ProjectError`."""
    plan = decide(network.task.project.train, network.defaults(state, len(labels)), len(labels), measured)
    return plan.model_copy(
        update={"label_weights": label_weights(plan.class_weights, state.labels if state.problem.classes else [], labels)}
    )
