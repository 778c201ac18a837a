"""The graph by NVIDIA's TensorRT, where it is."""

from __future__ import annotations

from sluice.core.datatypes import EngineSpec
from sluice.formats.base import Artifact, Calibration, Format

PROVIDER = "TensorrtExecutionProvider"


class TensorRT(Format):
    """The fp32 graph, which ONNX Runtime hands to TensorRT when it is opened; what TensorRT cannot run is left to CUDA.

    TensorRT compiles for the card it runs on, so the package holds the graph, and each server makes its own plan of it when it starts.
    """

    name = "tensorrt"
    engine = EngineSpec("onnxruntime", {"providers": [PROVIDER, "CUDAExecutionProvider"]})
    smaller = False

    def missing(self) -> str:
        """Whether this ONNX Runtime was built with it."""
        import onnxruntime

        there = onnxruntime.get_available_providers()
        return "" if PROVIDER in there else f"no NVIDIA provider ({PROVIDER}) in this ONNX Runtime, which has {', '.join(there)}"

    def make(self, graph: bytes, calibration: Calibration) -> Artifact:
        """The graph itself."""
        return Artifact(graph)
