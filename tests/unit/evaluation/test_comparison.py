"""The champion's verdict: on the same rows, by the interval of the paired difference."""

from __future__ import annotations

import numpy as np
import pytest

from sluice.core.errors import DataError
from sluice.gates.config import EvaluateConfig
from sluice.problems.comparison import compare
from sluice.problems.evaluator import evaluate
from tests.unit.evaluation.decided import decide

LABELS = ["a", "b"]


def hard(targets: np.ndarray, wrong: int, at: int = 0) -> np.ndarray:
    """Sure probabilities, right but for `wrong` rows from row `at`."""
    predicted = targets.copy()
    predicted[at : at + wrong] = 1 - predicted[at : at + wrong]
    return np.eye(2)[predicted] * 0.98 + 0.01


def rows(n: int) -> np.ndarray:
    return np.arange(n) % 2


def verdict(n: int, ours: int, theirs: int, **settings: object) -> dict:
    y = rows(n)
    return compare(hard(y, ours), hard(y, theirs, at=ours), y, LABELS, LABELS, EvaluateConfig(**settings))


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "balanced_accuracy", "log_loss"])
@pytest.mark.parametrize(
    ("n", "ours", "theirs", "expected"),
    [
        (2000, 20, 200, "better"),
        (2000, 200, 20, "worse"),
        (20_000, 100, 101, "no_worse"),
        (60, 5, 4, "inconclusive"),
    ],
)
def test_verdicts_follow_the_interval_whatever_the_metrics_direction(metric, n, ours, theirs, expected):
    c = verdict(n, ours, theirs, metric=metric, margin=0.02 if metric == "log_loss" else 0.005)
    assert c["verdict"] == expected
    assert c["low"] <= c["difference"] <= c["high"]
    assert np.sign(c["difference"]) == np.sign(theirs - ours)
    assert (c["candidate_only_right"], c["champion_only_right"], c["n_discordant"]) == (theirs, ours, ours + theirs)


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_regression_verdicts_have_the_direction_of_the_metric(metric):
    rng = np.random.default_rng(0)
    y = rng.normal(size=3000) * 10
    good, bad = y + rng.normal(size=3000), y + 2 * rng.normal(size=3000)
    config = EvaluateConfig(metric=metric)
    assert compare(good, bad, y, [], [], config)["verdict"] == "better"
    assert compare(bad, good, y, [], [], config)["verdict"] == "worse"
    assert compare(good, good, y, [], [], config)["verdict"] == "no_worse"
    assert compare(good, good + 1e-5 * rng.normal(size=3000), y, [], [], config)["verdict"] in ("no_worse", "better")


def test_the_margin_of_rmse_is_a_fraction_of_the_champions_and_blind_to_units():
    rng = np.random.default_rng(1)
    y = rng.normal(size=500)
    ours, theirs = y + rng.normal(size=500), y + rng.normal(size=500)
    small, large = (compare(ours * s, theirs * s, y * s, [], [], EvaluateConfig(margin=0.1)) for s in (1, 1000))
    assert small["margin"] == pytest.approx(0.1 * small["champion"])
    assert large["margin"] == pytest.approx(1000 * small["margin"])
    assert large["verdict"] == small["verdict"]


@pytest.mark.parametrize("n", [1, 7, 300])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "balanced_accuracy", "log_loss"])
def test_equal_answers_are_no_worse(n, metric):
    p = hard(rows(n), n // 5)
    c = compare(p, p, rows(n), LABELS, LABELS, EvaluateConfig(metric=metric))
    assert (c["verdict"], c["difference"], c["n_discordant"]) == ("no_worse", 0, 0)


def test_the_interval_of_no_disagreement_still_has_the_width_the_rows_allow():
    p = hard(rows(50), 2)
    c = compare(p, p, rows(50), LABELS, LABELS, EvaluateConfig())
    assert c["low"] < 0 < c["high"]
    assert c["p_value"] == 1


def test_labels_in_another_order_are_the_same_labels():
    y = rows(400)
    p = hard(y, 30)
    c = compare(p, p[:, ::-1], y, LABELS, ["b", "a"], EvaluateConfig())
    assert (c["verdict"], c["n_discordant"], c["note"], c["rows_left_out"]) == ("no_worse", 0, "", 0)


def test_a_new_label_is_compared_on_the_rows_both_models_know_and_said_so():
    y = np.array([0, 1, 2] * 100)
    ours = np.eye(3)[y] * 0.97 + 0.01
    theirs = np.eye(2)[np.minimum(y, 1)] * 0.98 + 0.01
    c = compare(ours, theirs, y, ["a", "b", "c"], LABELS, EvaluateConfig())
    assert (c["rows"], c["rows_left_out"], c["labels_added"], c["labels_removed"]) == (200, 100, ["c"], [])
    assert c["verdict"] == "no_worse"
    assert "adds c" in c["note"]
    assert "100 of 300" in c["note"]


def test_naming_a_new_label_on_a_shared_row_is_an_error_like_any_other():
    y = np.array([0, 1] * 500)
    ours = np.tile([0.01, 0.01, 0.98], (1000, 1))
    for metric in ("accuracy", "macro_f1", "log_loss"):
        c = compare(ours, hard(y, 0), y, ["a", "b", "c"], LABELS, EvaluateConfig(metric=metric))
        assert c["verdict"] == "worse"


def test_a_label_the_candidate_lacks_is_left_out_and_said():
    y = np.array([0, 1, -1, -1])
    theirs = np.eye(3)[[0, 1, 2, 2]]
    c = compare(hard(np.array([0, 1, 0, 0]), 0), theirs, y, LABELS, ["a", "b", "c"], EvaluateConfig())
    assert (c["rows"], c["rows_left_out"], c["labels_removed"]) == (2, 2, ["c"])
    assert "lacks c" in c["note"]


def test_models_without_a_shared_label_cannot_be_compared_and_the_gate_leaves_it_to_the_rollout():
    y = rows(20)
    config = EvaluateConfig()
    c = compare(hard(y, 0), hard(y, 0), y, LABELS, ["x", "y"], config)
    assert (c["verdict"], c["rows"], c["difference"]) == ("inconclusive", 0, None)
    decision, reasons = decide(evaluate(hard(y, 0), y, LABELS, config), c, config)
    assert decision == "inconclusive"
    assert "cannot be compared" in reasons[-1]


def test_a_classifier_is_not_compared_with_a_regression():
    with pytest.raises(DataError, match="another problem"):
        compare(hard(rows(4), 0), rows(4), rows(4), LABELS, [], EvaluateConfig())
