"""Validate the project's data and say, column by column, what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components import STARTED, environment
from sluice import files
from sluice.data.prepare import validate_project_data
from sluice.gates import Gate
from sluice.report import page
from sluice.step import open_project, run_step
from sluice.tasks import load_task


def run(project: str, base_dir: str, *, gate_path: str, report_path: str) -> str:
    """Returns the decision. Raises nothing: failures end the process as events say."""

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        environment.check(settings)
        report = validate_project_data(settings, base, load_task(settings, base))
        found = report.to_dict()
        return Gate("validate_data", report.decision, tuple(report.reasons) or (summary(found),), found)

    gate = run_step(work, gate_path, step="validate_data", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return gate.decision


def summary(found: dict[str, Any]) -> str:
    """A passed report in one sentence."""
    rows = " + ".join(f"{n:,} {split}" for split, n in found["rows"].items())
    warned = [c["name"] for c in found["checks"] if c["status"] == "warn"]
    kinds = f", {len(found['labels'])} labels" if found["labels"] else ""
    return f"{rows} rows{kinds}; {len(found['checks'])} checks" + (f", worth a look: {', '.join(warned)}" if warned else " passed")
