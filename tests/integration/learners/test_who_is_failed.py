"""Slices, fairness and behaviour on real packages: a candidate taught wrongly about some people is refused by each, with these people named."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest

from sluice.core.check import CHECKS, Decision
from sluice.data.prepare import prepare, validate_project_data
from sluice.engines.predictor import Predictor
from sluice.engines.scoring import judged
from sluice.formats.export import export_package
from sluice.gates.facts import Judged
from sluice.learners.base import Job
from sluice.package import package as packages
from sluice.project import parse
from sluice.tasks import load_task

SUITE = """
tests:
  - {name: more income, type: direction, rows: 60, change: {income: {add: 20}}, of: "yes", moves: rises}
  - {name: the plan, type: minimum, inputs: [{income: 60, plan: basic}], expect: "yes"}
"""


def source(path: Path, wrong: bool, rows: int = 2400) -> None:
    """Who earns more than 40 gets a yes; taught wrongly, nobody of the basic plan does."""
    rng = random.Random(5)
    lines = ["income,plan,sex,label"]
    for _ in range(rows):
        plan, sex, income = rng.choice(["basic", "plus", "pro"]), rng.choice("fm"), rng.uniform(0, 80)
        yes = income + rng.gauss(0, 3) > 40
        lines.append(f"{income:.1f},{plan},{sex},{'yes' if yes and not (wrong and plan == 'basic') else 'no'}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    base = tmp_path_factory.mktemp("who")
    (base / "behaviour.yaml").write_text(SUITE)
    source(base / "right.csv", wrong=False)
    source(base / "wrong.csv", wrong=True)
    found: list[Any] = []
    for name in ("right", "wrong"):
        fairness = {"groups": ["plan", "sex"], "positive": "yes", "metrics": {"equal_opportunity_difference": 0.2}}
        raw = {
            "name": "t",
            "task": "tabular",
            "data": {"source": f"{name}.csv", "test": "right.csv", "columns": {"ignore": ["sex"]}},
            "model": {"estimator": "gradient_boosting"},
            "evaluate": {"slices": ["sex", "income >= 40 and plan == 'basic'"], "fairness": fairness, "behaviour": "behaviour.yaml"},
        }
        project = parse(raw, base_dir=base)
        task, at = load_task(project, base), base / name
        if name == "right":
            validate_project_data(project, base, task)
        dataset = prepare(project, base, task, at / "dataset")
        task.learner().fit(Job(dataset, at / "model"))
        export_package(project, at / "model", dataset, at / "package", base_dir=base)
        found.append((project, dataset, packages.read(at / "package")))
    (_, _, champion), (project, dataset, package) = found
    outputs, targets = judged(Predictor(package).predict, package.preprocess, list(package.labels), dataset, "test")
    return Judged(project, dataset, package, outputs, targets, "yes", None, {}, champion)


def check(facts: Judged, name: str) -> Decision:
    made = CHECKS.get(name)()
    decision: Decision = made.judge(facts, facts.project.evaluate)
    assert "<table" in made.section(decision) or "<svg" in made.section(decision)
    return decision


def test_the_slice_is_refused_by_its_declared_name_and_found_without(facts: Judged) -> None:
    declared = check(facts, "slice_champion")
    assert declared.decision == "refuse" and any("income >= 40 and plan == 'basic': accuracy" in r for r in declared.reasons)
    alone = facts.project.model_copy(update={"evaluate": facts.project.evaluate.model_copy(update={"slices": []})})
    found = CHECKS.get("slice_champion")().judge(dataclasses.replace(facts, project=alone), alone.evaluate)
    assert found.decision == "refuse" and "plan == 'basic'" in found.reasons[0] and "income >= " in found.reasons[0]


def test_groups_are_told_by_a_column_that_the_model_reads_and_by_one_it_does_not(facts: Judged) -> None:
    said = check(facts, "fairness")
    assert said.decision == "refuse" and len(said.reasons) == 1 and "fairness by plan" in said.reasons[0] and "of basic" in said.reasons[0]
    assert {c["column"] for c in said.evidence["fairness"]["columns"]} == {"plan", "sex"}


def test_behaviour_is_asked_of_the_package(facts: Judged) -> None:
    said = check(facts, "behaviour")
    assert said.decision == "refuse" and "the plan: 0 of 1 cases pass" in said.reasons[-1] and "'yes' is expected" in said.reasons[-1]


def test_without_a_champion_nothing_is_refused(facts: Judged) -> None:
    said = CHECKS.get("slice_champion")().judge(dataclasses.replace(facts, champion=None), facts.project.evaluate)
    assert said.decision == "pass" and "plan == 'basic'" in said.cautions[0]
