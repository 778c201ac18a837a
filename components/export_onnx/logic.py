"""From weights to a package."""

from __future__ import annotations

from pathlib import Path

from components import STARTED
from sluice.core import files
from sluice.core.check import make, own_checks
from sluice.core.gate import Gate
from sluice.data.dataset import Dataset
from sluice.formats.export import export_package
from sluice.gates.facts import Exported
from sluice.report import page
from sluice.steps.execute import open_project, run_step


def run(project: str, base_dir: str, *, dataset_path: str, model_path: str, package_path: str, report_path: str, gate_path: str) -> str:
    """Returns the decision."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        dataset = Dataset.open(Path(dataset_path))
        result = export_package(settings, Path(model_path), dataset, Path(package_path), base_dir=base)
        own = own_checks("export_onnx", settings.export.checks, field="export.checks", beside=base)
        judged = make("export_onnx", Exported(settings, dataset, Path(model_path), result), settings.export, own)
        digest = result.package.digest if result.package else ""
        return Gate("export_onnx", judged.decision, judged.reasons, {**judged.evidence, "digest": digest})

    gate = run_step(work, gate_path, step="export_onnx", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return gate.decision if gate.decision != "inconclusive" else "pass"
