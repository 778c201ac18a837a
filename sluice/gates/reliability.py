"""The reliability: are probabilities off by more than the project accepts, beyond what few rows show by chance?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from sluice.core.check import Check, Decision
from sluice.core.errors import ProjectError
from sluice.gates.bar import between, number
from sluice.gates.facts import Judged
from sluice.problems.config import MetricConfig, of_units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluice.problems.problem import Problem


class ReliabilityConfig(MetricConfig):
    """The largest expected calibration error."""

    ece_maximum: float | None = Field(
        None,
        gt=0,
        le=1,
        description="largest expected calibration error accepted; refused where its whole interval is above",
        exclude_if=lambda most: most is None,
    )

    def suits(self, asked: Problem, labels: Sequence[str]) -> None:
        """See `Section.suits`: there are probabilities that can be off."""
        super().suits(asked, labels)
        if self.ece_maximum is not None and not (asked.classes and not asked.independent):
            raise ProjectError(
                f"is of probabilities of one label among others, and {asked.described(labels)}",
                field="evaluate.ece_maximum",
                value=self.ece_maximum,
                fix="remove it",
            )


class Reliability(Check):
    """Refuses where the expected calibration error is above `ece_maximum` beyond doubt.

    The error of a calibrated model is not 0 on finitely many rows: absolute gaps of noise add up. So it is the interval that decides
    (`sluice.problems.reliability.ece_interval`), and an error that is above with its value alone is one that cannot be told.
    """

    name, step, Config = "reliability", "evaluate", ReliabilityConfig
    then = "calibrate the probabilities (docs/explanations.md), or change evaluate.ece_maximum"

    def judge(self, facts: Judged, config: ReliabilityConfig) -> Decision:
        """The decision of `decide`."""
        return decide(facts.evaluation, config)

    def section(self, decision: Decision) -> str:
        """The error and its interval against the largest accepted; the picture stands with the evaluation."""
        from html import escape

        found = decision.evidence.get("reliability")
        return f'<h3>Calibration against evaluate.ece_maximum</h3><p class="note">{escape(found["said"])}</p>' if found else ""


def decide(evaluation: dict[str, Any], config: ReliabilityConfig) -> Decision:
    """Whether probabilities come true as often as they say.

    Args:
        evaluation: of `sluice.problems.evaluator.evaluate`, with its ``calibration``.
        config: the largest error.

    Returns:
        With evidence ``reliability`` {ece, low, high, maximum, verdict, said}: ``above``, ``within``, or ``inconclusive`` where the interval
        holds the maximum.
    """
    found, most = evaluation.get("calibration"), config.ece_maximum
    if most is None or not found:
        return Decision("pass")
    ece, low, high = found["ece"], found["low"], found["high"]
    verdict = "inconclusive" if low is None else "above" if low > most else "within" if high <= most else "inconclusive"
    limits = f" ({evaluation['confidence']:.0%} interval {between(low, high)})" if low is not None else ""
    bar = f"expected calibration error {number(ece)}{limits} on {evaluation['rows']:,} rows{of_units(evaluation)}"
    words = {
        "above": f"{bar} is above evaluate.ece_maximum {most:g}: set export.calibrate, or train for longer or shorter",
        "within": f"{bar} is within evaluate.ece_maximum {most:g}",
        "inconclusive": f"{bar}: these rows cannot tell whether it is within evaluate.ece_maximum {most:g}",
    }
    told = {"reliability": {"ece": ece, "low": low, "high": high, "maximum": most, "verdict": verdict, "said": words[verdict]}}
    if verdict == "above" or (verdict == "inconclusive" and config.on_inconclusive == "refuse"):
        return Decision("refuse", (words[verdict],), told)
    unsure = f"warning: {words[verdict]}"
    return Decision("pass", (unsure,), told, (unsure,)) if verdict == "inconclusive" else Decision("pass", (words[verdict],), told)
