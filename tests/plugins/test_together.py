"""A task, a format, a check and a step of one's own, each in a file beside one project file: one run, and each does its part."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import orjson
import pytest
import yaml

from sluice.core.datatypes import EngineSpec
from sluice.package.package import Package, Store
from tests.tools.run import run

pytestmark = pytest.mark.timeout(600)
HERE = Path(__file__).parent
CHECK, STEP = "favourite_check:NoFavourite", "step_between:EnoughOfEach"
PROJECT = {
    "name": "xor",
    "task": "xor_task:Xor",
    "data": {"source": "rows.csv"},
    "model": {"hidden": 400},
    "train": {"epochs": 12, "learning_rate": 0.02, "batch_size": 32, "processes": 2},
    "evaluate": {"minimum": 0.85, "checks": {CHECK: {"most": 0.95}}},
    "export": {"formats": ["fp32", "bf16_format:Bf16Weights"], "max_loss": 0.02},
    "steps": {STEP: {"least": 5}},
    "rollout": {"minimum_requests": 60},
}
Made = tuple[Path, dict[str, Any], Package]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The folder with the home, the outcome and the package; what the step forged is nowhere."""
    folder = tmp_path_factory.mktemp("together")
    for name in ("xor_task.py", "bf16_format.py", "favourite_check.py", "step_between.py"):
        shutil.copy(HERE / name, folder)
    lines = ["a,b,label"] + [
        f"{x / 20 - 1:.2f},{y / 20 - 1:.2f},{'same' if (x < 20) == (y < 20) else 'other'}" for x in range(40) for y in range(0, 40, 2)
    ]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    (folder / "sluice.yaml").write_text(yaml.safe_dump(PROJECT))
    status, outcome, said = run(folder)
    assert (status, outcome["outcome"]) == (0, "promoted"), (outcome, said)
    assert "a lie" not in said and "a lie" not in str(outcome)
    return folder, outcome, Store(folder / "home" / "store").get(outcome["digest"])


def test_the_task_is_learnt_and_packaged(made: Made) -> None:
    assert made[2].preprocess["kind"] == "tensor" and made[2].metrics["accuracy"] > 0.85


def test_the_format_is_the_one_that_is_promoted(made: Made) -> None:
    package = made[2]
    assert (package.precision, package.engine) == ("bf16-weights", EngineSpec("onnxruntime"))
    assert package.provenance["export"]["agreement"] > 0.98
    kinds = {t.data_type for t in onnx.load(package.model).graph.initializer if len(t.dims) > 1}
    assert onnx.TensorProto.BFLOAT16 in kinds


def test_check_and_step_run_beside_those_there_are_and_stand_in_the_report(made: Made) -> None:
    folder, outcome, _ = made
    steps = [s["step"] for s in outcome["steps"]]
    assert steps.index("enough_of_each") == 2 and len(steps) == 8
    report = Path(outcome["report"]).read_text()
    assert "Rows of each label" in report and '<meter value="' in report
    gates = folder / "home" / "runs" / outcome["run"] / "gates"
    judged = orjson.loads((gates / "evaluate.json").read_bytes())["evidence"]["checks"][CHECK]
    assert judged["decision"] == "pass" and 0 < judged["evidence"]["share"] <= 0.95
    assert orjson.loads((gates / "enough_of_each.json").read_bytes())["evidence"]["after"] == "preprocess"
