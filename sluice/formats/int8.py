"""int8 weights and activations, tried where it pays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from sluice.core.datatypes import EngineSpec
from sluice.formats.base import Artifact, Calibration, Format
from sluice.formats.quantise import quantise
from sluice.package.graph import to_bytes

if TYPE_CHECKING:
    from sluice.formats.config import ExportConfig


class Int8(Format):
    """Fixed scales, calibrated on training rows (`sluice.formats.quantise`).

    ONNX Runtime's SkipLayerNormFusion is left out: between int8 matrix products its fused kernel is slower than the plain ones.
    """

    name = "int8"
    engine = EngineSpec("onnxruntime", {"disabled_optimizers": ["SkipLayerNormFusion"]})

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """As `quantise`. Raises `SluiceError` where ONNX Runtime cannot run or quantise it."""
        made = quantise(onnx.load_model_from_string(graph), calibration())
        if made is None:
            return Artifact(why="the graph has no matrix product or convolution with weights")
        return Artifact(to_bytes(made))

    def untried(self, graph: bytes, export: ExportConfig) -> str:
        """Integer kernels have a price of their own, which small graphs do not earn back."""
        if len(graph) > export.int8_above:
            return ""
        return f"{self.name} was not tried: it pays for graphs of more than {export.int8_above:,} bytes (export.int8_above)"
