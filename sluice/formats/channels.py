"""Which channels of a graph can be left out: those that one layer makes and one other layer alone reads."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sluice.package.graph import exact_nodes

#: Functions of single numbers.
_PLAIN = frozenset({"Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Tanh", "Sigmoid", "HardSigmoid", "HardSwish", "Softplus", "Identity",
                    "Dropout", "Clip", "Abs", "Erf"})  # fmt: skip
_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
_PAIRS = frozenset({"Add", "Mul", "Sub", "Div"})


@dataclasses.dataclass
class Layer:
    """Channels from where they are made to where they are read.

    Attributes:
        channels: how many there are.
        value: what is read.
        axis: of it, that the channels lie on.
        block: neighbouring places there that belong to one channel.
        made: constants of which a part belongs to each channel -> the axis it lies on.
        reader: the reading layer's weights; `inside`: the axis of them that reads.
        bias: the reading layer's, empty where it has none.
        sizes: constant of a new shape -> the place in it that counts channels.
    """

    channels: int
    value: str
    axis: int
    made: dict[str, int]
    block: int = 1
    reader: str = ""
    inside: int = 0
    bias: str = ""
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)

    def places(self, x: np.ndarray) -> np.ndarray:
        """What is read as [places, channels]."""
        x = np.moveaxis(x, self.axis, -1)
        return x.reshape(-1, self.channels, self.block).transpose(0, 2, 1).reshape(-1, self.channels)

    def reads(self, weights: dict[str, np.ndarray]) -> np.ndarray:
        """The reader's weights as [channels, numbers], a view or a copy."""
        return np.moveaxis(weights[self.reader], self.inside, 0).reshape(self.channels, -1)

    def cut(self, weights: dict[str, np.ndarray], kept: np.ndarray, mix: np.ndarray, rest: np.ndarray) -> None:
        """Leave channels out, in `weights`.

        Args:
            kept: which stay.
            mix: [kept, channels], how much of each kept one stands for each.
            rest: [channels], what beside that.
        """
        whole = np.moveaxis(weights[self.reader].astype(np.float64), self.inside, 0)
        by = whole.reshape(self.channels, self.block, *whole.shape[1:])
        fitted = np.tensordot(mix, by, 1)
        if self.bias:
            # What one number of each channel adds to each output, at all places it reads.
            out = np.moveaxis(by, 2, -1).reshape(self.channels, -1, by.shape[2]).sum(1)
            weights[self.bias] = (weights[self.bias] + (rest @ out).reshape(weights[self.bias].shape)).astype(np.float32)
        weights[self.reader] = np.moveaxis(fitted.reshape(-1, *whole.shape[1:]), 0, self.inside).astype(np.float32)
        for name, axis in self.made.items():
            weights[name] = np.ascontiguousarray(np.take(weights[name], kept, axis))
        for name, at in self.sizes.items():
            weights[name] = weights[name].copy()
            weights[name][at] = len(kept) * self.block


class _Graph:
    """A model's nodes by what they make and read."""

    def __init__(self, model: onnx.ModelProto):
        self.constants = {t.name: t for t in model.graph.initializer}
        self.uses = Counter(n for node in model.graph.node for n in node.input) + Counter(v.name for v in model.graph.output)
        self.users = {n: node for node in model.graph.node for n in node.input}
        self.nodes, self.exact = list(model.graph.node), set(exact_nodes(model))
        known = onnx.shape_inference.infer_shapes(model).graph
        self.shapes = {
            v.name: [d.dim_value if d.HasField("dim_value") else -1 for d in v.type.tensor_type.shape.dim]
            for v in (*known.value_info, *known.input, *known.output)
            if v.type.tensor_type.HasField("shape")
        }

    def own(self, name: str) -> onnx.TensorProto | None:
        """A constant of real numbers that one node alone reads."""
        found = self.constants.get(name)
        return found if found is not None and found.data_type == onnx.TensorProto.FLOAT and self.uses[name] == 1 else None

    def made(self, node: onnx.NodeProto) -> tuple[onnx.TensorProto, int, int] | None:
        """Of a layer with weights of its own: these, the axis of its outputs, the axis that reads."""
        weights = self.own(node.input[1]) if len(node.input) > 1 and node.name not in self.exact else None
        if weights is None:
            return None
        if node.op_type == "Conv" and _number(node, "group", 1) == 1:
            return weights, 0, 1
        if node.op_type == "Gemm" and not _number(node, "transA", 0) and _number(node, "alpha", 1) == _number(node, "beta", 1) == 1:
            return (weights, 0, 1) if _number(node, "transB", 0) else (weights, 1, 0)
        return (weights, 1, 0) if node.op_type == "MatMul" and len(weights.dims) == 2 else None


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def layers(model: onnx.ModelProto) -> Iterator[Layer]:
    """Every layer of a graph whose channels can be left out, in the graph's order."""
    graph = _Graph(model)
    for node in graph.nodes:
        made = graph.made(node)
        shape = graph.shapes.get(node.output[0])
        if made is None or not shape:
            continue
        weights, outside, _ = made
        layer = Layer(weights.dims[outside], node.output[0], 1 if node.op_type == "Conv" else len(shape) - 1, {weights.name: outside})
        if len(node.input) > 2 and node.input[2]:
            bias = graph.own(node.input[2])
            if bias is None or list(bias.dims) != [layer.channels]:
                continue
            layer.made[bias.name] = 0
        if _followed(graph, layer):
            yield layer


def _followed(graph: _Graph, layer: Layer) -> bool:
    """Whether the channels come to one reader; `layer` then knows it."""
    while graph.uses[layer.value] == 1 and (node := graph.users.get(layer.value)) is not None:
        if node.input[0] == layer.value and (read := graph.made(node)) is not None:
            return _read(graph, layer, node, *read)
        if not _through(graph, layer, node):
            return False
        layer.value = node.output[0]
    return False


def _through(graph: _Graph, layer: Layer, node: onnx.NodeProto) -> bool:
    """Whether each channel stays by itself in a node, which is no reader."""
    shape = graph.shapes.get(layer.value)
    if node.op_type in _PLAIN:
        return node.input[0] == layer.value
    if node.op_type in _POOLS:
        return layer.axis == 1 and layer.block == 1
    if node.op_type == "BatchNormalization" and layer.axis == 1 and layer.block == 1:
        found = [graph.own(name) for name in node.input[1:5]]
        layer.made |= {t.name: 0 for t in found if t is not None}
        return all(t is not None for t in found)
    if node.op_type in _PAIRS and shape:
        return _paired(graph, layer, node, len(shape))
    if node.op_type == "Reshape" and shape and layer.axis == 1 and node.input[0] == layer.value:
        return _flattened(graph, layer, node, shape)
    if node.op_type == "Flatten" and shape and layer.axis == 1 and _number(node, "axis", 1) == 1 and min(shape[2:], default=1) > 0:
        layer.block *= int(np.prod(shape[2:]))
        return True
    return False


def _paired(graph: _Graph, layer: Layer, node: onnx.NodeProto, rank: int) -> bool:
    """With a constant of which a part belongs to each channel, or with what is one for all."""
    other = next((name for name in node.input if name != layer.value), None)
    if other is None or layer.block != 1:
        return False
    constant = graph.constants.get(other)
    dims = list(constant.dims) if constant is not None else graph.shapes.get(other)
    if dims is None or len(dims) > rank:
        return False
    at = len(dims) - (rank - layer.axis)
    if at < 0 or dims[at] == 1:
        return True
    if dims[at] != layer.channels or graph.own(other) is None:
        return False
    layer.made[other] = at
    return True


def _flattened(graph: _Graph, layer: Layer, node: onnx.NodeProto, shape: list[int]) -> bool:
    """[rows, channels, ...] to [rows, channels x places]."""
    constant = graph.constants.get(node.input[1])
    if (
        constant is None
        or graph.uses[constant.name] != 1
        or len(constant.dims) != 1
        or constant.dims[0] != 2
        or min(shape[2:], default=1) < 1
    ):
        return False
    places, target = int(np.prod(shape[2:])), numpy_helper.to_array(constant)
    if int(target[1]) not in (-1, layer.channels * layer.block * places):
        return False
    layer.block *= places
    if target[1] != -1:
        layer.sizes[constant.name] = 1
    return True


def _read(graph: _Graph, layer: Layer, node: onnx.NodeProto, weights: onnx.TensorProto, outside: int, inside: int) -> bool:
    shape = graph.shapes.get(layer.value)
    last = bool(shape) and layer.axis == len(shape or []) - 1
    if (
        weights.dims[inside] != layer.channels * layer.block
        or (node.op_type == "Conv" and layer.axis != 1)
        or (node.op_type != "Conv" and not last)
    ):
        return False
    layer.reader, layer.inside = weights.name, inside
    bias = node.input[2] if len(node.input) > 2 else ""
    if node.op_type == "MatMul" and graph.uses[node.output[0]] == 1 and (after := graph.users.get(node.output[0])) is not None:
        bias = next((n for n in after.input if n != node.output[0]), "") if after.op_type == "Add" else ""
    found = graph.own(bias) if bias else None
    layer.bias = bias if found is not None and int(np.prod(found.dims)) == weights.dims[outside] == (found.dims or [0])[-1] else ""
    return True
