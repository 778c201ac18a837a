"""How far a packaged graph's answers are from the trained model's, measured on held-out rows through the server's own code."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice.engines.base import Engine
from sluice.engines.predictor import run_examples
from sluice.fields import Processor
from sluice.fields.base import Example
from sluice.problems import metrics
from sluice.problems.comparison import compare
from sluice.problems.config import MetricConfig
from sluice.problems.decision import Rule
from sluice.problems.problem import Problem

_BATCH = 16
_INVARIANCE_ROWS = 256
_TIMED_RUNS = 30


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Encoded held-out rows, their targets (indices into labels, -1 unknown; or values), the problem, the trained model's answers, the rows as they came, how a label follows."""

    processor: Processor
    examples: Sequence[Example]
    targets: np.ndarray
    labels: Sequence[str]
    asked: Problem
    reference: np.ndarray
    rows: Sequence[Any]
    row_ids: Sequence[str]
    rule: Rule | None = None
    positive: str | None = None


@dataclasses.dataclass(frozen=True)
class Parity:
    """One format beside the trained model on the same rows.

    Attributes:
        max_abs_diff: largest difference of an answer (probability, or value).
        agreement: fraction of rows with the same label; for regression, of values that differ by at most a hundredth of their deviation.
        metric: the metric's value with this format; null where it is undefined.
        loss: how much worse than the trained model's it is, negative where better; null where the metric is undefined.
        loss_high: upper end of the loss's interval.
        allowed: the budget in the metric's own unit.
        within: `loss` is at most `allowed`.
        single_agreement: fraction of rows with the same label alone and in batches of 16 with their neighbours.
        single_max_diff: largest difference between these two.
    """

    max_abs_diff: float
    agreement: float
    metric: float | None
    loss: float | None
    loss_high: float | None
    allowed: float
    within: bool
    single_agreement: float
    single_max_diff: float

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return dataclasses.asdict(self)


def outputs_of(engine: Engine, held: HeldOut) -> np.ndarray:
    """A graph's answers to the held-out rows, in their order."""
    return run_examples(engine, held.processor, held.examples, _BATCH)


def movement(outputs: np.ndarray, base: np.ndarray, held: HeldOut) -> np.ndarray:
    """How far each row's answer is from another graph's, float64 [rows]: the largest difference of a probability, or the value's in the targets' deviation."""
    return held.asked.change(outputs, base, held.targets)


def measure(engine: Engine, outputs: np.ndarray, held: HeldOut, config: MetricConfig, max_loss: float) -> Parity:
    """A graph's answers beside the trained model's.

    Args:
        engine: the graph.
        outputs: its answers, of `outputs_of`.
        held: rows and the trained model's answers on them.
        config: the project's ``evaluate``: which metric, which confidence.
        max_loss: the budget; for rmse and mae a fraction of the trained model's value.

    Raises:
        SluiceError: the graph's answers are not finite.
    """
    judged = compare(
        outputs,
        held.reference,
        held.targets,
        held.labels,
        held.labels,
        config if config.metric in held.asked.metrics() else config.model_copy(update={"metric": None}),
        rule=held.rule,
        champion_rule=held.rule,
        positive=held.positive,
        asked=held.asked,
    )
    name = judged["metric"]
    loss = None if judged["difference"] is None else 0.0 - judged["difference"]
    allowed = max_loss if judged["champion"] is None else metrics.allowance(held.asked.metrics()[name], max_loss, judged["champion"])
    alone, grouped = _batches_of(engine, held, 1), _batches_of(engine, held, _BATCH)
    return Parity(
        max_abs_diff=held.asked.apart(outputs, held.reference),
        agreement=_agreement(outputs, held.reference, held),
        metric=judged["candidate"],
        loss=loss,
        loss_high=None if judged["low"] is None else 0.0 - judged["low"],
        allowed=allowed,
        within=loss is not None and loss <= allowed + metrics.ROUNDING,
        single_agreement=_agreement(alone, grouped, held),
        single_max_diff=held.asked.apart(alone, grouped),
    )


def _agreement(outputs: np.ndarray, others: np.ndarray, held: HeldOut) -> float:
    return held.asked.agreement(outputs, others, held.labels, held.rule, held.reference)


def _batches_of(engine: Engine, held: HeldOut, size: int) -> np.ndarray:
    """Answers in batches of neighbours, as requests arrive: not sorted by length."""
    name, rows = engine.outputs[0].name, held.examples[:_INVARIANCE_ROWS]
    return np.concatenate([engine.run(held.processor.batch(rows[at : at + size]))[name] for at in range(0, len(rows), size)])


def latencies(engines: Sequence[Engine], held: HeldOut, rows: int = 1) -> list[float]:
    """Median milliseconds of the first rows in each graph, one thread, run in turns."""
    batch = held.processor.batch(held.examples[:rows])
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(_TIMED_RUNS):
        for graph, taken in zip(engines, times, strict=True):
            start = time.perf_counter()
            graph.run(batch)
            taken.append(time.perf_counter() - start)
    return [round(float(np.median(t)) * 1e3, 4) for t in times]
