"""A check and a step of one's own, in a file each beside the project file: where they stand, what they end, what is wrong with one.

`test_together` runs both to a promoted model.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compiler import compile_training
from sluice import project
from sluice.core.errors import ProjectError
from tests.tools import run as run_of

#: A table that a network learns.
TABLE = Path(__file__).resolve().parents[2] / "examples" / "breast_cancer"

pytestmark = pytest.mark.timeout(400)
HERE = Path(__file__).parent
CHECK, STEP = "favourite_check:NoFavourite", "step_between:EnoughOfEach"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder, with both."""
    found = tmp_path / "project"
    shutil.copytree(TABLE, found)
    for name in ("favourite_check.py", "step_between.py"):
        shutil.copy(HERE / name, found)
    raw = yaml.safe_load((found / "sluice.yaml").read_text())
    raw.setdefault("evaluate", {})["checks"] = {CHECK: {"most": 0.95}}
    raw["steps"] = {STEP: {"least": 5}}
    raw.setdefault("rollout", {})["minimum_requests"] = 60
    raw.setdefault("train", {})["epochs"] = 15
    (found / "sluice.yaml").write_text(yaml.safe_dump(raw))
    return found


def run(folder: Path, *settings: str) -> tuple[int, dict[str, Any], str]:
    """`sluice run`: its status, its outcome and its report; what the step forged is nowhere."""
    status, outcome, said = run_of.run(folder, *settings)
    assert "a lie" not in said and "a lie" not in str(outcome)
    return status, outcome, Path(outcome["report"]).read_text()


def test_a_step_that_refuses_ends_the_run_there_whatever_it_printed(folder: Path) -> None:
    status, outcome, report = run(folder, f"steps={{{STEP!r}: {{least: 100000}}}}")
    assert (status, outcome["outcome"], outcome["gate"]) == (3, "refused", "enough_of_each")
    assert "fewer than 100000 training rows" in outcome["reasons"][0] and "fewer than 100000" in report
    assert [s["step"] for s in outcome["steps"]] == ["validate_data", "preprocess", "enough_of_each"]


def test_a_step_is_compiled_between_the_two_and_asks_to_go_on(folder: Path) -> None:
    text = (folder / "sluice.yaml").read_text()
    found = project.load(folder / "sluice.yaml")
    made = compile_training(found, text=text, image="r.example/p@sha256:" + "0" * 64).spec["root"]["dag"]["tasks"]
    assert made["own-enough-of-each"]["dependentTasks"] == ["preprocess"] and made["train"]["dependentTasks"] == ["own-enough-of-each"]
    assert "own-enough-of-each-Output'] == 'pass'" in made["train"]["triggerPolicy"]["condition"]
    artifacts = made["own-enough-of-each"]["inputs"]["artifacts"]
    assert list(artifacts) == ["dataset"]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (f"steps={{{STEP!r}: {{leats: 3}}}}", "did you mean 'least'"),
        ("steps={'step_between:LIES': {}}", "is no step of your own"),
        ("steps={'prepocess': {}}", "did you mean 'preprocess'"),
        ("steps={'train': {}}", "is no step of your own"),
        (f"evaluate.checks={{{CHECK!r}: {{most: 3}}}}", "less than or equal to 1"),
    ],
)
def test_a_wrong_one_is_told_before_anything_runs(folder: Path, setting: str, says: str) -> None:
    with pytest.raises(ProjectError, match=says):
        project.load(folder / "sluice.yaml", [setting])
