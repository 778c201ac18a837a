"""The KFP face of `preprocess`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def preprocess(
    project: str,
    dataset: dsl.Output[dsl.Dataset],
    gate: dsl.OutputPath(str),
    handed: dsl.OutputPath(str),
    base_dir: str = "",
) -> str:
    """Split the rows by content, write them as sharded Parquet with digests, and profile them.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        dataset: The dataset folder: shards, manifest, reference profile.
        gate: Rows per split and the data's digest, on one line of YAML; long evidence is left out.
        handed: The project, for the step behind: each step takes it of the one before, and so the graph is a line.

    Returns:
        The dataset's digest: the version of the data.
    """
    from components.preprocess.logic import run
    from sluice.core.gate import hand_on

    found = run(project, base_dir, dataset_path=dataset.path, gate_path=f"{gate}.json")
    hand_on(gate)
    with open(handed, "w") as file:  # noqa: PTH123 (nothing is imported for it)
        file.write(project)
    return found
