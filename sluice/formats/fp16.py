"""Weights and activations of 16 bits inside, 32 at both ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import onnx

from sluice.core.errors import SluiceError, first_line
from sluice.formats.base import Artifact, Calibration, Format
from sluice.formats.tools import importing
from sluice.package.graph import exact_nodes, to_bytes


class Fp16(Format):
    """Half the bytes. ONNX Runtime's own converter; operators that have no such kernel stay as they are.

    On CPUs it is smaller and not faster: ONNX Runtime calculates most operators in 32 bits between casts.
    """

    name = "fp16"

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """As `Format.make`. Raises `SluiceError` where the converter cannot."""
        model = onnx.load_model_from_string(graph)
        if not any(t.data_type == onnx.TensorProto.FLOAT for t in model.graph.initializer):
            return Artifact(why="the graph has no weights of 32 bits")
        try:
            made = _converter()(model, keep_io_types=True, node_block_list=exact_nodes(model) or None)
        except Exception as e:  # the tool raises bare Exception, ValueError, and what onnx's shape inference raises
            fix = f"leave {self.name} out of export.formats"
            raise SluiceError(f"the graph cannot be converted: {type(e).__name__}: {first_line(e)}", field="export.formats", fix=fix) from e
        _once(made.graph)
        _in_order(made.graph)
        return Artifact(to_bytes(made))


def _once(graph: onnx.GraphProto) -> None:
    """Leave out what is there again: of a value that several nodes take in 32 bits the converter writes as many casts to one value."""
    nodes = {tuple(node.output): onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(graph.node)}
    del graph.node[:]
    graph.node.extend(reversed(nodes.values()))


def _in_order(graph: onnx.GraphProto) -> None:
    """Put each node behind those it reads from: the converter leaves the casts of inputs at the end."""
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    placed: dict[int, None] = {}
    for start in range(len(nodes)):
        waiting = [start]
        while waiting:
            before = [maker[n] for n in _read(nodes[waiting[-1]]) if n in maker and maker[n] not in placed]
            if before:
                waiting += before
            else:
                placed.setdefault(waiting.pop())
    del graph.node[:]
    graph.node.extend(nodes[i] for i in placed)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, its branches included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _read(inner)


def _converter() -> Any:
    """``convert_float_to_float16`` of ONNX Runtime."""
    with importing():
        from onnxruntime.transformers.float16 import convert_float_to_float16
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)  # it warns of every weight it rounds to zero
    return convert_float_to_float16
