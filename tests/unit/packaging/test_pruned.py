"""Channels left out of a graph: which, what reads them fitted back, and what is left alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sluice.core.datatypes import TensorSpec
from sluice.core.errors import ProjectError
from sluice.engines.base import open_engine
from sluice.formats.base import load_format
from sluice.formats.channels import layers
from sluice.formats.pruned import Pruned
from sluice.package.graph import check, normalise, to_bytes
from sluice.project import parse

FLOAT = TensorProto.FLOAT


def sealed(nodes, weights, inputs, outputs) -> bytes:
    values = [[helper.make_tensor_value_info(n, FLOAT, s) for n, s in side.items()] for side in (inputs, outputs)]
    constants = [
        numpy_helper.from_array(np.asarray(a, np.int64 if np.asarray(a).dtype == np.int64 else np.float32), n) for n, a in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", *values, constants)
    return to_bytes(normalise(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)))


def node(op, given, made, **settings):
    return helper.make_node(op, given, [made], **settings)


def convolutions(rng) -> bytes:
    """Two convolutions and two products; the second half of each layer's channels repeats the first, so that nothing need be lost."""
    half = rng.normal(size=(4, 1, 3, 3))
    weights = {
        "l.k1": np.concatenate([half, half * 2]), "b1": np.tile(rng.normal(size=4) * 0.1, 2) * np.repeat([1, 2], 4),
        "l.k2": np.tile(rng.normal(size=(3, 8, 3, 3)), (2, 1, 1, 1)), "b2": np.zeros(6),
        "shape": np.array([-1, 6 * 16], np.int64), "l.w3": rng.normal(size=(8, 96)), "b3": rng.normal(size=8),
        "l.w4": rng.normal(size=(8, 2)),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "l.k1", "b1"], "c1", pads=[1, 1, 1, 1]), node("Relu", ["c1"], "r1"),
        node("Mul", ["r1", "mask"], "m1"), node("MaxPool", ["m1"], "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "l.k2", "b2"], "c2", pads=[1, 1, 1, 1]), node("Relu", ["c2"], "r2"), node("Reshape", ["r2", "shape"], "f"),
        node("Gemm", ["f", "l.w3", "b3"], "g3", transB=1), node("Tanh", ["g3"], "t"), node("MatMul", ["t", "l.w4"], "y"),
    ]  # fmt: skip
    return sealed(nodes, weights, {"x": ["batch", 1, 8, 8], "mask": ["batch", 1, 1, 8]}, {"y": ["batch", 2]})


def batches(rng):
    return [{"x": rng.normal(size=(8, 1, 8, 8)).astype(np.float32), "mask": np.ones((8, 1, 1, 8), np.float32)} for _ in range(6)]


def answers(graph, batch):
    return open_engine(Pruned.engine, graph).run(batch)["y"]


def test_channels_that_repeat_others_go_and_the_answers_stay():
    rng = np.random.default_rng(0)
    whole, given = convolutions(rng), batches(rng)
    made = Pruned(0.5).make(whole, lambda: given).data
    model = check(to_bytes(normalise(onnx.load_model_from_string(made))), [TensorSpec("x", "FP32", (-1, 1, 8, 8)), TensorSpec("mask", "FP32", (-1, 1, 1, 8))],
                  [TensorSpec("y", "FP32", (-1, 2))])  # fmt: skip
    sizes = {t.name: list(t.dims) for t in model.graph.initializer}
    assert (sizes["l.k1"], sizes["l.k2"], sizes["l.w3"], sizes["l.w4"]) == ([4, 1, 3, 3], [3, 4, 3, 3], [4, 48], [4, 2])
    assert len(made) < 0.5 * len(whole)
    batch = batches(rng)[0]
    before, after = answers(whole, batch), answers(made, batch)
    assert 1 - ((after - before) ** 2).mean() / before.var() > 0.4
    assert to_bytes(normalise(onnx.load_model_from_string(Pruned(0.5).make(whole, lambda: given).data))) == to_bytes(
        normalise(onnx.load_model_from_string(made))
    )


def test_what_is_fitted_back_answers_nearer_than_what_is_only_cut():
    rng = np.random.default_rng(1)
    mixed = rng.normal(size=(16, 6)) @ rng.normal(size=(6, 32))  # 32 channels of 6 dimensions
    weights = {"w1": mixed, "b1": rng.normal(size=32), "w2": rng.normal(size=(32, 3)), "b2": np.zeros(3)}
    nodes = [
        node("MatMul", ["x", "w1"], "h"),
        node("Add", ["h", "b1"], "a"),
        node("MatMul", ["a", "w2"], "o"),
        node("Add", ["o", "b2"], "y"),
    ]
    whole = sealed(nodes, weights, {"x": ["batch", 16]}, {"y": ["batch", 3]})
    given = [{"x": rng.normal(size=(32, 16)).astype(np.float32)} for _ in range(8)]
    made = Pruned(0.7).make(whole, lambda: given).data
    batch = {"x": rng.normal(size=(64, 16)).astype(np.float32)}
    before = answers(whole, batch)
    assert np.abs(answers(made, batch) - before).max() < 0.02 * np.abs(before).max(), (
        "ten channels hold six dimensions, and the bias their means"
    )
    assert len(made) < 0.5 * len(whole)


@pytest.mark.parametrize("what", ["two readers", "an answer", "a norm over channels", "shared weights", "exact"])
def test_channels_that_something_else_needs_stay(what):
    rng = np.random.default_rng(2)
    weights = {"w1": rng.normal(size=(4, 8)), "w2": rng.normal(size=(8, 8)), "scale": np.ones(8)}
    nodes = [node("MatMul", ["x", "w1"], "h"), node("Relu", ["h"], "r"), node("MatMul", ["r", "w2"], "y")]
    outputs = {"y": ["batch", 8]}
    if what == "two readers":
        nodes = [*nodes[:2], node("MatMul", ["r", "w2"], "z"), node("Add", ["z", "r"], "y")]
    elif what == "an answer":
        outputs["r"] = ["batch", 8]
    elif what == "a norm over channels":
        nodes[1] = node("LayerNormalization", ["h", "scale"], "r")
    elif what == "shared weights":
        nodes = [*nodes[:2], node("MatMul", ["r", "w2"], "z"), node("MatMul", ["z", "w2"], "y")]
    else:
        nodes[2].name = "exact.MatMul"
    model = onnx.load_model_from_string(sealed(nodes, weights, {"x": ["batch", 4]}, outputs))
    assert list(layers(model)) == []
    if what != "an answer":
        assert "no layer's channels" in Pruned().make(model.SerializeToString(), list).why


def test_its_share_and_its_own_budget_are_the_projects():
    given = {"name": "a", "task": "text", "data": {"source": "x.csv"}}
    plain, own = parse(given), parse({**given, "export": {"formats": ["fp32", "pruned"], "prune": {"share": 0.6, "max_loss": 0.03}}})
    form = load_format("pruned").about(own.export, None)
    assert isinstance(form, Pruned) and form.share == 0.6
    assert (form.budget(own.export), form.budget(plain.export)) == (0.03, plain.export.max_loss)
    assert parse({**given, "export": {"prune": {}}}).digest == plain.digest, "what is as by default says nothing"
    with pytest.raises(ProjectError, match="less than 1"):
        parse({**given, "export": {"prune": {"share": 1.0}}})
