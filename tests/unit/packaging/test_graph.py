"""Two exports of one model are the same bytes, and what is not the declared graph is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from sluice.core.datatypes import TABLE, TensorSpec
from sluice.core.errors import PackageError
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.package.graph import check, name_inputs, normalise, to_bytes

X, Y = TensorSpec("x", "FP32", (-1, 3)), TensorSpec("value", "FP32", (-1,))


def net(noise: str = "", **changes: object) -> onnx.ModelProto:
    """value = sum(relu(x @ w + b)), with everything an exporter may leave behind written `noise`."""
    w, b = np.arange(6, dtype=np.float32).reshape(3, 2) - 2, np.ones(2, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "head.weight"], [f"m{noise}"], name=f"n0{noise}", doc_string=f"at {noise}"),
        helper.make_node("Add", [f"m{noise}", f"bias{noise}"], [f"a{noise}"], name=f"n1{noise}"),
        helper.make_node("Relu", [f"a{noise}"], [f"r{noise}"]),
        helper.make_node("ReduceSum", [f"r{noise}", f"axes{noise}"], ["value"], keepdims=0),
    ]
    tensors = [
        numpy_helper.from_array(w, "head.weight"),
        numpy_helper.from_array(b, f"bias{noise}"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), f"axes{noise}"),
        numpy_helper.from_array(w, f"unused{noise}"),
    ]
    shape = changes.get("shape", ["batch", 3])
    graph = helper.make_graph(
        nodes,
        f"g{noise}",
        [helper.make_tensor_value_info("x", changes.get("kind", TensorProto.FLOAT), shape)],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["batch"])],
        tensors,
        doc_string=noise,
    )
    graph.value_info.append(helper.make_tensor_value_info(f"m{noise}", TensorProto.FLOAT, [f"s{noise}", 2]))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)],
        producer_name=f"torch{noise}",
        ir_version=9,
        doc_string=noise,
    )
    for holder in (model, model.graph, model.graph.node[0]):
        entry = holder.metadata_props.add()
        entry.key, entry.value = "stack_trace", f"File {noise}, object at 0x7f{noise}"
    return model


def run(model: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def test_what_an_exporter_leaves_behind_does_not_reach_the_bytes():
    assert to_bytes(normalise(net("aaa"))) == to_bytes(normalise(net("/home/someone/0xdeadbeef")))
    assert b"someone" not in to_bytes(normalise(net("/home/someone/0xdeadbeef")))


def test_the_normal_form_is_the_same_model_and_is_its_own_normal_form():
    model = net("zzz")
    once = normalise(model)
    assert np.array_equal(run(once), run(model))
    assert to_bytes(normalise(once)) == to_bytes(once)
    assert model.graph.node[0].doc_string == "at zzz"  # the argument is left alone


def test_parameters_keep_their_names_and_unused_ones_go():
    assert sorted(t.name for t in normalise(net("q")).graph.initializer) == ["c0", "c1", "head.weight"]


def test_a_changed_weight_changes_the_bytes():
    changed = net()
    changed.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([1, 1.0000001], dtype=np.float32), "bias"))
    assert to_bytes(normalise(changed)) != to_bytes(normalise(net()))


def test_inputs_that_look_like_the_normal_forms_own_names_are_kept_apart():
    model = net()
    for name in ("t0", "c0"):
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]))
    out = normalise(model)
    names = [v.name for v in out.graph.input] + [o for n in out.graph.node for o in n.output] + [t.name for t in out.graph.initializer]
    assert len(names) == len(set(names))
    onnx.checker.check_model(out, full_check=True)


def test_names_inside_branches_follow_those_outside():
    def branch(name: str, operator: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(operator, ["outer_mem0x1"], [f"{name}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
        )

    nodes = [
        helper.make_node("Identity", ["x"], ["outer_mem0x1"]),
        helper.make_node("If", ["yes"], ["value"], then_branch=branch("then", "Neg"), else_branch=branch("else", "Abs")),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]), helper.make_tensor_value_info("yes", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["batch", 3])],
    )
    out = normalise(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    opened = ort.InferenceSession(out.SerializeToString())
    x = np.array([[1, -2, 3]], dtype=np.float32)
    assert opened.run(None, {"x": x, "yes": np.array(True)})[0].tolist() == [[-1, 2, -3]]
    assert b"mem0x1" not in to_bytes(out)


def test_local_functions_are_written_out():
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x"], ["value"], domain="local")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["batch", 3])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("local", 1)], functions=[function], ir_version=9
    )
    out = normalise(model)
    assert not out.functions
    assert [o.domain for o in out.opset_import] == [""]


def test_the_declared_graph_passes_the_check():
    assert check(to_bytes(normalise(net())), [X], [Y]).graph.input[0].name == "x"


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ([TensorSpec("y", "FP32", (-1, 3))], [Y], "other inputs"),
        ([X], [TensorSpec("price", "FP32", (-1,))], "other outputs"),
        ([TensorSpec("x", "INT64", (-1, 3))], [Y], "not INT64"),
        ([TensorSpec("x", "FP32", (-1, 4))], [Y], "shape"),
        ([TensorSpec("x", "FP32", (-1, -1))], [Y], "shape"),
        ([TensorSpec("x", "FP32", (-1, 3, 1))], [Y], "shape"),
        ([X, X], [Y], "other inputs"),
    ],
)
def test_another_graph_than_declared_is_refused(inputs, outputs, says):
    with pytest.raises(PackageError, match=says):
        check(to_bytes(normalise(net())), inputs, outputs)


def test_a_batch_that_was_taken_for_a_constant_is_refused():
    with pytest.raises(PackageError, match="shape"):
        check(to_bytes(net(shape=[2, 3])), [X], [Y])


def test_weights_outside_the_file_are_refused():
    model = net()
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location="../weights.bin", offset=0, length=24)
    tensor.ClearField("raw_data")
    with pytest.raises(PackageError, match="outside the file"):
        check(to_bytes(model), [X], [Y])


@pytest.mark.parametrize("raw", [b"", b"\xff" * 40, b"not a model", to_bytes(net())[:-30]])
def test_what_is_no_model_is_refused(raw):
    with pytest.raises(PackageError):
        check(raw, [X], [Y])


def test_a_graph_that_breaks_onnx_is_refused():
    model = net()
    model.graph.node[0].op_type = "MatMull"
    with pytest.raises(PackageError, match="not valid ONNX"):
        check(to_bytes(model), [X], [Y])


def test_the_one_table_of_element_types_says_what_numpy_onnx_and_its_runtime_say():
    for d in TABLE:
        dtype = np.dtype(d.numpy)
        assert onnx.TensorProto.DataType.Name(d.onnx) == onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(dtype))
        assert d.size == (dtype.itemsize if d.name != "BYTES" else 0)
        x, y = (onnx.helper.make_tensor_value_info(n, d.onnx, [1]) for n in "xy")
        made = onnx.helper.make_model(
            onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y]),
            opset_imports=[onnx.helper.make_opsetid("", 18)],
            ir_version=8,
        )
        assert [i.datatype for i in OnnxRuntime.open(made.SerializeToString()).inputs] == [d.name]


@pytest.mark.parametrize("name", ["head.weight", "m", "bias", "r", "axes", "x__inner"])
def test_an_input_may_be_called_as_a_part_of_the_graph_is(name):
    made = net()
    name_inputs(made, {"x": name})
    done = check(to_bytes(normalise(made)), [TensorSpec(name, "FP32", (-1, 3))], [Y])
    rows = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    found = OnnxRuntime.open(done.SerializeToString()).run({name: rows})[Y.name]
    np.testing.assert_array_equal(found, OnnxRuntime.open(to_bytes(normalise(net()))).run({"x": rows})[Y.name])
