"""An ONNX graph that is written node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sluice.learners.tables.codes import UNKNOWN

#: Of the graphs written node by node.
IR_VERSION = 10
#: Of ai.onnx.ml: encoders of strings, trees, linear models and support vectors.
_ML = 3


class Nodes:
    """Collects nodes and constants under names of their own.

    Args:
        prefix: of these names, where they go into another graph.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        """A constant of the array's type and shape; returns its name."""
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value: float) -> str:
        """A scalar FP32 constant."""
        return self.constant(np.array(value, dtype=np.float32))

    def ints(self, *values: int) -> str:
        """An INT64 constant [values]."""
        return self.constant(np.array(values, dtype=np.int64))

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: object) -> str:
        """A node of one output; returns the output's name."""
        name = name or f"{self.prefix}value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def codes(self, strings: str, table: Mapping[str, int]) -> str:
        """Strings as INT64 codes of the same shape; a value that is not in the table is `UNKNOWN`."""
        return self.add(
            "LabelEncoder",
            strings,
            domain="ai.onnx.ml",
            keys_strings=list(table),
            values_int64s=list(table.values()),
            default_int64=UNKNOWN,
        )

    def embed(self, model: onnx.ModelProto, source: str) -> str:
        """The nodes of a whole model of one input, read from `source`; returns the name of its last output, which alone is kept."""
        graph = model.graph
        constants = {t.name for t in graph.initializer}
        outer = next(v.name for v in graph.input if v.name not in constants)
        prefix = f"model_{len(self.nodes)}_"
        names = {outer: source, "": ""}

        def named(name: str) -> str:
            return names.setdefault(name, prefix + name)

        wanted, kept = {graph.output[-1].name}, []
        for node in reversed(graph.node):  # in the order they are computed, by the format's own rule
            if wanted.intersection(node.output):
                wanted.update(node.input)
                kept.append(node)
        for node in reversed(kept):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = ""
            copy.input[:], copy.output[:] = map(named, node.input), map(named, node.output)
            self.nodes.append(copy)
        for tensor in (t for t in graph.initializer if t.name in wanted):
            copied = onnx.TensorProto()
            copied.CopyFrom(tensor)
            copied.name = named(tensor.name)
            self.constants.append(copied)
        return named(graph.output[-1].name)

    def model(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto], opset: int) -> onnx.ModelProto:
        """The model of all that was added.

        Args:
            inputs, outputs: of the graph.
            opset: of ai.onnx.
        """
        graph = helper.make_graph(self.nodes, "model", list(inputs), list(outputs), self.constants)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", _ML)]
        return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
