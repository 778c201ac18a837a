"""The two steps together: what `export_onnx` writes into the package is what `evaluate` finds of it, without PyTorch and from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.evaluate.logic import run as evaluate
from components.export_onnx.logic import run as export_onnx
from sluice.core.gate import Gate
from sluice.core.home import Home
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow
from sluice.gates import baselines
from sluice.package import package
from sluice.package.store import default_store
from sluice.registry import ledger
from sluice.registry.versions import ANCHOR, CHAMPION, Registry

ALONE = """
import json, sys
from components.evaluate.logic import run
positional, named = json.loads(sys.argv[1])
run(*positional, **named)
loaded = {m for m in ("torch", "transformers") if m in sys.modules}
assert not loaded, loaded
"""


def export(made, root: Path, project: dict[str, Any], base: Path) -> Gate:
    export_onnx(
        yaml.safe_dump(project),
        str(base),
        dataset_path=str(made.dataset.root),
        model_path=str(made.model),
        package_path=str(root / "package"),
        report_path=str(root / "export.html"),
        gate_path=str(root / "run/export-onnx/1/gate"),
    )
    return Gate.read(root / "run/export-onnx/1/gate")


def judge(made, root: Path, project: dict[str, Any], alone: bool) -> Gate:
    gate = root / "run/evaluate/1/gate"
    given = (yaml.safe_dump(project), str(root), str(root / "home"), "")
    named = {
        "dataset_path": str(made.dataset.root),
        "package_path": str(root / "package"),
        "report_path": str(root / "judged.html"),
        "gate_path": str(gate),
    }
    if not alone:
        evaluate(*given, **named)
    else:
        done = subprocess.run(
            [sys.executable, "-c", ALONE, json.dumps([given, named])],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "2"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return Gate.read(gate)


OWN = """
from sluice.learners.torch.texts.network import TextNetwork
from sluice.tasks.text import TextTask


class MyNetwork(TextNetwork):
    def serving_module(self, model, state):
        import torch
        inner, scale = super().serving_module(model, state), float(self.task.resolve("scale.txt").read_text())

        class Sharper(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, **tensors):
                raised = self.inner(**tensors) ** scale
                return raised / raised.sum(dim=1, keepdim=True)

        return Sharper()


class Mine(TextTask):
    network = MyNetwork
"""


@pytest.mark.parametrize(("kind", "alone"), [("tabular", True), ("regression", False)])
def test_the_metrics_of_the_package_are_those_evaluate_finds_and_it_needs_no_pytorch(trained, tmp_path, kind, alone):
    made = trained(kind)
    project = made.project.model_dump(mode="json")
    if kind == "tabular":
        project["evaluate"] |= {"metric": "average_precision", "decision": {"aim": "recall", "recall": 0.98}}
    exported = export(made, tmp_path, project, tmp_path)
    judged = judge(made, tmp_path, project, alone)
    sealed = package.read(tmp_path / "package")
    if kind == "tabular":
        assert sealed.rule is not None and (sealed.rule.label, sealed.rule.aim) == ("yes", "most precision at a recall of 0.98")
        chosen, plain = exported.evidence["decision"], exported.evidence["decision"]["plain"]
        assert chosen["threshold"] == sealed.rule.threshold < 0.5 and chosen["recall"] >= 0.98 >= plain["recall"]
        assert judged.evidence["evaluation"]["decision"] == sealed.manifest["decision"]
        assert judged.evidence["evaluation"]["positive"] == "yes"  # the rarer one of the training rows
        assert any("'yes' is answered from a probability of" in r for r in exported.reasons)
        # The label's own row of the confusion is what its recall says, with the threshold and not at a half.
        test, predictor = made.dataset.read("test"), Predictor(sealed)
        p = predictor.predict(rows_from_arrow(sealed.preprocess, test))
        truth = np.array(test.column("label").to_pylist()) == "yes"
        expected = float(((p[:, 1] >= sealed.rule.threshold) & truth).sum() / truth.sum())
        assert sealed.metrics["recall"] == pytest.approx(expected)
        assert [sealed.labels[i] for i in predictor.codes(p)] == ["yes" if x >= sealed.rule.threshold else "no" for x in p[:, 1]]
    assert sealed.digest == exported.evidence["digest"] == judged.evidence["digest"]
    assert sealed.metrics == {name: m["value"] for name, m in judged.evidence["evaluation"]["metrics"].items()}
    assert judged.evidence["evaluation"]["rows"] == made.dataset.rows("test")
    if alone:
        return
    home = Home(tmp_path / "home")
    kept = default_store(home).add(sealed)
    registry = Registry(home.tracking_uri)
    registry.set_alias(
        sealed.name,
        CHAMPION,
        registry.register(sealed.name, kept.digest, default_store(home).uri(kept.digest), metrics={}, tags={}, run_id=None).number,
    )
    against = judge(made, tmp_path, project, alone).evidence["comparison"]
    assert (against["champion_digest"], against["difference"], against["verdict"]) == (kept.digest, 0.0, "no_worse")
    assert against["champion"] == against["candidate"] == sealed.metrics[against["metric"]]
    floor = judged.evidence["floor"]
    assert floor["verdict"] == "better"
    assert [floor[b]["rows"] for b in ("trivial", "simple")] == [made.dataset.rows("test")] * 2
    assert any(floor["said"] in r for r in judged.reasons)
    assert "on the same rows" in (tmp_path / "judged.html").read_text()
    assert registry.by_alias(sealed.name, ANCHOR).digest == kept.digest
    assert not ledger.read(registry, sealed.name).lines, "the champion was compared with itself"


def test_a_task_of_the_users_own_beside_the_project_file_is_exported_from_any_folder(trained, tmp_path, monkeypatch):
    base, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    base.mkdir()
    elsewhere.mkdir()
    (base / "beside_the_file.py").write_text(OWN)
    (base / "scale.txt").write_text("1.5")
    monkeypatch.chdir(elsewhere)
    monkeypatch.delitem(sys.modules, "beside_the_file", raising=False)
    made = trained("text")
    try:
        done = export(
            made, tmp_path, made.project.model_dump(mode="json") | {"task": "beside_the_file:Mine", "export": {"formats": ["fp32"]}}, base
        )
    finally:
        sys.modules.pop("beside_the_file", None)
    assert done.decision == "pass"
    assert package.read(tmp_path / "package").task == "beside_the_file:Mine"


def test_a_baseline_that_breaks_is_said_and_the_gate_goes_on(trained, tmp_path, monkeypatch):
    made = trained("regression")
    project = made.project.model_dump(mode="json")
    export(made, tmp_path, project, tmp_path)
    monkeypatch.setattr(baselines, "PATIENCE", 1e-4)
    judged = judge(made, tmp_path, project, alone=False)
    assert judged.decision == "pass"
    assert "by the clock" in judged.evidence["floor"]["simple"]["missing"]
    assert "ridge regression was left out" in (tmp_path / "judged.html").read_text()
