"""Forms that are no other numbers: fewer channels, TorchScript, NVIDIA's TensorRT where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sluice.core.errors import PackageError
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow
from sluice.formats.export import ExportResult, export_package
from sluice.formats.tensorrt import PROVIDER
from sluice.learners.answers import split_answers
from sluice.learners.fit import load_trained
from sluice.package import package


def export(made, out: Path, **changes: object) -> ExportResult:
    project = made.project.model_copy(update={"export": made.project.export.model_copy(update=changes)})
    return export_package(project, made.model, made.dataset, out)


@pytest.fixture(scope="module")
def scripted(trained, tmp_path_factory) -> ExportResult:
    """Images in all three, each named."""
    out = tmp_path_factory.mktemp("forms") / "package"
    return export(trained("image"), out, formats=["fp32", "pruned", "torchscript", "tensorrt"], max_loss=0.05, max_answer_change=1.0)


def test_torchscript_is_packaged_where_it_is_named_and_answers_as_the_network(trained, scripted):
    made = trained("image")
    assert (scripted.decision, scripted.evidence["chosen"]) == ("pass", "torchscript")
    opened = package.read(scripted.package.root)
    assert (opened.precision, opened.engine.name, opened.model.name, opened.graph, opened.tensors) == (
        "torchscript",
        "torch_jit",
        "model.ts",
        False,
        True,
    )
    answers = Predictor(opened).predict(rows_from_arrow(opened.preprocess, made.dataset.read("test")))
    assert np.allclose(answers, split_answers(load_trained(made.project, made.model), made.dataset, "test"), atol=1e-5)


def test_the_server_answers_by_it_as_by_any_other(trained, scripted):
    from serving.runtime.models.model import load

    made, package_ = trained("image"), scripted.package
    served = load(package_.root, "digits", package_.digest, 1, 1 << 30)
    batch = served.processor.encode_batch(rows_from_arrow(package_.preprocess, made.dataset.read("test"))[:3])
    found = served.run(batch)["probabilities"]
    assert np.allclose(found, split_answers(load_trained(made.project, made.model), made.dataset, "test")[:3], atol=1e-5)
    assert served.batches and not served.tables
    with pytest.raises(PackageError, match="larger than 1000 bytes"):
        load(package_.root, "digits", package_.digest, 1, 1000)


def test_fewer_channels_are_a_smaller_graph_within_the_budget(scripted):
    fp32, pruned = scripted.evidence["formats"][:2]
    assert pruned["format"] == "pruned" and pruned["ok"], pruned["why"]
    assert pruned["bytes"] < 0.8 * fp32["bytes"]
    assert pruned["loss"] <= pruned["allowed"]


def test_tensorrt_is_said_not_to_be_here_and_the_rest_goes_on(trained, scripted, tmp_path):
    assert any(r.startswith(f"tensorrt is not here: no NVIDIA provider ({PROVIDER})") for r in scripted.reasons)
    assert scripted.evidence["formats"][-1] | {"tried": False, "ok": False} == scripted.evidence["formats"][-1]
    alone = export(trained("tabular"), tmp_path / "alone", formats=["tensorrt"])
    assert (alone.decision, alone.package.precision) == ("pass", "fp32")
    assert any("tensorrt is not here" in r for r in alone.reasons)


def test_equal_networks_give_equal_scripts_that_say_nothing_of_where_they_were_made(trained, scripted):
    made = trained("image")
    script = load_trained(made.project, made.model).script()
    assert script == scripted.package.model.read_bytes()
    assert b"debug_pkl" not in script and str(Path(__file__).parents[3]).encode() not in script


def test_what_takes_texts_is_no_torchscript_and_says_so(trained, tmp_path):
    result = export(trained("tabular"), tmp_path / "package", formats=["fp32", "torchscript"])
    assert (result.decision, result.evidence["chosen"]) == ("pass", "fp32")
    assert any("there is no torchscript" in r and "as text" in r for r in result.reasons)


def test_the_server_names_torch_where_it_is_not_installed(scripted):
    code = f"import sys; sys.modules['torch'] = None\nfrom sluice.package import package\nfrom sluice.engines.base import open_package\nopen_package(package.read({str(scripted.package.root)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "needs torch, which is not installed here" in done.stderr, done.stderr[-500:]


def test_a_script_that_is_none_or_writes_files_is_refused(tmp_path):
    import torch

    from sluice.engines.torchscript import TorchScriptEngine

    with pytest.raises(PackageError, match="torch cannot load it"):
        TorchScriptEngine.open(b"no archive")

    class Writes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.save(x, "somewhere")
            return x

    torch.jit.script(Writes()).save(str(tmp_path / "model.ts"))
    with pytest.raises(PackageError, match="reads or writes files"):
        TorchScriptEngine.open(tmp_path / "model.ts")
