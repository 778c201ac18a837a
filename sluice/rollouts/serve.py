"""`serve:` in the project file."""

from __future__ import annotations

from pydantic import Field

from sluice.core.section import Section


class ServeConfig(Section):
    """The model server's settings where the project runs it."""

    workers: int = Field(1, ge=1)
    threads: int = Field(1, ge=1, description="ONNX Runtime threads a worker")
    max_batch: int = Field(32, ge=1)
