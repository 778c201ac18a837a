"""The KFP face of `register`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def register(
    project: str,
    base_dir: str,
    home: str,
    run_id: str,
    package: dsl.Input[dsl.Model],
    prepared: dsl.Input[dsl.Artifact],
    trained: dsl.Input[dsl.Artifact],
    exported: dsl.Input[dsl.Artifact],
    judged: dsl.Input[dsl.Artifact],
    gate: dsl.Output[dsl.Artifact],
) -> str:
    """Store the package under its digest and register it as the model's candidate.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        run_id: The tracking run it came from.
        package: What `export_onnx` wrote.
        prepared: The gate of `preprocess`, for the model card.
        trained: The gate of `train`.
        exported: The gate of `export_onnx`.
        judged: The gate of `evaluate`.
        gate: Version, digest, place and lineage, as JSON.

    Returns:
        The package digest.
    """
    from components.register.logic import run

    gates = [prepared.path, trained.path, exported.path, judged.path]
    return run(project, base_dir, home, run_id, package_path=package.path, gate_paths=gates, gate_path=gate.path)
