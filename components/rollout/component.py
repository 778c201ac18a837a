"""The KFP face of `rollout`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def rollout(
    project: str,
    digest: str,
    dataset: dsl.Input[dsl.Dataset],
    gate: dsl.OutputPath(str),
    base_dir: str = "",
    home: str = "",
) -> str:
    """Let the candidate into traffic as far as the evidence allows: promoted, or rolled back.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        digest: The candidate's package digest, as `register` gave it.
        dataset: What `preprocess` wrote; its held-out rows are replayed as traffic where there is none.
        gate: The outcome and its evidence, on one line of YAML; long evidence is left out.

    Returns:
        `promoted` or `rolled_back`.
    """
    from components.rollout.logic import run
    from sluice.core.gate import hand_on

    found = run(project, base_dir, home, digest, dataset_path=dataset.path, report_path=f"{gate}.html", gate_path=f"{gate}.json")
    hand_on(gate)
    return found
