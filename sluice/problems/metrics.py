"""The metrics that models are judged by: one table, an object a metric, by their standard definitions.

A metric gives its value, its interval on N rows, and the interval of the paired difference of two models on the same
rows. What is not defined on the rows has no value, and says why. Where rows belong together (`Answers.units`) the
intervals are of so many units, not of so many rows.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

import numpy as np

from sluice.core.errors import ProjectError
from sluice.problems.answers import Answers
from sluice.problems.metric import ROUNDING, Metric
from sluice.problems.of_counts import OfCounts
from sluice.problems.of_means import Brier, Determination, Error, LogLoss, OfMeans
from sluice.problems.of_ranks import OfRanks
from sluice.problems.problem import PROBLEMS, problem

__all__ = [
    "ROUNDING",
    "TABLE",
    "Metric",
    "OfCounts",
    "OfMeans",
    "OfRanks",
    "allowance",
    "known",
    "metric_of",
    "names",
    "need_positive",
    "sign",
    "value_of",
]

_C, _R = "classification", "regression"
#: Every metric there is; the first of an objective is the one it is judged by unless told.
TABLE: dict[str, Metric] = {
    m.name: m
    for m in (
        OfCounts("accuracy", _C, "higher"),
        OfCounts("macro_f1", _C, "higher"),
        OfCounts("balanced_accuracy", _C, "higher"),
        OfCounts("mcc", _C, "higher", least=-1.0),
        OfRanks("roc_auc", _C, "higher"),
        OfRanks("average_precision", _C, "higher"),
        LogLoss("log_loss", _C, "lower", most=math.inf),
        Brier("brier", _C, "lower", most=2.0),
        OfCounts("precision", _C, "higher", of_positive=True),
        OfCounts("recall", _C, "higher", of_positive=True),
        OfCounts("f1", _C, "higher", of_positive=True),
        Error("rmse", _R, "lower", most=math.inf, relative=True),
        Error("mae", _R, "lower", most=math.inf, relative=True),
        Determination("r2", _R, "higher", least=-math.inf),
    )
}


def known() -> list[str]:
    """The names of the metrics of every registered problem, those of `TABLE` first."""
    found = dict.fromkeys(TABLE)
    for name in PROBLEMS.names():
        found.update(dict.fromkeys(problem(name).metrics()))
    return list(found)


def names(objective: str, *, positive: bool = True) -> tuple[str, ...]:
    """The metrics of a problem, by its name; those of the positive label too unless there is none."""
    return tuple(m.name for m in problem(objective).metrics().values() if positive or not m.of_positive)


def metric_of(name: str | None, objective: str, field: str = "evaluate.metric", others: Sequence[str] = ()) -> str:
    """The metric a model is judged by: `name`, or accuracy and rmse.

    Args:
        name: as the project says it.
        objective: the name of the problem.
        field: where the project says it.
        others: names that are none of the table's but known at that place (``loss``).

    Raises:
        ProjectError: there is no such metric, or it is of another problem; the nearest name is told.
    """
    known = (*others, *names(objective))
    if name is None:
        return names(objective)[0]
    if name in known:
        return name
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1, 0.5)
    raise ProjectError(
        f"is no metric of {objective}{_whose(name)}",
        field=field,
        value=name,
        fix=(f"did you mean {near[0]!r}? " if near else "") + f"one of {', '.join(known)}",
    )


def _whose(name: str) -> str:
    """Of which other problem a metric is."""
    others = [p for p in PROBLEMS.built_in if name in problem(p).metrics()]
    return f": it is one of {' and '.join(others)}" if others else ""


def need_positive(metric: Metric | str, positive: int | None, labels: int) -> None:
    """Raises `ProjectError` where a metric of the positive label is asked of a model that has none."""
    known = TABLE.get(metric) if isinstance(metric, str) else metric
    if positive is None and known is not None and known.of_positive:
        raise ProjectError(
            f"is not set, and {known.name} is of one label of {labels}",
            field="evaluate.positive",
            fix="name the label, or judge by macro_f1 or balanced_accuracy",
        )


def sign(metric: str, objective: str) -> int:
    """-1 where smaller is better, also of the loss that training goes by. `objective`: the problem's name."""
    known = problem(objective).metrics().get(metric)
    return known.sign if known else -1


def allowance(metric: Metric | str, margin: float, reference: float) -> float:
    """`margin` in the metric's own unit: as it stands, or that fraction of `reference` for rmse and mae."""
    known = TABLE[metric] if isinstance(metric, str) else metric
    return margin * abs(reference) if known.relative else margin


def value_of(
    metric: str, outputs: np.ndarray, targets: np.ndarray, *, predicted: np.ndarray | None = None, positive: int | None = None
) -> float:
    """A metric of probabilities [N, labels] or values [N], see `Answers.of`. NaN where it is undefined."""
    return TABLE[metric].value(Answers.of(outputs, targets, predicted, positive))
