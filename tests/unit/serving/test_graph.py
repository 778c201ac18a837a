"""What is read of an ONNX file without loading it, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from serving.runtime.models import onnx_safety
from serving.runtime.models.model import load
from sluice.core.errors import PackageError
from tests.unit.serving import builders

BIG = 1 << 30


def external(root: Path, location: str, *, create: bool = True) -> Path:
    """A graph whose weight lies at `location`."""
    root.mkdir(parents=True, exist_ok=True)
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "W")
    raw = weight.raw_data
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    node = helper.make_node("MatMul", ["x", "W"], ["y"])
    made = helper.make_graph(
        [node], "g", [builders.tensor("x", TensorProto.FLOAT, [None, 4])], [builders.tensor("y", TensorProto.FLOAT, [None, 4])], [weight]
    )
    (root / "model.onnx").write_bytes(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )
    if create:
        (root / "weights.bin").write_bytes(raw)
    return root / "model.onnx"


def test_opsets_and_operators_are_those_onnx_reads(tmp_path: Path) -> None:
    for make in (builders.text, builders.tabular, builders.image):
        package = make(tmp_path / make.__name__)
        found, model = onnx_safety.check(package.model, BIG), onnx.load(package.model)
        assert found.opsets == {o.domain: o.version for o in model.opset_import}
        assert (
            set(found.operators) == {f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in model.graph.node}
            and not found.external
            and not found.dynamic_scales
        )


def test_dynamic_scales_are_seen(tmp_path: Path) -> None:
    assert onnx_safety.check(builders.dynamic(tmp_path).model, BIG).dynamic_scales


def test_weights_beside_the_model_are_served(tmp_path: Path) -> None:
    model = load(external(tmp_path, "weights.bin"), "m", None, 1, BIG)
    assert model.run({"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("location", ["/etc/passwd", "../secret.bin", "a/../../secret.bin", "..\\secret.bin", ""])
def test_weights_outside_the_model_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    with pytest.raises(PackageError, match="outside the package"):
        load(external(tmp_path / "m", location), "m", None, 1, BIG)


def test_weights_behind_a_link_that_climbs_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    path = external(tmp_path / "m", "weights.bin", create=False)
    (tmp_path / "m" / "weights.bin").symlink_to("../secret.bin")
    with pytest.raises(PackageError, match="outside the package"):
        load(path, "m", None, 1, BIG)


def test_weights_hidden_in_a_subgraph_are_seen(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones(2, np.float32), "W")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/shadow")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["o"], value=weight)], "b", [], [builders.tensor("o", TensorProto.FLOAT, [2])]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    made = helper.make_graph([node], "g", [builders.tensor("c", TensorProto.BOOL, [])], [builders.tensor("y", TensorProto.FLOAT, [2])])
    (tmp_path / "model.onnx").write_bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    with pytest.raises(PackageError, match="outside the package"):
        onnx_safety.check(tmp_path / "model.onnx", BIG)


@pytest.mark.parametrize(
    ("domain", "version", "says"), [("", 99, "operator set outside"), ("", 3, "operator set outside"), ("com.evil", 1, "does not have")]
)
def test_operator_sets_that_are_not_run_are_refused(tmp_path: Path, domain: str, version: int, says: str) -> None:
    model = onnx.load(builders.classifier(tmp_path).model)
    del model.opset_import[:]
    model.opset_import.extend([helper.make_opsetid("", 18)] if domain else [])
    model.opset_import.append(helper.make_opsetid(domain, version))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(PackageError, match=says):
        onnx_safety.check(tmp_path / "model.onnx", BIG)


def test_a_model_larger_than_may_be_is_refused(tmp_path: Path) -> None:
    package = builders.classifier(tmp_path / "p")
    with pytest.raises(PackageError, match="larger than 100 bytes"):
        load(package.root, "", None, 1, 100)
    path = external(tmp_path / "e", "weights.bin")
    with pytest.raises(PackageError, match="and its weights are larger"):
        onnx_safety.check(path, path.stat().st_size + 10)


@settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_refused_or_read_never_a_crash(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("damaged")
    raw = bytearray(builders.tabular(root).model.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    (root / "model.onnx").write_bytes(raw)
    try:
        onnx_safety.check(root / "model.onnx", BIG)
    except PackageError:
        pass
    finally:
        shutil.rmtree(root)
