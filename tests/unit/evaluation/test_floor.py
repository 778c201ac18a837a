"""Better than no model? The verdict, its words, and the rows it would take."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.gates import floor
from sluice.gates.baselines import Baseline
from sluice.gates.config import EvaluateConfig
from sluice.gates.floor import cautions
from sluice.problems.comparison import compare
from sluice.problems.decision import Rule
from sluice.problems.evaluator import evaluate
from tests.unit.evaluation.decided import decide

LABELS = ["No", "Yes"]


def answered(
    outputs: np.ndarray,
    targets: np.ndarray,
    shares: tuple[float, float] = (0.6, 0.4),
    simple: np.ndarray | str = "left out",
    area: tuple[float, float, float] | None = None,
    rule: Rule | None = None,
    **settings: object,
) -> tuple[dict, str, list[str]]:
    """The floor, the decision and its reasons; `area` stands for the candidate's ROC AUC."""
    config, n = EvaluateConfig(**settings), len(targets)
    labels = [] if outputs.ndim == 1 else LABELS
    of_yes = config.metric in ("precision", "f1")
    same = np.array([0.0, 1.0] if of_yes else shares)
    name = "the mean" if not labels else "answering 'Yes' throughout" if of_yes else "the majority class 'No'"
    trivial = Baseline(name, np.tile(same, (n, 1)) if labels else np.zeros(n), np.arange(n), {"note": ""})
    found = evaluate(outputs, targets, labels, config, rule=rule)
    if area:
        found["metrics"]["roc_auc"] = dict(zip(("value", "low", "high"), area, strict=True))
    other = simple if isinstance(simple, str) else Baseline("logistic regression", simple, np.arange(n), {"note": ""})
    judged = floor.judge(outputs, targets, labels, found, trivial, other, config, rule=rule)
    return judged, *decide(found, None, config, judged)


def sure(codes: np.ndarray) -> np.ndarray:
    return np.eye(2)[codes] * 0.9 + 0.05


def truth(n: int, yes: float = 0.4) -> np.ndarray:
    return (np.arange(n) * 37 % 100 < 100 * yes).astype(np.int64)


def flipped(y: np.ndarray, wrong: int) -> np.ndarray:
    return np.where(np.arange(len(y)) < wrong, 1 - y, y)


def test_a_model_shown_to_be_better_passes_without_a_caution():
    y = truth(300)
    judged, decision, reasons = answered(sure(flipped(y, 30)), y)
    assert (judged["verdict"], decision, cautions(judged)) == ("better", "pass", [])
    assert "better than the majority class 'No': accuracy 0.9 against 0.6" in reasons[-1]


def test_a_model_shown_to_be_worse_than_no_model_is_refused_champion_or_none():
    y = truth(300)
    judged, decision, reasons = answered(sure(flipped(y, 200)), y)
    assert (judged["verdict"], decision) == ("no_better", "refuse")
    assert "no better than no model: it is worse than the majority class 'No'" in reasons[0]
    assert answered(sure(flipped(y, 200)), y, baselines={"on_no_better": "warn"})[1] == "pass"
    config = EvaluateConfig()
    champion = {
        "verdict": "better",
        "difference": 0.2,
        "margin": 0.0,
        "metric": "accuracy",
        "candidate": 0.3,
        "champion": 0.1,
        "rows": 300,
        "low": 0.1,
        "high": 0.3,
        "confidence": 0.95,
        "note": "",
    }
    assert decide(evaluate(sure(flipped(y, 200)), y, LABELS, config), champion, config, judged)[0] == "refuse"


def test_a_model_that_never_says_yes_is_refused_unless_it_ranks():
    y = truth(1000, 0.06)
    never = np.stack([0.97 - 0.02 * (np.arange(1000) % 3), 0.03 + 0.02 * (np.arange(1000) % 3)], axis=1)
    judged, decision, reasons = answered(never, y, (0.94, 0.06), area=(0.52, 0.44, 0.6))
    assert (judged["verdict"], decision) == ("no_better", "refuse")
    assert "on every held-out row it answers as the majority class 'No' does" in reasons[0]
    assert "do not rank the rows beyond doubt (ROC AUC 0.520, 0.440 to 0.600)" in reasons[0]

    judged, decision, reasons = answered(never, y, (0.94, 0.06), area=(0.71, 0.64, 0.77))
    assert (judged["verdict"], decision) == ("ranks", "pass")
    assert "ROC AUC 0.710, 0.640 to 0.770" in cautions(judged)[0]
    assert "evaluate.metric" in cautions(judged)[0]


def test_worse_by_a_metric_the_project_chose_is_refused_though_it_ranks_and_by_the_default_is_not():
    y = truth(1000, 0.06)
    eager = sure(flipped(y, 250))
    assert answered(eager, y, (0.94, 0.06), area=(0.8, 0.7, 0.9))[1] == "pass"
    _, decision, reasons = answered(eager, y, (0.94, 0.06), area=(0.8, 0.7, 0.9), metric="accuracy")
    assert decision == "refuse"
    assert "rank the rows, though" in reasons[0]


def test_one_answer_for_every_row_is_no_model_whatever_the_metric():
    y = truth(200)
    constant = np.tile([0.7, 0.3], (200, 1))
    for metric in ("accuracy", "macro_f1", "log_loss"):
        judged, decision, reasons = answered(constant, y, metric=metric)
        assert (judged["verdict"], decision) == ("no_better", "refuse")
        assert "gives every row the same answer" in reasons[0]
    rng = np.random.default_rng(0)
    assert answered(np.full(100, 0.02), rng.normal(size=100))[1] == "refuse"


def test_like_the_trivial_one_on_rows_that_could_show_no_difference_is_no_finding():
    y = np.array([0] * 26 + [1] * 4)
    judged, decision, _ = answered(sure(np.zeros(30, dtype=np.int64)), y)
    assert (judged["verdict"], decision) == ("inconclusive", "inconclusive")
    assert judged["rows_needed"] == 38  # five rows of Yes at 4 in 30
    assert answered(sure(np.zeros(30, dtype=np.int64)), np.zeros(30, dtype=np.int64))[0]["rows_needed"] is None


def test_too_few_rows_are_said_with_how_many_it_would_take():
    y, unsure = truth(40), (0.7, 0.48, 0.86)
    judged, decision, reasons = answered(sure(flipped(y, 12)), y, area=unsure)
    assert (judged["verdict"], decision) == ("inconclusive", "inconclusive")
    assert f"about {judged['rows_needed']:,} would tell (80% power)" in reasons[-1]
    assert answered(sure(flipped(y, 12)), y, area=unsure, on_inconclusive="refuse")[1] == "refuse"


@pytest.mark.parametrize("kind", ["accuracy", "rmse"])
def test_the_rows_said_to_be_needed_are_about_right(kind):
    """What the true difference asks for, seen on many rows, tells four times in five; a third of it does not."""
    rng = np.random.default_rng(5)
    config = EvaluateConfig(metric=kind, resamples=200)

    def sample(n: int) -> dict:
        if kind == "accuracy":
            y = (rng.random(n) < 0.4).astype(np.int64)
            return compare(sure(np.where(rng.random(n) < 0.35, 1 - y, y)), np.tile([0.6, 0.4], (n, 1)), y, LABELS, LABELS, config)
        y = rng.normal(size=n)
        return compare(0.2 * y + rng.normal(size=n) * 0.5, np.zeros(n), y, [], [], config)

    seen = sample(50_000)
    small = seen | {"rows": 50, **{end: seen["difference"] + (seen[end] - seen["difference"]) * 1000**0.5 for end in ("low", "high")}}
    n = floor.rows_needed(small, 0.95)
    assert n is not None
    told = [np.mean([sample(k)["low"] > 0 for _ in range(60)]) for k in (n, n // 3)]
    assert 0.65 < told[0] < 0.95, (n, told)
    assert told[1] < 0.6, (n, told)


def test_a_simple_model_ahead_beyond_doubt_is_named_and_refuses_where_the_project_says_so():
    y = truth(1000)
    ours, theirs = sure(flipped(y, 200)), sure(flipped(y, 100))
    judged, decision, reasons = answered(ours, y, simple=theirs)
    assert decision == "pass"
    assert judged["ahead"].startswith("logistic regression is better by 0.1, 95% interval 0.0")
    assert judged["ahead"] in reasons
    assert cautions(judged) == [judged["ahead"]]
    _, decision, reasons = answered(ours, y, simple=theirs, baselines={"on_ahead": "refuse"})
    assert decision == "refuse"
    assert "on_ahead is refuse" in reasons[0]
    assert answered(ours, y, simple=sure(flipped(y, 199)))[0]["ahead"] is None
    assert answered(theirs, y, simple=ours)[0]["ahead"] is None


def test_a_baseline_that_failed_is_said_and_decides_nothing():
    y = truth(300)
    judged, decision, _ = answered(sure(flipped(y, 30)), y, simple="it ran out of the 3 GiB it may use", baselines={"on_ahead": "refuse"})
    assert decision == "pass"
    assert judged["simple"] == {"name": "logistic regression", "missing": "it ran out of the 3 GiB it may use"}


def test_a_baseline_judged_on_some_rows_is_compared_on_those():
    y = truth(200)
    config = EvaluateConfig()
    trivial = Baseline("the majority class 'No'", np.tile([0.6, 0.4], (200, 1)), np.arange(200), {})
    at = np.arange(0, 200, 2)
    judged = floor.judge(
        sure(y), y, LABELS, evaluate(sure(y), y, LABELS, config), trivial, Baseline("logistic regression", sure(y[at]), at, {}), config
    )
    assert judged["simple"]["rows"] == 100
    assert judged["simple"]["difference"] == 0


def test_an_undefined_metric_is_inconclusive():
    judged, decision, _ = answered(np.array([1.0, 2.0, 3.0]), np.full(3, 5.0), metric="r2")
    assert (judged["verdict"], decision) == ("inconclusive", "inconclusive")


def scores(y: np.ndarray, lift: float, seed: int = 6) -> np.ndarray:
    """Probabilities of a rare Yes, never the larger, that rank its rows by `lift` standard deviations."""
    p = 0.05 + 0.4 / (1 + np.exp(-(np.random.default_rng(seed).normal(size=len(y)) + lift * y)))
    return np.stack([1 - p, p], axis=1)


@pytest.mark.parametrize("metric", [None, "accuracy", "balanced_accuracy", "macro_f1", "mcc", "recall"])
def test_a_real_area_decides_over_a_model_that_never_says_yes_whatever_the_metric(metric):
    y = truth(1500, 0.06)
    judged, decision, _ = answered(scores(y, 1.0), y, (0.94, 0.06), metric=metric)
    assert (judged["verdict"], decision) == ("ranks", "pass")
    assert "average_precision" in judged["said"]
    assert "evaluate.decision" in judged["said"]
    judged, decision, _ = answered(scores(y, 0.0), y, (0.94, 0.06), metric=metric)
    assert (judged["verdict"], decision) == ("no_better", "refuse")


@pytest.mark.parametrize("metric", ["f1", "precision"])
def test_by_a_metric_of_the_rare_label_that_is_never_answered_a_threshold_is_asked_for(metric):
    y = truth(1500, 0.06)
    judged, decision, reasons = answered(scores(y, 1.0), y, (0.94, 0.06), metric=metric)
    assert (judged["verdict"], decision) == ("no_better", "refuse")
    assert "choose its threshold with evaluate.decision" in reasons[0]
    assert answered(scores(y, 0.0), y, (0.94, 0.06), metric=metric)[1] == "refuse"


def test_by_metrics_of_rank_and_probability_a_rare_label_is_told():
    y = truth(1500, 0.06)
    for metric in ("roc_auc", "average_precision"):
        assert answered(scores(y, 1.5), y, (0.94, 0.06), metric=metric)[0]["verdict"] == "better"
    assert answered(scores(y, 0.0), y, (0.94, 0.06), metric="log_loss")[1] == "refuse"


def test_a_threshold_chosen_at_the_cost_of_accuracy_is_no_fault():
    y = truth(1500, 0.06)
    rule = Rule("Yes", 0.3, "best f1")
    judged, decision, _ = answered(scores(y, 1.5), y, (0.94, 0.06), rule=rule, metric="accuracy")
    assert judged["trivial"]["high"] < 0
    assert (judged["verdict"], decision) == ("ranks", "pass")
    assert answered(scores(y, 1.5), y, (0.94, 0.06), rule=rule, metric="f1")[0]["verdict"] == "better"


@pytest.mark.parametrize("metric", ["precision", "recall", "f1", "mcc", "balanced_accuracy"])
def test_guessing_the_rare_label_is_no_better_than_no_model_by_any_metric_of_it(metric):
    y = truth(3000, 0.06)
    p = np.random.default_rng(8).random(3000)
    guesses = np.stack([1 - p, p], axis=1)  # Yes for every other row: recall 0.5, where the majority has none
    judged = answered(guesses, y, (0.94, 0.06), metric=metric, positive="Yes")[0]
    assert judged["verdict"] in ("no_better", "inconclusive")
    good = answered(scores(y, 1.5), y, (0.94, 0.06), rule=Rule("Yes", 0.3), metric=metric, positive="Yes")[0]
    assert good["verdict"] == "better"


def test_all_but_the_same_answers_are_no_better_and_a_small_gain_beyond_doubt_is():
    y = truth(3000, 0.06)
    nearly = np.zeros(3000, dtype=np.int64)
    nearly[[np.flatnonzero(y)[0], *np.flatnonzero(y == 0)[:2]]] = 1
    judged, decision, reasons = answered(sure(nearly), y, (0.94, 0.06))
    assert judged["trivial"]["low"] < 0 < judged["trivial"]["high"] < 0.005
    assert (judged["verdict"], decision) == ("no_better", "refuse")
    assert "evaluate.margin (0.005" in reasons[0]
    few = np.zeros(3000, dtype=np.int64)
    few[np.flatnonzero(y)[:8]] = 1  # eight right, none wrong: +0.0027
    assert answered(sure(few), y, (0.94, 0.06))[0]["verdict"] == "better"
