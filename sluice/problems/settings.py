"""What `evaluate:` asks for, held against the labels there are: before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sluice.core.errors import ProjectError
from sluice.problems import metrics
from sluice.problems.problem import problem

if TYPE_CHECKING:
    from sluice.problems.config import MetricConfig


def check_settings(config: MetricConfig, objective: str, labels: Sequence[str]) -> None:
    """Whether the metric and the decision are of such a problem.

    Args:
        config: the project's ``evaluate``.
        objective: the name of the problem.
        labels: of the data; empty where an answer is a value.

    Raises:
        ProjectError: the metric is of the other objective, or of a positive label that is not set; a threshold is asked for
            where there are not two labels to decide between.
    """
    asked = problem(objective)
    metric = asked.metrics()[metrics.metric_of(config.metric, objective)]
    metrics.need_positive(metric, 0 if (asked.classes and len(labels) == 2) or config.positive is not None else None, len(labels))
    if config.decision is not None and not (asked.classes and len(labels) == 2):
        raise ProjectError(
            f"chooses a threshold between two labels, and {asked.described(labels)}",
            field="evaluate.decision",
            value=config.decision.aim,
            fix="remove it; for more labels train.class_weights: balanced helps the rare ones" if asked.classes else "remove it",
        )
