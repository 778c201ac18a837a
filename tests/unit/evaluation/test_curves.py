"""The ROC curve against scikit-learn's, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from sluice.evaluation.curves import roc


@pytest.mark.parametrize("rows", [3, 50, 2000])
@pytest.mark.parametrize("ties", [False, True])
def test_two_labels_give_the_curve_of_the_second(rows: int, ties: bool) -> None:
    rng = np.random.default_rng(rows)
    targets = np.append(rng.integers(0, 2, rows), [0, 1])
    second = np.clip(rng.normal(0.4 + 0.2 * targets, 0.2), 0, 1)
    second = np.round(second, 1) if ties else second
    found = roc(np.stack([1 - second, second], 1), targets, ["no", "yes"], points=10**6)
    fpr, tpr, _ = roc_curve(targets, second, drop_intermediate=False)
    assert found is not None and found["of"] == "yes"
    np.testing.assert_allclose(found["fpr"], fpr, atol=1e-6)
    np.testing.assert_allclose(found["tpr"], tpr, atol=1e-6)
    assert found["auc"] == pytest.approx(roc_auc_score(targets, second), abs=1e-6)


def test_more_labels_give_the_micro_average_thinned_without_losing_its_area() -> None:
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 5, 3000)
    logits = rng.normal(size=(3000, 5)) + 2.0 * np.eye(5)[targets]
    outputs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = roc(outputs, targets, list("abcde"))
    assert found is not None and len(found["fpr"]) <= 100
    assert found["auc"] == pytest.approx(roc_auc_score(np.eye(5)[targets], outputs, average="micro"), abs=1e-6)
    assert np.trapezoid(found["tpr"], found["fpr"]) == pytest.approx(found["auc"], abs=1e-3)
    assert (found["fpr"][0], found["tpr"][0], found["fpr"][-1], found["tpr"][-1]) == (0, 0, 1, 1)
    assert (np.diff(found["threshold"]) <= 0).all()


def test_an_unknown_label_counts_against_every_answer() -> None:
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]])
    found = roc(outputs, np.array([0, 1, -1]), ["no", "yes"])
    assert found is not None and found["auc"] == pytest.approx(0.5)


def test_where_nothing_is_right_or_nothing_is_wrong_there_is_no_curve() -> None:
    outputs = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert roc(outputs, np.array([0, 0]), ["no", "yes"]) is None
    assert roc(outputs, np.array([1, 1]), ["no", "yes"]) is None
