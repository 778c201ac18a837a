"""A problem in one file beside the project file: its own metric, its own unit, through the whole line; served without its code.

It is learnt by an estimator of one's own, in another such file.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml

from sluice import project as projects
from sluice.core.errors import ProjectError
from sluice.data.prepare import validate_project_data
from sluice.engines.predictor import Predictor
from sluice.package.package import Store
from sluice.tasks import load_task
from tests.tools.run import run

pytestmark = pytest.mark.timeout(600)
HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project of 240 patients with 1 to 9 visits each, whose illness and whose oddities are the patient's own."""
    for name in ("visits_problem.py", "extra_trees.py"):
        shutil.copy(HERE / name, tmp_path)
    rng, lines = np.random.default_rng(4), ["patient,fever,pulse,label"]
    for patient in range(240):
        ill, odd = rng.random() < 0.5, 0.7 * rng.standard_normal(2)
        for fever, pulse in odd + ill * 1.5 + 0.5 * rng.standard_normal((rng.integers(1, 10), 2)):
            lines.append(f"p{patient},{fever:.3f},{pulse:.3f},{'ill' if ill else 'well'}")
    (tmp_path / "visits.csv").write_text("\n".join(lines) + "\n")
    project = {
        "name": "visits",
        "task": "tabular",
        "data": {"source": "visits.csv", "split": {"by": "group", "column": "patient"}, "columns": {"ignore": ["patient"]}},
        "model": {"estimator": "extra_trees:ExtraTrees", "n_estimators": 40, "objective": "visits_problem:Visits"},
        "evaluate": {"slices": ["label"]},
        "rollout": {"minimum_requests": 60},
    }
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(project))
    return tmp_path


def test_a_problem_with_grouped_units_learnt_by_an_estimator_of_ones_own_is_judged_by_its_units_and_promoted(folder: Path) -> None:
    status, outcome, _ = run(folder)
    assert (status, outcome["outcome"]) == (0, "promoted"), outcome
    gate = orjson.loads((folder / "home" / "runs" / outcome["run"] / "gates" / "evaluate.json").read_bytes())
    found = gate["evidence"]["evaluation"]
    assert (found["metric"], found["unit"]) == ("patients_right", "patient")
    assert 30 <= found["units"] < found["rows"] / 3
    assert f"{found['units']} units (patient)" in gate["reasons"][0]
    assert f"{found['units']} units (patient)" in Path(outcome["report"]).read_text()
    assert all(s["unit"] == "patient" for s in found["slices"])
    accuracy = found["metrics"]["accuracy"]  # what rows alone would say is far narrower
    rows = 2 * 1.96 * (accuracy["value"] * (1 - accuracy["value"]) / found["rows"]) ** 0.5
    assert accuracy["high"] - accuracy["low"] > 1.2 * rows
    package = Store(folder / "home" / "store").get(outcome["digest"])
    assert (package.objective, package.problem) == ("classification", "visits_problem:Visits")
    assert Predictor(package).predict([{}]).shape == (1, 2)
    assert package.provenance["libraries"]["scikit-learn"] and np.isfinite(package.metrics["log_loss"])


def test_rows_split_so_that_a_unit_lies_on_both_sides_are_refused(folder: Path) -> None:
    raw = yaml.safe_load((folder / "sluice.yaml").read_text())
    raw["data"]["split"] = {"by": "hash"}
    found = projects.parse(raw, base_dir=folder)
    with pytest.raises(ProjectError, match=r"data\.split\.by.*split by group") as e:
        validate_project_data(found, folder, load_task(found, folder))
    assert "by: group, column:" in str(e.value.fix)


def test_it_is_one_file_of_eighty_lines_at_most() -> None:
    assert len((HERE / "visits_problem.py").read_text().splitlines()) <= 80
