"""The Python API: what a notebook and an extension import, drawn by mkdocstrings from their own docstrings."""

from __future__ import annotations

#: Heading -> objects, in the order a reader meets them.
PARTS = {
    "Notebook": [
        "sluice.client.Client",
        "sluice.client.runs.Run",
        "sluice.registry.versions.Version",
        "sluice.engines.predictor.Predictor",
    ],
    "Project": ["sluice.project.Project"],
    "Errors": [
        "sluice.core.errors.SluiceError",
        "sluice.core.errors.ProjectError",
        "sluice.core.errors.PackageError",
        "sluice.core.errors.HomeError",
        "sluice.core.errors.DeadlineError",
        "sluice.kfp.errors.EndpointError",
    ],
    "Extensions": [
        "sluice.core.check.Check",
        "sluice.fields.field.Field",
        "sluice.problems.problem.Problem",
        "sluice.tasks.base.Task",
        "sluice.learners.base.Learner",
        "sluice.learners.base.Trained",
        "sluice.formats.base.Format",
        "sluice.engines.base.Engine",
        "sluice.steps.step.Step",
    ],
}


def pages() -> dict[str, str]:
    return {
        f"reference/python/{part.lower()}.md": f"# Python: {part.lower()}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"
        for part, names in PARTS.items()
    }
