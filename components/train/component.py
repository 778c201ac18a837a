"""The KFP face of `train`."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def train(
    project: str,
    environment: str,
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    gate: dsl.OutputPath(str),
    handed: dsl.OutputPath(str),
    base_dir: str = "",
    home: str = "",
) -> str:
    """Train on the dataset's training rows, distributed where the project says so.

    Args:
        project: The project file, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        environment: Digest of the variables, secrets and devices it runs with: part of the cache's key, and nothing else.
        dataset: What `preprocess` wrote.
        model: Weights and everything fitted with them.
        metrics: The last and best values of the curves.
        gate: The training history, on one line of YAML; long evidence is left out.
        handed: The project, for the step behind: each step takes it of the one before, and so the graph is a line.

    Returns:
        The tracking run's id.
    """
    from components.train.logic import run
    from sluice.core.gate import hand_on

    values, run_id = run(project, base_dir, home, dataset_path=dataset.path, model_path=model.path, gate_path=f"{gate}.json")
    hand_on(gate)
    with open(handed, "w") as file:  # noqa: PTH123 (nothing is imported for it)
        file.write(project)
    for name, value in values.items():
        metrics.log_metric(name, value)
    return run_id
