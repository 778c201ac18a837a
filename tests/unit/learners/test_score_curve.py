"""A raw score as a number between 0 and 1: strictly rising, half at the threshold, the same in memory and in the graph."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from sluice.learners.tables.nodes import Nodes
from sluice.learners.tables.score_curve import ScoreCurve


def graph_of(c: ScoreCurve, scores: np.ndarray) -> np.ndarray:
    g = Nodes()
    out = c.nodes(g, "s")
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", w]) for n, w in (("s", 1), (out, 2))]
    session = onnxruntime.InferenceSession(g.model(ends[:1], ends[1:], 20).SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"s": scores.astype(np.float32)[:, None]})[0]
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=20, max_size=200).filter(lambda v: len(set(v)) > 1),
    st.sampled_from([0.01, 0.05, 0.2, 0.5]),
)
def test_no_more_than_the_contamination_is_past_the_threshold(values: list[int], contamination: float) -> None:
    scores = np.array(values) / 4
    c = ScoreCurve.fitted(scores, contamination)
    found = c.of(scores)[:, 0]
    assert (found >= 0.5).mean() <= contamination
    assert np.array_equal(found >= 0.5, scores > c.threshold)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.5]))
def test_it_rises_strictly_and_stays_inside_0_and_1(seed: int, contamination: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.gamma(0.5, size=rng.integers(20, 500)) * 10.0 ** rng.integers(-3, 4)
    c = ScoreCurve.fitted(scores, contamination)
    spread = np.ptp(scores)
    at = np.linspace(scores.min() - spread, scores.max() + 20 * spread, 500)
    found = c.of(at)[:, 0]
    assert (np.diff(found) > 0).all()
    assert 0 < found[0] < found[-1] < 1
    assert np.allclose(c.of(at).sum(axis=1), 1)


def test_continuous_scores_have_the_contamination_past_the_threshold() -> None:
    scores = np.random.default_rng(0).normal(size=1000)
    for share in (0.01, 0.05, 0.1, 0.5):
        assert (ScoreCurve.fitted(scores, share).of(scores)[:, 0] >= 0.5).mean() == pytest.approx(share, abs=0.002)


def test_the_graph_answers_as_memory_does() -> None:
    scores = np.random.default_rng(1).gamma(1.0, size=400)
    c = ScoreCurve.fitted(scores, 0.05)
    at = np.concatenate([scores, np.linspace(-3, 60, 300)])
    assert np.abs(graph_of(c, at) - c.of(at)).max() < 1e-5
    assert ScoreCurve.load(c.dump()).of(at) == pytest.approx(c.of(at), abs=0)


def test_many_equal_scores_are_on_one_side() -> None:
    scores = np.repeat([0.0, 1.0, 2.0], [90, 6, 4])
    assert (ScoreCurve.fitted(scores, 0.05).of(scores)[:, 0] >= 0.5).sum() == 4
    assert (ScoreCurve.fitted(scores, 0.03).of(scores)[:, 0] >= 0.5).sum() == 0
    with pytest.raises(ValueError, match="same score"):
        ScoreCurve.fitted(np.ones(30), 0.05)
