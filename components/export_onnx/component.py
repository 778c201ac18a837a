"""The KFP face of `export_onnx`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def export_onnx(
    project: str,
    environment: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    package: dsl.Output[dsl.Model],
    gate: dsl.OutputPath(str),
    handed: dsl.OutputPath(str),
    base_dir: str = "",
) -> str:
    """Export to ONNX, quantise, prove parity, and seal the smallest format within the loss budget.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        environment: Digest of the variables, secrets and devices it runs with: part of the cache's key, and nothing else.
        dataset: What `preprocess` wrote.
        model: What `train` wrote.
        package: The package: a folder any Sluice server can serve.
        gate: The decision and its evidence, on one line of YAML; long evidence is left out.
        handed: The project, for the step behind: each step takes it of the one before, and so the graph is a line.

    Returns:
        `pass` or `refuse`.
    """
    from components.export_onnx.logic import run
    from sluice.core.gate import hand_on

    found = run(
        project,
        base_dir,
        dataset_path=dataset.path,
        model_path=model.path,
        package_path=package.path,
        report_path=f"{gate}.html",
        gate_path=f"{gate}.json",
    )
    hand_on(gate)
    with open(handed, "w") as file:  # noqa: PTH123 (nothing is imported for it)
        file.write(project)
    return found
