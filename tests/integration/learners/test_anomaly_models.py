"""Both models of anomaly detection, from rows with gaps, categories and times to a package that answers as they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluice.core.errors import DataError, ProjectError
from sluice.data.dataset import Dataset
from sluice.data.prepare import prepare
from sluice.engines.predictor import Predictor
from sluice.engines.rows import tensors_from_arrow
from sluice.formats.export import export_package
from sluice.learners.base import Job, Learner
from sluice.problems.anomaly import ANOMALY, LABELS
from sluice.project import Project, parse
from sluice.tasks import load_task

MODELS: dict[str, dict[str, Any]] = {
    "isolation_forest": {"estimator": "isolation_forest", "n_estimators": 60},
    "detector": {"estimator": "detector", "n_estimators": 60, "method": "distance"},
    "autoencoder": {"hidden": [24]},
}
PARTS = {"cold": ("a", -10.0), "warm": ("b", 20.0), "hot": ("c", 60.0)}


def write_rows(path: Path, rows: int = 420) -> None:
    """Pressure follows temperature and the site's name its range; a tenth has them at odds with each other, which no single column shows."""
    rng = np.random.default_rng(11)
    lines = ["site,part,temperature,pressure,at,label"]
    names = list(PARTS)
    for i in range(rows):
        odd = i % 10 == 0
        site = names[rng.integers(3)]
        part, base = PARTS[site]
        temperature = base + rng.normal(0, 3)
        pressure = 2 * (PARTS[names[(names.index(site) + 1) % 3]][1] if odd else temperature) + rng.normal(0, 2)
        gap = "" if rng.random() < 0.05 else f"{pressure:.3f}"
        lines.append(
            f"{site},{part if not odd else 'abc'[rng.integers(3)]},{temperature:.3f},{gap},2024-0{rng.integers(1, 9)}-1{rng.integers(9)},{int(odd)}"
        )
    path.write_text("\n".join(lines) + "\n")


def made(base: Path, model: dict[str, Any], **more: Any) -> tuple[Project, Learner, Dataset]:
    write_rows(base / "rows.csv")
    raw = {
        "name": "t",
        "task": "anomaly",
        "data": {"source": "rows.csv", "split": {"test": 0.4}},
        "model": model,
        "export": {"formats": ["fp32"]},
    }
    project = parse(raw | more, base_dir=base)
    task = load_task(project, base)
    return project, task.learner(), prepare(project, base, task, base / "dataset")


@pytest.mark.parametrize("name", list(MODELS))
def test_the_package_answers_as_the_model_does_and_finds_what_no_single_column_shows(name: str, tmp_path: Path) -> None:
    train = {"train": {"epochs": 60, "batch_size": 32, "learning_rate": 0.01}} if name == "autoencoder" else {}
    project, learner, dataset = made(tmp_path, MODELS[name], **train)
    assert dataset.labels == list(LABELS)
    trained = learner.fit(Job(dataset, tmp_path / "model"))
    result = export_package(project, tmp_path / "model", dataset, tmp_path / "package", base_dir=tmp_path)
    assert result.package is not None, result.reasons
    assert result.package.objective == "classification"
    assert result.package.metrics["average_precision"] > (0.8 if name == "autoencoder" else 0.12)
    table = dataset.read("test")
    rows = table.drop_columns(["row_id", "label"]).to_pylist()
    found = Predictor(result.package).predict(rows)
    own = trained.run(tensors_from_arrow(trained.processor, table.combine_chunks().to_batches()[0]))
    assert np.abs(found - own).max() < 1e-3
    normal = np.array([v != ANOMALY for v in table.column("label").to_pylist()])
    assert (found[normal, LABELS.index(ANOMALY)] >= 0.5).mean() < 0.25
    strange = rows[0] | {"site": "never seen", "temperature": 1e6}
    alike, far = Predictor(result.package).predict([rows[int(np.flatnonzero(normal)[0])], strange])[:, LABELS.index(ANOMALY)]
    assert 0 < alike < far < 1
    again = load_task(project, tmp_path).learner().load(tmp_path / "model")
    assert np.array_equal(again.run(tensors_from_arrow(trained.processor, table.combine_chunks().to_batches()[0])), own)
    assert not [p.name for p in (tmp_path / "model").iterdir() if p.suffix not in (".json", ".safetensors")]


def test_labels_are_not_weighed_and_few_rows_are_refused(tmp_path: Path) -> None:
    _, learner, dataset = made(tmp_path, MODELS["autoencoder"], train={"class_weights": "balanced"})
    with pytest.raises(ProjectError, match="does not learn") as e:
        learner.fit(Job(dataset, tmp_path / "model"))
    assert e.value.field == "train.class_weights"
    few = tmp_path / "few"
    few.mkdir()
    (few / "rows.csv").write_text("x,y,label\n" + "\n".join(f"{i},{i % 4},{i % 2}" for i in range(30)) + "\n")
    raw = {"name": "t", "task": "anomaly", "data": {"source": "rows.csv"}, "model": MODELS["isolation_forest"]}
    project = parse(raw, base_dir=few)
    task = load_task(project, few)
    with pytest.raises(DataError, match="too few to tell what is unusual"):
        task.learner().fit(Job(prepare(project, few, task, few / "dataset"), few / "model"))
