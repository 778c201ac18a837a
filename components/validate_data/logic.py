"""Put the form together to one project, validate its data, and say, column by column, what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from components import STARTED, environment
from components.rayjob import RESULT, on_cluster
from sluice.core import files
from sluice.core.gate import Gate
from sluice.data.prepare import validate_project_data
from sluice.kfp.form import resolve
from sluice.project import Project
from sluice.report import page
from sluice.steps.execute import opened, run_step
from sluice.tasks import load_task


class Checked(NamedTuple):
    """The decision (kfp.local decides by no output of another name), and the project as text on one line."""

    Output: str
    project: str


def run(
    project: Mapping[str, Any],
    set_: str,
    typed: Mapping[str, Any],
    compiled: Mapping[str, Any],
    base_dir: str,
    *,
    gate_path: str,
    report_path: str,
) -> Checked:
    """Returns the decision and the project. Raises nothing: failures end the process as events say."""
    text = ""

    def work() -> Gate:
        nonlocal text
        base = Path(base_dir or ".")
        settings, text = resolve(project, set_, typed, compiled, base_dir=base)
        environment.check(opened(settings))
        found = _found(settings, base)
        return Gate("validate_data", found["decision"], tuple(found["reasons"]) or (summary(found),), found)

    gate = run_step(work, gate_path, step="validate_data", started=STARTED)
    files.write_text(Path(report_path), page.step_page(gate))
    return Checked(gate.decision, text)


def _found(settings: Project, base: Path) -> dict[str, Any]:
    """The report; by a RayJob, where the project and the cluster say so."""
    if not on_cluster(settings.data.engine):
        return validate_project_data(settings, base, load_task(settings, base)).to_dict()
    from components.rayjob.step import handed

    with handed("validate_data", settings.name, {"project": settings.model_dump_json(), "base_dir": str(base)}) as folder:
        return dict(files.read_json(folder / RESULT))


def summary(found: dict[str, Any]) -> str:
    """A passed report in one sentence."""
    rows = " + ".join(f"{n:,} {split}" for split, n in found["rows"].items())
    warned = [c["name"] for c in found["checks"] if c["status"] == "warn"]
    kinds = f", {len(found['labels'])} labels" if found["labels"] else ""
    return f"{rows} rows{kinds}; {len(found['checks'])} checks" + (f", worth a look: {', '.join(warned)}" if warned else " passed")
