"""The KFP face of a step of a project's own."""

import copy

from kfp import dsl

from components.images import PIPELINE
from sluice.steps.step import OWN


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def step(
    project: str,
    which: str,
    name: str,
    gate: dsl.OutputPath(str),
    handed: dsl.OutputPath(str),
    run_id: str = "",
    digest: str = "",
    dataset: dsl.Input[dsl.Dataset] = None,
    model: dsl.Input[dsl.Model] = None,
    package: dsl.Input[dsl.Model] = None,
    base_dir: str = "",
    home: str = "",
) -> str:
    """Run a step that the project brings, on what the steps before it made.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        which: Where the step is, as the project names it.
        name: The step's name.
        gate: The decision and its evidence, on one line of YAML; long evidence is left out.
        handed: The project, for the step behind: each step takes it of the one before, and so the graph is a line.
        run_id: The tracking run, behind `train`.
        digest: The package's digest, behind `register`.
        dataset: What `preprocess` wrote.
        model: What `train` wrote.
        package: What `export_onnx` wrote.

    Returns:
        `pass` or `refuse`.
    """
    from components.step.logic import run
    from sluice.core.gate import hand_on

    paths = {what: made.path if made else "" for what, made in (("dataset", dataset), ("model", model), ("package", package))}
    found = run(project, base_dir, home, which, name, run_id=run_id, digest=digest, gate_path=f"{gate}.json", **paths)
    hand_on(gate)
    with open(handed, "w") as file:  # noqa: PTH123 (nothing is imported for it)
        file.write(project)
    return found


def named(name: str) -> "dsl.base_component.BaseComponent":
    """The component, with a step's own name for its tasks."""
    made = copy.copy(step)
    made.component_spec = copy.deepcopy(step.component_spec)
    made.name = made.component_spec.name = OWN + name.replace("_", "-")
    return made
