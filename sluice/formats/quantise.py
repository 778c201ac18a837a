"""int8 weights and activations with fixed scales.

Scales are fixed by calibration on training rows, not taken from each batch, so an answer does not
depend on what else is in its batch. Weights keep to 7 bits: on CPUs without VNNI the sum of two
products of an unsigned and a signed byte saturates at 16 bits, and the same package would answer
differently there (ONNX Runtime, "Quantize ONNX models", on reduce_range).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sluice.core.errors import SluiceError
from sluice.engines.onnxruntime import OnnxRuntime
from sluice.formats.tools import importing
from sluice.package.graph import exact_nodes, to_bytes

Batch = Mapping[str, np.ndarray]

#: Rows of an embedding table from which on it is worth storing as int8.
_TABLE_ROWS = 256
#: In graphs with convolutions these run on int8 tensors from end to end.
_CONVOLUTIONAL = ["Conv", "Gemm", "MatMul", "Add", "MaxPool", "GlobalAveragePool", "AveragePool", "Reshape", "Flatten"]
_PRODUCTS = ("MatMul", "Gemm")
#: Largest magnitude of a 7-bit weight, and of an activation's UINT8 steps.
_WEIGHT, _STEPS = 63, 255


def quantise(model: onnx.ModelProto, batches: Sequence[Batch]) -> onnx.ModelProto | None:
    """An int8 copy of a graph in QDQ form: standard ONNX that ONNX Runtime fuses into integer kernels.

    Graphs with convolutions: inputs, weights and outputs of convolutions and of what lies between them,
    by ONNX Runtime's own tool. Others: inputs and weights of matrix products; their outputs, residual
    paths and products of two activations (attention) stay float. Weights: symmetric, one scale a
    channel. Activations: asymmetric UINT8, one scale a tensor, between the extremes seen. Embedding
    tables: one scale a row.

    Args:
        model: the fp32 graph.
        batches: the graph's inputs for calibration; not empty.

    Returns:
        The graph, or None where it has nothing to quantise.

    Raises:
        SluiceError: ONNX Runtime cannot run or quantise it.
    """
    base = onnx.ModelProto()
    base.CopyFrom(model)
    del base.graph.value_info[:]  # shapes inferred for float tensors contradict the quantised ones
    constants, exact = _constants(base.graph), frozenset(exact_nodes(base))
    products = [
        n
        for n in base.graph.node
        if n.op_type in _PRODUCTS
        and n.name not in exact
        and n.input[1] in constants
        and len(constants[n.input[1]].dims) == 2
        and not any(a.name == "transA" and a.i for a in n.attribute)
    ]
    if any(n.op_type == "Conv" for n in base.graph.node):
        variable = [n.name for n in base.graph.node if n.op_type in _PRODUCTS and n.input[1] not in constants]
        base = _convolutions(base, batches, [*variable, *exact_nodes(base)])
    elif products:
        _quantise_products(base.graph, products, _ranges(base, sorted({n.input[0] for n in products}), batches))
    else:
        return None
    _quantise_tables(base.graph)
    return base


def _constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    return {t.name: t for t in graph.initializer}


def _ranges(model: onnx.ModelProto, names: Sequence[str], batches: Iterable[Batch]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value each named tensor takes over the batches, 0 always included."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    ends = []
    for i, name in enumerate(names):
        for what in ("ReduceMin", "ReduceMax"):
            ends.append(f"{what}:{i}")
            probe.graph.node.append(helper.make_node(what, [name], [ends[-1]], keepdims=0))
            probe.graph.output.append(helper.make_tensor_value_info(ends[-1], TensorProto.FLOAT, []))
    engine = OnnxRuntime.open(to_bytes(probe))
    seen = np.array([[found[end] for end in ends] for found in map(engine.run, batches)], dtype=np.float32)
    if not np.isfinite(seen).all():
        raise SluiceError("the graph's activations are not finite on training rows", field="export.formats", value="int8")
    low, high = np.minimum(seen[:, 0::2].min(axis=0), 0), np.maximum(seen[:, 1::2].max(axis=0), 0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _quantise_products(graph: onnx.GraphProto, products: Sequence[onnx.NodeProto], ranges: Mapping[str, tuple[float, float]]) -> None:
    """Put quantise and dequantise before the input of each product, and dequantise behind its int8 weights and int32 bias."""
    constants, chosen = _constants(graph), {n.output[0] for n in products}
    added: dict[str, TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output[0] not in chosen:
            nodes.append(node)
            continue
        x, w, out = node.input[0], node.input[1], node.output[0]
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if f"{x}.scale" not in added:
            low, high = ranges[x]
            scale = np.float32((high - low) / _STEPS) or np.float32(1)
            _store(added, f"{x}.scale", scale)
            _store(added, f"{x}.zero", np.uint8(np.clip(round(-low / float(scale)), 0, _STEPS)))
            nodes += [
                helper.make_node("QuantizeLinear", [x, f"{x}.scale", f"{x}.zero"], [f"{x}.quantised"]),
                helper.make_node("DequantizeLinear", [f"{x}.quantised", f"{x}.scale", f"{x}.zero"], [f"{x}.restored"]),
            ]
        key = f"{out}.weight" if node.op_type == "Gemm" else w  # a Gemm's own: its alpha and transposition are worked in
        if f"{key}.int8" not in added:
            table = numpy_helper.to_array(constants[w]) * np.float32(settings.get("alpha", 1.0))
            table = np.ascontiguousarray(table.T if settings.get("transB") else table)
            steps = (np.abs(table).max(axis=0) / np.float32(_WEIGHT)).astype(np.float32)
            steps[steps == 0] = 1
            _store(added, f"{key}.int8", np.round(table / steps).astype(np.int8))
            _store(added, f"{key}.steps", steps)
            _store(added, f"{key}.zeros", np.zeros(len(steps), dtype=np.int8))
            nodes.append(helper.make_node("DequantizeLinear", [f"{key}.int8", f"{key}.steps", f"{key}.zeros"], [f"{key}.restored"], axis=1))
        sides = [f"{x}.restored", f"{key}.restored"]
        if node.op_type == "Gemm":
            if len(node.input) > 2 and node.input[2]:
                sides.append(
                    _bias(
                        added,
                        nodes,
                        node,
                        constants,
                        numpy_helper.to_array(added[f"{x}.scale"]) * numpy_helper.to_array(added[f"{key}.steps"]),
                    )
                )
            nodes.append(helper.make_node("Gemm", sides, [out], beta=settings.get("beta", 1.0)))
        else:
            nodes.append(helper.make_node("MatMul", sides, [out]))
    _replace(graph, nodes, list(added.values()))


def _bias(
    added: dict[str, TensorProto],
    nodes: list[onnx.NodeProto],
    node: onnx.NodeProto,
    constants: Mapping[str, TensorProto],
    scale: np.ndarray,
) -> str:
    """The name of a Gemm's bias: stored as int32 in the product's own scale, so that integers are added; float where that does not fit."""
    name, out = node.input[2], node.output[0]
    values = numpy_helper.to_array(constants[name]) if name in constants else None
    if values is None or values.shape != scale.shape or np.abs(values / scale).max() >= 2**31 - 1:
        return str(name)
    _store(added, f"{out}.bias", np.round(values.astype(np.float64) / scale).astype(np.int32))
    _store(added, f"{out}.bias_scale", scale.astype(np.float32))
    _store(added, f"{out}.bias_zero", np.zeros(len(scale), dtype=np.int32))
    nodes.append(
        helper.make_node("DequantizeLinear", [f"{out}.bias", f"{out}.bias_scale", f"{out}.bias_zero"], [f"{out}.bias_restored"], axis=0)
    )
    return f"{out}.bias_restored"


def _convolutions(model: onnx.ModelProto, batches: Sequence[Batch], excluded: list[str]) -> onnx.ModelProto:
    with importing():
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Batch] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._left, None)
            return None if batch is None else dict(batch)

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends, as warnings, steps that were taken already
    try:
        with tempfile.TemporaryDirectory(prefix="sluice-quantise-") as scratch:
            path = Path(scratch) / "int8.onnx"
            quantize_static(
                model,
                path,
                Batches(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_CONVOLUTIONAL,
                nodes_to_exclude=excluded,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"OpTypesToExcludeOutputQuantization": list(_PRODUCTS)},
            )
            return onnx.load(path)
    except Exception as e:  # the tool raises bare Exception, RuntimeError, ValueError and ONNX Runtime's own
        raise SluiceError(
            f"the graph cannot be quantised: {type(e).__name__}: {e}",
            field="export.formats",
            value="int8",
            fix="leave int8 out of export.formats",
        ) from e
    finally:
        root.setLevel(level)


def _quantise_tables(graph: onnx.GraphProto) -> None:
    """Store embedding tables as int8 with a scale a row: look both up, cast, multiply."""
    tables = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2 and t.dims[0] >= _TABLE_ROWS}
    kept_float = {name for node in graph.node for i, name in enumerate(node.input) if name in tables and not (i == 0 and _looks_up(node))}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, TensorProto] = {}
    for node in graph.node:
        name = node.input[0] if node.input else ""
        if name not in tables or name in kept_float:
            nodes.append(node)
            continue
        if f"{name}.rows" not in added:
            table = numpy_helper.to_array(tables[name])
            scale = np.abs(table).max(axis=1, keepdims=True).astype(np.float32) / np.float32(127)
            scale[scale == 0] = 1
            _store(added, f"{name}.rows", np.round(table / scale).astype(np.int8))
            _store(added, f"{name}.row_scales", scale)
        out = node.output[0]
        nodes += [
            helper.make_node("Gather", [f"{name}.rows", node.input[1]], [f"{out}.row"], axis=0),
            helper.make_node("Gather", [f"{name}.row_scales", node.input[1]], [f"{out}.row_scale"], axis=0),
            helper.make_node("Cast", [f"{out}.row"], [f"{out}.row_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}.row_float", f"{out}.row_scale"], [out]),
        ]
    if added:
        _replace(graph, nodes, list(added.values()))


def _looks_up(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gather" and next((a.i for a in node.attribute if a.name == "axis"), 0) == 0


def _store(added: dict[str, TensorProto], name: str, array: np.ndarray | np.generic) -> None:
    added[name] = numpy_helper.from_array(np.asarray(array), name)


def _replace(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto], constants: Sequence[TensorProto]) -> None:
    """Set the graph's nodes; add constants and drop those no node reads any more."""
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    used = {name for n in nodes for name in n.input} | {v.name for v in graph.output}
    kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in [*graph.initializer, *constants] if t.name in used]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(kept)
