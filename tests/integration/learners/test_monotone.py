"""`model.monotone`: what is served never falls where it may only rise; what cannot be bound so is refused before training."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.core.errors import ProjectError
from sluice.data.prepare import prepare, validate_project_data
from sluice.engines.predictor import Predictor
from sluice.formats.export import export_package
from sluice.learners.base import Job
from sluice.package import package as packages
from sluice.project import Project, parse
from sluice.tasks import load_task

CITIES = ["Rome", "Oslo", "Lima"]
#: Enough noise, and leaves small enough, that trees which are free go up and down.
SHORT = {
    "xgboost": {"n_estimators": 40, "early_stopping_rounds": None, "min_child_weight": 0.0, "learning_rate": 0.3},
    "lightgbm": {"n_estimators": 40, "early_stopping_rounds": None, "min_child_samples": 1, "learning_rate": 0.3},
}


def project(base: Path, model: dict[str, Any], answer: str = "value") -> Project:
    """A project over 200 rows of noise around ``age - debt``."""
    rng = random.Random(5)
    lines = ["age,debt,city,since,label"]
    for _ in range(200):
        age, debt, city = rng.randint(18, 80), rng.gauss(0, 1), rng.choice(CITIES)
        score = age / 20 - debt + rng.gauss(0, 2)
        label = {"value": f"{score:.3f}", "two": "a" if score > 3.4 else "z", "three": str(min(2, max(0, int(score // 2))))}[answer]
        lines.append(f"{'' if rng.random() < 0.1 else age},{debt:.3f},{city},2024-0{rng.randint(1, 9)}-11,{label}")
    (base / "rows.csv").write_text("\n".join(lines) + "\n")
    return parse({"name": "t", "task": "tabular", "data": {"source": "rows.csv"}, "model": model}, base_dir=base)


def served(base: Path, settings: Project) -> Predictor:
    task = load_task(settings, base)
    dataset = prepare(settings, base, task, base / "dataset")
    task.learner().fit(Job(dataset, base / "model"))
    assert export_package(settings, base / "model", dataset, base / "package", base_dir=base).decision == "pass"
    return Predictor(packages.read(base / "package"))


def answers(found: Predictor, of: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Served answers over a line of ages and over a line of debts, [rows of chance, points] each."""
    rng = random.Random(9)
    lines: list[list[list[dict[str, Any]]]] = [[], []]
    for _ in range(20):
        row = {"age": rng.randint(18, 80), "debt": rng.gauss(0, 1), "city": rng.choice([*CITIES, "Bonn"]), "since": "2024-05-05"}
        lines[0].append([{**row, "age": a} for a in np.arange(15, 90, 1.5).tolist()])
        lines[1].append([{**row, "debt": d} for d in np.linspace(-4, 4, 50).tolist()])
    out = [found.predict([r for line in part for r in line]) for part in lines]
    ages, debts = ((o if of is None else o[:, of]).reshape(20, 50) for o in out)
    return ages, debts


@pytest.mark.parametrize("estimator", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("answer", ["value", "two"])
def test_what_is_served_only_rises_and_only_falls(estimator: str, answer: str, tmp_path: Path) -> None:
    """`a`, the first of two labels and the positive one, as a value does."""
    model = {"estimator": estimator, **SHORT[estimator]}
    bound = project(tmp_path, {**model, "monotone": {"age": "increasing", "debt": "decreasing"}}, answer)
    bound = parse({**bound.model_dump(mode="json", exclude_defaults=True), "evaluate": {"positive": "a"} if answer == "two" else {}})
    ages, debts = answers(served(tmp_path, bound), 0 if answer == "two" else None)
    assert np.diff(ages, axis=1).min() > -1e-5 and np.diff(debts, axis=1).max() < 1e-5
    assert np.ptp(ages) > 0.05 and np.ptp(debts) > 0.05


def test_without_it_the_same_trees_go_up_and_down(tmp_path: Path) -> None:
    free = project(tmp_path, {"estimator": "xgboost", **SHORT["xgboost"]})
    ages, debts = answers(served(tmp_path, free), None)
    assert np.diff(ages, axis=1).min() < -0.1 and np.diff(debts, axis=1).max() > 0.1


@pytest.mark.parametrize(
    ("monotone", "answer", "said"),
    [
        ({"agee": "increasing"}, "value", ("model.monotone", "agee", "did you mean 'age'")),
        ({"city": "increasing"}, "value", ("model.monotone", "city", "no order")),
        ({"since": "increasing"}, "value", ("model.monotone", "since", "no quantity")),
        ({"label": "increasing"}, "value", ("model.monotone", "label", "is no feature")),
        ({"age": "increasing"}, "three", ("model.monotone", "there are 3 labels", "remove it")),
    ],
)
def test_what_cannot_be_bound_is_refused_before_training(
    monotone: dict[str, str], answer: str, said: tuple[str, ...], tmp_path: Path
) -> None:
    settings = project(tmp_path, {"estimator": "xgboost", "objective": "auto", "monotone": monotone}, answer)
    if answer == "three":
        settings = parse(
            {
                **settings.model_dump(mode="json", exclude_defaults=True),
                "model": {**settings.model.model_dump(), "objective": "classification"},
            }
        )
    with pytest.raises(ProjectError) as e:
        validate_project_data(settings, tmp_path, load_task(settings, tmp_path))
    assert all(part in str(e.value) for part in said), str(e.value)


@pytest.mark.parametrize("model", [{"estimator": "random_forest"}, {"estimator": "svc"}, {"hidden": [8]}])
def test_other_models_say_which_can_be_bound(model: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as e:
        project(tmp_path, {**model, "monotone": {"age": "increasing"}})
    assert e.value.field == "project: model.monotone" and "xgboost" in (e.value.fix or "")


def test_a_model_without_it_has_the_digest_it_had(tmp_path: Path) -> None:
    plain = project(tmp_path, {"estimator": "lightgbm"})
    assert "monotone" not in plain.model_dump()["model"]
    assert project(tmp_path, {"estimator": "lightgbm", "monotone": {"age": "increasing"}}).digest != plain.digest
