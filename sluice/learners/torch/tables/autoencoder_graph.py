"""The ONNX graph of an autoencoder of tables, written node by node (see `graph.py` beside it for why)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from sluice.learners.tables.nodes import IR_VERSION, Nodes
from sluice.learners.torch.tables.autoencoder import CUT, MOST, Autoencoder


def autoencoder_graph(net: Autoencoder, names: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto:
    """The graph of a trained network.

    Args:
        net: the network, settled.
        names: its columns, in the graph's order -> what their inputs are called there; categories are INT64 codes.
        output: scores [rows, 2].
        opset: of ai.onnx.
    """
    w = {name: t.detach().cpu().numpy() for name, t in net.state_dict().items()}
    g = Nodes()
    numbers, categories = ([names[n] for n in columns] for columns in (net.numeric, net.categorical))
    read: list[str] = []
    x = missing = ""
    if numbers:
        x = g.add("Concat", *numbers, axis=1) if len(numbers) > 1 else numbers[0]
        x = g.add("Div", g.add("Sub", x, g.constant(w["mean"])), g.constant(w["std"]))
        empty = g.add("IsNaN", x)
        x, missing = g.add("Where", empty, g.number(0.0), x), g.add("Cast", empty, to=TensorProto.FLOAT)
        read += [g.add("Clip", x, g.number(-CUT), g.number(CUT)), missing]
    codes = [g.add("Squeeze", name, g.ints(1)) for name in categories]
    read += [g.add("Gather", g.constant(w[f"tables.{i}.weight"]), code, axis=0) for i, code in enumerate(codes)]
    h = g.add("Concat", *read, axis=1) if len(read) > 1 else read[0]
    for i in range(len(net.layers)):
        h = g.add("Add", g.add("MatMul", h, g.constant(w[f"layers.{i}.weight"].T)), g.constant(w[f"layers.{i}.bias"]))
        h = g.add("Tanh", h) if i == net.middle else g.add("Mul", h, g.add("Sigmoid", h))
    errors = _errors(g, net, w, h, x, missing, codes)
    usual = g.constant((w["usual"] * len(w["usual"])).astype(np.float32))
    raw = g.add("Log", g.add("ReduceSum", g.add("Div", errors, usual), g.ints(1), keepdims=1))
    g.add("Identity", net.curve.nodes(g, raw), name=output)
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT if n in numbers else TensorProto.INT64, ["batch", 1]) for n in names.values()
    ]
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(g.nodes, "model", ends, [made], g.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def _errors(g: Nodes, net: Autoencoder, w: Mapping[str, np.ndarray], h: str, x: str, missing: str, codes: Sequence[str]) -> str:
    """Errors [rows, columns]: see `Autoencoder.errors`. Each part of the head is a product of its own."""
    weight, bias, n = w["head.weight"], w["head.bias"], len(net.numeric)

    def part(at: int, size: int) -> str:
        return g.add("Add", g.add("MatMul", h, g.constant(weight[at : at + size].T)), g.constant(bias[at : at + size]))

    parts = []
    if n:
        numbers, flags = part(0, n), part(n, n)
        off = g.add("Sub", numbers, x)
        squared = g.add("Mul", g.add("Mul", off, off), g.add("Sub", g.number(1.0), missing))
        surprise = g.add("Sub", g.add("Softplus", flags), g.add("Mul", flags, missing))
        parts.append(g.add("Add", g.add("Min", squared, g.number(MOST**2)), surprise))
    at = 2 * n
    for code, size in zip(codes, net.sizes, strict=True):
        chances = g.add("LogSoftmax", part(at, size), axis=1)
        parts.append(g.add("Neg", g.add("GatherElements", chances, g.add("Unsqueeze", code, g.ints(1)), axis=1)))
        at += size
    return g.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
