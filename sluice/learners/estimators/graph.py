"""The package's graph around a converted model: one tensor a column in, ``probabilities`` or ``value`` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from sluice.learners.tables.nodes import Nodes
from sluice.package import graph as graphs

if TYPE_CHECKING:
    import onnx

    from sluice.learners.estimators.matrix import TableMatrix
    from sluice.learners.state import State

_ELEMENTS = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}


def table_graph(state: State, matrix: TableMatrix, inner: onnx.ModelProto, seen: Sequence[int], opset: int) -> onnx.ModelProto:
    """The whole graph of an estimator.

    Args:
        state: whose processor's inputs it takes.
        matrix: how these become the converted model's input.
        inner: the converted model; its last output is used.
        seen: of the state's labels, which the model tells apart, in the order of its output.
        opset: of ai.onnx.
    """
    g = Nodes()
    # Columns may be called anything, also as a node's value is.
    own = {t.name: f"input_{i}__" for i, t in enumerate(state.processor.inputs)}
    answer = g.embed(inner, matrix.renamed(own).nodes(g))
    if _is_double(inner):
        answer = g.add("Cast", answer, to=TensorProto.FLOAT)
    output = state.output
    if not state.labels:
        g.add("Reshape", answer, g.ints(-1), name=output.name)
    elif list(seen) == list(range(len(state.labels))):
        g.add("Identity", answer, name=output.name)
    else:  # a label of no training row: probability 0
        g.add("MatMul", answer, g.constant(np.eye(len(state.labels), dtype=np.float32)[list(seen)]), name=output.name)
    ends = [helper.make_tensor_value_info(own[t.name], _ELEMENTS[t.datatype], ["batch", 1]) for t in state.processor.inputs]
    shape = ["batch", *output.shape[1:]]
    model = g.model(ends, [helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape)], opset)
    graphs.name_inputs(model, {new: name for name, new in own.items()})
    return model


def _is_double(model: onnx.ModelProto) -> bool:
    kind: int = model.graph.output[-1].type.tensor_type.elem_type
    return kind == TensorProto.DOUBLE
