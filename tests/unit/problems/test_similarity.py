"""Vectors of texts: judged by pairs, with scores or without, and proved by their angle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import roc_auc_score

from sluice.problems.of_pairs import ranks
from sluice.problems.problem import problem
from sluice.problems.similarity import Similarity, Vectors, one_score, shifted

P = Similarity()


def value(name: str, cosines: np.ndarray, scores: np.ndarray, units: Any = None) -> float:
    return P.metrics()[name].value(P.answers(cosines[:, None], scores, [], units=units))


def test_the_metrics_are_those_of_scipy_and_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 6, 300).astype(float)
    cosines = np.round(np.tanh(0.2 * scores + rng.normal(0, 0.5, 300)), 2)
    assert value("spearman", cosines, scores) == pytest.approx(spearmanr(cosines, scores).statistic)
    assert value("pearson", cosines, scores) == pytest.approx(pearsonr(cosines, scores).statistic)
    assert np.isnan(value("pair_auc", cosines, scores))
    assert value("pair_auc", cosines, (scores > 2).astype(float)) == pytest.approx(roc_auc_score(scores > 2, cosines), abs=2e-3)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_ranks_are_from_0_to_1_and_equal_where_values_are(values: list[int]) -> None:
    found = ranks(np.array(values, float))
    assert ((found >= 0) & (found <= 1)).all() and found.sum() == pytest.approx(len(values) / 2 if len(values) > 1 else 0)
    assert all((a < b) == (x < y) for a, x in zip(values, found, strict=True) for b, y in zip(values, found, strict=True))


def test_an_interval_holds_the_value_and_nothing_correlates_with_what_does_not_vary() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(size=200)
    a = P.answers((scores + rng.normal(size=200))[:, None] / 10, scores, [])
    low, high = P.metrics()["spearman"].interval(a, 0.95, 100) or (1, 0)
    assert low < P.metrics()["spearman"].value(a) < high < low + 0.3
    assert value("spearman", np.zeros(9), np.arange(9.0)) == 0 == value("pearson", np.arange(9.0) / 10, np.ones(9))


class Pairs:
    """Rows as a dataset gives them."""

    problem, grouped_by = P, None

    def __init__(self, pairs: list[list[str]], scores: list[float]):
        self.table = pa.table({"pair": pairs, "label": pa.array(scores, pa.float64())})

    def read(self, split: str, columns: list[str]) -> pa.Table:
        return self.table.select(columns)

    def rows(self, split: str) -> int:
        return len(self.table)


def by_first_letter(texts: list[str]) -> np.ndarray:
    return np.array([[3.0, 0] if t[0] == "a" else [0, 2.0] for t in texts])


def test_an_interval_of_a_correlation_is_not_told_to_hang_on_a_share_of_a_sum_that_is_nothing() -> None:
    rng = np.random.default_rng(1)
    for scores in rng.normal(size=(8, 132)):  # the sum of what lies about its mean is nothing, or next to it on either side
        a = P.answers((scores + rng.normal(size=132))[:, None] / 10, scores, [])
        assert [P.metrics()[name].too_narrow(a) for name in ("spearman", "pearson")] == [None, None]


def test_pairs_are_judged_by_the_cosine_of_what_the_graph_gives_of_each_text() -> None:
    rows: Any = Pairs([["a x", "a y"], ["a x", "b y"], ["b x", "b y"]], [1.0, 0.0, 1.0])
    outputs, targets = P.judged(by_first_letter, None, rows, "test", [])  # type: ignore[arg-type]
    assert outputs[:, 0].tolist() == [1, 0, 1] and targets.tolist() == [1, 0, 1] and P.units(rows, "test") is None
    name, shared = P.trivial(rows, [], "spearman", None)
    assert "words in common" in name and shared[:, 0].tolist() == pytest.approx([1 / 3, 0, 1 / 3])


def test_pairs_that_all_mean_the_same_are_judged_beside_pairs_put_together() -> None:
    rows: Any = Pairs([["a one", "a two"], ["b one", "b two"], ["b three", "b four"]], [1.0] * 3)
    outputs, targets = P.judged(by_first_letter, None, rows, "test", [])  # type: ignore[arg-type]
    assert targets.tolist() == [1, 1, 1, 0, 0, 0] and outputs[:, 0].tolist() == [1, 1, 1, 0, 1, 0]
    units = P.units(rows, "test")
    assert units is not None and units.codes.tolist() == [0, 1, 2, 0, 1, 2]
    assert len(P.trivial(rows, [], "spearman", None)[1]) == 6


@given(st.integers(2, 200))
def test_no_pair_is_put_together_with_itself(rows: int) -> None:
    found = shifted(rows)
    assert sorted(found) == list(range(rows)) and (found != np.arange(rows)).all()


def test_a_format_is_proved_by_the_angle() -> None:
    by_row = P.by_row
    assert isinstance(by_row, Vectors) and problem("vectors").name == "vectors"
    base = np.array([[1.0, 0], [0, 1.0]])
    moved = np.array([[1.0, 0], [0.6, 0.8]])
    assert by_row.change(moved, base, base).tolist() == pytest.approx([0, 0.2])
    assert by_row.agreement(moved, base, ["0", "1"], None, base) == 0.5
    assert by_row.proof(np.zeros(2), base) is base
    a = by_row.answers(moved, base, ["0", "1"])
    assert by_row.metrics()["cosine_distance"].value(a) == pytest.approx(0.1)


def test_vectors_of_any_length_are_compared_and_drawn() -> None:
    P.check_labels(["0", "1", "2"])
    P.check_labels([])
    with pytest.raises(ValueError, match="numbers of a vector"):
        P.check_labels(["a"])
    scores = np.array([1.0, 0, 1, 0])
    ours = P.answers(np.array([[0.9], [0.1], [0.8], [0.2]]), scores, ["0"])
    a, b, rows = P.pair(ours, ["0"], np.array([[0.2], [0.1], [0.1], [0.3]]), ["0", "1"], None)
    assert rows.all() and P.metrics()["spearman"].value(a) > 0 > P.metrics()["spearman"].value(b)
    details = P.details(ours, ["0"], None, None)
    assert sum(details["cosines"]["high"]) == sum(details["cosines"]["low"]) == 2 and "What tells pairs apart" in P.section(details)
    assert P.columns(np.eye(2), [], None)["vector"].to_pylist() == [[1, 0], [0, 1]]
    assert one_score(np.array([2.0, 2.0])) and not one_score(np.array([1.0, 0]))
