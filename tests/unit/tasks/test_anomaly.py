"""Which rows a project says are anomalies, what it is judged by where it says nothing, and what is refused before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import DataError, ProjectError, SluiceError
from sluice.data.prepare import validate_project_data
from sluice.data.shuffled import shuffled
from sluice.problems.anomaly import ANOMALY, LABELS, NORMAL, AnomalyDetection
from sluice.problems.problem import problem
from sluice.project import parse
from sluice.tasks import load_task
from sluice.tasks.anomaly import AnomalyTask

FOREST = {"estimator": "isolation_forest"}


def task(model: dict[str, Any] | None = None, columns: dict[str, Any] | None = None, **data: Any) -> AnomalyTask:
    raw = {"name": "t", "task": "anomaly", "data": {"source": "x.csv", "columns": columns or {}, **data}, "model": model or FOREST}
    made = load_task(parse(raw))
    assert isinstance(made, AnomalyTask)
    return made


def table(label: list[Any] | None, name: str = "label") -> pa.Table:
    n = len(label) if label else 60
    rng = np.random.default_rng(5)
    kinds = pa.array([None if i % 7 == 0 else "abc"[i % 3] for i in range(n)], pa.string())
    found = pa.table({"x": rng.normal(size=n), "y": rng.normal(size=n), "kind": kinds})
    return found if label is None else found.append_column(name, pa.array(label))


@pytest.mark.parametrize(
    ("label", "model", "anomalies"),
    [
        (["normal", "anomaly", "normal", None], {}, [1]),
        (["Inlier", "OUTLIER", "inlier", "inlier"], {}, [1]),
        ([0, 1, 0, 0], {}, [1]),
        ([0.0, 1.0, None, 0.0], {}, [1]),
        ([False, True, False, False], {}, [1]),
        ([1, -1, 1, 1], {}, [1]),
        (["smurf", "normal", "neptune", "normal"], {"normal": "normal"}, [0, 2]),
        (["smurf", "normal", "neptune", "normal"], {"anomalous": ["smurf"]}, [0]),
        ([3, 1, 2, 1], {"anomalous": [3]}, [0]),
        ([3, 1, 2, 1], {"anomalous": [3, 2], "normal": 1}, [0, 2]),
    ],
)
def test_label_values_become_two_words(label: list[Any], model: dict[str, Any], anomalies: list[int]) -> None:
    found = task(FOREST | model).canonical(table(label)).column("label").to_pylist()
    expected = [None if v is None else ANOMALY if i in anomalies else NORMAL for i, v in enumerate(label)]
    assert found == expected


@pytest.mark.parametrize(
    ("label", "model", "field", "value", "said"),
    [
        (["normal", "weird", "normal"], {}, "label label", "weird", "anomalous: [weird]"),
        (["a", "b", "c"], {"anomalous": ["a"], "normal": ["b"]}, "label label", "c", "'b' (1 rows)"),
        (["a", "b", "b"], {"anomalous": ["c"]}, "model.anomalous", "c", "its values: a, b"),
        (["normal", "normal"], {}, "label label", "normal", "data.columns.ignore"),
        ([1, 1], {}, "label label", "1", "rows that are normal"),
        (None, {"anomalous": ["a"]}, "model.anomalous", ["a"], "data.columns.label"),
        (None, {"rows": "all"}, "model.rows", "all", "remove it"),
    ],
)
def test_labels_that_do_not_tell_are_refused(label: list[Any] | None, model: dict[str, Any], field: str, value: Any, said: str) -> None:
    with pytest.raises(SluiceError) as e:
        task(FOREST | model).canonical(table(label))
    assert e.value.field == field
    assert e.value.value == value
    assert said in str(e.value.fix)


def test_a_column_that_is_named_has_to_be_there_and_one_that_is_ignored_is_not_looked_at() -> None:
    with pytest.raises(DataError, match="no such column"):
        task(columns={"label": "clas"}).canonical(table(["normal", "anomaly"], "class"))
    ignored = task(columns={"ignore": ["label"]}).canonical(table(["whatever"] * 60))
    assert ignored.column_names == ["x", "y", "kind", "label"]
    assert ignored.num_rows > 60


def test_rows_without_labels_are_judged_against_rows_with_shuffled_columns() -> None:
    source, one = table(None), task()
    found = one.canonical(source)
    assert found.slice(0, 60).drop_columns("label").equals(source)
    assert found.column("label").to_pylist()[:60] == [NORMAL] * 60
    others = found.slice(60)
    assert set(others.column("label").to_pylist()) == {ANOMALY}
    assert 25 <= others.num_rows <= 30
    for name in source.column_names:
        assert set(others.column(name).to_pylist()) <= set(source.column(name).to_pylist())
    real = {tuple(r.values()) for r in source.to_pylist()}
    assert not [r for r in others.drop_columns("label").to_pylist() if tuple(r.values()) in real]
    assert one.canonical(source).equals(found)
    assert not task(split={"seed": 3}).canonical(source).equals(found)


def test_what_shuffling_does_not_change_cannot_be_judged_without_labels() -> None:
    with pytest.raises(DataError, match="one column"):
        task().canonical(table(None).select(["x"]))
    same = pa.table({"a": [1.0] * 30, "b": ["x"] * 30})
    assert shuffled(same, 15, 1).num_rows == 0
    with pytest.raises(DataError, match="nothing to judge by"):
        task().canonical(same)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (FOREST | {"contamination": 0.6}, "less than or equal to 0.5"),
        (FOREST | {"contamination": 0}, "greater than 0"),
        ({"contamination": "auto"}, "valid number"),
        (FOREST | {"hidden": [3]}, "unknown key"),
        ({"estimator": "xgboost"}, "isolation_forest"),
        ({"estimator": "isolation_forst"}, "did you mean 'isolation_forest'"),
    ],
)
def test_settings_that_are_none_are_told(model: dict[str, Any], said: str) -> None:
    with pytest.raises(ProjectError) as e:
        task(model)
    assert said in str(e.value)
    assert "model" in str(e.value)


def test_the_network_learns_where_no_estimator_is_named() -> None:
    assert task({"contamination": 0.1}).learner().name == "torch"
    assert task().learner().name == "estimators"


def write(path: Path, rows: int, label: str | None) -> None:
    rng = np.random.default_rng(rows)
    lines = ["x,y" + (",label" if label else "")]
    lines += [f"{rng.normal()},{rng.normal()}" + (f",{label if i % 5 else 'normal'}" if label else "") for i in range(rows)]
    path.write_text("\n".join(lines) + "\n")


def test_training_rows_may_all_be_normal_where_held_out_ones_are_not(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 60, "normal")
    write(tmp_path / "b.csv", 40, "anomaly")
    write(tmp_path / "c.csv", 40, "normal")
    for test, decision in (("b.csv", "pass"), ("c.csv", "refuse")):
        raw = {"name": "t", "task": "anomaly", "data": {"source": "a.csv", "test": test}, "model": FOREST}
        project = parse(raw, base_dir=tmp_path)
        report = validate_project_data(project, tmp_path, load_task(project, tmp_path))
        assert report.decision == decision
    assert any("every row has the label 'normal'" in reason for reason in report.reasons)


def test_the_problem_knows_its_labels_and_looks_for_anomalies_however_many_there_are() -> None:
    asked = problem(AnomalyDetection.name)
    assert asked.labels(pa.chunked_array([["normal"]])) == list(LABELS)
    with pytest.raises(DataError, match="neither"):
        asked.labels(pa.chunked_array([["normal", "odd"]]))
    assert next(iter(asked.metrics())) == "average_precision"
    assert not {"brier", "log_loss"} & set(asked.metrics())
    targets = np.array([LABELS.index(ANOMALY)] * 8 + [LABELS.index(NORMAL)] * 2)
    assert asked.positive(targets, LABELS) == ANOMALY
    found = asked.answers(np.tile([0.3, 0.7], (10, 1)), targets, LABELS)
    assert found.positive == LABELS.index(ANOMALY)
