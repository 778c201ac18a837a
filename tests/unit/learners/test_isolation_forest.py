"""An isolation forest: the graph and the written model answer as scikit-learn's does; what it learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sluice.core.errors import DataError, ProjectError
from sluice.learners.estimators.base import Rows
from sluice.learners.estimators.isolation_forest import IsolationForest, IsolationForestModel
from sluice.learners.estimators.matrix import Category, TableMatrix
from sluice.problems.anomaly import ANOMALY, LABELS, NORMAL

WEIRD, USUAL = LABELS.index(ANOMALY), LABELS.index(NORMAL)


def rows(n: int = 200, weird: int = 20) -> Rows:
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(n, 4)), rng.normal(6, 1, size=(weird, 4))]).astype(np.float32)
    return Rows(x, np.array([USUAL] * n + [WEIRD] * weird))


def estimator(**settings: Any) -> IsolationForest:
    return IsolationForest(IsolationForestModel(estimator="isolation_forest", **({"n_estimators": 40} | settings)), 2, 17)


@pytest.mark.parametrize("settings", [{}, {"max_features": 0.5}, {"max_samples": 64, "bootstrap": True}])
def test_the_graph_and_the_written_model_answer_alike(settings: dict[str, Any], tmp_path: Path) -> None:
    from sklearn.ensemble import IsolationForest as Theirs

    train, made = rows(), estimator(**settings)
    model = made.fit(train, None, lambda *_: None).model
    answers = made.predict(model, train.matrix)
    usual = train.matrix[train.targets == USUAL]
    theirs = Theirs(n_estimators=40, random_state=17, **settings).fit(usual)
    order = np.argsort(theirs.score_samples(train.matrix), kind="stable")
    assert (np.diff(answers[order, WEIRD]) <= 1e-6).all()
    session = onnxruntime.InferenceSession(made.graph(model, 4, 20).SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"x": train.matrix})[0] - answers).max() < 1e-4
    made.write(model, tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert np.array_equal(made.predict(made.read(tmp_path), train.matrix), answers)


def test_it_learns_from_normal_rows_and_finds_the_others() -> None:
    train, made = rows(), estimator(contamination=0.1)
    answers = made.predict(made.fit(train, None, lambda *_: None).model, train.matrix)[:, WEIRD]
    assert answers[train.targets == WEIRD].min() > 0.5
    assert (answers[train.targets == USUAL] >= 0.5).mean() == pytest.approx(0.1, abs=0.01)
    without = Rows(train.matrix[:200], train.targets[:200])
    again = made.predict(made.fit(without, None, lambda *_: None).model, train.matrix)[:, WEIRD]
    assert np.array_equal(again, answers)
    everything = estimator(rows="all", contamination=0.1)
    blurred = everything.predict(everything.fit(train, None, lambda *_: None).model, train.matrix)[:, WEIRD]
    assert not np.array_equal(blurred, answers)


def test_a_category_is_its_rank_by_frequency_and_a_flag() -> None:
    narrow, wide = Category(["a", "b", "c"], True, narrow=True), Category(["a", "b", "c"], True)
    assert narrow.table.tolist() == [[1, 0], [0, 4], [0, 1], [0, 2], [0, 3]]  # missing, unknown, a, b, c
    assert wide.table.shape == (5, 4)
    for category in (narrow, wide):
        matrix = TableMatrix([], [], [], None, None, {"k": category})
        assert ("narrow" in matrix.dump()["categories"]["k"]) is category.narrow
        assert np.array_equal(TableMatrix.load(matrix.dump()).categories["k"].table, category.table)


def test_what_cannot_be_learnt_from_is_refused() -> None:
    few = rows(10, 30)
    with pytest.raises(DataError, match="too few") as e:
        estimator().fit(few, None, lambda *_: None)
    assert "at least 20 normal rows" in str(e.value)
    flat = Rows(np.ones((40, 3), dtype=np.float32), np.full(40, USUAL))
    with pytest.raises(DataError, match="same score"):
        estimator().fit(flat, None, lambda *_: None)
    with pytest.raises(ProjectError, match="class_weights"):
        estimator().fit(Rows(few.matrix, few.targets, np.ones(40)), None, lambda *_: None)
