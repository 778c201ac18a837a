"""Importance in the evaluation of a real package: every original column once, by the served graph and by the trees' own values."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.core.errors import ProjectError
from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.engines.scoring import answers
from sluice.formats.export import export_package
from sluice.gates.facts import Judged
from sluice.gates.importance import Importance
from sluice.learners.base import Job
from sluice.package import package as packages
from sluice.problems.evaluator import evaluate
from sluice.project import parse
from sluice.tasks import load_task

COLUMNS = ["x", "noise", "city", "since"]
BOOSTED = {"n_estimators": 30, "early_stopping_rounds": None}
SHORT = {"logistic_regression": {}, "auto": {"n_estimators": 30, "folds": 2, "max_depth": 3}}


def judged(base: Path, label: str, model: dict[str, Any], **config: Any) -> tuple[Judged, Any]:
    """x and city tell the label, the month a little; noise nothing."""
    rng = random.Random(2)
    lines = [",".join([*COLUMNS, "label"])]
    for i in range(500):
        x, city, month = rng.gauss(0, 1), rng.choice(["Rome", "Oslo", "Lima"]), rng.randint(1, 9)
        score = 2 * x + 1.5 * (city == "Oslo") + 0.15 * month + rng.gauss(0, 0.5)
        told = f"{score:.3f}" if label == "value" else ("low", "mid", "high")[min(2, max(0, int(score + 1)))]
        lines.append(f"{'' if i % 9 == 0 else f'{x:.3f}'},{rng.random():.3f},{city},2024-0{month}-1{rng.randint(0, 9)},{told}")
    (base / "rows.csv").write_text("\n".join(lines) + "\n")
    raw = {"name": "t", "task": "tabular", "data": {"source": "rows.csv"}, "model": model, "evaluate": {"importance": config}}
    project = parse(raw, base_dir=base)
    task = load_task(project, base)
    dataset = prepare(project, base, task, base / "dataset")
    task.learner().fit(Job(dataset, base / "model"))
    assert export_package(project, base / "model", dataset, base / "package", base_dir=base).decision == "pass"
    package = packages.read(base / "package")
    outputs = answers(Predictor(package).predict, package.preprocess, dataset, "test")
    targets = dataset.problem.targets(dataset.read("test", ["label"]).column("label"), package.labels)
    found = evaluate(outputs, targets, list(package.labels), project.evaluate, asked=dataset.problem)
    return Judged(project, dataset, package, outputs, targets, None, None, found), project.evaluate


@pytest.mark.parametrize(
    ("label", "estimator"),
    [("value", "xgboost"), ("classes", "xgboost"), ("classes", "lightgbm"), ("classes", "logistic_regression"), ("value", "auto")],
)
def test_every_column_stands_there_once_with_what_it_is_worth(label: str, estimator: str, tmp_path: Path) -> None:
    facts, config = judged(tmp_path, label, {"estimator": estimator, **SHORT.get(estimator, BOOSTED)}, repeats=3)
    decision = Importance().judge(facts, config)
    found = decision.evidence["importance"]
    assert decision.decision == "pass" and not decision.reasons
    by = {c["column"]: c for c in found["columns"]}
    assert sorted(by) == sorted(COLUMNS) and not found["left"] and found["repeats"] == 3
    assert found["columns"][0]["column"] == "x" and by["x"]["low"] > 0 and by["city"]["value"] > by["noise"]["value"]
    assert found["metric"] == ("rmse" if label == "value" else "log_loss")  # accuracy looks at the answered label alone
    assert found["value"] == pytest.approx(facts.evaluation["metrics"][found["metric"]]["value"], abs=1e-5)
    assert Importance().judge(facts, config).evidence == decision.evidence

    shap = found["shap"]
    if estimator == "logistic_regression":
        assert shap is None
    else:
        assert sorted(shap["columns"]) == sorted(COLUMNS) and max(shap["columns"], key=shap["columns"].get) == "x"
        assert shap["columns"]["city"] > shap["columns"]["noise"]
    assert "Importance of columns" in Importance().section(decision)


@pytest.mark.parametrize("estimator", ["xgboost", "lightgbm"])
def test_shap_values_add_up_to_the_trees_answer(estimator: str, tmp_path: Path) -> None:
    facts, _ = judged(tmp_path, "value", {"estimator": estimator, **BOOSTED}, repeats=0)
    task = load_task(facts.project, tmp_path)
    trained: Any = task.learner().load(tmp_path / "model")
    rows = [{"x": 1.0, "noise": 0.5, "city": "Oslo", "since": "2024-05-11"}, {"x": None, "noise": 0.1, "city": None, "since": None}]
    tensors = trained.processor.encode_batch(rows)
    parts = trained.shap(tensors)
    whole = sum(part[:, 0] for part in parts.values())
    np.testing.assert_allclose(np.diff(whole), np.diff(trained.run(tensors)), atol=1e-4)


def test_its_metric_can_be_told_and_has_to_be_one_of_such_answers(tmp_path: Path) -> None:
    facts, config = judged(tmp_path, "classes", {"estimator": "logistic_regression"}, repeats=1, metric="macro_f1")
    assert Importance().judge(facts, config).evidence["importance"]["metric"] == "macro_f1"
    for wrong, field in (("rmse", "evaluate.importance.metric"), ("recall", "evaluate.positive")):
        other = config.model_copy(update={"importance": config.importance.model_copy(update={"metric": wrong})})
        with pytest.raises(ProjectError) as e:
            other.suits(facts.dataset.problem, facts.dataset.labels)
        assert e.value.field == field


def test_without_repeats_nothing_is_measured_and_the_digest_is_the_old_one(tmp_path: Path) -> None:
    facts, config = judged(tmp_path, "value", {"estimator": "xgboost", **BOOSTED}, repeats=0)
    assert Importance().judge(facts, config).evidence == {}
    plain = {"name": "t", "task": "tabular", "data": {"source": "rows.csv"}}
    assert "importance" not in parse(plain).model_dump()["evaluate"]
    assert parse(plain).digest == parse({**plain, "evaluate": {"importance": {"repeats": 5}}}).digest
