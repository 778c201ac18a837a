"""Areas under curves and the metrics of rare labels: scikit-learn's values, and intervals that cover as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from sluice.core.errors import ProjectError
from sluice.gates.config import EvaluateConfig
from sluice.problems import ranks
from sluice.problems.comparison import compare
from sluice.problems.decision import Rule
from sluice.problems.evaluator import evaluate
from sluice.problems.metrics import TABLE, Answers, value_of

QUICK = settings(max_examples=60, deadline=None)


def binary(seed: int, rows: int, share: float = 0.3, digits: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two labels and targets; few digits make ties."""
    rng = np.random.default_rng(seed)
    y = np.append((rng.random(rows) < share).astype(np.int64), [0, 1])
    p = np.round(1 / (1 + np.exp(-rng.normal(y * 1.5 - 1, 1))), digits)
    return np.stack([1 - p, p], axis=1), y


@QUICK
@given(st.integers(0, 10**6), st.integers(0, 80), st.sampled_from([1, 2, 16]), st.sampled_from([0, 1]))
def test_metrics_of_two_labels_are_those_of_scikit_learn(seed, rows, digits, positive):
    p, y = binary(seed, rows, digits=digits)
    one, scores, named = y == positive, p[:, positive], p.argmax(axis=1) == positive
    expected = {
        "roc_auc": sk.roc_auc_score(one, scores),
        "average_precision": sk.average_precision_score(one, scores),
        "brier": sk.brier_score_loss(one, scores),
        "mcc": sk.matthews_corrcoef(y, p.argmax(axis=1)),
        "recall": sk.recall_score(one, named),
        "f1": sk.f1_score(one, named),
        "precision": sk.precision_score(one, named, zero_division=np.nan),
    }
    for name, value in expected.items():
        assert value_of(name, p, y, positive=positive) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@QUICK
@given(st.integers(0, 10**6), st.integers(0, 80), st.integers(3, 6))
def test_metrics_of_more_labels_are_those_of_scikit_learn(seed, rows, labels):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(labels), rng.integers(0, labels, rows)])
    p = np.exp(rng.normal(size=(len(y), labels)) + 2 * np.eye(labels)[y])
    p /= p.sum(axis=1, keepdims=True)
    assert value_of("roc_auc", p, y) == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr", average="macro"), abs=1e-12)
    assert value_of("average_precision", p, y) == pytest.approx(
        sk.average_precision_score(np.eye(labels)[y], p, average="macro"), abs=1e-12
    )
    assert value_of("brier", p, y) == pytest.approx(sk.brier_score_loss(y, p, labels=range(labels)), abs=1e-12)
    assert value_of("mcc", p, y) == pytest.approx(sk.matthews_corrcoef(y, p.argmax(axis=1)), abs=1e-12)


def test_a_row_whose_label_is_unknown_is_wrong_in_every_metric():
    p, y = binary(1, 60)
    worse = y.copy()
    worse[y.argmax()] = -1  # a row of the positive label
    for name in ("roc_auc", "average_precision", "mcc", "precision", "f1"):
        assert value_of(name, p, worse) < value_of(name, p, y), name
    assert value_of("brier", p, worse) > value_of("brier", p, y)


@pytest.mark.parametrize(
    ("targets", "named", "undefined"),
    [
        ([0, 0, 0], [0, 1, 0], {"roc_auc": "one label", "average_precision": "one label", "mcc": "one label", "recall": "no row"}),
        ([0, 1, 0], [0, 0, 0], {"precision": "never predicted"}),
    ],
)
def test_what_is_undefined_is_null_with_the_reason(targets, named, undefined):
    found = evaluate(np.eye(2)[named] * 0.8 + 0.1, np.array(targets), ["No", "Yes"], EvaluateConfig(positive="Yes"))["metrics"]
    assert {k for k, v in found.items() if v["value"] is None} == set(undefined)
    for name, why in undefined.items():
        assert why in found[name]["why"]
        assert found[name]["low"] is None
    if "mcc" not in undefined:  # always one answer: no correlation, and no interval that would claim to know
        assert found["mcc"] == {"value": 0.0, "low": None, "high": None}


def test_influence_is_what_leaving_a_row_out_does():
    p, y = binary(2, 250, digits=1)
    scores, truth = p[:, 1], y == 1
    for area, reference in ((ranks.roc_auc, sk.roc_auc_score), (ranks.average_precision, sk.average_precision_score)):
        value, influence = area(scores, truth)
        n = len(y)
        left_out = np.array([(n - 1) * (value - reference(np.delete(truth, i), np.delete(scores, i))) for i in range(n)])
        assert abs(influence.mean()) < 1e-9
        assert np.corrcoef(influence, left_out)[0, 1] > 0.99
        assert np.std(influence) == pytest.approx(np.std(left_out), rel=0.05)


def test_the_error_of_an_area_is_delongs():
    """The example of DeLong's formulas by hand: variances of placements over rows of each kind."""
    p, y = binary(3, 90)
    scores, truth = p[:, 1], y == 1
    inside, outside = scores[truth], scores[~truth]
    psi = (inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)
    variance = psi.mean(axis=1).var(ddof=1) / len(inside) + psi.mean(axis=0).var(ddof=1) / len(outside)
    assert ranks.deviation(ranks.roc_auc(scores, truth)[1]) == pytest.approx(np.sqrt(variance), rel=1e-12)


def draw(rng: np.random.Generator, rows: int, share: float, skill: tuple[float, float]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Targets, and two models' probabilities that go partly together."""
    y = (rng.random(rows) < share).astype(np.int64)
    common = rng.normal(size=rows)
    models = [1 / (1 + np.exp(-(0.8 * common + 0.6 * rng.normal(size=rows) + s * y - 2))) for s in skill]
    return y, [np.stack([1 - p, p], axis=1) for p in models]


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_intervals_of_areas_cover_as_often_as_they_say(metric):
    rng, skill, trials = np.random.default_rng(4), (1.5, 1.0), 600
    y, models = draw(rng, 400_000, 0.08, skill)
    m = TABLE[metric]
    truth = [m.value(Answers.of(p, y)) for p in models]
    alone = paired = 0
    for _ in range(trials):
        y, models = draw(rng, 400, 0.08, skill)
        ours, theirs = (Answers.of(p, y) for p in models)
        low, high = m.interval(ours, 0.95, 100)
        alone += low <= truth[0] <= high
        low, high = m.difference(ours, theirs, 0.95, 100)
        paired += low <= truth[0] - truth[1] <= high
    assert 0.92 <= alone / trials <= 0.985
    assert 0.92 <= paired / trials <= 0.985


def test_a_perfect_order_of_few_rows_is_not_certain():
    p, y = np.linspace(0.05, 0.95, 20), np.repeat([0, 1], 10)
    a = Answers.of(np.stack([1 - p, p], axis=1), y)
    for name in ("roc_auc", "average_precision"):
        low, high = TABLE[name].interval(a, 0.95, 100)
        assert 0.6 < low < 0.95
        assert high == 1
        low, high = TABLE[name].difference(a, a, 0.95, 100)
        assert low < -0.05 < 0.05 < high
    few = Answers.of(a.outputs[9:11], a.targets[9:11])  # one row of each: still an interval
    assert TABLE["roc_auc"].interval(few, 0.95, 100)[0] < 0.5


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "brier", "mcc", "precision", "recall", "f1"])
def test_the_verdict_on_a_rare_label_follows_its_metric(metric):
    rng = np.random.default_rng(5)
    y, (good, bad) = draw(rng, 20_000, 0.1, (3.5, 2.0))
    config = EvaluateConfig(metric=metric, positive="Yes", resamples=300)
    labels = ["No", "Yes"]
    better = compare(good, bad, y, labels, labels, config)
    worse = compare(bad, good, y, labels, labels, config)
    assert (better["verdict"], worse["verdict"]) == ("better", "worse")
    assert better["low"] <= better["difference"] <= better["high"]
    assert worse["difference"] == pytest.approx(-better["difference"])
    assert compare(good, good, y, labels, labels, config)["verdict"] == "no_worse"


def test_a_comparison_by_a_metric_that_is_undefined_says_so_and_decides_nothing():
    p, y = binary(6, 30)
    found = compare(p, p, np.zeros(len(y), dtype=int), ["No", "Yes"], ["No", "Yes"], EvaluateConfig(metric="roc_auc"))
    assert (found["verdict"], found["difference"], found["low"]) == ("inconclusive", None, None)
    assert "all rows have one label" in found["note"]


def test_the_positive_label_is_the_rarer_one_unless_told():
    p, y = binary(7, 200)
    assert evaluate(p, y, ["No", "Yes"], EvaluateConfig())["positive"] == "Yes"
    assert evaluate(p, y, ["Yes", "Zero"], EvaluateConfig(positive="Yes"))["positive"] == "Yes"
    with pytest.raises(ProjectError, match="is no label") as e:
        evaluate(p, y, ["No", "Yes"], EvaluateConfig(positive="yes"))
    assert e.value.field == "evaluate.positive"
    assert "'Yes'" in e.value.fix


def test_a_metric_of_one_label_among_many_needs_its_name():
    rng = np.random.default_rng(8)
    y, p = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    labels = ["a", "b", "c"]
    with pytest.raises(ProjectError) as e:
        evaluate(p, y, labels, EvaluateConfig(metric="recall"))
    assert e.value.field == "evaluate.positive"
    found = evaluate(p, y, labels, EvaluateConfig(metric="recall", positive="c"))
    assert found["value"] == pytest.approx(sk.recall_score(y == 2, p.argmax(axis=1) == 2))
    assert "recall" not in evaluate(p, y, labels, EvaluateConfig())["metrics"]


def test_models_that_rank_alike_are_no_worse_whatever_their_probabilities_and_thresholds():
    p, y = binary(9, 80)
    flat = np.stack([1 - p[:, 1] / 4, p[:, 1] / 4], axis=1)  # never above a half
    for metric in ("roc_auc", "average_precision"):
        found = compare(p, flat, y, ["No", "Yes"], ["No", "Yes"], EvaluateConfig(metric=metric))
        assert (found["verdict"], found["difference"]) == ("no_worse", 0)
        assert found["n_discordant"] > 0


def test_each_model_is_compared_by_its_own_decision():
    p, y = binary(10, 400, 0.15)
    labels = ["No", "Yes"]
    config = EvaluateConfig(metric="f1", positive="Yes")
    alone = compare(p, p, y, labels, labels, config)
    ruled = compare(p, p, y, labels, labels, config, rule=Rule("Yes", 0.3), champion_rule=Rule("Yes", 0.9))
    assert alone["difference"] == 0
    for who, threshold in (("candidate", 0.3), ("champion", 0.9)):
        assert ruled[who] == pytest.approx(sk.f1_score(y, p[:, 1] >= threshold))
    assert ruled["n_discordant"] == int(((p[:, 1] >= 0.3) != (p[:, 1] >= 0.9)).sum())
    # The champion may know a label more: its answers are still its own.
    three = np.column_stack([np.full(len(y), 0.1), p * 0.9])
    wider = compare(p, three, y, labels, ["Maybe", *labels], config, rule=Rule("Yes", 0.3))
    assert wider["candidate"] == ruled["candidate"] and wider["labels_removed"] == ["Maybe"]
