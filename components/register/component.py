"""The KFP face of `register`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def register(
    project: str,
    run_id: str,
    package: dsl.Input[dsl.Model],
    checked: str,
    prepared: str,
    trained: str,
    exported: str,
    judged: str,
    gate: dsl.OutputPath(str),
    handed: dsl.OutputPath(str),
    base_dir: str = "",
    home: str = "",
) -> str:
    """Store the package under its digest and register it as the model's candidate.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        run_id: The tracking run it came from.
        package: What `export_onnx` wrote.
        checked: The gate of `validate_data`, for the record and the model card.
        prepared: The gate of `preprocess`.
        trained: The gate of `train`.
        exported: The gate of `export_onnx`.
        judged: The gate of `evaluate`.
        gate: Version, digest, place and lineage, on one line of YAML; long evidence is left out.
        handed: The project, for the step behind: each step takes it of the one before, and so the graph is a line.

    Returns:
        The package digest.
    """
    from components.register.logic import run
    from sluice.core.gate import hand_on

    gates = [checked, prepared, trained, exported, judged]
    found = run(project, base_dir, home, run_id, package_path=package.path, gates=gates, gate_path=f"{gate}.json")
    hand_on(gate)
    with open(handed, "w") as file:  # noqa: PTH123 (nothing is imported for it)
        file.write(project)
    return found
