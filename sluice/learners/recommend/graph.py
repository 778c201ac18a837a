"""The package's graph of a ranking: strings of a history in, ``ranking`` and ``unknown`` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from onnx import TensorProto, helper

from sluice.learners.recommend.state import history_input
from sluice.learners.tables.nodes import Nodes

if TYPE_CHECKING:
    import onnx

    from sluice.learners.recommend.ranker import Ranker
    from sluice.learners.state import State

#: The second output: how many names of a history no item is called.
UNKNOWN = "unknown"


def ranking_graph(
    state: State, ranker: Ranker, scores: Callable[[Nodes, str, str], str], names: Mapping[str, str], opset: int
) -> onnx.ModelProto:
    """The whole graph.

    Args:
        state: whose processor's inputs it takes.
        ranker: what stands behind the scores.
        scores: puts the nodes from codes and held items to scores into the graph.
        names: what these inputs are called in the graph for now.
        opset: of ai.onnx.
    """
    g = Nodes()
    history, output = names[history_input(state)], state.output
    codes = ranker.codes(g, history, state.labels)
    ranker.nodes(g, codes, lambda c, held: scores(g, c, held), output.name, UNKNOWN)
    kinds = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}
    ends = [helper.make_tensor_value_info(names[t.name], kinds[t.datatype], ["batch", *t.shape[1:]]) for t in state.processor.inputs]
    outs = [
        helper.make_tensor_value_info(output.name, TensorProto.FLOAT, ["batch", *output.shape[1:]]),
        helper.make_tensor_value_info(UNKNOWN, TensorProto.INT64, ["batch"]),
    ]
    return g.model(ends, outs, opset)
