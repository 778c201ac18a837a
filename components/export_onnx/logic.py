"""From weights to a package."""

from __future__ import annotations

from pathlib import Path

from components import STARTED
from sluice.core import files
from sluice.core.gate import Gate
from sluice.data.dataset import Dataset
from sluice.formats.export import export_package
from sluice.report import page
from sluice.steps.execute import open_project, run_step


def run(project: str, base_dir: str, *, dataset_path: str, model_path: str, package_path: str, report_path: str, gate_path: str) -> str:
    """Returns the decision."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        result = export_package(settings, Path(model_path), Dataset.open(Path(dataset_path)), Path(package_path), base_dir=base)
        digest = result.package.digest if result.package else ""
        return Gate("export_onnx", result.decision, tuple(result.reasons), {**result.evidence, "digest": digest})

    gate = run_step(work, gate_path, step="export_onnx", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return gate.decision
