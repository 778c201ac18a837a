"""The worst answers with their inputs: which rows, which columns, nothing of what is sensitive."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.check import Decision
from sluice.gates import mistakes, standouts
from sluice.gates.mistakes import Mistakes, worst
from sluice.problems.config import MetricConfig
from sluice.problems.problem import problem

ROWS = 40


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model that answers ``x + 10 y`` to rows whose truth is ``x``: y alone makes it wrong."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=ROWS), np.where(np.arange(ROWS) % 8 == 0, np.arange(ROWS) / 10, 0.0)
    table = pa.table({"row_id": [f"r{i}" for i in range(ROWS)], "label": x, "x": x, "y": y})

    def run(t: Any) -> dict[str, np.ndarray]:
        return {"value": (t["x"] + 10 * t["y"])[:, 0]}

    def encode(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        return {n: np.array([[r[n]] for r in rows]) for n in ("x", "y")}

    processor = types.SimpleNamespace(value=None, owners=lambda: {"x": ("x",), "y": ("y",)}, encode_batch=encode)
    monkeypatch.setattr("sluice.engines.predictor.Predictor", lambda package: types.SimpleNamespace(processor=processor, run=run))
    monkeypatch.setattr("sluice.engines.rows.rows_from_arrow", lambda spec, t: t.select(["x", "y"]).to_pylist())
    monkeypatch.setattr(standouts, "usual_of", lambda f, p: ({"x": 0.0, "y": 0.0}, {n: np.zeros((1, 1)) for n in ("x", "y")}))
    dataset = types.SimpleNamespace(problem=problem("regression"), rows=lambda split: ROWS, read=lambda split: table, sensitive=frozenset())
    package = types.SimpleNamespace(preprocess={}, outputs=[types.SimpleNamespace(name="value")])
    return types.SimpleNamespace(dataset=dataset, package=package, outputs=x + 10 * y, targets=x, labels=[])


def test_the_farthest_answers_are_shown_with_the_column_that_made_them_wrong(facts: Any) -> None:
    found = worst(facts)
    assert found is not None
    assert [r["row_id"] for r in found["rows"]] == ["r32", "r24", "r16", "r8"], "rows that are right are no errors"
    first = found["rows"][0]["columns"][0]
    assert first["column"] == "y" and first["value"] == pytest.approx(3.2) and first["part"] == pytest.approx(32)
    assert found["rows"][0]["told"] == "off by +32"


def test_a_sensitive_column_is_named_and_not_shown(facts: Any) -> None:
    facts.dataset.sensitive = frozenset({"y"})
    shown = Mistakes().section(Decision("pass", evidence={"mistakes": worst(facts)}))
    assert "(sensitive)" in shown and "3.2" not in shown


def test_of_labels_those_are_worst_whose_truth_was_thought_least_likely() -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.01, 0.99], [0.2, 0.8]])
    loss, wrong = mistakes._losses(p, np.array([0, 0, 0, -1]), True)
    assert loss is not None
    assert wrong.tolist() == [False, True, True, False], "a label the model does not know is no error of this kind"
    assert loss[2] > loss[1] > 0 > loss[0]
    assert mistakes._losses(np.array([[1.0], [0.0]]), np.array([1]), False)[0] is None


def test_an_answer_is_what_a_client_is_given_where_the_package_has_a_threshold(facts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = types.SimpleNamespace(value=None, owners=dict)
    given = types.SimpleNamespace(processor=processor, codes=lambda p: (p[:, 1] >= 0.2).astype(int))
    monkeypatch.setattr("sluice.engines.predictor.Predictor", lambda package: given)
    facts.dataset.problem, facts.labels = problem("classification"), ["no", "yes"]
    facts.outputs = np.tile([[0.9, 0.1]], (ROWS, 1))
    facts.outputs[5] = [0.7, 0.3]
    facts.targets = np.zeros(ROWS, np.int64)
    found = worst(facts)
    assert found is not None and found["wrong"] == 1
    assert [(r["row_id"], r["answer"], r["told"]) for r in found["rows"]] == [("r5", "yes", "probability 0.300, of the truth 0.700")]


def test_a_model_without_errors_has_no_such_part(facts: Any) -> None:
    facts.outputs = facts.targets
    assert Mistakes().judge(facts, MetricConfig()) == Decision("pass")
    assert Mistakes().section(Decision("pass")) == ""


def test_a_card_shows_hostile_values_as_text() -> None:
    evil = "<script>x</script>"
    row = {
        "row_id": evil,
        "label": evil,
        "answer": evil,
        "told": evil,
        "columns": [{"column": evil, "value": evil, "usual": None, "part": None}],
    }
    found = {"rows": [row, {**row, "columns": [], "shown": {"text": evil}}], "wrong": 2, "of": 9, "unit": "in it"}
    assert "<script>" not in Mistakes().section(Decision("pass", evidence={"mistakes": found}))
