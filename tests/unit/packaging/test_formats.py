"""Formats by name: what there is, in which order they are made, and fp16's own answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import ProjectError
from sluice.engines.base import open_engine
from sluice.formats.base import FORMATS, Artifact, Format, formats_of, load_format
from sluice.package.graph import check, normalise, to_bytes
from sluice.project import parse, schema

NAMES = ["fp32", "fp16", "int8", "int8_dynamic", "pruned", "torchscript", "tensorrt"]

OWN = """
from sluice.formats.base import Artifact, Format

class Smaller(Format):
    name, of = "smaller", "fp16"

    def make(self, graph, calibration):
        return Artifact(graph)

class Round(Format):
    name, of = "round", "own_formats:Round"

    def make(self, graph, calibration):
        return Artifact(graph)

class Unfinished(Format):
    name = "unfinished"

nothing = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own_formats.py").write_text(OWN)
    return tmp_path


def project(*formats: str, base_dir: Path | None = None):
    return parse({"name": "a", "task": "text", "data": {"source": "x.csv"}, "export": {"formats": list(formats)}}, base_dir=base_dir)


def test_every_built_in_format_goes_by_its_name():
    assert {name: load_format(name).name for name in FORMATS.names()} == {n: n for n in NAMES}


def test_an_unknown_format_is_answered_with_the_nearest():
    with pytest.raises(ProjectError, match="did you mean 'int8'") as e:
        project("fp32", "int9")
    assert e.value.field.endswith("export.formats.1")
    assert e.value.value == "int9"


def test_editors_are_offered_the_formats_by_name():
    items = schema()["$defs"]["ExportConfig"]["properties"]["formats"]["items"]
    assert items["anyOf"][0]["enum"] == NAMES


def test_formats_are_made_behind_what_they_are_made_from(own):
    assert [f.name for f in formats_of(["int8"])] == ["fp32", "int8"]
    assert [f.name for f in formats_of(["own_formats:Smaller", "fp32"], own)] == ["fp32", "fp16", "smaller"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("Round", "made from itself"), ("Unfinished", "not a format"), ("nothing", "not a format"), ("Missing", "has no Missing")],
)
def test_what_is_no_format_is_found_out_when_the_project_is_read(own, name, says):
    with pytest.raises(ProjectError, match=says) as e:
        project(f"own_formats:{name}", base_dir=own)
    assert e.value.field == "export.formats"


X, Y = TensorSpec("x", "FP32", (-1, 16)), TensorSpec("y", "FP32", (-1, 4))


def perceptron(scale: float = 1.0) -> bytes:
    rng = np.random.default_rng(0)
    weights = {"w1": rng.normal(size=(16, 64)) * scale, "w2": rng.normal(size=(64, 4)), "b2": rng.normal(size=4)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"]),
            helper.make_node("Tanh", ["h"], ["t"]),
            helper.make_node("Gemm", ["t", "w2", "b2"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    return to_bytes(normalise(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)))


def never() -> list[dict[str, np.ndarray]]:
    raise AssertionError("fp16 needs no calibration")


def test_fp16_halves_the_weights_keeps_both_ends_and_answers_nearly_the_same():
    whole, form = perceptron(), load_format("fp16")
    data = to_bytes(normalise(onnx.load_model_from_string(form.make(whole, never).data)))
    made = check(data, [X], [Y])
    assert {t.data_type for t in made.graph.initializer} == {TensorProto.FLOAT16}
    assert len(data) < 0.7 * len(whole)
    rows = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    expected, found = (open_engine(form.engine, g).run({"x": rows})["y"] for g in (whole, data))
    assert found.dtype == np.float32
    difference = np.abs(found - expected).max()
    assert 0 < difference < 0.03


def test_equal_graphs_give_equal_fp16():
    made = {to_bytes(normalise(onnx.load_model_from_string(load_format("fp16").make(perceptron(), never).data))) for _ in range(2)}
    assert len(made) == 1


def test_the_converter_leaves_the_path_of_imports_as_it_was():
    before = list(sys.path)
    load_format("fp16").make(perceptron(), never)
    assert sys.path == before


def test_dynamic_int8_needs_no_calibration_is_smaller_and_answers_nearly_the_same():
    whole, form = perceptron(), load_format("int8_dynamic")
    data = to_bytes(normalise(onnx.load_model_from_string(form.make(whole, never).data)))
    made = check(data, [X], [Y])
    assert {t.data_type for t in made.graph.initializer} >= {TensorProto.INT8} and len(data) < 0.75 * len(whole)
    rows = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
    expected, found = (open_engine(form.engine, g).run({"x": rows})["y"] for g in (whole, data))
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    alone = np.concatenate([open_engine(form.engine, data).run({"x": r[None]})["y"] for r in rows])
    assert np.abs(alone - found).max() > 0, "its scales are the batch's"
    assert to_bytes(normalise(onnx.load_model_from_string(form.make(whole, never).data))) == data


def test_a_graph_without_a_matrix_product_has_no_dynamic_int8():
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert load_format("int8_dynamic").make(model.SerializeToString(), never).why == "the graph has no matrix product with weights"


@pytest.mark.parametrize("order", [("fp16", "int8_dynamic"), ("int8_dynamic", "fp16")])
def test_the_formats_tools_are_found_in_any_order(order):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from tests.unit.packaging.test_formats import load_format, never, perceptron
for name in {order!r}:
    assert load_format(name).make(perceptron(), never).data
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_report_draws_what_formats_lose_against_their_time():
    from sluice.core.check import Decision
    from sluice.gates.format import Format as Gate

    def found(name, ms, loss, ok=True):
        more = {"max_abs_diff": 0.1, "agreement": 1.0, "metric": 0.9, "batch_ms": 8 * ms}
        return {"format": name, "bytes": 1000, "ok": ok, "latency_ms": ms, "loss": loss, "loss_high": loss + 0.01, **more}

    one = [found("fp32", 1.0, 0.0)]
    page = Gate().section(Decision("pass", evidence={"formats": one, "chosen": "fp32"}))
    assert "ms, 16 rows" in page and "loss against time" not in page
    page = Gate().section(
        Decision("pass", evidence={"formats": [*one, found("int8", 0.5, 0.002), found("worse", 2.0, 0.05, False)], "chosen": "int8"})
    )
    assert "loss against time" in page and page.count("<circle") == 3 and "0.002 (at most 0.012)" in page


def test_a_graph_without_weights_has_no_fp16():
    model = onnx.load_model_from_string(perceptron())
    del model.graph.initializer[:]
    assert load_format("fp16").make(model.SerializeToString(), never) == Artifact(why="the graph has no weights of 32 bits")


def test_a_format_is_an_object_with_a_make():
    with pytest.raises(TypeError):
        Format()
