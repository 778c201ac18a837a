"""int8 graphs answer nearly as the fp32 ones, alone as in a batch."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from sluice.core.errors import SluiceError
from sluice.formats.quantise import quantise

RNG = np.random.default_rng(0)
W1, W2 = RNG.normal(size=(16, 32)).astype(np.float32), RNG.normal(size=(4, 32)).astype(np.float32)
B2 = RNG.normal(size=4).astype(np.float32)
TABLE = RNG.normal(size=(300, 16)).astype(np.float32)


def build(nodes: list[onnx.NodeProto], tensors: dict[str, np.ndarray], kind: int, shape: list, out: list) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(a, n) for n, a in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def perceptron(**gemm: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], transB=1, **gemm),
    ]
    return build(nodes, {"w1": W1, "w2": W2, "b2": B2}, TensorProto.FLOAT, ["n", 16], ["n", 4])


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def rows(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)


def calibration() -> list[dict[str, np.ndarray]]:
    return [{"x": rows(8, seed)} for seed in range(16)]


@pytest.mark.parametrize("gemm", [{}, {"alpha": 0.5, "beta": 2.0}])
def test_products_keep_their_answers_and_lose_three_quarters_of_their_weights(gemm):
    model = perceptron(**gemm)
    made = quantise(model, calibration())
    x = rows(200, 99)
    expected, found = run(model, x), run(made, x)
    assert np.abs(found - expected).max() < 0.05 * expected.std() * 4
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    assert {t.data_type for t in made.graph.initializer if len(t.dims) == 2} == {TensorProto.INT8}


def test_weights_keep_to_seven_bits_so_that_no_cpu_saturates():
    made = quantise(perceptron(), calibration())
    largest = max(np.abs(numpy_helper.to_array(t).astype(int)).max() for t in made.graph.initializer if len(t.dims) == 2)
    assert largest == 63


def test_an_answer_does_not_depend_on_its_batch():
    made = quantise(perceptron(), calibration())
    x = np.concatenate([rows(15, 5), 100 * rows(1, 6)])  # one row far outside the others' range
    assert np.array_equal(run(made, x)[:15], np.concatenate([run(made, r[None]) for r in x[:15]]))


def test_products_of_two_activations_stay_float():
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Transpose", ["h"], ["t"]),
        helper.make_node("MatMul", ["h", "t"], ["y"]),
    ]
    made = quantise(build(nodes, {"w1": W1}, TensorProto.FLOAT, ["n", 16], ["n", "n"]), calibration())
    assert [n.input[0].endswith(".restored") for n in made.graph.node if n.op_type == "MatMul"] == [True, False]


def test_one_tensor_that_feeds_products_and_a_residual_is_quantised_for_the_products_alone():
    square = RNG.normal(size=(16, 16)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["x", "w"], ["g"]),
        helper.make_node("Add", ["h", "g"], ["s"]),
        helper.make_node("Add", ["s", "x"], ["y"]),
    ]
    made = quantise(build(nodes, {"w": square}, TensorProto.FLOAT, ["n", 16], ["n", 16]), calibration())
    assert sum(n.op_type == "QuantizeLinear" for n in made.graph.node) == 1
    assert made.graph.node[-1].input[1] == "x"


def test_embedding_tables_are_stored_as_bytes_with_a_scale_a_row():
    nodes = [helper.make_node("Gather", ["table", "x"], ["e"]), helper.make_node("MatMul", ["e", "w1"], ["y"])]
    model = build(nodes, {"table": TABLE, "w1": W1}, TensorProto.INT64, ["n"], ["n", 32])
    made = quantise(model, [{"x": np.arange(i, 300, 7)} for i in range(7)])
    x = np.arange(300)
    assert len(made.SerializeToString()) < 0.4 * len(model.SerializeToString())
    assert np.corrcoef(run(made, x).ravel(), run(model, x).ravel())[0, 1] > 0.999
    assert run(made, np.array([5]))[0].tolist() == run(made, x)[5].tolist()


def test_a_table_that_something_else_reads_stays_float():
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("Transpose", ["table"], ["t"]),
        helper.make_node("MatMul", ["e", "t"], ["l"]),
        helper.make_node("MatMul", ["e", "w1"], ["h"]),
        helper.make_node("Concat", ["l", "h"], ["y"], axis=1),
    ]
    model = build(nodes, {"table": TABLE, "w1": W1}, TensorProto.INT64, ["n"], ["n", 332])
    made = quantise(model, [{"x": np.arange(300)}])
    assert np.abs(run(made, np.arange(9)) - run(model, np.arange(9))).max() < 0.5


def test_convolutions_run_on_bytes_end_to_end():
    w = RNG.normal(size=(8, 1, 3, 3)).astype(np.float32)
    head = RNG.normal(size=(8 * 16, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["y"]),
    ]
    model = build(nodes, {"w": w, "head": head}, TensorProto.FLOAT, ["n", 1, 8, 8], ["n", 3])
    images = RNG.normal(size=(64, 1, 8, 8)).astype(np.float32)
    made = quantise(model, [{"x": images[i : i + 8]} for i in range(0, 64, 8)])
    expected, found = run(model, images), run(made, images)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.995
    assert np.array_equal(found[:3], run(made, images[:3]))


def test_a_graph_without_weights_has_no_int8():
    assert quantise(build([helper.make_node("Relu", ["x"], ["y"])], {}, TensorProto.FLOAT, ["n", 16], ["n", 16]), calibration()) is None


def test_weights_of_zero_and_inputs_of_zero_are_no_division_by_zero():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = build(nodes, {"w": np.zeros((16, 2), dtype=np.float32)}, TensorProto.FLOAT, ["n", 16], ["n", 2])
    made = quantise(model, [{"x": np.zeros((4, 16), dtype=np.float32)}])
    assert run(made, rows(3)).tolist() == [[0, 0]] * 3


def test_activations_that_are_not_finite_are_explained():
    with pytest.raises(SluiceError, match="not finite"):
        quantise(perceptron(), [{"x": np.full((2, 16), 3e38, dtype=np.float32)}])


def test_equal_inputs_give_equal_graphs():
    first, second = (quantise(perceptron(), calibration()) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
