"""A scikit-learn model as JSON and tensors: the same answers, the same bytes, and nothing that runs code."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from sluice.learners.estimators.scikit_state import dump, load, read, write
from sluice.learners.estimators.thresholds import down

X = np.random.default_rng(3).normal(size=(120, 4)).astype(np.float32)
CLASSES = (X[:, 0] + X[:, 1] ** 2 > 1).astype(np.int64) + (X[:, 2] > 1)
VALUES = (3 * X[:, 0] + X[:, 1]).astype(np.float64)

MAKE: dict[str, Callable[[], Any]] = {
    "logistic": lambda: LogisticRegression(),
    "forest": lambda: RandomForestClassifier(5, random_state=1),
    "forest of values": lambda: RandomForestRegressor(5, random_state=1),
    "extra trees": lambda: ExtraTreesClassifier(5, random_state=1),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=4, random_state=1),
    "boosting of values": lambda: GradientBoostingRegressor(n_estimators=4, subsample=0.5, random_state=1),
    "machine": lambda: CalibratedClassifierCV(SVC(), ensemble=False, cv=3),
    "bayes": lambda: GaussianNB(),
    "perceptron": lambda: MLPClassifier((4,), max_iter=5, random_state=1),
}


def answers(model: Any) -> np.ndarray:
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@pytest.mark.parametrize("name", MAKE)
def test_what_is_read_answers_as_what_was_fitted(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MAKE[name]().fit(X, VALUES if "values" in name else CLASSES)
    write(*dump(model), tmp_path)
    again = load(*read(tmp_path))
    # A threshold that is rounded down sends every row of 32 bits to the same side.
    np.testing.assert_array_equal(answers(again), answers(model))
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write(*dump(again), tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == first
    assert not any(b"pickle" in data or data[:1] == b"\x80" for data in first.values())


def test_thresholds_are_numbers_of_32_bits_and_never_above() -> None:
    given = np.array([0.1, -0.1, 1.0, 16777217.0, -16777217.0, 1e-46])
    found = down(given)
    np.testing.assert_array_equal(found, found.astype(np.float32))
    assert (found <= given).all()
    assert (np.nextafter(found.astype(np.float32), np.float32(np.inf)) > given).all()
    model = load(*dump(MAKE["forest"]().fit(X, CLASSES)))
    for tree in model.estimators_:
        np.testing.assert_array_equal(tree.tree_.threshold, tree.tree_.threshold.astype(np.float32))


@pytest.mark.parametrize(
    "name", ["os:system", "subprocess:Popen", "builtins:eval", "sluice.core.files:write_text", "sklearnx.a:B", "sklearn.utils:check_array"]
)
def test_only_classes_of_scikit_learn_are_made(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not of scikit-learn|is no class"):
        load({"object": name, "state": {}}, {})


def test_what_is_not_of_scikit_learn_is_not_written() -> None:
    model = LogisticRegression().fit(X, CLASSES)
    model.extra = Path("/")
    with pytest.raises(TypeError, match="PosixPath"):
        dump(model)


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    write(*dump(LogisticRegression().fit(X, CLASSES)), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        read(tmp_path)
