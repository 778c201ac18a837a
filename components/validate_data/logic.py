"""Validate the project's data and say, column by column, what was found."""

from __future__ import annotations

from pathlib import Path

from sluice.data.prepare import validate_project_data

from components import STARTED
from sluice import files
from sluice.gates import Gate
from sluice.report import page
from sluice.step import open_project, run_step
from sluice.tasks import load_task


def run(project: str, base_dir: str, *, gate_path: str, report_path: str) -> str:
    """Returns the decision. Raises nothing: failures end the process as events say."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        report = validate_project_data(settings, base, load_task(settings, base))
        return Gate("validate_data", report.decision, tuple(report.reasons), report.to_dict())

    gate = run_step(work, gate_path, step="validate_data", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return gate.decision
