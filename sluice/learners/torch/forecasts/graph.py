"""The ONNX graph of a forecast's network, written node by node: torch's exporter takes longer for it than the training does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from sluice.learners.forecasts.nodes import filled, scaled
from sluice.learners.tables.nodes import Nodes
from sluice.learners.torch.forecasts.model import NARROW, ForecastNet


def forecast_graph(serving: torch.nn.Module, names: Mapping[str, str], output: str, opset: int) -> onnx.ModelProto:
    """The graph of a trained network.

    Args:
        serving: with the `ForecastNet` as its `model`.
        names: the network's columns, in the graph's order -> what their inputs are called there; categories are INT64 codes.
        output: FP32 [rows, horizon, 3].
        opset: of ai.onnx.
    """
    net = cast(ForecastNet, serving.model)
    w = {name: t.detach().cpu().numpy() for name, t in net.state_dict().items()}
    g = Nodes()
    past, known, level, spread = scaled(g, names[net.history], w["weight"], w["least"])
    x = _features(g, net, names, w, past, known, level, spread)
    x = g.add("Relu", _linear(g, x, w, "into"))
    for i in range(len(net.blocks)):
        inside = g.add("Relu", _linear(g, x, w, f"blocks.{i}.one"))
        x = g.add("Add", x, _linear(g, inside, w, f"blocks.{i}.other"))
    own = g.add("Reshape", _linear(g, x, w, "head"), g.ints(-1, net.horizon, 3))
    own = g.add("Add", own, _every(g, g.add("Relu", _every(g, _steps(g, net, names, w, past, x), w, "step")), w, "last"))
    parts = [g.add("Squeeze", g.add("Slice", own, g.ints(i), g.ints(i + 1), g.ints(2)), g.ints(2)) for i in range(3)]
    middle = g.add("Add", g.add("MatMul", past, g.constant(w["straight"])), parts[0])
    far = [g.add("Mul", g.add("Softplus", part), g.constant(w["stretch"][None, :, i])) for i, part in enumerate(parts[1:])]
    low, high = g.add("Sub", middle, far[0]), g.add("Add", middle, far[1])
    axis = g.ints(2)
    found = g.add("Concat", *(g.add("Unsqueeze", v, axis) for v in (low, middle, high)), axis=2)
    found = g.add("Mul", found, g.add("Unsqueeze", spread, axis))
    level = g.add("Unsqueeze", level, axis)
    if net.positive:
        g.add("Relu", g.add("Add", found, level), name=output)
    else:
        g.add("Add", found, level, name=output)
    widths = {net.history: len(w["weight"]), **net.sequences}
    ends = [
        helper.make_tensor_value_info(
            new, TensorProto.INT64 if name in net.categorical else TensorProto.FLOAT, ["batch", int(widths.get(name, 1))]
        )
        for name, new in names.items()
    ]
    return g.model(ends, [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", net.horizon, 3])], opset)


def _features(
    g: Nodes, net: ForecastNet, names: Mapping[str, str], w: Mapping[str, np.ndarray], past: str, known: str, level: str, spread: str
) -> str:
    """As `ForecastNet.features`."""
    least, log_least = g.constant(w["least"]), g.constant(np.log(w["least"]))
    size = g.add("Add", g.add("Abs", level), least)
    context = len(w["weight"])
    seen, others = [_clip(g, past, NARROW), known], []
    for i, name in enumerate(net.sequences):
        x = _clip(g, _standard(g, names[name], w, "wide", i), NARROW)
        others.append(g.add("Slice", x, g.ints(0), g.ints(context), g.ints(1)))
    if net.reader is not None:
        times = g.add("Concat", *(g.add("Unsqueeze", x, g.ints(2)) for x in (*seen, *others)), axis=2)
        seen = [net.reader.nodes(g, times, {n.removeprefix("reader."): v for n, v in w.items() if n.startswith("reader.")})]
    parts = [
        *seen,
        g.add("Div", g.add("Sub", g.add("Log", size), log_least), g.number(10.0)),
        g.add("Div", g.add("Log", g.add("Div", spread, size)), g.number(5.0)),
        *(g.add("Slice", x, g.ints(context - net.newest), g.ints(context), g.ints(1)) for x in others),
    ]
    parts += [_clip(g, _standard(g, names[name], w, "plain", i), 2.0) for i, name in enumerate(net.numeric)]
    for i, name in enumerate(net.categorical):
        parts.append(g.add("Gather", g.constant(w[f"tables.{i}.weight"]), g.add("Squeeze", names[name], g.ints(1)), axis=0))
    return g.add("Concat", *parts, axis=1)


def _steps(g: Nodes, net: ForecastNet, names: Mapping[str, str], w: Mapping[str, np.ndarray], past: str, row: str) -> str:
    """As `ForecastNet.steps`."""
    h, context = net.horizon, len(w["weight"])
    lags = np.array(net.lags, dtype=np.int64)
    ones = g.constant(np.ones((1, h, 1), dtype=np.float32))
    axis = g.ints(2)

    def each(x: str, places: np.ndarray) -> str:
        return g.add("Reshape", g.add("Gather", x, g.ints(*places.ravel().tolist()), axis=1), g.ints(-1, h, places.shape[1]))

    row = g.add("Unsqueeze", _linear(g, row, w, "narrow"), g.ints(1))
    nothing = g.add("Mul", g.add("Slice", row, g.ints(0), g.ints(1), axis), g.number(0.0))
    parts = [g.add("Mul", row, ones), each(_clip(g, past, NARROW), lags), g.add("Add", nothing, g.constant(w["place"][None]))]
    for name in net.ahead:
        i = list(net.sequences).index(name)
        x = _clip(g, _standard(g, names[name], w, "wide", i), NARROW)
        parts += [each(x, np.arange(context, context + h)[:, None]), each(x, lags[:, :1])]
    for k, (sine, cosine, _) in enumerate(net.cycles):
        a, b = (g.constant(f(w["turned"][k])[None]) for f in (np.sin, np.cos))
        sin, cos = (filled(g, names[c]) for c in (sine, cosine))
        parts += [
            g.add("Unsqueeze", g.add("Add", g.add("Mul", sin, b), g.add("Mul", cos, a)), axis),
            g.add("Unsqueeze", g.add("Sub", g.add("Mul", cos, b), g.add("Mul", sin, a)), axis),
        ]
    return g.add("Concat", *parts, axis=2)


def _standard(g: Nodes, x: str, w: Mapping[str, np.ndarray], kind: str, i: int) -> str:
    """A column with mean 0 and deviation 1, 0 where it is missing."""
    return filled(g, g.add("Div", g.add("Sub", x, g.constant(w[f"{kind}_mean"][i])), g.constant(w[f"{kind}_std"][i])))


def _every(g: Nodes, x: str, w: Mapping[str, np.ndarray], name: str) -> str:
    """A layer over the last axis, at every step."""
    return g.add("Add", g.add("MatMul", x, g.constant(w[f"{name}.weight"].T)), g.constant(w[f"{name}.bias"]))


def _linear(g: Nodes, x: str, w: Mapping[str, np.ndarray], name: str) -> str:
    return g.add("Gemm", x, g.constant(w[f"{name}.weight"]), g.constant(w[f"{name}.bias"]), transB=1)


def _clip(g: Nodes, x: str, cut: float) -> str:
    return g.add("Clip", x, g.number(-cut), g.number(cut))
