"""The ONNX graph of a table's network, written node by node.

torch's exporter gives the same graph, but takes some ten seconds and half a gigabyte for it, most of it imports;
for a table of some hundred rows that is more than the training. The export's parity proof holds for it as for any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from sluice.learners.tables.nodes import IR_VERSION, Nodes
from sluice.learners.torch.tables.mlp import CUT, Denormalised, TabularMLP


def tabular_graph(serving: torch.nn.Module, names: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto:
    """The graph of a trained network.

    Args:
        serving: with the network as its `model`; a `Denormalised` one for values.
        names: the network's columns, in the graph's order -> what their inputs are called there; categories are INT64 codes.
        output: probabilities [rows, labels], or values [rows].
        opset: of ai.onnx.
    """
    net = cast(TabularMLP, serving.model)
    w = {name: t.detach().cpu().numpy() for name, t in net.state_dict().items()}
    g = Nodes()
    numbers, categories = ([names[n] for n in columns] for columns in (net.numeric, net.categorical))
    straight: list[str] = []
    read: list[str] = []
    if numbers:
        x = g.add("Concat", *numbers, axis=1) if len(numbers) > 1 else numbers[0]
        x = g.add("Div", g.add("Sub", x, g.constant(w["mean"])), g.constant(w["std"]))
        missing = g.add("IsNaN", x)
        x = g.add("Where", missing, g.number(0.0), x)
        flat = g.add("Min", g.add("Max", x, g.constant(w["least"])), g.constant(w["most"]))
        if net.flagged:
            flags = g.add("Cast", g.add("Gather", missing, g.ints(*net.flagged), axis=1), to=TensorProto.FLOAT)
            flat = g.add("Concat", flat, flags, axis=1)
        straight.append(g.add("MatMul", flat, g.constant(w["linear.weight"].T)))
        read.append(g.add("Clip", flat, g.number(-CUT), g.number(CUT)))
        if len(w["owner"]):
            parts = g.add("Sub", g.add("Gather", x, g.ints(*w["owner"].tolist()), axis=1), g.constant(w["start"]))
            read.append(g.add("Clip", g.add("Div", parts, g.constant(w["width"])), g.number(0.0), g.number(1.0)))
    for i, name in enumerate(categories):
        code = g.add("Squeeze", name, g.ints(1))
        straight.append(g.add("Gather", g.constant(w[f"offsets.{i}.weight"]), code, axis=0))
        read.append(g.add("Gather", g.constant(w[f"tables.{i}.weight"]), code, axis=0))
    x = g.add("Concat", *read, axis=1) if len(read) > 1 else read[0]
    for i in range(len(net.layers)):
        x = _members(g, x, w[f"layers.{i}.weight"], w[f"layers.{i}.bias"], first=i == 0)
    members, width, outputs = w["head.weight"].shape
    x = g.add("Reshape", g.add("Transpose", x, perm=[1, 0, 2]), g.ints(-1, members * width))
    # The mean over the members is one product of all of them.
    answer = g.add("MatMul", x, g.constant((w["head.weight"] / members).reshape(members * width, outputs)))
    bias = w["head.bias"].reshape(members, outputs).astype(np.float64).mean(0) + w["linear.bias"]
    for part in (*straight, g.constant(bias.astype(np.float32))):
        answer = g.add("Add", answer, part)
    if isinstance(serving, Denormalised):
        answer = g.add("Mul", g.add("Squeeze", answer, g.ints(1)), g.number(serving.std))
        g.add("Add", answer, g.number(serving.mean), name=output)
    else:
        g.add("Softmax", answer, axis=-1, name=output)
    shape = ["batch"] if isinstance(serving, Denormalised) else ["batch", outputs]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT if n in numbers else TensorProto.INT64, ["batch", 1]) for n in names.values()
    ]
    graph = helper.make_graph(g.nodes, "model", ends, [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)], g.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def _members(g: Nodes, x: str, weight: np.ndarray, bias: np.ndarray, first: bool) -> str:
    """A rectified layer of all members: [rows, in] or [members, rows, in] to [members, rows, out]."""
    members, width, out = weight.shape
    if first:  # all members read the same: one wide product
        x = g.add("MatMul", x, g.constant(weight.transpose(1, 0, 2).reshape(width, members * out)))
        x = g.add("Relu", g.add("Add", x, g.constant(bias)))
        return g.add("Transpose", g.add("Reshape", x, g.ints(-1, members, out)), perm=[1, 0, 2])
    x = g.add("MatMul", x, g.constant(weight))
    return g.add("Relu", g.add("Add", x, g.constant(bias.reshape(members, 1, out))))
