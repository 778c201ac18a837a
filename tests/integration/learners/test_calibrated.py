"""`export.calibrate`: curves inside the served graph, proved like the rest of it, with what they changed in the gate's evidence."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from sluice.core.check import Decision, make
from sluice.core.errors import ProjectError
from sluice.data.prepare import prepare, validate_project_data
from sluice.engines.predictor import Predictor
from sluice.formats.export import export_package
from sluice.gates.calibration import Calibration
from sluice.gates.facts import Exported
from sluice.learners.base import Job
from sluice.package import package as packages
from sluice.problems.problem import problem
from sluice.project import parse
from sluice.steps.export_onnx import ExportOnnx
from sluice.tasks import load_task


def write_rows(base: Path, labels: int, rows: int = 900) -> None:
    """A rare label among two, or three; one number tells some of it."""
    rng = random.Random(3)
    lines = ["x,city,label"]
    for _ in range(rows):
        x = rng.gauss(0, 1)
        label = "yes" if x + rng.gauss(0, 1) > 1.6 else "no"
        lines.append(f"{x:.3f},{rng.choice(['Rome', 'Oslo'])},{label if labels == 2 or rng.random() < 0.7 else 'other'}")
    (base / "rows.csv").write_text("\n".join(lines) + "\n")


def settings(base: Path, method: str, **more: Any) -> Any:
    """Weights of classes make the probabilities say what does not come true."""
    raw = {
        "name": "t",
        "task": "tabular",
        "data": {"source": "rows.csv", "split": {"validation": 0.3, "test": 0.3}},
        "model": {"estimator": "logistic_regression"},
        "train": {"class_weights": "balanced"},
        "export": {"calibrate": method},
    }
    return parse({**raw, **more}, base_dir=base)


@pytest.mark.parametrize(("method", "labels"), [("isotonic", 2), ("platt", 3)])
def test_the_served_graph_is_calibrated_and_says_what_that_changed(method: str, labels: int, tmp_path: Path) -> None:
    write_rows(tmp_path, labels)
    project = settings(tmp_path, method)
    task = load_task(project, tmp_path)
    dataset = prepare(project, tmp_path, task, tmp_path / "dataset")
    task.learner().fit(Job(dataset, tmp_path / "model"))
    result = export_package(project, tmp_path / "model", dataset, tmp_path / "package", base_dir=tmp_path)
    assert result.decision == "pass", result.reasons
    assert result.evidence["formats"][0]["max_abs_diff"] < 1e-5

    found = result.evidence["calibration"]
    assert found["gain"]["brier"]["low"] > 0 and found["gain"]["log_loss"]["low"] > 0
    assert found["after"]["calibration"]["ece"] < found["before"]["calibration"]["ece"]
    assert any(r.startswith(f"calibrated ({method}, ") for r in result.reasons)

    package = packages.read(tmp_path / "package")
    # What the package says of itself is of calibrated answers, and equal to what the evidence says.
    assert package.metrics["brier"] == pytest.approx(found["after"]["brier"]["value"], abs=1e-5)
    rows = [{"x": float(x), "city": "Rome"} for x in np.linspace(-3, 3, 13)]
    served, own = Predictor(package).predict(rows), task.learner().load(tmp_path / "model")
    assert np.abs(served - own.run(own.processor.encode_batch(rows))).max() > 0.1
    np.testing.assert_allclose(served.sum(axis=1), 1, atol=1e-6)
    assert [o.name for o in onnx.load(package.model).graph.output] == ["probabilities"]

    judged = make("export_onnx", Exported(project, dataset, tmp_path / "model", result), project.export)
    page = ExportOnnx().section(judged.evidence)
    assert f"Calibration ({method})" in page and "model alone" in page and "expected calibration error" in page

    again = export_package(project, tmp_path / "model", dataset, tmp_path / "again", base_dir=tmp_path)
    assert again.package and again.package.digest == package.digest


def test_too_few_rows_leave_the_model_as_it_is_and_say_so(tmp_path: Path) -> None:
    write_rows(tmp_path, 2, rows=60)
    project = settings(tmp_path, "isotonic")
    task = load_task(project, tmp_path)
    dataset = prepare(project, tmp_path, task, tmp_path / "dataset")
    task.learner().fit(Job(dataset, tmp_path / "model"))
    result = export_package(project, tmp_path / "model", dataset, tmp_path / "package", base_dir=tmp_path)
    assert any(r.startswith("not calibrated: ") for r in result.reasons)
    assert "not calibrated" in ExportOnnx().section({**result.evidence, "digest": ""})


def test_a_quantity_has_no_probability_to_calibrate(tmp_path: Path) -> None:
    rng = random.Random(1)
    (tmp_path / "rows.csv").write_text("x,label\n" + "".join(f"{rng.random():.3f},{rng.random():.4f}\n" for _ in range(80)))
    project = settings(tmp_path, "platt", model={}, train={})
    with pytest.raises(ProjectError) as e:
        validate_project_data(project, tmp_path, load_task(project, tmp_path))
    assert (e.value.field, e.value.value, e.value.fix) == ("export.calibrate", "platt", "remove it")


def test_scores_that_are_no_probabilities_are_not_calibrated() -> None:
    asked = problem("anomaly_detection")
    with pytest.raises(ProjectError, match="has none"):
        parse({"name": "t", "task": "tabular", "data": {"source": "x.csv"}, "export": {"calibrate": "platt"}}).export.suits(
            asked, ["a", "b"]
        )


def test_a_calibration_that_made_it_worse_beyond_doubt_is_a_caution() -> None:
    class Facts:
        result = type(
            "R", (), {"evidence": {"calibration": {"method": "platt", "gain": {"log_loss": {"value": -0.1, "low": -0.2, "high": -0.01}}}}}
        )

    found: Decision = Calibration().judge(Facts(), None)  # type: ignore[arg-type]
    assert found.decision == "pass" and "export.calibrate: none" in found.cautions[0]


def test_not_asked_for_it_leaves_the_digest_as_it_was(tmp_path: Path) -> None:
    plain = settings(tmp_path, "none")
    assert "calibrate" not in plain.model_dump()["export"]
    assert settings(tmp_path, "platt").digest != plain.digest
