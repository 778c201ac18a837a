"""What an epoch is measured by, and a metric that cannot be watched."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sluice.core.errors import ProjectError
from sluice.learners.state import State
from sluice.learners.torch.validate import measure, undefined
from sluice.problems.metrics import metric_of, names, need_positive, sign

CLASSES, VALUES = State("classification", ["a", "b"], {}), State("regression", [], {})


def test_an_epoch_has_every_metric_of_its_objective_those_of_one_label_where_there_is_one():
    p, y = np.array([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3], [0.9, 0.1]]), np.array([0, 1, 1, 0])
    found = measure(CLASSES, p, y, 1)
    assert set(found) == set(names("classification"))
    assert (found["roc_auc"], found["average_precision"], found["recall"], found["mcc"]) == (1, 1, 0, 0)
    assert math.isnan(found["precision"])
    assert "recall" not in measure(CLASSES, p, y)
    assert set(measure(VALUES, y * 1.0, y * 1.0)) == set(names("regression"))
    assert all(map(math.isnan, measure(CLASSES, p * np.nan, y, 1).values()))


def test_metrics_to_watch_have_a_direction_and_unknown_ones_a_neighbour():
    assert [sign(m, "classification") for m in ("loss", "brier", "log_loss", "roc_auc", "mcc")] == [-1, -1, -1, 1, 1]
    assert [sign(m, "regression") for m in ("loss", "rmse", "r2")] == [-1, -1, 1]
    assert metric_of("loss", "classification", "train.early_stopping.metric", ("loss",)) == "loss"
    with pytest.raises(ProjectError) as e:
        metric_of("rocauc", "classification", "tune.metric", ("loss",))
    assert (e.value.field, e.value.value) == ("tune.metric", "rocauc")
    assert "did you mean 'roc_auc'? one of loss, accuracy" in e.value.fix
    with pytest.raises(ProjectError):
        need_positive("recall", None, 3)


@pytest.mark.parametrize(
    ("metric", "targets", "why"),
    [
        ("roc_auc", [0, 0, 0], "one label"),
        ("mcc", [1, 1], "one label"),
        ("recall", [0, 0], "no row"),
        ("precision", [0, 0], ""),
        ("loss", [0, 0], ""),
        ("roc_auc", [0, 1], ""),
        ("accuracy", [0, 0], ""),
        ("f1", [0, 0], ""),
    ],
)
def test_what_no_answer_could_give_a_value_is_not_watched(metric, targets, why):
    found = undefined(metric, "classification", np.array(targets), 2, 1)
    assert why in found if why else found == ""
