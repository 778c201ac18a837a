"""What stands beside a detector's answers: the distance from the mean, how notable a row is, where scores lie."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from sluice.problems.anomaly import ANOMALY, LABELS, NORMAL, AnomalyDetection
from sluice.problems.problem import problem

ASKED = problem(AnomalyDetection.name)
WEIRD, USUAL = LABELS.index(ANOMALY), LABELS.index(NORMAL)


def correlated(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 1)) + 0.1 * rng.normal(size=(rows, 2))
    return np.concatenate([x, rng.normal(size=(rows, 1))], axis=1)


def test_the_distance_knows_that_columns_go_together_and_learns_from_normal_rows_alone() -> None:
    train = np.concatenate([correlated(400, 1), np.full((100, 3), 9.0)])
    y = np.array([USUAL] * 400 + [WEIRD] * 100)
    apart, together = np.array([[1.5, -1.5, 0.0]]), np.array([[1.5, 1.5, 0.0]])
    found = ASKED.simple(train, y, [lambda: correlated(300, 2), lambda: np.concatenate([apart, together])], LABELS)
    assert found is not None
    usual, (split, joint) = found
    assert np.allclose(usual.sum(axis=1), 1)
    assert (usual[:, WEIRD] >= 0.5).mean() == pytest.approx(0.05, abs=0.04)
    assert split[WEIRD] > 0.9 > 0.5 > joint[WEIRD]
    again = ASKED.simple(train[:400], y[:400], [lambda: correlated(300, 2)], LABELS)
    assert again is not None and np.array_equal(again[0], usual)


def test_sparse_and_wide_rows_have_a_distance_too() -> None:
    wide = np.random.default_rng(3).normal(size=(60, 500))
    y = np.full(60, USUAL)
    dense, thin = (ASKED.simple(x, y, [lambda x=x: x], LABELS) for x in (wide, sparse.csr_matrix(wide)))
    assert dense is not None and thin is not None
    assert np.array_equal(dense[0], thin[0])
    far = ASKED.simple(wide, y, [lambda: 5 * wide], LABELS)
    assert far is not None and far[0][:, WEIRD].min() > dense[0][:, WEIRD].max()


def test_what_is_notable_rises_with_the_score_and_stays_finite() -> None:
    scores = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    outputs = np.zeros((5, 2))
    outputs[:, WEIRD], outputs[:, USUAL] = scores, 1 - scores
    found = ASKED.notable(outputs)
    assert found is not None
    assert np.isfinite(found).all() and (np.diff(found) > 0).all() and found[2] == pytest.approx(0)


def test_the_report_says_what_the_threshold_finds() -> None:
    outputs = np.full((20, 2), 0.0)
    outputs[:, WEIRD] = np.linspace(0.02, 0.98, 20)
    outputs[:, USUAL] = 1 - outputs[:, WEIRD]
    targets = np.array([USUAL] * 15 + [WEIRD] * 5)
    a = ASKED.answers(outputs, targets, LABELS)
    found = ASKED.details(a, LABELS, None, SimpleNamespace(positive=None, confidence=0.95, resamples=100))
    assert "calibration" not in found and found["positive_because"] == "what is looked for"
    assert sum(found["scores"][NORMAL]) == 15 and sum(found["scores"][ANOMALY]) == 5
    page = ASKED.section(found)
    assert "5 of 5 anomalies are found, and 5 of 15 normal rows" in page and "<svg" in page
