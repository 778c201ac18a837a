"""A task whose answers are several quantities at once, with a problem of its own, runs the whole line and is served without its code."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml

from serving.runtime.models.model import load
from serving.runtime.protocols import v1, v2
from sluice.core.errors import SluiceError
from sluice.engines.predictor import Predictor
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(600)
HERE = Path(__file__).parent


def test_answers_of_two_quantities_are_promoted_and_told_in_the_report(tmp_path: Path) -> None:
    shutil.copy(HERE / "throws_task.py", tmp_path)
    rng = np.random.default_rng(3)
    speed, angle = rng.uniform(0.2, 1, 900), rng.uniform(0.2, 1.4, 900)
    distance, height = speed**2 * np.sin(2 * angle), (speed * np.sin(angle)) ** 2 / 2
    rows = ["speed,angle,distance,height"]
    rows += [f"{s:.4f},{a:.4f},{d:.4f},{h:.4f}" for s, a, d, h in zip(speed, angle, distance, height, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    project = {
        "name": "throws",
        "task": "throws_task:Throws",
        "data": {"source": "rows.csv"},
        "train": {"epochs": 25, "learning_rate": 0.02, "batch_size": 32},
        "evaluate": {"margin": 0.2},
        "export": {"formats": ["fp32"]},
        "rollout": {"minimum_requests": 60},
    }
    (tmp_path / "sluice.yaml").write_text(yaml.safe_dump(project))
    outcome, package = promoted(tmp_path)
    assert (package.objective, package.problem) == ("arrays", "throws_task:Throw")
    assert list(package.labels) == ["distance", "height"] and package.outputs[0].shape == (-1, 2)
    told = Predictor(package).predict([{"speed": 0.8, "angle": 0.7}])
    assert abs(float(told[0, 0]) - 0.8**2 * np.sin(1.4)) < 0.1
    gate = orjson.loads((tmp_path / "home" / "runs" / outcome["run"] / "gates" / "evaluate.json").read_bytes())
    found = gate["evidence"]["evaluation"]
    assert found["metric"] == "mean_rmse" and found["low"] < found["value"] < found["high"] < 0.5
    assert gate["evidence"]["floor"]["trivial"]["name"] == "the means of the training rows"
    assert "distance off by" in Path(outcome["report"]).read_text()
    profile = package.profile()
    assert profile is not None and len(profile["label"]["edges"]) > 2
    model = load(package.root, "", None, 1, 1 << 30)
    outputs = model.run({"speed": np.float32([0.8, 0.3]), "angle": np.float32([0.7, 1.0])})
    answered = orjson.loads(v1.render(model, outputs, None))["predictions"]
    assert [list(a) for a in answered] == [["values"], ["values"]] and answered[0]["values"] == pytest.approx(told[0].tolist(), abs=1e-5)
    assert list(v2.select(model, outputs, None, None)) == ["values"] == v2.output_names(model)
    with pytest.raises(SluiceError):
        model.run({"speed": np.float32([np.nan]), "angle": np.float32([0.7])})
