"""The ROC curve against scikit-learn's, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, precision_score, recall_score, roc_auc_score, roc_curve

from sluice.problems.answers import answers
from sluice.problems.curves import precision_recall
from sluice.problems.curves import roc as roc_of
from sluice.problems.decision import Rule


def roc(outputs: np.ndarray, targets: np.ndarray, labels: list[str], **more: int) -> dict | None:
    return roc_of(answers(outputs, targets, labels, positive=labels[1] if len(labels) == 2 else None), labels, **more)


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


@pytest.mark.parametrize("ties", [False, True])
def test_precision_against_recall_is_scikit_learns_with_the_point_that_is_answered(ties: bool) -> None:
    rng = np.random.default_rng(11)
    targets = (rng.random(500) < 0.1).astype(int)
    second = np.clip(rng.normal(0.3 + 0.2 * targets, 0.2), 0, 1)
    second = np.round(second, 1) if ties else second
    outputs, labels, rule = np.stack([1 - second, second], 1), ["no", "yes"], Rule("yes", 0.35)
    found = precision_recall(answers(outputs, targets, labels, rule=rule), labels, points=10**6)
    precision, recall, threshold = precision_recall_curve(targets, second)
    assert found is not None and found["of"] == "yes" and found["macro"] is None
    np.testing.assert_allclose(found["recall"], recall[:-1][::-1], atol=1e-6)
    np.testing.assert_allclose(found["precision"], precision[:-1][::-1], atol=1e-6)
    np.testing.assert_allclose(found["threshold"], threshold[::-1], atol=1e-6)
    assert found["area"] == pytest.approx(average_precision_score(targets, second), abs=1e-6)
    assert found["share"] == pytest.approx(targets.mean(), abs=1e-6)
    named = second >= 0.35
    assert found["point"] == {
        "recall": pytest.approx(recall_score(targets, named), abs=1e-6),
        "precision": pytest.approx(precision_score(targets, named), abs=1e-6),
    }
    kept = precision_recall(answers(outputs, targets, labels), labels)
    assert kept is not None and len(kept["recall"]) <= 100 and kept["recall"][-1] == 1


def test_more_labels_have_the_mean_of_their_curves_beside_the_pooled_one() -> None:
    rng = np.random.default_rng(12)
    targets = rng.integers(0, 4, 800)
    outputs = np.exp(rng.normal(size=(800, 4)) + 1.5 * np.eye(4)[targets])
    outputs /= outputs.sum(1, keepdims=True)
    a, labels, truth = answers(outputs, targets, list("abcd")), list("abcd"), np.eye(4)[targets]
    curve, other = roc_of(a, labels), precision_recall(a, labels)
    assert curve is not None and other is not None
    assert curve["macro"]["area"] == pytest.approx(roc_auc_score(truth, outputs, average="macro"), abs=1e-6)
    assert np.trapezoid(curve["macro"]["y"], curve["macro"]["x"]) == pytest.approx(curve["macro"]["area"], abs=5e-3)
    assert other["area"] == pytest.approx(average_precision_score(truth, outputs, average="micro"), abs=1e-6)
    assert other["macro"]["area"] == pytest.approx(average_precision_score(truth, outputs, average="macro"), abs=1e-6)
    accuracy = (outputs.argmax(1) == targets).mean()  # pooled over the labels, precision and recall of what is answered are the accuracy
    assert other["point"] == {"recall": pytest.approx(accuracy, abs=1e-6), "precision": pytest.approx(accuracy, abs=1e-6)}
