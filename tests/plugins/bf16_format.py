"""A format of one's own: weights kept as bfloat16, calculated with in 32 bits. Named in sluice.yaml as ``bf16_format:Bf16Weights``."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sluice.formats.base import Artifact, Calibration, Format

#: Constants of fewer numbers are not worth a node of their own.
SMALLEST = 64


class Bf16Weights(Format):
    """Half the bytes of fp32; each large constant is widened where the graph begins."""

    name = "bf16-weights"

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """The graph with its large constants stored in 16 bits."""
        model = onnx.load_model_from_string(graph)
        large = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and math.prod(t.dims) >= SMALLEST]
        if not large:
            return Artifact(why=f"the graph has no constant of {SMALLEST} numbers or more")
        casts = []
        for tensor in large:
            casts.append(helper.make_node("Cast", [f"{tensor.name}.bf16"], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(
                TensorProto(
                    name=f"{tensor.name}.bf16",
                    dims=tensor.dims,
                    data_type=TensorProto.BFLOAT16,
                    raw_data=_rounded(numpy_helper.to_array(tensor)),
                )
            )
        nodes = [*casts, *model.graph.node]
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return Artifact(model.SerializeToString())


def _rounded(values: np.ndarray) -> bytes:
    """The upper 16 bits of each number, rounded to the nearest, to the even one of two that are as near."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
