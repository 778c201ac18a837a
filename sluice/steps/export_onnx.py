"""The step `export_onnx`: the model as a package, in the smallest format that loses little."""

from __future__ import annotations

from typing import ClassVar

from sluice.core.check import Decision, own_sections, sections
from sluice.steps.step import SMALL, Evidence, Step


class ExportOnnx(Step):
    """The model as a package, in the smallest format that loses little."""

    name, title, after = "export_onnx", "Package", "train"
    bounds = {"resources": {"requests": SMALL, "limits": {"cpu": "2", "memory": "4Gi"}}, "timeout": "2h"}
    component = "components.export_onnx.component:export_onnx"
    gives: ClassVar = {"package": "package", "exported": "gate", "project": "handed"}
    asks = True
    cached = True

    def section(self, e: Evidence) -> str:
        """Each format beside what it costs, what calibration changed, and what the project's own checks found."""
        return "".join(sections(self.name, Decision("pass", evidence=e)).values()) + own_sections(e)
