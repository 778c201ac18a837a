"""`export:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluice.config import Section


class ExportConfig(Section):
    """Formats to try; the smallest whose loss of the metric is at most `max_loss` is packaged."""

    formats: list[Literal["fp32", "int8"]] = Field(["fp32", "int8"], min_length=1)
    max_loss: float = Field(0.005, ge=0, description="loss of evaluate.metric against PyTorch; for rmse and mae a fraction of its value")
    tolerance: float = Field(1e-3, gt=0, description="largest difference of an fp32 answer from PyTorch's; for regression relative to the values' size")
    opset: int = Field(20, ge=18, le=23, description="ONNX operator set; from 20 on GELU is one operator")
    parity_rows: int = Field(2000, ge=1, description="held-out rows that formats are compared on")
    calibration_rows: int = Field(256, ge=1, description="training rows that fix the ranges of int8 activations")
