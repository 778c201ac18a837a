"""Thresholds of several metrics and of the calibration: each refuses by itself, with its own sentence and its own row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sluice.core.check import Decision
from sluice.core.errors import ProjectError
from sluice.gates import reliability, thresholds
from sluice.gates.config import EvaluateConfig
from sluice.problems.answers import Answers
from sluice.problems.evaluator import evaluate
from sluice.problems.problem import problem
from sluice.problems.reliability import reliability as measured

LABELS = ["no", "yes"]


def found(wrong: int = 20, n: int = 200, **settings: Any) -> tuple[dict[str, Any], EvaluateConfig]:
    y = np.arange(n) % 2
    said = y.copy()
    said[:wrong] ^= 1
    config = EvaluateConfig(**settings)
    return evaluate(np.eye(2)[said] * 0.8 + 0.1, y, LABELS, config), config


def test_each_threshold_that_is_missed_is_a_reason_of_its_own_and_a_row_of_the_report() -> None:
    evaluation, config = found(minimums={"macro_f1": 0.95, "recall": 0.7}, maximums={"log_loss": 0.2, "brier": 0.5})
    decision = thresholds.decide(evaluation, config)
    assert decision.decision == "refuse" and len(decision.reasons) == 2
    assert "macro_f1 0.9 (95% interval" in decision.reasons[0] and decision.reasons[0].endswith("is below evaluate.minimums.macro_f1 0.95")
    assert decision.reasons[1].endswith("is above evaluate.maximums.log_loss 0.2")
    page = thresholds.Thresholds().section(decision)
    assert page.count("<tr>") == 5 and page.count("missed") == 2 and "at most 0.5" in page


def test_thresholds_that_are_reached_are_told_and_none_says_nothing() -> None:
    evaluation, config = found(minimums={"accuracy": 0.9})
    decision = thresholds.decide(evaluation, config)
    assert decision.decision == "pass" and "reaches evaluate.minimums.accuracy 0.9" in decision.reasons[0]
    assert thresholds.decide(*found()) == Decision("pass") and thresholds.Thresholds().section(Decision("pass")) == ""


def test_a_metric_without_a_value_reaches_nothing() -> None:
    config = EvaluateConfig(minimums={"r2": 0.5})
    decision = thresholds.decide(evaluate(np.array([1.0, 2.0]), np.array([3.0, 3.0]), [], config), config)
    assert decision.decision == "refuse" and "r2 is not defined on the held-out rows (the targets do not vary)" in decision.reasons[0]


@pytest.mark.parametrize(
    ("settings", "of", "labels", "says"),
    [
        ({"minimums": {"macrof1": 0.5}}, "classification", LABELS, "did you mean 'macro_f1'"),
        ({"minimums": {"rmse": 0.5}}, "classification", LABELS, "it is one of regression"),
        ({"minimums": {"log_loss": 0.5}}, "classification", LABELS, r"evaluate.maximums: {log_loss: 0.5}"),
        ({"maximums": {"r2": 0.5}}, "regression", [], r"evaluate.minimums: {r2: 0.5}"),
        ({"minimums": {"accuracy": 95.0}}, "classification", LABELS, "no model can reach it: accuracy is 1 at best"),
        ({"maximums": {"rmse": -1.0}}, "regression", [], "rmse is 0 at best"),
        ({"minimums": {"recall": 0.5}}, "classification", ["a", "b", "c"], "recall is of one label of 3"),
        ({"ece_maximum": 0.1}, "regression", [], "evaluate.ece_maximum"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_told_before_anything_is_trained(settings: Any, of: str, labels: list[str], says: str) -> None:
    with pytest.raises(ProjectError) as told:
        EvaluateConfig(**settings).suits(problem(of), labels)
    assert says in str(told.value) and told.value.fix


def test_thresholds_that_fit_are_taken_and_none_leaves_the_settings_as_they_were() -> None:
    EvaluateConfig(minimums={"r2": 0.1}, maximums={"rmse": 3.0}).suits(problem("regression"), [])
    EvaluateConfig(minimums={"f1": 0.1}, ece_maximum=0.1, positive="a").suits(problem("classification"), ["a", "b", "c"])
    assert not {"minimums", "maximums", "ece_maximum"} & set(EvaluateConfig().model_dump())


def sure(n: int, said: float, true: float, **settings: Any) -> Decision:
    y = (np.random.default_rng(4).random(n) < true).astype(int)
    config = EvaluateConfig(ece_maximum=0.05, **settings)
    return reliability.decide(evaluate(np.tile([1 - said, said], (n, 1)), y, LABELS, config), config)


def test_a_model_too_sure_is_refused_by_its_interval_and_a_calibrated_one_of_few_rows_is_not() -> None:
    refused = sure(2000, 0.95, 0.8)
    assert refused.decision == "refuse" and "is above evaluate.ece_maximum 0.05" in refused.reasons[0]
    assert "interval" in reliability.Reliability().section(refused)
    passed = sure(5000, 0.8, 0.8)
    assert passed.decision == "pass" and "within" in passed.reasons[0] and not passed.cautions
    few = sure(40, 0.82, 0.8)
    assert few.decision == "pass" and "cannot tell" in few.cautions[0]
    assert sure(40, 0.82, 0.8, on_inconclusive="refuse").decision == "refuse"
    assert reliability.decide(*found()) == Decision("pass")


def test_a_calibrated_model_is_seldom_refused_at_the_maximum_it_has() -> None:
    """Its error is 0.1: the bare value is above that half of the time."""
    generator, refused, above = np.random.default_rng(5), 0, 0
    config = EvaluateConfig(ece_maximum=0.1)
    for _ in range(100):
        y = (generator.random(300) < 0.7).astype(int)

        told = {"calibration": measured(Answers.of(np.tile([0.2, 0.8], (300, 1)), y), 0.95), "confidence": 0.95, "rows": 300}
        above += told["calibration"]["ece"] > 0.1
        refused += reliability.decide(told, config).decision == "refuse"
    assert above >= 30 and refused <= 7
