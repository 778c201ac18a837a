"""Weights and activations of 16 bits inside, 32 at both ends."""

from __future__ import annotations

import logging
import sys
from typing import Any

import onnx

from sluice.core.errors import SluiceError, first_line
from sluice.formats.base import Artifact, Calibration, Format
from sluice.package.graph import to_bytes


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
            made = _converter()(model, keep_io_types=True)
        except Exception as e:  # the tool raises bare Exception, ValueError, and what onnx's shape inference raises
            fix = f"leave {self.name} out of export.formats"
            raise SluiceError(f"the graph cannot be converted: {type(e).__name__}: {first_line(e)}", field="export.formats", fix=fix) from e
        return Artifact(to_bytes(made))


def _converter() -> Any:
    """``convert_float_to_float16`` of ONNX Runtime, whose package puts its own folder on the path of imports when it is imported."""
    path = list(sys.path)
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    finally:
        sys.path[:] = path
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)  # it warns of every weight it rounds to zero
    return convert_float_to_float16
