"""A problem is found by name, and says what an answer is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import ProjectError
from sluice.problems.classification import Classification
from sluice.problems.decision import Rule
from sluice.problems.problem import PROBLEMS, problem


def test_the_built_in_ones_are_found_and_each_is_one_object():
    assert PROBLEMS.names()[:2] == ["classification", "regression"]
    assert isinstance(problem("classification"), Classification)
    assert problem("regression") is problem("regression")


def test_a_class_of_the_users_is_called_by_where_it_is_and_served_as_what_it_derives_from(tmp_path: Path):
    (tmp_path / "visits_problem.py").write_text(
        "from sluice.problems.classification import Classification\n\nclass Visits(Classification):\n    splits = ('group',)\n"
    )
    found = problem("visits_problem:Visits", beside=tmp_path)
    assert (found.name, found.served, found.splits) == ("visits_problem:Visits", "classification", ("group",))
    assert problem(found.name) is found


@pytest.mark.parametrize(
    ("name", "message"), [("clasification", "did you mean 'classification'"), ("math:pi", "derive from Classification or Regression")]
)
def test_what_is_no_problem_is_said_with_the_field_and_a_fix(name: str, message: str):
    with pytest.raises(ProjectError) as e:
        problem(name, field="objective")
    assert e.value.field == "objective" and e.value.value == name and message in str(e.value.fix)


def test_a_problem_that_lacks_a_part_is_told_which(tmp_path: Path):
    (tmp_path / "half_problem.py").write_text("from sluice.problems.problem import Problem\n\nclass Half(Problem):\n    pass\n")
    with pytest.raises(ProjectError, match="does not define check_labels, columns, "):
        problem("half_problem:Half", beside=tmp_path)


def test_labels_of_a_classification_are_those_of_the_rows():
    p, column = problem("classification"), pa.chunked_array([["b", "a", None], ["b"]])
    assert p.labels(column) == ["a", "b"]
    assert p.targets(column, ["b"]).tolist() == [0, -1, -1, 0]
    assert p.width(["a", "b"]) == (2,)
    with pytest.raises(ValueError, match="needed there"):
        p.check_labels([])
    with pytest.raises(ValueError, match="twice"):
        p.check_labels(["a", "a"])


def test_a_regression_has_values_and_no_labels():
    p, column = problem("regression"), pa.chunked_array([[1.0, 2.5]])
    assert p.labels(column) == [] and p.width([]) == ()
    assert p.targets(column, []).tolist() == [1.0, 2.5]
    with pytest.raises(ValueError, match="quantity"):
        p.check_labels(["a"])


def test_answers_are_told_as_a_person_reads_them():
    outputs = np.array([[0.9, 0.1], [0.6, 0.4]], dtype=np.float32)
    plain = problem("classification").columns(outputs, ["no", "yes"], None)
    ruled = problem("classification").columns(outputs, ["no", "yes"], Rule("yes", 0.3))
    assert plain["prediction"].to_pylist() == ["no", "no"]
    assert ruled["prediction"].to_pylist() == ["no", "yes"]
    assert ruled["probability"].to_pylist() == pytest.approx([0.9, 0.4])
    assert problem("regression").columns(np.array([1.5]), [], None)["value"].to_pylist() == [1.5]


def test_metrics_are_the_problems_own_and_the_first_is_the_default():
    assert next(iter(problem("classification").metrics())) == "accuracy"
    assert list(problem("regression").metrics()) == ["rmse", "mae", "r2"]


def test_a_server_may_ask_for_a_problem_without_the_heavy_libraries():
    code = (
        "import sys; from sluice.problems.problem import problem; problem('classification'); problem('regression'); "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'pandas', 'sklearn', 'pyarrow', 'mlflow'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
