"""Which epoch is the model, and when a run has gone on for long enough."""

from __future__ import annotations

from typing import Any

from sluice.core.errors import ProjectError
from sluice.learners.state import State
from sluice.learners.torch.encode import Encoded
from sluice.learners.torch.plan import Plan
from sluice.learners.torch.progress import Progress
from sluice.learners.torch.schedule import Patience
from sluice.learners.torch.validate import undefined
from sluice.problems.metrics import metric_of, need_positive, sign


class Judge:
    """Compares epochs by the plan's measure of the validation rows.

    Args:
        plan: what is watched, with what patience, and for how long.
        state: the kind of answer and its labels.
        validation: the rows; None: nothing is measured.
        positive: index of the label that metrics of one label are of.

    Raises:
        ProjectError: the measure is none of such answers, or not defined on these rows; or there are none and it takes some.
    """

    def __init__(self, plan: Plan, state: State, validation: Encoded | None, positive: int | None):
        self.plan, self.measured, self.watched = plan, validation is not None, plan.watch
        self._sign = sign(self.watched, state.objective)
        stopping = plan.early_stopping
        metric_of(self.watched, state.objective, "train.early_stopping.metric", ("loss",))
        need_positive(self.watched, positive, len(state.labels))
        if validation is None and (stopping or plan.schedule == "plateau"):
            raise ProjectError(
                "needs validation rows", field="train.early_stopping" if stopping else "train.schedule", fix="set data.split.validation"
            )
        if (
            stopping
            and validation is not None
            and (why := undefined(self.watched, state.objective, validation.labels, len(state.labels), positive))
        ):
            raise ProjectError(
                f"is not defined on the validation rows: {why}",
                field="train.early_stopping.metric",
                value=self.watched,
                fix="watch loss, or raise data.split.validation",
            )

    def patience(self) -> Patience:
        """Has seen no epoch yet."""
        return Patience(self._sign)

    def value(self, entry: dict[str, Any]) -> float:
        """What is watched, of an epoch of the history."""
        return float(entry["validation_loss"] if self.watched == "loss" else entry["validation_metrics"][self.watched])

    def end_of_epoch(self, p: Progress, entry: dict[str, Any]) -> tuple[str, float, bool]:
        """On the first process: what ends the run (nothing: ``""``), the plateau's multiplier, and whether these weights are the best so far."""
        c = self.plan
        ended, better = "", False
        if self.measured:
            better = p.stopping.see(self.value(entry), p.epoch + 1)
            if c.patience is not None and p.stopping.bad >= c.patience:
                ended = "patience"
        if c.minutes is not None and p.seconds + p.epoch_seconds >= 60 * c.minutes:
            ended = ended or "time"
        factor = p.plateau_factor
        if c.schedule == "plateau" and not p.plateau.see(entry["validation_loss"], p.epoch + 1) and p.plateau.bad > c.decay.patience:
            factor *= c.decay.factor
            p.plateau.forget()
        return ended, factor, better
