"""Metrics agree with scikit-learn, an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from sluice.core.errors import DataError, ProjectError, SluiceError
from sluice.gates.config import EvaluateConfig
from sluice.problems.evaluator import evaluate
from sluice.problems.metrics import metric_of, names, value_of

QUICK = settings(max_examples=60, deadline=None)


def answers(seed: int, rows: int, labels: int, skill: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, labels, rows)
    logits = rng.normal(size=(rows, labels))
    logits[np.arange(rows), targets] += skill
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), targets


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(2, 7))
def test_classification_metrics_are_those_of_scikit_learn(seed, rows, labels):
    p, y = answers(seed, rows, labels)
    predicted, present = p.argmax(axis=1), np.unique(y)
    assert value_of("accuracy", p, y) == pytest.approx(sk.accuracy_score(y, predicted))
    assert value_of("macro_f1", p, y) == pytest.approx(sk.f1_score(y, predicted, labels=present, average="macro", zero_division=0))
    assert value_of("balanced_accuracy", p, y) == pytest.approx(sk.recall_score(y, predicted, labels=present, average="macro"))
    assert value_of("log_loss", p, y) == pytest.approx(sk.log_loss(y, p, labels=range(labels)))


@QUICK
@given(st.integers(0, 10**6), st.integers(2, 80), st.floats(-1e6, 1e6))
def test_regression_metrics_are_those_of_scikit_learn(seed, rows, offset):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=rows) * 3 + offset
    p = y + rng.normal(size=rows)
    assert value_of("rmse", p, y) == pytest.approx(sk.root_mean_squared_error(y, p))
    assert value_of("mae", p, y) == pytest.approx(sk.mean_absolute_error(y, p))
    assert value_of("r2", p, y) == pytest.approx(sk.r2_score(y, p), rel=1e-6)


def test_the_whole_evaluation_of_a_classifier_agrees_with_scikit_learn():
    p, y = answers(3, 500, 4)
    labels, predicted = ["a", "b", "c", "d"], p.argmax(axis=1)
    e = evaluate(p, y, labels, EvaluateConfig(metric="macro_f1"), {"label": [labels[i] for i in y]})
    assert e["confusion"] == {"labels": labels, "matrix": sk.confusion_matrix(y, predicted).tolist()}
    precision, recall, f1, support = sk.precision_recall_fscore_support(y, predicted)
    for i, row in enumerate(e["per_label"]):
        one = (y == i).astype(int)
        assert {k: v for k, v in row.items() if k != "intervals"} == {
            "label": labels[i],
            "precision": pytest.approx(precision[i]),
            "recall": pytest.approx(recall[i]),
            "f1": pytest.approx(f1[i]),
            "support": support[i],
            "roc_auc": pytest.approx(sk.roc_auc_score(one, p[:, i]), abs=1e-12),
            "average_precision": pytest.approx(sk.average_precision_score(one, p[:, i]), abs=1e-12),
        }
        assert all(low < row[name] < high for name, (low, high) in row["intervals"].items())
    assert set(e["metrics"]) == set(names("classification", positive=False))
    for m in e["metrics"].values():
        assert m["low"] < m["value"] < m["high"]
    assert (e["value"], e["low"], e["high"]) == tuple(e["metrics"]["macro_f1"][k] for k in ("value", "low", "high"))
    assert (e["rows"], e["direction"], e["unknown_labels"]) == (500, "higher", 0)


def test_calibration_bins_add_up_to_the_expected_calibration_error():
    p, y = answers(4, 2000, 3)
    c = evaluate(p, y, ["a", "b", "c"], EvaluateConfig())["calibration"]
    assert sum(b["rows"] for b in c["bins"]) == 2000
    assert c["ece"] == pytest.approx(sum(b["rows"] / 2000 * abs(b["confidence"] - b["accuracy"]) for b in c["bins"]))
    sharp = np.where(p == p.max(axis=1, keepdims=True), 1.0, 0.0)
    assert evaluate(sharp, y, ["a", "b", "c"], EvaluateConfig())["calibration"]["ece"] == pytest.approx(1 - value_of("accuracy", p, y))


def test_a_regression_has_residuals_in_place_of_a_confusion_matrix():
    y = np.linspace(0, 1, 200)
    e = evaluate(y + 0.5, y, [], EvaluateConfig())
    assert e["metric"] == "rmse"
    assert e["direction"] == "lower"
    assert e["value"] == pytest.approx(0.5)
    assert "confusion" not in e
    assert "calibration" not in e
    assert sum(e["residuals"]["counts"]) == 200
    assert e["residuals"]["quantiles"]["0.5"] == pytest.approx(0.5)
    assert set(e["metrics"]) == set(names("regression"))


def test_residuals_that_are_zero_or_all_but_equal_still_have_bins():
    for shift in (0.0, 1e-18, 0.5, 1e9):
        y = np.linspace(0, 1, 50)
        found = evaluate(y + shift, y, [], EvaluateConfig())["residuals"]
        assert sum(found["counts"]) == 50
        assert np.all(np.diff(found["edges"]) > 0)


def test_a_label_the_model_does_not_know_counts_as_wrong():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]])
    e = evaluate(p, np.array([0, 1, -1]), ["a", "b"], EvaluateConfig())
    assert e["unknown_labels"] == 1
    assert e["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert e["metrics"]["balanced_accuracy"]["value"] == pytest.approx(2 / 3)
    assert e["metrics"]["log_loss"]["value"] > 10
    assert np.sum(e["confusion"]["matrix"]) == 2


def test_r2_of_targets_that_do_not_vary_is_undefined_and_not_a_number_in_disguise():
    e = evaluate(np.array([1.0, 2.0]), np.array([0.1, 0.1]), [], EvaluateConfig())
    assert e["metrics"]["r2"] == {"value": None, "low": None, "high": None, "why": "the targets do not vary"}


def test_one_row_is_judged():
    assert evaluate(np.array([[0.9, 0.1]]), np.array([0]), ["a", "b"], EvaluateConfig())["value"] == 1
    assert evaluate(np.array([1.5]), np.array([1.0]), [], EvaluateConfig())["value"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("outputs", "targets", "labels", "error", "says"),
    [
        (np.empty((0, 2)), [], ["a", "b"], DataError, "no rows"),
        (np.ones((2, 3)) / 3, [0, 1], ["a", "b"], DataError, "shape"),
        (np.ones((3, 2)) / 2, [0, 1], ["a", "b"], DataError, "shape"),
        (np.ones((2, 2)) / 2, [0, 2], ["a", "b"], DataError, "no index of a label"),
        (np.ones((2, 2)) / 2, [0, -2], ["a", "b"], DataError, "no index of a label"),
        (np.array([[0.5, np.nan], [0.5, 0.5]]), [0, 1], ["a", "b"], SluiceError, "1 of 2 rows"),
        (np.array([1.0, np.inf]), [0.0, 1.0], [], SluiceError, "1 of 2 rows"),
        (np.array([1.0, 2.0]), [0.0, np.nan], [], DataError, "not finite"),
    ],
)
def test_answers_that_cannot_be_judged_are_explained(outputs, targets, labels, error, says):
    with pytest.raises(error, match=says):
        evaluate(outputs, np.array(targets), labels, EvaluateConfig())


def test_a_metric_of_the_other_objective_is_refused_by_name():
    with pytest.raises(ProjectError, match="one of rmse, mae, r2") as e:
        metric_of("accuracy", "regression")
    assert e.value.field == "evaluate.metric"
    assert metric_of(None, "classification") == "accuracy"


def test_the_result_is_plain_json_and_the_same_every_time():
    import orjson

    p, y = answers(5, 300, 5)
    args = (p, y, list("abcde"), EvaluateConfig(metric="macro_f1"), {"label": [str(i) for i in y]})
    assert orjson.dumps(evaluate(*args)) == orjson.dumps(evaluate(*args))
