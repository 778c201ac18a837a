"""`model:` of an estimator: its own parameters, checked by name, type and range; `train:` has only what it goes by."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sluice.core.errors import ProjectError
from sluice.learners.estimators.config import EstimatorModel, estimators, load_estimator
from sluice.project import Project, parse


def project(model: dict[str, Any], train: dict[str, Any] | None = None, base: Path | None = None) -> Project:
    return parse({"name": "t", "task": "tabular", "data": {"source": "x.csv"}, "model": model, "train": train or {}}, base_dir=base)


@pytest.mark.parametrize("name", estimators())
def test_every_estimator_has_defaults_and_names_itself(name: str) -> None:
    model = project({"estimator": name}).model
    assert isinstance(model, EstimatorModel)
    assert model.estimator == name
    assert type(model) is load_estimator(name).Model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"estimator": "xgbost"}, "'xgboost'"),
        ({"estimator": "xgboost", "max_dept": 3}, "'max_depth'"),
        ({"estimator": "xgboost", "max_depth": 0}, "greater than or equal to 1"),
        ({"estimator": "xgboost", "max_depth": "deep"}, "valid integer"),
        ({"estimator": "lightgbm", "num_leafs": 3}, "'num_leaves'"),
        ({"estimator": "random_forest", "max_features": 1.5}, "less than or equal to 1"),
        ({"estimator": "gradient_boosting", "subsample": 0.0}, "greater than 0"),
        ({"estimator": "logistic_regression", "C": -1.0}, "greater than 0"),
        ({"estimator": "svc", "kernel": "rbff"}, "'rbf'"),
        ({"estimator": "svc", "hidden": [64]}, "unknown key"),
        ({"estimator": 3}, "is not a name"),
        ({"estimator": "isolation_forest"}, "task: anomaly"),
        ({"hidden": [64], "max_depth": 3}, "unknown key"),
    ],
)
def test_a_parameter_that_is_not_there_or_out_of_range_is_told(model: dict[str, Any], said: str) -> None:
    with pytest.raises(ProjectError) as e:
        project(model)
    assert said in str(e.value)
    assert "model" in str(e.value)


def test_train_has_what_an_estimator_goes_by_and_no_more() -> None:
    train = project({"estimator": "xgboost"}, {"seed": 3, "class_weights": {1: 2.0}, "folds": 3}).train
    assert train.seed == 3
    assert train.class_weights == {"1": 2.0}
    assert "epochs" not in train.model_dump()
    with pytest.raises(ProjectError, match="unknown key") as e:
        project({"estimator": "xgboost"}, {"epochs": 3})
    assert "train.epochs" in str(e.value)


def test_the_digest_is_that_of_the_estimator_s_own_settings() -> None:
    one, same, other = (project({"estimator": "svc", **m}).digest for m in ({}, {"C": 1.0}, {"C": 2.0}))
    assert one == same != other
    assert "epochs" not in project({"estimator": "svc"}).model_dump(mode="json")["train"]


def test_an_estimator_of_the_user_s_own_lies_beside_the_project_file(tmp_path: Path) -> None:
    (tmp_path / "mine_estimator.py").write_text(
        "from sluice.learners.estimators.config import EstimatorModel\n"
        "from sluice.learners.estimators.scikit import ScikitEstimator\n"
        "class Section(EstimatorModel):\n    neighbours: int = 5\n"
        "class Mine(ScikitEstimator):\n    Model = Section\n    def make(self): ...\n"
        "class Half(ScikitEstimator):\n    Model = Section\n"
        "class Other: ...\n"
    )
    try:
        assert project({"estimator": "mine_estimator:Mine", "neighbours": 7}, base=tmp_path).model.neighbours == 7
        for name, said in (("Half", "does not define make"), ("Other", "is not an estimator")):
            with pytest.raises(ProjectError, match=said):
                project({"estimator": f"mine_estimator:{name}"}, base=tmp_path)
    finally:
        sys.path.remove(str(tmp_path.resolve()))
        sys.modules.pop("mine_estimator", None)


def test_reading_a_project_file_imports_no_library_that_learns(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from sluice.project import parse\n"
        f"for e in {estimators()!r}: parse({{'name': 't', 'task': 'tabular', 'data': {{'source': 'x'}}, 'model': {{'estimator': e}}}})\n"
        "print([m for m in ('torch', 'sklearn', 'xgboost', 'lightgbm', 'onnx', 'pyarrow') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"
