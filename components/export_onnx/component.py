"""The KFP face of `export_onnx`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def export_onnx(
    project: str,
    base_dir: str,
    environment: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    package: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    gate: dsl.OutputPath(str),
) -> str:
    """Export to ONNX, quantise, prove parity, and seal the smallest format within the loss budget.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        environment: Digest of the variables, secrets and devices it runs with: part of the cache's key, and nothing else.
        dataset: What `preprocess` wrote.
        model: What `train` wrote.
        package: The package: a folder any Sluice server can serve.
        report: Size, parity and loss of each format.
        gate: The decision and its evidence, as JSON; long evidence is left out.

    Returns:
        `pass` or `refuse`.
    """
    from components.export_onnx.logic import run
    from sluice.gates import hand_on

    found = run(project, base_dir, dataset_path=dataset.path, model_path=model.path,
                package_path=package.path, report_path=report.path, gate_path=f"{gate}.json")  # fmt: skip
    hand_on(gate)
    return found
