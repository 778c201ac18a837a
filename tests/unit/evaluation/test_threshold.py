"""The chosen threshold is the best there is for its aim, found by trying every one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics as sk

from sluice.core.errors import ProjectError
from sluice.gates.config import EvaluateConfig
from sluice.problems.config import DecisionConfig
from sluice.problems.decision import codes
from sluice.problems.problem import problem
from sluice.problems.settings import check_settings
from sluice.problems.threshold import FEWEST, choose

LABELS = ["No", "Yes"]


def rows(seed: int, n: int, digits: int, share: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.append((rng.random(n) < share).astype(int), [0] * FEWEST + [1] * FEWEST)
    p = np.round(1 / (1 + np.exp(-rng.normal(1.5 * y - 2, 1))), digits).astype(np.float32)
    return np.stack([1 - p, p], axis=1), y


def worth(config: DecisionConfig, y: np.ndarray, named: np.ndarray) -> float:
    """The aim by scikit-learn; the more the better, -inf where it is missed."""
    recall, precision = sk.recall_score(y, named), sk.precision_score(y, named, zero_division=0)
    if config.aim == "precision":
        return recall if precision >= config.precision - 1e-12 and named.any() else -np.inf
    if config.aim == "recall":
        return precision if recall >= config.recall - 1e-12 else -np.inf
    if config.aim == "cost":
        return -(config.costs.false_positive * (named & (y == 0)).sum() + config.costs.false_negative * (~named & (y == 1)).sum())
    return {"f1": sk.f1_score, "balanced_accuracy": sk.balanced_accuracy_score, "mcc": sk.matthews_corrcoef}[config.aim](y, named)


AIMS = [
    {"aim": "f1"},
    {"aim": "balanced_accuracy"},
    {"aim": "mcc"},
    {"aim": "cost", "costs": {"false_positive": 1.0, "false_negative": 5.0}},
    {"aim": "cost", "costs": {"false_positive": 20.0, "false_negative": 1.0}},
    {"aim": "precision", "precision": 0.6},
    {"aim": "recall", "recall": 0.8},
]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 30), digits=st.sampled_from([1, 2, 7]))
@pytest.mark.parametrize("aim", AIMS, ids=str)
def test_no_other_threshold_serves_the_aim_better(aim, seed, n, digits):
    p, y = rows(seed, n, digits)
    config = DecisionConfig(**aim)
    found = choose(p, y, LABELS, "Yes", config)
    best = max(worth(config, y, p[:, 1] >= t) for t in (*np.unique(p[:, 1]), 2.0))
    if found.rule is None:
        assert best == -np.inf and "none reaches" in found.text
        return
    named = codes(p, LABELS, found.rule) == 1
    assert worth(config, y, named) == pytest.approx(best)
    assert 0 <= found.rule.threshold <= 1
    assert found.evidence["recall"] == pytest.approx(sk.recall_score(y, named))


def test_the_threshold_lies_between_answers_so_that_their_last_bits_do_not_matter():
    p, y = rows(3, 300, 7)
    rule = choose(p, y, LABELS, "Yes", DecisionConfig(aim="f1")).rule
    same = codes(p, LABELS, rule)
    np.testing.assert_array_equal(codes(np.nextafter(p, np.float32(0)), LABELS, rule), same)
    np.testing.assert_array_equal(codes(np.nextafter(p, np.float32(1)), LABELS, rule), same)
    np.testing.assert_array_equal(codes(p.astype(np.float64), LABELS, rule), same)
    assert len(str(rule.threshold)) < 10


def test_a_rare_label_is_found_where_the_most_probable_one_never_is():
    rng = np.random.default_rng(4)
    y = (rng.random(2000) < 0.06).astype(int)
    p = np.clip(0.05 + 0.15 * y + rng.normal(0, 0.04, 2000), 0.001, 0.45)
    found = choose(np.stack([1 - p, p], 1), y, LABELS, "Yes", DecisionConfig(aim="f1"))
    assert found.evidence["plain"] == {"recall": 0.0, "precision": None}
    assert found.evidence["recall"] > 0.7 and 0.05 < found.rule.threshold < 0.2
    assert "'Yes' is answered from a probability of" in found.text and "best f1" in found.text
    scored = choose(np.stack([1 - p, p], 1), y, LABELS, "Yes", DecisionConfig(aim="f1"), problem("anomaly_detection").graded)
    assert "'Yes' is answered from a score of" in scored.text


def test_the_positive_label_may_be_the_first():
    p, y = rows(5, 200, 7)
    ours = choose(p, y, LABELS, "Yes", DecisionConfig(aim="f1")).rule
    turned = choose(p[:, ::-1], 1 - y, ["Yes", "Zero"], "Yes", DecisionConfig(aim="f1")).rule
    assert turned.threshold == ours.threshold and turned.label == "Yes"


@pytest.mark.parametrize(("of", "which"), [(1, "'Yes'"), (0, "'No'")])
def test_too_few_rows_of_a_label_choose_nothing_and_say_so(of, which):
    y = np.full(200, 1 - of)
    y[: FEWEST - 1] = of
    found = choose(np.tile([0.7, 0.3], (200, 1)), y, LABELS, "Yes", DecisionConfig(aim="f1"))
    assert found.rule is None
    assert f"{FEWEST - 1} validation rows are {which}" in found.text
    assert choose(np.empty((0, 2)), np.empty(0, int), LABELS, "Yes", DecisionConfig(aim="f1")).rule is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"aim": "cost"}, "needs costs"),
        ({"aim": "precision"}, "needs precision"),
        ({"aim": "recall", "precision": 0.9}, "precision is for aim: precision"),
        ({"aim": "f1", "recall": 0.9}, "recall is for aim: recall"),
        ({"aim": "cost", "costs": {"false_positive": 0.0, "false_negative": 0.0}}, "above 0"),
        ({"aim": "accuracy"}, "f1"),
        ({"aim": "precision", "precision": 1.5}, "less than or equal to 1"),
    ],
)
def test_an_aim_without_what_it_needs_is_refused(given, says):
    with pytest.raises(ValidationError, match=says):
        DecisionConfig(**given)


def test_settings_that_such_labels_do_not_have_are_refused_before_training():
    for config, objective, labels, field in (
        (EvaluateConfig(decision=DecisionConfig(aim="f1")), "classification", ["a", "b", "c"], "evaluate.decision"),
        (EvaluateConfig(decision=DecisionConfig(aim="f1")), "regression", [], "evaluate.decision"),
        (EvaluateConfig(metric="recall"), "classification", ["a", "b", "c"], "evaluate.positive"),
        (EvaluateConfig(metric="roc_auc"), "regression", [], "evaluate.metric"),
    ):
        with pytest.raises(ProjectError) as e:
            check_settings(config, objective, labels)
        assert e.value.field == field
    check_settings(EvaluateConfig(metric="recall", positive="b"), "classification", ["a", "b", "c"])
    check_settings(EvaluateConfig(metric="recall", decision=DecisionConfig(aim="f1")), "classification", ["a", "b"])


def test_an_unknown_metric_is_told_the_nearest():
    with pytest.raises(ValidationError, match="did you mean 'roc_auc'"):
        EvaluateConfig(metric="ROC-AUC")


def test_a_label_that_is_a_number_in_yaml_is_spelt_as_the_data_s_and_a_bare_aim_is_told_its_place():
    assert [EvaluateConfig(positive=v).positive for v in (1, 1.0, True, "Yes", None)] == ["1", "1", "true", "Yes", None]
    with pytest.raises(ValidationError, match=r"write decision: \{aim: f1\}"):
        EvaluateConfig(decision="f1")
