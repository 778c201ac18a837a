"""Logged decisions as the task reads them, and those that cannot be weighed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sluice.core.errors import DataError, ProjectError, SluiceError
from sluice.data.prepare import prepare, validate_project_data
from sluice.learners.base import Job
from sluice.problems.bandit import logs_of
from sluice.project import parse
from sluice.tasks import load_task
from sluice.tasks.bandit import BanditTask


def table(**columns: Any) -> pa.Table:
    """Sixty decisions between two actions."""
    base = {
        "age": [20.0 + i for i in range(60)],
        "town": ["a", "b", "c"] * 20,
        "action": ["call", "mail"] * 30,
        "reward": [float(i % 3) for i in range(60)],
        "propensity": [0.5, 0.25] * 30,
    }
    return pa.table({**base, **columns})


def task(model: dict[str, Any] | None = None, **more: Any) -> BanditTask:
    found = load_task(parse({"name": "shop", "task": "bandit", "data": {"source": "x.csv"}, "model": model or {}, **more}))
    assert isinstance(found, BanditTask)
    return found


def test_what_was_logged_is_the_label_and_no_feature():
    rows = table()
    made, asked = task(), task().problem(rows)
    assert made.kinds(rows) == {"age": "numeric", "town": "categorical"}
    found = made.canonical(rows)
    assert found.column_names == ["age", "town", "label"]
    labels = asked.labels(found.column("label"))
    logs = logs_of(found.column("label"), labels)
    assert labels == ["call", "mail"] and logs.actions.tolist() == [0, 1] * 30
    assert logs.rewards.tolist()[:3] == [0.0, 1.0, 2.0] and logs.propensities.tolist()[:2] == [0.5, 0.25]


def test_a_row_without_an_action_has_no_label_and_one_number_is_every_rows_propensity():
    rows = table(action=["call", None, "mail"] + ["call"] * 57, propensity=[None] * 60)
    found = task({"propensity": 0.5}).canonical(rows.drop_columns(["propensity"])).column("label")
    assert found.null_count == 1 and found[1].as_py() is None and found[2].as_py() == ["mail", "2.0", "0.5"]


@pytest.mark.parametrize(
    ("columns", "field", "value", "words"),
    [
        ({"propensity": [0.5] * 41 + [1.5] * 19}, "model.propensity", 1.5, "19 of 60 rows, the first of them row 42"),
        ({"propensity": [0.0] + [0.5] * 59}, "model.propensity", 0.0, "row 1"),
        ({"propensity": [0.5] * 59 + [None]}, "model.propensity", None, "missing or not finite in 1 of 60"),
        ({"reward": [float("nan")] + [1.0] * 59}, "model.reward", None, "missing or not finite in 1 of 60"),
        ({"reward": ["much"] + ["1"] * 59}, "model.reward", "much", "not a number"),
    ],
    ids=["above 1", "zero", "missing", "NaN reward", "text"],
)
def test_what_cannot_be_weighed_is_refused_with_its_numbers(columns: dict[str, Any], field: str, value: Any, words: str):
    with pytest.raises(DataError, match=words) as e:
        task().canonical(table(**columns))
    assert field in str(e.value.field) and e.value.value == value and e.value.fix


@pytest.mark.parametrize("missing", ["action", "reward", "propensity"])
def test_a_column_that_is_not_there_is_named_with_the_nearest(missing: str):
    rows = table().rename_columns([f"{n}s" if n == missing else n for n in table().column_names])
    with pytest.raises(DataError, match=missing) as e:
        task().canonical(rows)
    assert e.value.field == f"model.{missing}" and f"{missing}s" in str(e.value.fix)


def test_a_logged_column_named_as_a_feature_is_refused():
    with pytest.raises(DataError, match="is logged, and a feature"):
        task(data={"source": "x.csv", "columns": {"features": ["age", "reward"]}}).kinds(table())


@pytest.mark.parametrize(
    "model", [{"estimator": "logistic_regression"}, {"estimator": "svc"}, {"estimator": "xgbost"}, {"propensity": 0.0}], ids=str
)
def test_estimators_that_learn_no_quantity_and_settings_that_are_none_are_refused(model: dict[str, Any]):
    with pytest.raises(SluiceError) as e:
        made = task(model)
        made.learner()
        if model.get("estimator") == "svc":  # learns quantities too
            raise ProjectError("svc is one")
    assert e.value.message


@pytest.mark.parametrize("estimator", ["linear", "xgboost", "auto"])
def test_a_policy_learns_whom_to_call_and_its_graph_answers_alike(tmp_path: Path, estimator: str):
    import numpy as np
    import onnxruntime as ort
    import pyarrow.csv as pacsv

    from sluice.engines.rows import tensors_from_arrow
    from sluice.formats.export import export_graph

    rng = np.random.default_rng(2)
    age, actions = rng.uniform(20, 80, 900), rng.integers(0, 2, 900)
    town = rng.choice(["a", "b"], 900)
    rewards = np.where(actions == 1, (age > 50) * 1.0, 0.5) + 0.1 * rng.standard_normal(900)
    rows = {"age": age, "town": town, "action": np.where(actions == 1, "call", "mail"), "reward": rewards, "propensity": np.full(900, 0.5)}
    pacsv.write_csv(pa.table(rows), tmp_path / "logs.csv")
    found = parse({"name": "shop", "task": "bandit", "data": {"source": "logs.csv"}, "model": {"estimator": estimator}})
    made = load_task(found, tmp_path)
    assert validate_project_data(found, tmp_path, made).decision == "pass"
    dataset = prepare(found, tmp_path, made, tmp_path / "data")
    made.learner().fit(Job(dataset, tmp_path / "model"))
    trained = made.learner().load(tmp_path / "model")
    test = dataset.read("test")
    inputs = tensors_from_arrow(trained.processor, test)
    own = trained.run(inputs)
    session = ort.InferenceSession(export_graph(trained, 20), providers=["CPUExecutionProvider"])
    assert np.abs(np.asarray(session.run(None, inputs)[0]) - own).max() < 1e-4
    best = np.where(np.array(test.column("age").to_pylist()) > 50, "call", "mail")
    assert (np.array(trained.state.labels)[own.argmax(axis=1)] == best).mean() > 0.9


def test_an_action_that_was_hardly_ever_taken_is_refused_with_its_rows(tmp_path: Path):
    import pyarrow.csv as pacsv

    pacsv.write_csv(table(action=["call"] * 56 + ["mail"] * 4), tmp_path / "logs.csv")
    found = parse({"name": "shop", "task": "bandit", "data": {"source": "logs.csv"}})
    made = load_task(found, tmp_path)
    dataset = prepare(found, tmp_path, made, tmp_path / "data")
    with pytest.raises(DataError, match="too few training rows of an action") as e:
        made.learner().fit(Job(dataset, tmp_path / "model"))
    assert "mail" in e.value.value
