"""The scores of two towers as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from sluice.learners.tables.codes import codes

if TYPE_CHECKING:
    import torch

    from sluice.learners.state import State
    from sluice.learners.tables.nodes import Nodes


def tower_nodes(net: torch.nn.Module, state: State, names: Mapping[str, str]) -> Callable[[Nodes, str, str], str]:
    """What puts the nodes from a history's codes and the features' inputs to scores into a graph; what is taken already is hidden behind them."""
    w = {name: t.detach().float().cpu().numpy() for name, t in net.state_dict().items()}
    vectors = w["vectors.weight"]
    padded = np.concatenate([vectors, np.zeros((2, vectors.shape[1]), np.float32)])
    known = np.append(np.ones(len(vectors), np.float32), [0, 0]).astype(np.float32)

    def nodes(g: Nodes, history: str, held: str) -> str:
        first = g.ints(1)
        own = g.add("ReduceSum", g.add("Gather", g.constant(padded), history, axis=0), first, keepdims=0)
        count = g.add("ReduceSum", g.add("Gather", g.constant(known), history, axis=0), first, keepdims=1)
        mean = g.add("Div", own, g.add("Sqrt", g.add("Max", count, g.number(1.0))))
        joined = g.add("Concat", mean, *_features(g, w, state, names), axis=1)
        hidden = g.add("Relu", g.add("Gemm", joined, g.constant(w["hidden.weight"]), g.constant(w["hidden.bias"]), transB=1))
        user = g.add("Add", mean, g.add("Gemm", hidden, g.constant(w["out.weight"]), g.constant(w["out.bias"]), transB=1))
        return g.add("Add", g.add("MatMul", user, g.constant(np.ascontiguousarray(vectors.T))), g.constant(w["bias"]))

    return nodes


def _features(g: Nodes, w: dict[str, np.ndarray], state: State, names: Mapping[str, str]) -> list[str]:
    """Numbers in their deviation with a flag for missing ones, and each category's vector: [rows, any] each."""
    out = []
    numbers, categories = [names[n] for n in state.extra.get("numeric", {})], state.extra.get("categories", {})
    if numbers:
        raw = g.add("Concat", *numbers, axis=1) if len(numbers) > 1 else numbers[0]
        missing = g.add("IsNaN", raw)
        scaled = g.add("Div", g.add("Sub", raw, g.constant(w["mean"])), g.constant(w["std"]))
        out = [g.add("Where", missing, g.number(0.0), scaled), g.add("Cast", missing, to=1)]
    for i, (name, values) in enumerate(categories.items()):
        found = g.add("Gather", g.constant(w[f"codes.c{i}.weight"]), g.codes(names[name], codes(values)), axis=0)
        out.append(g.add("Squeeze", found, g.ints(1)))
    return out
