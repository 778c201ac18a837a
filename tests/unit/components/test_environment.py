from __future__ import annotations

from typing import Any

import pytest

from components.environment import check
from sluice.core.errors import ProjectError
from sluice.project import parse

WHOLE = {
    "KFP_POD_NAME": "p",
    "MLFLOW_TRACKING_URI": "http://mlflow.sluice:5000",
    "SLUICE_STORE": "s3://models/sluice",
    "SLUICE_NAMESPACE": "sluice",
}


def project(**more: Any) -> Any:
    return parse(
        {"name": "digits", "task": "image", "data": {"source": "sklearn://digits"}, "model": {"channels": 1, "size": [8, 8]}, **more}
    )


def test_a_run_on_this_machine_needs_nothing() -> None:
    check(project(), {})


def test_a_pod_that_is_told_everything_may_begin() -> None:
    check(project(), WHOLE)


def test_the_project_may_name_its_own_registry() -> None:
    check(project(tracking={"uri": "https://mlflow.example.org"}), {k: v for k, v in WHOLE.items() if k != "MLFLOW_TRACKING_URI"})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"MLFLOW_TRACKING_URI": ""}, "MLFLOW_TRACKING_URI"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///x.db"}, "MLFLOW_TRACKING_URI"),
        ({"SLUICE_STORE": "/store"}, "SLUICE_STORE"),
        ({"SLUICE_NAMESPACE": ""}, "SLUICE_NAMESPACE"),
    ],
)
def test_a_pod_that_lacks_what_later_steps_need_is_refused(change: dict[str, str], field: str) -> None:
    with pytest.raises(ProjectError) as e:
        check(project(), {**WHOLE, **change})
    assert field in str(e.value.field)
    assert e.value.fix


def test_a_name_too_long_for_the_cluster_is_refused_before_training() -> None:
    with pytest.raises(ProjectError) as e:
        check(project(name="d" * 45), WHOLE)
    assert e.value.field == "name"
