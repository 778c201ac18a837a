"""The detector: whichever of forest and distance ranks labelled anomalies better; its graph and what is written answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sluice.core.errors import DataError
from sluice.learners.estimators.base import Rows
from sluice.learners.estimators.detector import Detector, DetectorModel, Distance
from sluice.learners.estimators.isolation_forest import Isolation
from sluice.problems.anomaly import ANOMALY, LABELS, NORMAL

WEIRD, USUAL = LABELS.index(ANOMALY), LABELS.index(NORMAL)


def rows(shape: str, seed: int, usual: int = 600, weird: int = 30, features: int = 3) -> Rows:
    """Columns that go together, and anomalies where they do not; or two heaps, and anomalies between them."""
    rng = np.random.default_rng(seed)
    if shape == "joint":
        x = rng.normal(size=(usual, 1)) + rng.normal(scale=0.1, size=(usual, features))
        odd = rng.normal(size=(weird, features))
    else:
        x = rng.choice([-5.0, 5.0], size=(usual, 1)) + rng.normal(scale=0.3, size=(usual, features))
        odd = rng.normal(scale=0.5, size=(weird, features))
    return Rows(np.concatenate([x, odd]).astype(np.float32), np.array([USUAL] * usual + [WEIRD] * weird))


def detector(**settings: Any) -> Detector:
    return Detector(DetectorModel(estimator="detector", n_estimators=60, **settings), 2, 17)


@pytest.mark.parametrize(("shape", "kind"), [("joint", Distance), ("heaps", Isolation)])
def test_labels_tell_which_of_the_two_it_is(shape: str, kind: type) -> None:
    fitted = detector().fit(rows(shape, 1), rows(shape, 2), lambda *_: None)
    assert isinstance(fitted.model, kind) and "by average precision on 660 rows that were not learnt from" in fitted.text
    held = rows(shape, 3)
    scores = detector().predict(fitted.model, held.matrix)[:, WEIRD]
    assert np.median(scores[held.targets == WEIRD]) > np.quantile(scores[held.targets == USUAL], 0.95)


@pytest.mark.parametrize("weird", [0, 4])
def test_few_labelled_anomalies_tell_nothing(weird: int) -> None:
    fitted = detector().fit(rows("joint", 1, weird=weird), rows("joint", 2, weird=weird), lambda *_: None)
    assert isinstance(fitted.model, Isolation) and "too few labelled anomalies" in fitted.text


@pytest.mark.parametrize("features", [3, 420])
@pytest.mark.parametrize("method", ["forest", "distance"])
def test_the_graph_and_the_written_model_answer_alike(method: str, features: int, tmp_path: Path) -> None:
    train, made = rows("joint", 1, features=features), detector(method=method)
    model = made.fit(train, None, lambda *_: None).model
    answers = made.predict(model, train.matrix)
    session = onnxruntime.InferenceSession(made.graph(model, features, 20).SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.abs(session.run(None, {"x": train.matrix})[0] - answers).max() < 1e-4
    made.write(model, tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert np.array_equal(made.predict(made.read(tmp_path), train.matrix), answers)


def test_as_many_rows_pass_the_threshold_as_it_is_told_to() -> None:
    train, made = rows("joint", 1, weird=0), detector(method="distance", contamination=0.02)
    answers = made.predict(made.fit(train, None, lambda *_: None).model, train.matrix)[:, WEIRD]
    assert (answers >= 0.5).mean() == pytest.approx(0.02, abs=0.005)


def test_rows_that_are_all_alike_are_refused() -> None:
    same = Rows(np.ones((60, 3), np.float32), np.full(60, USUAL))
    with pytest.raises(DataError, match="cannot be told apart"):
        detector(method="distance").fit(same, None, lambda *_: None)
