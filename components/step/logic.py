"""Run a step that the project brings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from components import STARTED
from sluice.core.errors import SluiceError
from sluice.core.gate import Gate
from sluice.data.dataset import Dataset
from sluice.package import package as packages
from sluice.steps.execute import open_project, run_step
from sluice.steps.step import Context, own_steps


def run(
    project: str,
    base_dir: str,
    home: str,
    which: str,
    name: str,
    *,
    gate_path: str,
    run_id: str = "",
    digest: str = "",
    dataset: str = "",
    model: str = "",
    package: str = "",
) -> str:
    """Returns the decision; ``inconclusive`` goes on, as everywhere.

    Args:
        which: where the step is, as the project names it under ``steps``.
        name: the step's own name.
        dataset, model, package: paths of what there is by now; empty for what there is not.
    """

    def work() -> Gate:
        settings, base = open_project(project, base_dir)
        step, section = next((s, c) for where, s, c in own_steps(settings.steps, beside=base) if where == which)
        context = Context(
            settings,
            section,
            base,
            Path(home) if home else None,
            Dataset.open(Path(dataset)) if dataset else None,
            Path(model) if model else None,
            packages.read(Path(package)) if package else None,
            run_id,
            digest,
        )
        gate = step.run(context)
        if not isinstance(gate, Gate):
            raise SluiceError(
                "its run() gave no Gate", field=f"steps.{which}", value=gate, fix="return sluice.core.gate.Gate(self.name, 'pass')"
            )
        told = {"after": step.after, "title": step.title, "section": step.section(gate.evidence)}
        return dataclasses.replace(gate, step=name, evidence={**gate.evidence, **told})

    gate = run_step(work, gate_path, step=name, started=STARTED)
    return "refuse" if gate.decision == "refuse" else "pass"
