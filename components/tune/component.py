"""The KFP faces of a study: begin, trials, choose."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def tune_begin(
    project: str,
    dataset: dsl.Input[dsl.Dataset],
    gate: dsl.Output[dsl.Artifact],
    base_dir: str = "",
    home: str = "",
) -> list:
    """Check the search space and open the study; a study that was cut off is gone on with.

    Args:
        project: The project file with a `tune` section, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster, where `tune.storage` names a storage.
        dataset: What `preprocess` wrote.
        gate: The study's name, as JSON.

    Returns:
        A number for each process that works on the study.
    """
    from components.tune.logic import begin

    return begin(project, base_dir, home, dataset_path=dataset.path, gate_path=gate.path)


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def tune_trials(
    project: str,
    worker: str,
    dataset: dsl.Input[dsl.Dataset],
    gate: dsl.Output[dsl.Artifact],
    base_dir: str = "",
    home: str = "",
) -> int:
    """Train with settings the study proposes, one trial after another, until it has enough.

    Args:
        project: The project file with a `tune` section, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        worker: The number of this process.
        dataset: What `preprocess` wrote.
        gate: How many trials this process ran, as JSON.

    Returns:
        How many trials this process ran.
    """
    from components.tune.logic import trials

    return trials(project, base_dir, home, worker, dataset_path=dataset.path, gate_path=gate.path)


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def tune_choose(
    project: str,
    dataset: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    gate: dsl.Output[dsl.Artifact],
    base_dir: str = "",
    home: str = "",
) -> str:
    """Merge the best trial's settings into the project, and draw the study.

    Args:
        project: The project file with a `tune` section, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from.
        home: The local home folder; empty on a cluster.
        dataset: What `preprocess` wrote.
        report: The study's trials, curves and settings.
        gate: The study as JSON.

    Returns:
        The project to train, as text on one line.
    """
    from components.tune.logic import choose

    return choose(project, base_dir, home, dataset_path=dataset.path, report_path=report.path, gate_path=gate.path)
