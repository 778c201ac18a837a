"""The reader of ONNX files agrees with the `onnx` package, and damaged or hostile files end in a `PackageError`."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sluice.core.errors import PackageError
from sluice.package.onnxfile import check, facts

QUICK = settings(max_examples=300, deadline=None)


def model(**opsets: int) -> onnx.ModelProto:
    """Every place weights can hide in: initialisers, sparse ones, attributes, branches, functions."""
    array = numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    bytes_ = numpy_helper.from_array(np.ones(5, np.int8), "q")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([2.0], np.float32), "s"), numpy_helper.from_array(np.array([1]), "i"), [4]
    )
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.zeros(7, np.float16), "inner"))],
        "branch",
        [],
        [helper.make_tensor_value_info("k", TensorProto.FLOAT16, [7])],
    )
    nodes = [
        helper.make_node("Add", ["x", "x"], ["a"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Gelu", ["a"], ["b"], domain="com.microsoft"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [7])],
        [array, bytes_],
        sparse_initializer=[sparse],
    )
    function = helper.make_function("local", "F", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [helper.make_opsetid("", 18)])
    versions = {"": 18, "com.microsoft": 1, **opsets}
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(d, v) for d, v in versions.items()], functions=[function], ir_version=9
    )


def write(tmp_path, m: onnx.ModelProto | bytes):
    path = tmp_path / "model.onnx"
    path.write_bytes(m if isinstance(m, bytes) else m.SerializeToString())
    return path


def test_facts_count_nodes_and_weights_wherever_they_are(tmp_path):
    found = facts(write(tmp_path, model()))
    assert found.operators == {"Add": 1, "If": 1, "com.microsoft.Gelu": 1, "Constant": 2, "Neg": 1}
    assert found.elements == {"FP32": 12 + 1, "INT8": 5, "INT64": 1, "FP16": 14}
    assert found.weight_bytes == 13 * 4 + 5 + 8 + 28
    assert found.opsets == {"": 18, "com.microsoft": 1}
    assert found.ir_version == 9
    assert found.external == []


def external(tensor: TensorProto, location: str) -> None:
    onnx.external_data_helper.set_external_data(tensor, location=location, offset=0, length=48)
    tensor.ClearField("raw_data")


@pytest.mark.parametrize("where", ["initialiser", "sparse", "attribute", "branch"])
@pytest.mark.parametrize("location", ["weights.bin", "../../etc/passwd", "/etc/passwd", ""])
def test_weights_outside_the_file_are_refused_wherever_they_are(tmp_path, where, location):
    m = model()
    constant = m.graph.node[1].attribute[0].g.node[0]
    if where == "attribute":
        m.graph.node.append(constant)
        constant = m.graph.node[-1]
    external(
        {"initialiser": m.graph.initializer[0], "sparse": m.graph.sparse_initializer[0].values}.get(where) or constant.attribute[0].t,
        location,
    )
    with pytest.raises(PackageError, match="outside the file"):
        check(write(tmp_path, m))


def test_a_location_without_the_flag_is_refused_too(tmp_path):
    m = model()
    external(m.graph.initializer[0], "weights.bin")
    m.graph.initializer[0].data_location = TensorProto.DEFAULT
    with pytest.raises(PackageError, match="outside the file"):
        check(write(tmp_path, m))


@pytest.mark.parametrize(
    ("opsets", "says"),
    [
        ({"": 99}, "outside 7..26"),
        ({"": 6}, "outside 7..26"),
        ({"ai.onnx.ml": 9}, "outside 1..5"),
        ({"org.evil": 1}, "operators ONNX Runtime does not have"),
    ],
)
def test_operator_sets_that_are_not_served_are_refused(tmp_path, opsets, says):
    with pytest.raises(PackageError, match=says):
        check(write(tmp_path, model(**opsets)))


@pytest.mark.parametrize(
    "raw", [b"", b"\x00", b"hello world, this is text", b"\xff" * 64, b"{}", onnx.ModelProto(ir_version=9).SerializeToString()]
)
def test_what_is_no_model_is_refused(tmp_path, raw):
    with pytest.raises(PackageError):
        facts(write(tmp_path, raw))


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(PackageError):
            facts(path)


def test_graphs_nested_without_end_are_refused(tmp_path):
    def field(number: int, data: bytes) -> bytes:
        size, out = len(data), b""
        while size > 127:
            out, size = out + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + out + bytes([size]) + data

    graph = b""
    for _ in range(200):
        graph = field(1, field(5, field(6, graph)))  # a node with an attribute that is a graph
    with pytest.raises(PackageError, match="nested too deep"):
        facts(write(tmp_path, field(8, b"\x10\x12") + field(7, graph)))


RAW = model().SerializeToString()


@QUICK
@given(data=st.data())
def test_damaged_files_are_read_or_refused_but_never_crash(tmp_path_factory, data):
    raw = bytearray(RAW)
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    path.write_bytes(bytes(raw))
    try:
        check(path)
    except PackageError as e:
        assert e.field == str(path)


@pytest.mark.parametrize("through", ["", "Cast", "DequantizeLinear"])
def test_the_table_an_input_picks_from_is_known(tmp_path, through):
    table = numpy_helper.from_array(np.ones((17, 4), np.int8 if through == "DequantizeLinear" else np.float32), "table")
    scale = numpy_helper.from_array(np.float32(1).reshape(()), "scale")
    nodes, data, index = [], "table", "ids"
    if through == "DequantizeLinear":
        nodes, data = [helper.make_node(through, ["table", "scale"], ["wide"])], "wide"
    elif through:
        nodes, index = [helper.make_node(through, ["ids"], ["cast"], to=TensorProto.INT64)], "cast"
    nodes.append(helper.make_node("Gather", [data, index], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])],
        [table, scale],
    )
    found = facts(write(tmp_path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)))
    assert found.tables == {"ids": 17}
