"""Trained models of every task become packages that answer as PyTorch does, byte for byte the same each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sluice.core.errors import DataError, PackageError, SluiceError
from sluice.data.dataset import Dataset, write_dataset
from sluice.engines.predictor import Predictor
from sluice.engines.rows import rows_from_arrow
from sluice.formats.export import ExportResult, export_package
from sluice.learners.answers import split_answers
from sluice.learners.fit import load_trained
from sluice.package import package
from sluice.project import parse


def export(made, out: Path, *, evaluate: dict | None = None, **changes: object) -> ExportResult:
    project = made.project.model_copy(update={"export": made.project.export.model_copy(update=changes)})
    if evaluate:
        project = project.model_copy(update={"evaluate": project.evaluate.model_copy(update=evaluate)})
    return export_package(project, made.model, made.dataset, out)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> Callable[[str], ExportResult]:
    """`exported(kind)`: the export with a budget int8 keeps, made once a kind."""
    done: dict[str, ExportResult] = {}

    def get(kind: str) -> ExportResult:
        if kind not in done:
            done[kind] = export(
                trained(kind), tmp_path_factory.mktemp("exported") / kind, max_loss=0.02, max_answer_change=1.0, int8_above=0
            )
        return done[kind]

    return get


def torch_answers(made) -> np.ndarray:
    return split_answers(load_trained(made.project, made.model), made.dataset, "test")


@pytest.mark.parametrize("kind", ["image", "text", "tabular", "regression"])
def test_a_package_answers_raw_rows_as_pytorch_does(trained, tmp_path, kind):
    made = trained(kind)
    result = export(made, tmp_path / "package", formats=["fp32"])
    assert result.decision == "pass"
    opened = package.read(tmp_path / "package")
    assert (opened.digest, opened.precision, opened.task) == (result.package.digest, "fp32", made.project.task)
    answers = Predictor(opened).predict(rows_from_arrow(opened.preprocess, made.dataset.read("test")))
    expected = torch_answers(made)
    truth = made.dataset.read("test").column("label").to_pylist()
    if kind == "regression":
        assert np.std(answers - truth) < 0.5 * np.std(truth)
    else:
        assert np.mean([made.dataset.labels[i] == t for i, t in zip(answers.argmax(axis=1), truth, strict=True)]) > 0.85
    assert np.allclose(answers, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(np.std(expected))))
    if kind != "regression":
        assert list(opened.labels) == made.dataset.labels
        assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["image", "text", "tabular", "regression"])
def test_int8_is_smaller_within_the_budget_and_answers_alone_as_in_a_batch(trained, exported, kind):
    result = exported(kind)
    fp32, int8 = result.evidence["formats"]
    assert (result.decision, result.evidence["chosen"]) == ("pass", "int8")
    assert int8["bytes"] < fp32["bytes"]
    assert int8["loss"] <= int8["allowed"]
    assert fp32["max_abs_diff"] < int8["max_abs_diff"]
    assert int8["single_agreement"] == 1
    assert 0 < int8["moved"]["change"] < 1
    assert min(fp32["latency_ms"], int8["latency_ms"]) > 0
    assert result.package.precision == "int8"
    assert result.package.provenance["export"]["rows"] == result.evidence["rows"] == trained(kind).dataset.rows("test")


def test_a_text_alone_answers_as_in_a_batch_of_longer_ones(exported):
    p = Predictor(exported("text").package)
    long = " ".join(["tell me about the best song"] * 9)
    together = p.run(p.processor.encode_batch(["snow", long]))["probabilities"][0]
    assert np.allclose(together, p.predict(["snow"])[0], atol=1e-5)


def test_a_category_never_seen_and_one_missing_are_answered(exported):
    p = Predictor(exported("tabular").package)
    answers = p.predict([{"age": 40, "job": "astronaut"}, {"age": 40, "job": None}, {"age": None, "job": "baker"}, {}])
    assert np.isfinite(answers).all()
    assert answers.shape == (4, 2)


def test_the_reference_profile_travels_in_the_package(trained, exported):
    dataset = trained("image").dataset
    assert exported("image").package.profile() == dataset.profile() == {"features": {"image": {"rows": dataset.rows("train")}}}
    assert exported("text").package.profile() is None


def test_int8_that_loses_more_than_the_budget_is_left_and_said(trained, tmp_path):
    result = export(trained("image"), tmp_path / "package", max_loss=0.0, int8_above=0)
    worse = next(f for f in result.evidence["formats"] if f["format"] == "int8")
    if worse["loss"] <= 0:
        pytest.fail("the example no longer loses anything in int8: make it harder")
    assert (result.decision, result.evidence["chosen"]) == ("pass", "fp32")
    assert any("export.max_loss allows 0" in r for r in result.reasons)


def test_a_small_graph_is_fp32_unless_int8_alone_is_asked_for(trained, tmp_path):
    both = export(trained("tabular"), tmp_path / "both")
    assert (both.evidence["chosen"], both.evidence["formats"][1]["tried"]) == ("fp32", False)
    assert "int8 was not tried: it pays for graphs of more than 1,048,576 bytes" in both.reasons[1]
    alone = export(trained("tabular"), tmp_path / "alone", formats=["int8"], max_loss=0.02)
    assert (alone.decision, alone.package.precision) == ("pass", "int8")


@pytest.mark.parametrize(("formats", "decision", "chosen"), [(["fp32", "int8"], "pass", "fp32"), (["int8"], "refuse", None)])
def test_one_answer_moved_too_far_rules_int8_out_and_the_row_is_named(trained, tmp_path, formats, decision, chosen):
    made = trained("regression")
    result = export(made, tmp_path / "package", formats=formats, max_loss=1.0, int8_above=0, max_answer_change=1e-3)
    assert (result.decision, result.evidence["chosen"]) == (decision, chosen)
    moved = next(f for f in result.evidence["formats"] if f["format"] == "int8")["moved"]
    row = made.dataset.read("test").to_pylist()[made.dataset.read("test").column("row_id").to_pylist().index(moved["row_id"])]
    assert moved["row"].startswith(f"weight={row['weight']}")
    assert moved["change"] * np.std(made.dataset.read("test").column("label").to_numpy()) == pytest.approx(
        abs(moved["answer"] - moved["fp32"]), rel=1e-3
    )
    assert any(
        f"int8 moves the answer to row {moved['row_id']} by" in r and "export.max_answer_change allows 0.001" in r for r in result.reasons
    )


def test_no_format_within_the_budget_is_a_refusal_that_leaves_nothing(trained, tmp_path):
    result = export(trained("image"), tmp_path / "package", formats=["int8"], max_loss=0.0)
    assert (result.decision, result.package, result.evidence["chosen"]) == ("refuse", None, None)
    assert "int8 loses" in result.reasons[0]
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_cannot_be_measured_is_no_small_loss(trained, tmp_path):
    made = trained("regression")
    table = made.dataset.read("test")
    flat = table.set_column(table.schema.get_field_index("label"), "label", pa.array([5.0] * table.num_rows))
    dataset = write_dataset(
        tmp_path / "data",
        {"train": made.dataset.read("train"), "test": flat},
        task="tabular",
        objective="regression",
        labels=[],
        columns=made.dataset.columns,
        source={},
        shard_rows=1000,
    )
    result = export(made._replace(dataset=dataset), tmp_path / "package", evaluate={"metric": "r2"}, int8_above=0, max_answer_change=10.0)
    assert (result.decision, result.evidence["chosen"]) == ("pass", "fp32")
    assert "r2 is undefined" in result.reasons[-1]


def test_held_out_rows_are_validation_rows_where_there_is_no_test_split(trained, tmp_path):
    made = trained("text")

    def without(*splits: str) -> Dataset:
        kept = {s: made.dataset.read(s) for s in ("train", "validation", "test") if s not in splits}
        return write_dataset(
            tmp_path / "-".join(splits),
            kept,
            task="text",
            objective="classification",
            labels=made.dataset.labels,
            columns={"text": "text"},
            source={},
            shard_rows=1000,
        )

    result = export(made._replace(dataset=without("test")), tmp_path / "package", formats=["fp32"])
    assert result.evidence["rows"] == made.dataset.rows("validation")
    with pytest.raises(DataError, match="no held-out rows"):
        export(made._replace(dataset=without("test", "validation")), tmp_path / "package")


PROGRAM = """
import json, sys
from pathlib import Path
from sluice.data.dataset import Dataset
from sluice.formats.export import export_package
from sluice.project import parse
out = {}
for kind, settings, data, model, target in json.load(sys.stdin):
    r = export_package(parse(settings), Path(model), Dataset.open(Path(data)), Path(target))
    r.package.manifest["provenance"].pop("code")  # of the files as they are now: a checkout being worked on may change between two processes
    out[kind] = r.package.manifest
print(json.dumps(out))
"""


def test_another_process_exports_the_same_bytes(trained, tmp_path):
    kinds = ("image", "text", "tabular")
    jobs = [
        (k, trained(k).project.model_dump(mode="json"), str(trained(k).dataset.root), str(trained(k).model), str(tmp_path / f"{k}-2"))
        for k in kinds
    ]
    env = {**os.environ, "PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(jobs), capture_output=True, text=True, env=env, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    other = json.loads(done.stdout.splitlines()[-1])
    for kind in kinds:
        here = trained(kind)._replace(project=parse(trained(kind).project.model_dump(mode="json")))
        ours = export(here, tmp_path / f"{kind}-1").package
        manifest = ours.manifest | {"provenance": {k: v for k, v in ours.manifest["provenance"].items() if k != "code"}}
        assert json.loads(json.dumps(manifest)) == other[kind]
        assert (tmp_path / f"{kind}-1" / "model.onnx").read_bytes() == (tmp_path / f"{kind}-2" / "model.onnx").read_bytes()


PLUGIN = '''
import torch
from sluice.learners.torch.texts.network import TextNetwork
from sluice.tasks.text import TextTask


class TwoFacedNetwork(TextNetwork):
    """Answers one thing in PyTorch and another while it is traced."""

    def serving_module(self, model, state):
        inner = super().serving_module(model, state)

        class Wrapper(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, **tensors):
                out = self.inner(**tensors)
                return 1 - out if torch.compiler.is_exporting() else out

        return Wrapper()


class TwoFaced(TextTask):
    network = TwoFacedNetwork


class UntraceableNetwork(TextNetwork):
    def serving_module(self, model, state):
        inner = super().serving_module(model, state)

        class Wrapper(torch.nn.Module):
            def forward(self, **tensors):
                out = inner(**tensors)
                return out * 2 if float(out.sum()) > 1e9 else out

        return Wrapper()


class Untraceable(TextTask):
    network = "own_tasks:UntraceableNetwork"


class Faithful(TextTask):
    pass
'''


@pytest.fixture
def plugin(trained, tmp_path, monkeypatch):
    """`plugin("Faithful")`: the text model under a task of the user's own, in a module outside the package."""
    (tmp_path / "own_tasks.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_tasks", raising=False)
    made = trained("text")
    yield lambda name: made._replace(project=made.project.model_copy(update={"task": f"own_tasks:{name}"}))
    sys.modules.pop("own_tasks", None)


def test_an_fp32_graph_that_answers_otherwise_than_pytorch_is_refused(plugin, tmp_path):
    result = export(plugin("TwoFaced"), tmp_path / "package")
    assert (result.decision, result.package) == ("refuse", None)
    assert "does not answer as the trained model does" in result.reasons[0]
    assert not (tmp_path / "package").exists()


def test_a_model_that_cannot_be_traced_is_explained(plugin, tmp_path):
    with pytest.raises(SluiceError, match="torch cannot export") as e:
        export(plugin("Untraceable"), tmp_path / "package")
    assert e.value.fix
    assert not isinstance(e.value, PackageError)


def test_the_code_digest_covers_the_module_of_a_task_of_the_users_own(plugin, tmp_path):
    from sluice.package.provenance import code_digest
    from sluice.tasks import load_task
    from sluice.tasks.text import TextTask

    task = type(load_task(plugin("Faithful").project))
    before = code_digest(task)
    path = tmp_path / "own_tasks.py"
    path.write_text(path.read_text() + "# changed\n")
    assert len({code_digest(TextTask), before, code_digest(task)}) == 3


def test_a_task_of_the_users_own_is_packaged_like_any_other(plugin, tmp_path):
    package = export(plugin("Faithful"), tmp_path / "package", formats=["fp32"]).package
    assert package.task == "own_tasks:Faithful"
    assert Predictor(package).predict(["a song please"]).shape == (1, 3)


def test_provenance_says_what_the_package_was_made_from(trained, exported):
    made, found = trained("tabular"), exported("tabular").package.provenance
    assert found["data"] == made.dataset.digest
    assert found["seed"] == made.project.train.seed
    assert {"python", "torch", "onnx", "onnxruntime", "numpy"} <= set(found["libraries"])


@pytest.mark.parametrize("kind", ["image", "text", "tabular", "regression"])
def test_fp16_is_made_where_it_is_asked_for_and_answers_as_fp32_does(trained, tmp_path, kind):
    made = trained(kind)
    result = export(made, tmp_path / "package", formats=["fp32", "fp16"], max_loss=0.02)
    found = {f["format"]: f for f in result.evidence["formats"]}
    assert list(found) == ["fp32", "fp16"]
    assert found["fp16"]["ok"], found["fp16"]["why"]
    assert found["fp16"]["bytes"] < 0.8 * found["fp32"]["bytes"] and found["fp16"]["agreement"] > 0.98
    assert found["fp16"]["moved"]["fp32"] != found["fp16"]["moved"]["answer"]
    assert (result.package.precision, result.package.engine.options) == ("fp16", {})


OWN = """
import onnx
from sluice.formats.base import Artifact, Format

class Halves(Format):
    name, of = "halves", "fp16"

    def make(self, graph, calibration):
        assert any(t.data_type == onnx.TensorProto.FLOAT16 for t in onnx.load_model_from_string(graph).graph.initializer)
        return Artifact(graph)

class NoGraph(Format):
    name = "no-graph"

    def make(self, graph, calibration):
        return Artifact(b"no graph at all")

class Renamed(Format):
    name = "renamed"

    def make(self, graph, calibration):
        model = onnx.load_model_from_string(graph)
        for node in model.graph.node:
            node.output[:] = ["answer" if n == model.graph.output[0].name else n for n in node.output]
        model.graph.output[0].name = "answer"
        return Artifact(model.SerializeToString())

class OfRenamed(Format):
    name, of = "of-renamed", "own_forms:Renamed"

    def make(self, graph, calibration):
        raise AssertionError("made of nothing")
"""


def test_formats_of_the_users_own_are_made_behind_what_they_are_of_and_say_why_there_is_none(trained, tmp_path):
    (tmp_path / "own_forms.py").write_text(OWN)
    made = trained("tabular")

    def exported(*formats: str) -> ExportResult:
        project = made.project.model_copy(update={"export": made.project.export.model_copy(update={"formats": list(formats)})})
        return export_package(project, made.model, made.dataset, tmp_path / f"package{len(formats)}", base_dir=tmp_path)

    only = exported("own_forms:Halves")
    assert [f["format"] for f in only.evidence["formats"]] == ["halves"]  # fp32 and fp16 were made for it, and not asked for
    assert only.package.precision == "halves"
    several = exported("fp32", "own_forms:NoGraph", "own_forms:Renamed", "own_forms:OfRenamed")
    why = {f["format"]: f["why"] for f in several.evidence["formats"]}
    assert several.package.precision == "fp32" and not why["fp32"]
    assert why["no-graph"].startswith("there is no no-graph: what it made is no ONNX graph")
    assert why["renamed"] == "there is no renamed: has other outputs than declared"
    assert why["of-renamed"] == "there is no of-renamed: there is no own_forms:Renamed to make it of"
