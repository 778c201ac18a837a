"""The tuning pipeline: a study with its trials side by side, then the training pipeline with the best one's settings."""

import contextlib

from kfp import dsl

from components import cluster
from components.tune.component import tune_begin, tune_choose
from components.tune.component import tune_trials as tune_trials_step
from components.validate_data.component import validate_data
from pipelines.training import follow, split, tell
from sluice.kfp import form

EXAMPLE = {
    "name": "digits",
    "task": "image",
    "data": {"source": "sklearn://digits"},
    "model": {"channels": 1, "size": [8, 8]},
    "tune": {
        "trials": 8,
        "parallel": 2,
        "storage": "journal:/store/studies/digits.journal",
        "space": {
            "train.learning_rate": {"type": "float", "low": 1e-4, "high": 3e-2, "log": True},
            "model.width": {"type": "int", "low": 8, "high": 32, "step": 8},
        },
    },
}
FORM = form.defaults(EXAMPLE, form.TUNING)

NAME = "sluice-tuning"
DESCRIPTION = (
    "Search for the best settings in parallel, then train with them, export, evaluate, register, and roll out by statistics. " + form.RULE
)


def tuning(
    project: dict = FORM["project"],
    set: str = "",
    data_source: str = FORM["data_source"],
    evaluate_minimum: float = FORM["evaluate_minimum"],
    rollout_minimum_requests: int = FORM["rollout_minimum_requests"],
    rollout_steps: list = FORM["rollout_steps"],
    tune_trials: int = FORM["tune_trials"],
) -> None:
    """Data to a promoted model with settings found by a search. What the parameters are stands in `sluice.kfp.form`."""
    checked = validate_data(
        project=project,
        set=set,
        compiled=cluster.compiled_form(form.typed(FORM)),
        data_source=data_source,
        evaluate_minimum=evaluate_minimum,
        rollout_minimum_requests=rollout_minimum_requests,
        rollout_steps=rollout_steps,
        tune_trials=tune_trials,
        **cluster.folders("base_dir"),
    )
    cluster.place(checked, "validate_data")
    before, between, behind = split()
    with contextlib.ExitStack() as gates:
        gates.enter_context(dsl.If(checked.outputs["Output"] == "pass", name="data-accepted"))
        given = {"project": checked.outputs["project"], "checked": checked.outputs["gate"]}
        follow([*before, *between], given, gates)
        settled, dataset = given["project"], given["dataset"]
        begun = cluster.place(tune_begin(project=settled, dataset=dataset), "preprocess")
        with dsl.ParallelFor(begun.outputs["Output"], name="trials") as worker:
            ran = tune_trials_step(project=settled, worker=worker, dataset=dataset)
            cluster.place(ran, "train")
        chosen = tune_choose(project=settled, dataset=dataset).after(ran)
        cluster.place(chosen, "preprocess")
        given["project"] = chosen.outputs["Output"]
        follow(behind, given, gates)
    tell(project)
