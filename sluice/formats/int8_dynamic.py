"""int8 weights; the scales of what they are multiplied with are found anew for each batch."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from sluice.core.errors import SluiceError, first_line
from sluice.formats.base import Artifact, Calibration, Format
from sluice.formats.int8 import Int8
from sluice.formats.tools import importing
from sluice.package.graph import exact_nodes, to_bytes


class Int8Dynamic(Format):
    """ONNX Runtime's dynamic quantisation, a scale a channel of the weights: nothing is calibrated, so rows unlike the training rows cost it less.

    What shares a batch with a row changes its scales and so its answer; that is measured, and refused beyond a hundredth of the rows.
    """

    name = "int8_dynamic"
    engine = Int8.engine

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """As `Format.make`. Raises `SluiceError` where ONNX Runtime cannot quantise it."""
        with importing():
            from onnxruntime.quantization import QuantType, quantize_dynamic

        model = onnx.load_model_from_string(graph)
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
            source.write_bytes(graph)
            try:
                quantize_dynamic(
                    source, target, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
                    nodes_to_exclude=sorted(exact_nodes(model)),
                )  # fmt: skip
                made = onnx.load_model(target)
            except Exception as e:  # the tool raises what numpy and onnx raise
                fix = f"leave {self.name} out of export.formats"
                raise SluiceError(
                    f"the graph cannot be quantised: {type(e).__name__}: {first_line(e)}", field="export.formats", fix=fix
                ) from e
        if not any(n.op_type == "DynamicQuantizeLinear" for n in made.graph.node):
            return Artifact(why="the graph has no matrix product with weights")
        return Artifact(to_bytes(made))
