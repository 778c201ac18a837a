"""Sets of labels: read from lists and from texts, judged as scikit-learn does, told by name."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from sluice import project as projects
from sluice.core.errors import DataError, ProjectError
from sluice.data.config import Columns
from sluice.gates.config import EvaluateConfig
from sluice.problems.evaluator import evaluate
from sluice.problems.problem import problem
from sluice.tasks import columns, load_task

ASKED = problem("multilabel")
LABELS = ["a", "b", "c"]


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_values_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, truth = rng.random((40, 3)), (rng.random((40, 3)) < 0.4).astype(float)
    found = {k: v["value"] for k, v in evaluate(outputs, truth, LABELS, EvaluateConfig(), asked=ASKED)["metrics"].items()}
    said = outputs >= 0.5
    assert found["micro_f1"] == pytest.approx(sk.f1_score(truth, said, average="micro"))
    assert found["row_f1"] == pytest.approx(sk.f1_score(truth, said, average="samples", zero_division=1))
    assert found["exact_match"] == pytest.approx(sk.accuracy_score(truth, said))
    assert found["mean_log_loss"] == pytest.approx(np.mean([sk.log_loss(truth[:, k], outputs[:, k], labels=[0, 1]) for k in range(3)]))


def test_the_constant_answer_is_the_best_set_for_all_rows() -> None:
    truth = (np.random.default_rng(0).random((500, 3)) < [0.6, 0.4, 0.02]).astype(float)
    said, answer = ASKED.constant(truth, LABELS, "micro_f1", None)
    every = [sk.f1_score(truth, np.tile(np.array(s), (500, 1)), average="micro") for s in np.ndindex(2, 2, 2) if any(s)]
    assert sk.f1_score(truth, np.tile(answer, (500, 1)), average="micro") == pytest.approx(max(every)) and "'a', 'b'" in said
    assert ASKED.constant(truth, LABELS, "mean_log_loss", None)[1] == pytest.approx(truth.mean(axis=0))


def test_columns_of_lists_and_of_separated_texts_are_the_same_sets() -> None:
    lists = pa.chunked_array([[["b", "a", "b"], [], None, ["c"]]])
    texts = pa.chunked_array([["b| a |b", "||", None, "c"]])
    assert (
        columns.names(lists, "label", None).to_pylist() == columns.names(texts, "label", "|").to_pylist() == [["b", "a"], [], None, ["c"]]
    )
    assert ASKED.labels(columns.names(lists, "label", None)) == LABELS
    assert ASKED.targets(columns.names(texts, "label", "|"), LABELS).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    with pytest.raises(DataError, match="label_separator"):
        columns.names(pa.chunked_array([["a"]]), "label", None)


def test_which_problem_a_column_of_labels_is() -> None:
    one, several = pa.table({"label": ["a|b"]}), pa.table({"label": [["a", "b"]]})
    assert columns.of_labels(one, Columns()) == "classification"
    assert columns.of_labels(one, Columns(label_separator="|")) == columns.of_labels(several, Columns()) == "multilabel"


def test_answers_are_told_by_name_the_likeliest_first() -> None:
    outputs = np.array([[0.6, 0.1, 0.9], [0.1, 0.2, 0.3]])
    assert ASKED.told(outputs, LABELS)["labels"].tolist() == ["c|a", ""] and ASKED.observed(outputs).tolist() == [2, 0]
    assert ASKED.columns(outputs, LABELS, None)["labels"].to_pylist() == ["c|a", ""]
    assert ASKED.agreement(outputs, outputs[::-1], LABELS, None, outputs) == 0 and ASKED.change(outputs, outputs, outputs).tolist() == [
        0,
        0,
    ]


def test_a_label_that_was_not_declared_is_told_and_a_table_has_no_such_answers() -> None:
    assert ASKED.unknown(pa.chunked_array([[["a", "z"]]]), LABELS) == "z"
    with pytest.raises(ProjectError, match=r"model\.objective.*is no problem of a table's rows"):
        project = projects.parse({"name": "x", "task": "tabular", "data": {"source": "x.csv"}, "model": {"objective": "multilabel"}})
        load_task(project).objective(pa.table({"a": [1.0], "label": ["a"]}))
