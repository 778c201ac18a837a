"""From a CSV with missing values, categories and dates to a verified package, by each estimator; the calls of the line in one process."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.core import files
from sluice.core.errors import DataError, ProjectError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.engines.rows import tensors_from_arrow
from sluice.formats.export import export_graph, export_package
from sluice.learners.base import Job, Learner, Trained
from sluice.learners.estimators.config import estimators
from sluice.package import package as packages
from sluice.project import Project, parse
from sluice.tasks import load_task

CITIES = ["Rome", "Oslo", "Lima", "Kyiv"]
#: Parameters that keep the fit short.
SHORT = {
    "auto": {"n_estimators": 30, "early_stopping_rounds": 5, "max_depth": 3, "folds": 3},
    "xgboost": {"n_estimators": 30, "early_stopping_rounds": 5},
    "lightgbm": {"n_estimators": 30, "early_stopping_rounds": 5},
    "gradient_boosting": {"n_estimators": 20},
    "random_forest": {"n_estimators": 20},
}
CLASSIFIES = estimators()
MEASURES = ["auto", "xgboost", "lightgbm", "gradient_boosting", "random_forest"]


def write_csv(path: Path, label: str, rows: int = 300) -> None:
    """Numbers with gaps, categories with gaps, dates; a label of two texts, of three, or a quantity."""
    rng = random.Random(7)
    lines = ["age,income,city,plan,since,label"]
    for _ in range(rows):
        age, income, city, plan = rng.randint(18, 80), rng.gauss(3, 1), rng.choice(CITIES), rng.choice(["a", "b", ""])
        score = (age > 50) + (income > 3) + (city == "Oslo") + 0.5 * (plan == "a") + rng.random()
        told = {"two": "yes" if score > 1.8 else "no", "three": ["low", "mid", "high"][min(2, int(score))], "value": f"{score:.4f}"}[label]
        seen = ("" if rng.random() < 0.1 else age, "" if rng.random() < 0.1 else round(income, 3))
        lines.append(f"{seen[0]},{seen[1]},{city},{plan},2024-0{rng.randint(1, 9)}-1{rng.randint(0, 9)},{told}")
    path.write_text("\n".join(lines) + "\n")


def made(base: Path, estimator: str, label: str = "two", **more: Any) -> tuple[Project, Learner, Dataset]:
    """A project over such a file, its learner and its dataset."""
    if not (base / "rows.csv").exists():
        write_csv(base / "rows.csv", label)
    raw = {"name": "t", "task": "tabular", "data": {"source": "rows.csv"}, "model": {"estimator": estimator, **SHORT.get(estimator, {})}}
    project = parse({**raw, **more}, base_dir=base)
    task = load_task(project, base)
    return project, task.learner(), prepare(project, base, task, base / "dataset")


def answers(trained: Trained, dataset: Dataset) -> np.ndarray:
    return trained.run(tensors_from_arrow(trained.processor, dataset.read("test")))


@pytest.mark.parametrize(
    ("estimator", "label"), [*((e, k) for e in CLASSIFIES for k in ("two", "three")), *((e, "value") for e in MEASURES)]
)
def test_from_a_file_to_a_verified_package(estimator: str, label: str, tmp_path: Path) -> None:
    project, learner, dataset = made(tmp_path, estimator, label)
    events: list[dict[str, Any]] = []
    trained = learner.fit(Job(dataset, tmp_path / "model", on_event=events.append))
    assert events[-1]["kind"] == "epoch"
    assert trained.history and trained.metrics["loss"] == trained.best["validation_loss"]

    exported = export_package(project, tmp_path / "model", dataset, tmp_path / "package", base_dir=tmp_path)
    assert exported.decision == "pass", exported.reasons
    package = packages.read(tmp_path / "package")
    found = exported.evidence["formats"][0]
    assert found["max_abs_diff"] < 1e-5
    assert found["agreement"] > 0.97  # half the trees for each label is decided by the last bit

    rows: list[dict[str, Any]] = [
        {"age": 55, "income": 3.5, "city": "Oslo", "plan": "a", "since": "2024-05-11"},
        {"age": None, "income": None, "city": "Nowhere", "plan": None, "since": None},
    ]
    served = Predictor(package).predict(rows)
    np.testing.assert_allclose(served, trained.run(trained.processor.encode_batch(rows)), atol=1e-5)
    assert served.shape == ((2, len(dataset.labels)) if dataset.labels else (2,))


@pytest.mark.parametrize("estimator", CLASSIFIES)
def test_equal_settings_and_rows_give_equal_bytes_and_another_seed_another_model(estimator: str, tmp_path: Path) -> None:
    project, learner, dataset = made(tmp_path, estimator)
    learner.fit(Job(dataset, tmp_path / "one"))
    learner.fit(Job(dataset, tmp_path / "two"))
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir() if p.name != "training.json"} for n in ("one", "two"))
    assert one == two
    assert not any(data.startswith(b"\x80") or name.endswith((".pkl", ".joblib")) for name, data in one.items())

    again = learner.load(tmp_path / "one")
    assert export_graph(again, 20) == export_graph(learner.load(tmp_path / "two"), 20)
    np.testing.assert_array_equal(answers(again, dataset), answers(learner.load(tmp_path / "two"), dataset))
    if estimator in MEASURES:
        other = parse({**project.model_dump(mode="json", exclude_defaults=True), "train": {"seed": 4}}, base_dir=tmp_path)
        load_task(other, tmp_path).learner().fit(Job(dataset, tmp_path / "three"))
        assert any((tmp_path / "three" / name).read_bytes() != data for name, data in one.items())


@pytest.mark.parametrize("estimator", ["xgboost", "lightgbm"])
def test_boosting_keeps_a_round_s_entry_each_and_the_best_by_validation(estimator: str, tmp_path: Path) -> None:
    more = {"model": {"estimator": estimator, "n_estimators": 400, "early_stopping_rounds": 5, "learning_rate": 0.3}}
    _, learner, dataset = made(tmp_path, estimator, **more)
    trained = learner.fit(Job(dataset, tmp_path / "model"))
    losses = [h["validation_loss"] for h in trained.history]
    assert [h["epoch"] for h in trained.history] == list(range(1, len(losses) + 1))
    assert len(losses) == trained.record["best_epoch"] + 5 < 400
    assert losses[trained.record["best_epoch"] - 1] == min(losses)
    assert trained.record["stopped_early"] and "stopped early" in trained.text
    assert trained.metrics["loss"] == pytest.approx(trained.metrics["log_loss"], abs=1e-4)


@pytest.mark.parametrize("estimator", ["xgboost", "lightgbm", "logistic_regression"])
def test_labels_weigh_as_train_says(estimator: str, tmp_path: Path) -> None:
    plain, learner, dataset = made(tmp_path, estimator)
    heavy, weighted, _ = made(tmp_path, estimator, train={"class_weights": {"yes": 20.0}})
    told = [
        answers(who.fit(Job(dataset, tmp_path / n)), dataset)[:, 1].mean() for n, p, who in (("a", plain, learner), ("b", heavy, weighted))
    ]
    assert told[1] > told[0] + 0.1


@pytest.mark.parametrize(
    "decision", [{"aim": "f1"}, {"aim": "cost", "costs": {"false_positive": 1, "false_negative": 20}}, {"aim": "recall", "recall": 0.9}]
)
def test_a_threshold_is_chosen_on_its_validation_rows(decision: dict[str, Any], tmp_path: Path) -> None:
    more = {
        "evaluate": {"metric": "f1", "decision": decision, "positive": "yes"},
        "data": {"source": "rows.csv", "split": {"validation": 0.3}},
    }
    project, learner, dataset = made(tmp_path, "auto", **more)
    learner.fit(Job(dataset, tmp_path / "model"))
    assert export_package(project, tmp_path / "model", dataset, tmp_path / "package", base_dir=tmp_path).decision == "pass"
    rule = packages.read(tmp_path / "package").rule
    assert rule is not None and rule.label == "yes" and 0 < rule.threshold < 1
    assert decision["aim"] == "f1" or rule.threshold <= 0.5  # missing a yes costs more than an alarm


def test_what_it_cannot_learn_is_told(tmp_path: Path) -> None:
    _, learner, dataset = made(tmp_path, "logistic_regression", "value")
    with pytest.raises(ProjectError, match="learns classes, and the label is a quantity"):
        learner.fit(Job(dataset, tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_a_model_of_another_estimator_or_a_broken_one_is_told(tmp_path: Path) -> None:
    _, learner, dataset = made(tmp_path, "xgboost")
    learner.fit(Job(dataset, tmp_path / "model"))
    _, other, _ = made(tmp_path, "lightgbm")
    with pytest.raises(ProjectError, match=r"model\.estimator"):
        other.load(tmp_path / "model")
    files.write_text(tmp_path / "model" / "xgboost.json", "{}")
    with pytest.raises(DataError, match="cannot be read"):
        learner.load(tmp_path / "model")


def test_a_label_that_no_training_row_has_gets_no_probability_in_memory_and_in_the_graph(tmp_path: Path) -> None:
    """As in a fold that lacks a rare label: the dataset knows it, the rows of training do not have it."""
    import pyarrow.compute as pc

    from sluice.data.dataset import write_dataset

    project, learner, whole = made(tmp_path, "xgboost", "three")
    rows = whole.read("train")
    fewer = write_dataset(
        tmp_path / "fewer",
        {
            "train": rows.filter(pc.not_equal(rows.column("label"), "low")),
            "validation": whole.read("validation"),
            "test": whole.read("test"),
        },
        task="tabular",
        objective=whole.objective,
        labels=whole.labels,
        columns=whole.columns,
        source={},
        shard_rows=1000,
        times=whole.times,
    )
    trained = learner.fit(Job(fewer, tmp_path / "model"))
    found = answers(trained, fewer)
    assert (found[:, whole.labels.index("low")] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    exported = export_package(project, tmp_path / "model", fewer, tmp_path / "package", base_dir=tmp_path)
    assert exported.evidence["formats"][0]["max_abs_diff"] < 1e-5
