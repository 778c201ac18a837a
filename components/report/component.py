"""The KFP faces of the run's report, and of the task that fails where a refusal is to fail the run."""

from kfp import dsl

from components.images import PIPELINE


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def report(
    project: dict,
    run_id: str,
    seconds: int,
    outcome: dsl.Output[dsl.Metrics],
    page: dsl.Output[dsl.HTML],
    refusal: dsl.OutputPath(str),
) -> str:
    """Wait for the run's other steps, and report what they came to: promoted, refused, rolled back or failed.

    Args:
        project: The project as an object, for its name.
        run_id: The run.
        seconds: How long it waits at most.
        outcome: `promoted` (1 or 0), the step that decided and why, and the figures it turned on.
        page: The whole run's report: what came out, and every step's evidence.
        refusal: `yes` where the run was refused or rolled back.

    Returns:
        `promoted`, `refused`, `rolled_back`, `failed`, or `unknown` where that cannot be told.
    """
    from components.report.logic import run

    figures = run(project, run_id, seconds, page_path=page.path, refusal_path=refusal)
    for name, value in figures.items():
        outcome.metadata[name] = value
    return str(figures["outcome"])


@dsl.component(base_image=PIPELINE, install_kfp_package=False)
def refusal(outcome: str) -> None:
    """Fail, so that Kubeflow Pipelines shows a refused or rolled back run as failed (cluster.refusal: fails).

    Args:
        outcome: What the run came to.
    """
    from components.report.logic import fail

    fail(outcome)
