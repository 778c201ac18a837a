"""XGBoost by `sluice run`, from a CSV with gaps and categories to a promoted model; folds and a study in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sluice.core.home import Home
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.learners.crossvalidation import cross_validate
from sluice.package.package import Store
from sluice.project import Project, parse
from sluice.registry.versions import CHAMPION, Registry
from sluice.tasks import load_task
from sluice.tuning.search import search
from sluice.tuning.study import open_study
from tests.integration.learners.test_estimators import write_csv

RAW: dict[str, Any] = {
    "name": "plans",
    "task": "tabular",
    "data": {"source": "rows.csv"},
    "model": {"estimator": "xgboost", "n_estimators": 60, "early_stopping_rounds": 10, "learning_rate": 0.2},
    "evaluate": {"metric": "roc_auc", "minimum": 0.6},
    "rollout": {"minimum_requests": 60},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_csv(tmp_path / "rows.csv", "two", rows=500)
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(RAW))
    return tmp_path


@pytest.mark.timeout(400)
def test_a_run_promotes_it_and_its_report_shows_the_rounds(folder: Path) -> None:
    command = [sys.executable, "-m", "sluice", "run", str(folder / "sluice.yaml"), "--home", str(folder / "home"), "--json"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=390, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = orjson.loads(done.stdout)
    version = Registry(Home(folder / "home").tracking_uri).by_alias("plans", CHAMPION)
    assert outcome["outcome"] == "promoted" and version is not None and version.digest == outcome["digest"]
    package = Store(folder / "home" / "store").get(outcome["digest"])
    assert package.provenance["libraries"].keys() >= {"xgboost-cpu", "onnxmltools"}
    trained = orjson.loads((folder / "home" / "runs" / outcome["run"] / "gates" / "train.json").read_bytes())
    assert "by validation loss" in trained["reasons"][0]
    report = Path(outcome["report"]).read_text()
    assert "validation loss" in report and f"{len(trained['evidence']['history'])}" in report
    assert "roc_auc" in report


def dataset_of(project: Project, folder: Path) -> Dataset:
    return prepare(project, folder, load_task(project, folder), folder / "dataset")


def test_it_is_cross_validated_as_any_learner(folder: Path) -> None:
    project = parse({**RAW, "train": {"folds": 3}}, base_dir=folder)
    (folder / "work").mkdir()
    learner = load_task(project, folder).learner()
    found = cross_validate(project, dataset_of(project, folder), folder / "work", learner.fit)
    assert [f["fold"] for f in found["folds"]] == [1, 2, 3]
    assert found["metric"] == "roc_auc" and 0.6 < found["summary"]["roc_auc"]["mean"] <= 1


def test_a_study_searches_its_parameters(folder: Path) -> None:
    tune = {"space": {"model.max_depth": {"type": "int", "low": 1, "high": 4}}, "trials": 3, "metric": "log_loss"}
    raw = {**RAW, "tune": tune}
    project = parse(raw, base_dir=folder)
    dataset = dataset_of(project, folder)
    (folder / "work").mkdir()
    study = open_study(project, dataset, Home(folder / "home"))
    told: list[dict[str, Any]] = []
    search(study, raw, project, dataset, folder / "work", base_dir=folder, on_trial=told.append)
    assert [t["state"] for t in told] == ["complete"] * 3
    assert len({t["params"]["model.max_depth"] for t in told}) > 1
    assert all(0 < t["value"] < 1 for t in told)
