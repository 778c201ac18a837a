"""Real trainings over folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sluice.core.errors import ProjectError
from sluice.learners.crossvalidation import cross_validate
from sluice.problems.config import CostsConfig, DecisionConfig
from sluice.tasks import load_task

HERE = Path(__file__).parent


def validated(project, dataset, work, **told):
    return cross_validate(project, dataset, work, load_task(project, HERE).learner().fit, **told)


def test_each_fold_is_judged_on_its_own_rows_and_nothing_is_left(points, project, tmp_path):
    seen, folds = [], []
    found = validated(project(folds=3, epochs=12), points, tmp_path, on_event=seen.append, on_fold=folds.append)
    assert [f["rows"] for f in found["folds"]] == [f.rows for f in folds] and sum(f.rows for f in folds) == 400
    assert max(f.rows for f in folds) - min(f.rows for f in folds) <= 1
    accuracy = [f.metrics["accuracy"] for f in folds]
    assert min(accuracy) > 0.7 and found["metric"] == "accuracy"
    summary = found["summary"]["accuracy"]
    assert summary["mean"] == pytest.approx(np.mean(accuracy)) and summary["low"] <= summary["mean"] <= summary["high"]
    assert {e["fold"] for e in seen} == {1, 2, 3}
    assert list(tmp_path.iterdir()) == []


def test_folds_answer_by_the_threshold_the_project_asks_for(points, project, tmp_path):
    asked = project(folds=2, epochs=1)
    costs = DecisionConfig(aim="cost", costs=CostsConfig(false_positive=1000, false_negative=1))
    decided = asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"decision": costs})})
    found = validated(decided, points, tmp_path)["folds"]
    assert max(f["metrics"]["recall"] for f in found) < 0.5  # the most probable label reaches 0.85 and more
    assert [f["epochs"] for f in found] == [1, 1]


def test_a_column_that_is_not_there_is_named(points, project, tmp_path):
    with pytest.raises(ProjectError, match=r"train.fold_groups: is no feature of the dataset \(got 'patient'\)"):
        validated(project(folds=3, fold_groups="patient"), points, tmp_path)
