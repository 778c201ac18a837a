"""The importance of columns: the drop that is true, as often inside the interval as it says; for units; within its time."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest

from sluice.core.check import Decision
from sluice.gates import importance
from sluice.gates.importance import Importance, ImportanceConfig
from sluice.problems.problem import problem
from sluice.report.bars import bars


def subject(rng: np.random.Generator, rows: int, each: int = 1, cost: float = 0.0) -> Any:
    """Answers ``2 a + b`` to ``2 a + b + noise``; c tells nothing. `each` copies of a row are one unit. Answers count how often they are asked."""
    a, b, noise, c = (np.repeat(rng.normal(size=rows), each)[:, None].astype(np.float32) for _ in range(4))
    asked, truth = problem("regression"), (2 * a + b + noise)[:, 0].astype(np.float64)
    metric = asked.metrics()["rmse"]
    outputs = [types.SimpleNamespace(name="value")]

    def run(x: Any) -> dict[str, np.ndarray]:
        return {"value": (2 * x["a"] + x["b1"] / 2 + x["b2"] / 2)[:, 0]}

    predictor = types.SimpleNamespace(run=run, package=types.SimpleNamespace(outputs=outputs))
    groups = rng.permutation(np.arange(rows) % 20).repeat(each)
    return importance._Subject(
        predictor,  # type: ignore[arg-type]
        {"a": ["a"], "b": ["b1", "b2"], "c": ["c"]},
        {"a": a, "b1": b, "b2": b, "c": c},
        lambda out: asked.answers(out, truth, []),
        metric,
        groups,
    )


def drops(told: Any, repeats: int = 3, **more: Any) -> dict[str, dict[str, Any]]:
    whole, found = told.values(), {}
    for name, values in importance._permuted(told, ImportanceConfig(repeats=repeats, **more), 1):
        found.setdefault(name, []).append(whole - values)
    return {name: importance._interval(np.mean(d, axis=0), 0.9) for name, d in found.items()}


@pytest.mark.parametrize("each", [1, 5])
def test_the_interval_holds_the_true_drop_as_often_as_it_says(each: int) -> None:
    """Permuting a adds 2 * 4 to the mean square, b 2: the roots are 3 and the root of 3, less 1."""
    rng, true, held = np.random.default_rng(5), {"a": 2.0, "b": 3**0.5 - 1, "c": 0.0}, dict.fromkeys("abc", 0)
    for _ in range(60):
        for name, d in drops(subject(rng, 200, each)).items():
            held[name] += d["low"] - 1e-9 <= true[name] <= d["high"] + 1e-9
    assert min(held.values()) >= 60 * 0.82, held  # 0.9 less two standard errors


def test_the_inputs_of_one_column_move_together_and_what_is_not_read_is_worth_nothing() -> None:
    found = drops(subject(np.random.default_rng(6), 2000))
    assert found["a"]["value"] > found["b"]["value"] > found["c"]["value"] == 0
    assert found["b"]["value"] == pytest.approx(3**0.5 - 1, abs=0.15)  # each half alone would give 0.22


def test_the_time_is_kept_and_a_column_it_did_not_get_to_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 100, 0.4).tolist())
    monkeypatch.setattr(importance.time, "process_time", lambda: next(clock))
    assert list(drops(subject(np.random.default_rng(7), 50), seconds=1.0)) == ["a", "b"]


def test_the_section_shows_every_column_once_and_says_what_is_missing() -> None:
    columns = [{"column": f"<c{i}>", "value": 1 / (i + 1), "low": -0.1, "high": 2.0} for i in range(25)]
    found = {"metric": "rmse", "value": 1.0, "rows": 500, "repeats": 5, "confidence": 0.95, "columns": columns, "left": ["late"]}
    shap = {"rows": 300, "unit": "log-odds", "columns": {"<c0>": 0.5}}
    page = Importance().section(Decision("pass", evidence={"importance": {**found, "shap": shap}}))
    assert page.count("&lt;c0&gt;</text>") == 2 and "<c0>" not in page
    assert "6 more, 1 of them for want of time" in page and "SHAP" in page
    assert "SHAP" not in Importance().section(Decision("pass", evidence={"importance": {**found, "shap": None}}))
    assert Importance().section(Decision("pass")) == ""


def test_bars_without_amounts_are_no_picture() -> None:
    assert bars([], "nothing") == ""
    assert "<svg" in bars([("a", -1.0, None, None)], "worse") and "var(--muted)" in bars([("a", 0.1, -0.1, 0.3)], "x")
