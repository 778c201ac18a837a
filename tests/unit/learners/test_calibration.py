"""Curves behind probabilities: what they come to, that they keep the order, and that the graph's are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from sluice.learners.calibration import FEWEST, METHODS, Curves, fit
from sluice.learners.tables.nodes import Nodes


def told(seed: int, rows: int, labels: int = 2, sharper: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True probabilities, those of a model that is too sure of them, and labels drawn by the true ones."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1, (rows, labels))
    true, sure = (np.exp(k * z) / np.exp(k * z).sum(axis=1, keepdims=True) for k in (1.0, sharper))
    return true, sure, (rng.random(rows)[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(0, labels - 1)


def curves(method: str, p: np.ndarray, y: np.ndarray) -> Curves:
    found = fit(method, p, y, [str(k) for k in range(p.shape[1])]).curves
    assert found is not None
    return found


def in_a_graph(found: Curves, p: np.ndarray) -> np.ndarray:
    g = Nodes("calibrated_")
    found.nodes(g, "before", "after")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", p.shape[1]]) for n in ("before", "after")]
    session = ort.InferenceSession(g.model(ends[:1], ends[1:], 20).SerializeToString(), providers=["CPUExecutionProvider"])
    out: np.ndarray = session.run(None, {"before": p.astype(np.float32)})[0]
    return out


def loss(p: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)).mean())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("labels", [2, 3, 7])
def test_a_model_that_is_too_sure_gets_near_the_truth_on_other_rows(method: str, labels: int) -> None:
    _, sure, y = told(1, 3000, labels)
    true, other, truth = told(2, 3000, labels)
    after = curves(method, sure, y).of(other)
    assert loss(after, truth) < loss(true, truth) + 0.03 < loss(other, truth)
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-6)
    assert after.min() > 0 and after.max() < 1


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_right_loses_little(method: str) -> None:
    true, _, y = told(3, 1000)
    other, _, truth = told(4, 4000)
    assert loss(curves(method, true, y).of(other), truth) < loss(other, truth) + 0.02


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("labels", [2, 4])
def test_the_graph_answers_as_memory_does_at_the_ends_too(method: str, labels: int) -> None:
    _, sure, y = told(5, 400, labels)
    found = curves(method, sure, y)
    ends = np.eye(labels)
    p = np.concatenate([told(6, 300, labels)[1], ends, 1e-7 + ends * (1 - labels * 1e-7)])
    np.testing.assert_allclose(in_a_graph(found, p), found.of(p), atol=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_of_two_labels_more_stays_more_and_both_are_one_curve(method: str) -> None:
    _, sure, y = told(7, 500)
    line = np.linspace(0, 1, 2001)
    after = curves(method, sure, y).of(np.stack([1 - line, line], axis=1))
    assert np.diff(after[:, 1]).min() > -1e-6
    assert after[-1, 1] - after[0, 1] > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_the_last_bits_of_a_probability_move_no_answer(method: str) -> None:
    """Rows of all but one probability: steps of isotonic regression as it is written would be cliffs."""
    rng = np.random.default_rng(8)
    p = np.concatenate([0.5 + 1e-5 * rng.normal(size=300), rng.random(100)]).clip(0, 1)
    y = (rng.random(400) < 0.5 + 3e4 * (p - 0.5)).astype(int)
    found = curves(method, np.stack([1 - p, p], axis=1), y)
    line = np.concatenate([np.linspace(0.499, 0.501, 500), np.linspace(0.001, 0.999, 500)])
    one, two = (found.of(np.stack([1 - q, q], axis=1)) for q in (line, line + 1e-6))
    assert np.abs(one - two).max() < 3e-4


def test_a_label_with_few_rows_keeps_its_probability_and_without_rows_nothing_is_fitted() -> None:
    _, sure, y = told(9, 600, 3)
    y = np.where(y == 2, 0, y)
    y[: FEWEST - 1] = 2
    found = fit("isotonic", sure, y, ["a", "b", "c"])
    assert found.kept == ("c",) and found.curves is not None
    raw = found.curves.scores(sure.astype(np.float32))
    np.testing.assert_allclose(raw[:, 2], sure[:, 2], atol=1e-6)
    one = fit("platt", sure[:, :2], np.zeros(600, dtype=int), ["a", "b"])
    assert one.curves is None and str(FEWEST) in one.why
    unknown = fit("platt", sure[:15, :2], np.full(15, -1), ["a", "b"])
    assert unknown.rows == 0 and unknown.curves is None


def test_probabilities_that_say_the_opposite_become_the_share_of_the_rows() -> None:
    _, sure, y = told(10, 2000)
    turned: Any = curves("platt", sure[:, ::-1], y)
    assert turned.slope.max() == 0
    np.testing.assert_allclose(turned.of(sure)[:, 1], (y == 1).mean(), atol=2e-3)
    assert np.ptp(curves("isotonic", sure[:, ::-1], y).of(sure)[:, 1]) < 0.05
