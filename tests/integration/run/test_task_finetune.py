"""A small causal model tuned by adapters as a project of its own: from its items to a promoted package that a server answers with, and a study of its settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from sluice.core.home import Home
from sluice.registry.versions import CHAMPION, Registry
from tests.integration.serving.server import serving
from tests.support.causal import ITEMS, causal
from tests.tools.long import long
from tests.tools.run import promoted

pytestmark = pytest.mark.timeout(900)


def written(folder: Path) -> Path:
    """64 items of three words, the first of which decides, and the project."""
    causal(folder / "base")
    answers = {i["country"]: i["answer"] for i in ITEMS}
    items = [{"country": f"{a} {b} {c}", "answer": answers[a]} for a in answers for b in answers for c in answers]
    (folder / "train.jsonl").write_bytes(b"\n".join(map(orjson.dumps, items)))
    (folder / "prompt.yaml").write_text("user: 'capital of {{ country }} ?'\nvariables: {country: {}}\n")
    split = {"test": 0.25, "validation": 0.2}
    project = {
        "name": "capitals",
        "task": "sluice.tasks.finetune:FinetuneTask",
        "data": {"source": "train.jsonl", "columns": {"label": "answer"}, "checks": {"rows_min": 10}, "split": split},
        "model": {"pretrained": "base", "rank": 4},
        "train": {"epochs": 4, "learning_rate": 0.01},
        "tune": {"trials": 2, "space": {"train.learning_rate": {"type": "float", "low": 0.001, "high": 0.02, "log": True}}},
        "evaluate": {"metric": "answer_loss"},
    }
    (folder / "sluice.yaml").write_bytes(orjson.dumps(project))
    return folder


def test_from_items_to_promoted_and_asked_how_likely_an_answer_is(tmp_path: Path) -> None:
    folder = written(tmp_path)
    outcome, package = promoted(folder)
    page = Path(outcome["report"]).read_text()
    evaluated = orjson.loads((folder / "home" / "runs" / outcome["run"] / "gates" / "evaluate.json").read_bytes())["evidence"]["evaluation"]
    assert evaluated["metric"] == "answer_loss" and evaluated["value"] < 1
    version = Registry(Home(folder / "home").tracking_uri).by_alias("capitals", CHAMPION)
    assert version is not None and version.metrics["answer_loss"] == pytest.approx(evaluated["value"])
    assert "adapters of 4,352 weights merged into a base of" in page
    assert "as it is served: safetensors<" in page and "Losses of the answers" in page and "prediction minus truth" not in page
    assert {"adapter/adapter_model.safetensors", "model/model.safetensors"} <= set(package.manifest["files"])
    with serving(tmp_path / "log", package.root) as server:
        name = outcome["project"]
        asked = [{"role": "user", "content": "capital of peru spain italy ?"}]
        right, wrong = (server.predict(name, {"messages": asked, "answer": answer})[0] for answer in ("lima", "rome"))
        values = [float(np.ravel(next(iter(v.values())) if isinstance(v, dict) else v)[0]) for v in (right, wrong)]
        assert values[0] < values[1], "what was learnt is likelier than what was not"
        assert server.get(f"/v2/models/{name}")["platform"] == "sluice_causal"


@long
def test_a_study_of_its_settings_ends_in_a_project(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sluice", "tune", str(written(tmp_path)), "--home", str(tmp_path / "home"), "--json"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = orjson.loads(done.stdout)
    assert found["metric"] == "answer_loss" and 0 < found["best"]["value"] < 5 and Path(found["project"]).is_file()
