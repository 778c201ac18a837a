"""The KFP face of `validate_data`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def validate_data(
    project: str,
    base_dir: str,
    gate: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> str:
    """Check the rows against the project's declared limits, before anything is trained.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        gate: The decision and every check, as JSON.
        report: The checks and each column's distribution, for people.

    Returns:
        `pass` or `refuse`.
    """
    from components.validate_data.logic import run

    return run(project, base_dir, gate_path=gate.path, report_path=report.path)
