"""`export:` in the project file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluice.config import Section


class ExportConfig(Section):
    """Formats to try; the smallest whose loss of the metric is at most `max_loss` is packaged."""

    formats: list[Literal["fp32", "int8"]] = Field(["fp32", "int8"], min_length=1)
    max_loss: float = Field(0.005, ge=0)
    opset: int = Field(18, ge=17, le=23)
    parity_rows: int = Field(512, ge=1)
