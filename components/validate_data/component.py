"""The KFP face of `validate_data`."""

from typing import NamedTuple

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def validate_data(
    project: dict,
    set: str,
    compiled: dict,
    data_source: str,
    evaluate_minimum: float,
    rollout_minimum_requests: int,
    rollout_steps: list,
    gate: dsl.OutputPath(str),
    train_batch_size: int = 0,
    train_epochs: int = 0,
    train_learning_rate: float = 0.0,
    tune_trials: int = 0,
    base_dir: str = "",
) -> NamedTuple("Checked", [("Output", str), ("project", str)]):
    """Put the form together to one project, check all of it, and the rows against its declared limits, before anything is trained.

    Args:
        project: The project file as a JSON object.
        set: Settings by path, `train.epochs=5 model.width=8`.
        base_dir: The folder that relative paths in the project start from.
        compiled: The typed parameters as they were compiled in: one that still has its value leaves the project as it is.
        data_source: Where the rows are.
        evaluate_minimum: Worst value of the metric that is accepted.
        rollout_minimum_requests: Requests the new model must answer in each step.
        rollout_steps: Per cent of traffic for the new model, step by step.
        gate: The decision and every check, on one line of YAML; long evidence is left out.
        train_batch_size: Rows a training step; 0: automatic.
        train_epochs: Passes over the training rows; 0: automatic.
        train_learning_rate: Learning rate; 0: automatic.
        tune_trials: Trainings that a study tries.

    Returns:
        `pass` or `refuse`, and the project that every later step takes, as text on one line.
    """
    from components.validate_data.logic import run
    from sluice.core.gate import hand_on

    typed = {
        "data_source": data_source,
        "evaluate_minimum": evaluate_minimum,
        "rollout_minimum_requests": rollout_minimum_requests,
        "rollout_steps": rollout_steps,
        "train_batch_size": train_batch_size,
        "train_epochs": train_epochs,
        "train_learning_rate": train_learning_rate,
        "tune_trials": tune_trials,
    }
    found = run(
        project,
        set,
        {k: v for k, v in typed.items() if k in compiled},
        compiled,
        base_dir,
        report_path=f"{gate}.html",
        gate_path=f"{gate}.json",
    )
    hand_on(gate)
    return found
