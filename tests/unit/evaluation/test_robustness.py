"""Robustness: rows that come differently than they were collected, and how much worse the answers may get."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sluice.core.check import Decision
from sluice.data.names import check_names
from sluice.engines import predictor, rows
from sluice.fields.changes import disturbances as d
from sluice.gates import robustness
from sluice.gates.config import EvaluateConfig
from sluice.problems.problem import problem
from sluice.problems.units import Units

LABELS = ["no", "yes"]
N = 800


class Fragile:
    """Says yes where the first number is above 0, unsure of rows that miss it; a real model's answers, with no graph behind them."""

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    def predict(self, raw: list[dict[str, Any]]) -> np.ndarray:
        x = np.array([0.0 if r["x"] is None else float(r["x"]) for r in raw])
        z = np.array([0.0 if r["z"] is None else float(r["z"]) for r in raw])
        p = 1 / (1 + np.exp(-8 * (self.weight * x + (1 - self.weight) * z)))
        return np.stack([1 - p, p], axis=1)


def found(
    monkeypatch: pytest.MonkeyPatch, model: Any = None, units: bool = False, kind: str = "classification", **settings: Any
) -> tuple[Any, Decision]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=N)
    raw = [{"x": float(v), "z": float(v), "c": "a"} for v in x]
    model, config = model or Fragile(), EvaluateConfig(robustness=settings)
    spec = {
        "kind": "tabular",
        "columns": [{"name": "x", "type": "numeric"}, {"name": "z", "type": "numeric"}, {"name": "c", "type": "categorical"}],
    }
    monkeypatch.setattr(predictor, "Predictor", lambda package: model)
    monkeypatch.setattr(rows, "spread", lambda dataset, split, most: most)
    monkeypatch.setattr(
        rows, "rows_from_arrow", lambda pre, most: [raw[i] for i in np.unique(np.linspace(0, N - 1, min(most, N)).astype(int))]
    )
    facts = SimpleNamespace(
        dataset=SimpleNamespace(problem=problem(kind), rows=lambda split: N),
        package=SimpleNamespace(preprocess=spec, rule=None),
        project=SimpleNamespace(train=SimpleNamespace(seed=17)),
        outputs=model.predict(raw),
        targets=(x > 0).astype(np.int64) if kind == "classification" else x,
        labels=LABELS if kind == "classification" else [],
        positive=None,
        units=Units.told("user", [i // 8 for i in range(N)]) if units else None,
        evaluation={"metric": "accuracy" if kind == "classification" else "rmse"},
    )
    return robustness.measured(facts, config), robustness.Robustness().judge(facts, config)  # type: ignore[arg-type]


def test_a_model_that_falls_with_a_missing_cell_is_refused_with_the_suite_and_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    told, decision = found(monkeypatch, drop=0.05)
    by = {s["suite"]: s for s in told["suites"]}
    assert decision.decision == "refuse" and len(decision.reasons) == 1
    assert "with missing accuracy drops by 0.1" in decision.reasons[0] and "evaluate.robustness.drop accepts 0.05" in decision.reasons[0]
    assert by["missing"]["columns"] == ["x", "z", "c"] and by["missing"]["low"] > 0.05 and by["noise"]["verdict"] == "holds"
    page = robustness.Robustness().section(decision)
    assert "too much" in page and "accepted" in page and "x, z, c" in page and page.count("<tr>") == 3


def test_a_model_that_holds_passes_and_one_that_may_not_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    _, held = found(monkeypatch, drop=0.4)
    assert held.decision == "pass" and "holds on disturbed rows" in held.reasons[0] and not held.cautions
    _, unsure = found(monkeypatch, drop=0.17)
    assert unsure.decision == "pass" and "may drop by more than is accepted" in unsure.cautions[0]
    config = EvaluateConfig(on_inconclusive="refuse")
    assert robustness.decide(unsure.evidence["robustness"], config).decision == "refuse"


def test_without_a_drop_a_few_rows_are_told_and_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    told, decision = found(monkeypatch)
    assert (
        decision.decision == "pass" and not decision.reasons and told["rows"] == 200 and {s["verdict"] for s in told["suites"]} == {"told"}
    )
    assert "nothing is refused" in robustness.Robustness().section(decision)
    assert found(monkeypatch, seconds=0.0)[0] is None
    late, _ = found(monkeypatch, seconds=1e-9)
    assert late["rows"] == 20, "a slow model is asked of fewer rows"
    assert late["left"] and "seconds" in robustness.Robustness().section(Decision("pass", evidence={"robustness": late}))


def test_all_suites_together_share_the_error_level_and_some_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    both, _ = found(monkeypatch, drop=0.05)
    one, _ = found(monkeypatch, drop=0.05, suites=["missing"])
    assert both["confidence"] == pytest.approx(0.975) and one["confidence"] == pytest.approx(0.95)
    assert [s["suite"] for s in one["suites"]] == ["missing"]
    wide, narrow = (next(s for s in f["suites"] if s["suite"] == "missing") for f in (both, one))
    assert wide["drop"] == narrow["drop"] and wide["high"] - wide["low"] > narrow["high"] - narrow["low"]


def test_rows_that_belong_together_widen_the_interval_and_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told, decision = found(monkeypatch, units=True, drop=0.05)
    assert (told["unit"], told["units"]) == ("user", 100) and "of 100 units (user)" in decision.reasons[0]


def test_the_drop_of_an_error_is_a_fraction_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Line(Fragile):
        def predict(self, raw: list[dict[str, Any]]) -> np.ndarray:
            return np.array([0.0 if r["x"] is None else r["x"] for r in raw]) + np.random.default_rng(1).normal(0, 0.5, len(raw))

    told, decision = found(monkeypatch, Line(), kind="regression", drop=0.1)
    by = {s["suite"]: s for s in told["suites"]}
    assert by["missing"]["allowed"] == pytest.approx(0.1 * by["missing"]["clean"]) and by["missing"]["verdict"] == "dropped"
    assert decision.decision == "refuse"


def test_a_suite_that_the_model_cannot_be_asked_of_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from sluice.core.errors import InputError

    class Strict(Fragile):
        def predict(self, raw: list[dict[str, Any]]) -> np.ndarray:
            if any(r["x"] is None for r in raw):
                raise InputError("is missing", field="rows[0].x", fix="send it")
            return super().predict(raw)

    told, decision = found(monkeypatch, Strict(), drop=0.05)
    assert told["left"][0]["suite"] == "missing" and "not measured, missing" in decision.cautions[0]


def test_rows_are_disturbed_alike_for_a_seed_a_cell_a_row_and_stay_as_they_were() -> None:
    raw = [{"x": 1.0, "c": "a", "t": "b"} for _ in range(50)]
    columns = robustness.suites_of(
        {"x": SimpleNamespace(disturbances=lambda: d.NUMBERS), "c": SimpleNamespace(disturbances=lambda: d.CELLS)}
    )["missing"]
    once, again, other = (robustness.disturbed(raw, "missing", columns, seed, 0.1) for seed in (1, 1, 2))
    assert once == again != other
    assert all(sum(v is None for v in row.values()) == 1 and row["t"] == "b" for row in once)
    assert {name for row in once for name, v in row.items() if v is None} == {"x", "c"} and raw[0] == {"x": 1.0, "c": "a", "t": "b"}
    assert robustness.disturbed(["a b"], "case", {"": d.TEXTS["case"]}, 1, 0.1) == ["A B"]


def test_a_suite_that_no_feature_knows_is_told_before_training(tmp_path: Any) -> None:
    from sluice.core.errors import ProjectError
    from sluice.project import parse

    made = parse({"name": "a", "task": "tabular", "data": {"source": "x.csv"}, "evaluate": {"robustness": {"suites": ["typo"]}}})
    with pytest.raises(ProjectError, match="did you mean 'typos'") as told:
        check_names(made, tmp_path, columns=[], features=[], labels=[], suites=["typos", "missing"])  # type: ignore[arg-type]
    assert "evaluate.robustness.suites" in str(told.value.field)
    assert "robustness" not in EvaluateConfig().model_dump()
