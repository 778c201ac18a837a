"""The training pipeline: from rows to a rolled-out model, with a gate after each judgement."""

import contextlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from kfp import dsl

from components import cluster
from components.report.component import refusal, report
from components.step.component import named
from components.validate_data.component import validate_data
from pipelines import flat
from sluice.kfp import form
from sluice.kfp.config import duration_seconds
from sluice.steps.step import Step, line

#: What the dashboard offers when nothing was filled in: a project that runs as it stands.
EXAMPLE = {"name": "digits", "task": "image", "data": {"source": "sklearn://digits"}, "model": {"channels": 1, "size": [8, 8]}}
FORM = form.defaults(EXAMPLE)


NAME = "sluice-training"
DESCRIPTION = (
    "Validate, preprocess, train, export to ONNX, evaluate against the champion, register, and roll out by statistics. " + form.RULE
)


def follow(steps: Sequence[Step], given: dict[str, Any], gates: contextlib.ExitStack) -> None:
    """The steps one behind another, inside whatever condition this is called in: each takes what it names of what is given, and gives on.

    Args:
        steps: in their order.
        given: what there is by now, by name: ``project`` (the checked one's text, as the step before hands it on) and so on; added to.
        gates: the conditions that are open: a step that asks opens one for what comes behind it, until the caller closes them.
    """
    where = {step.name: which for which, step in cluster.own_steps()}
    for step in steps:
        own = {"which": where[step.name], "name": step.name} if step.name in where else {}
        component = named(step.name) if own else _component(step)
        offered = {**given, **own, "environment": cluster.environment(step.name), **cluster.folders()}
        task = component(**{name: offered[name] for name in component.component_spec.inputs or () if name in offered})
        cluster.place(task, step.name, cached=step.cached)
        given |= {name: task.outputs[output] for name, output in step.gives.items()}
        if (step.asks or own) and step.name != cluster.here().until:
            gates.enter_context(dsl.If(task.outputs["Output"] == "pass", name=f"{step.name.replace('_', '-')}-accepted"))


def _component(step: Step) -> Any:
    module, _, attribute = step.component.partition(":")
    return getattr(importlib.import_module(module), attribute)


def split() -> tuple[list[Step], list[Step], list[Step]]:
    """The steps of the project that is built for: those behind `validate_data` up to `preprocess`, those directly behind it, and the rest."""
    every = line([step for _, step in cluster.own_steps()])
    if last := cluster.here().until:
        every = every[: 1 + [s.name for s in every].index(last)]
    first = [s.name for s in every].index("preprocess") + 1
    later = next(i for i, s in enumerate(every) if s.name == "train")
    return every[1:first], every[first:later], every[later:]


def tell(project: Any) -> None:
    """What reports the whole run, beside its steps: on a cluster alone, since `sluice run` writes the report of a run on this machine.

    Args:
        project: what the run was given, as an object.
    """
    settings = cluster.for_cluster()
    if settings is None:
        return
    seconds = duration_seconds(settings.of("report").timeout or "1h")
    told = report(project=project, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, seconds=seconds - min(600, seconds // 2))
    cluster.place(told, "report")
    if settings.refusal == "fails":
        with dsl.If(told.outputs["refusal"] == "yes", name="refused"):
            cluster.place(refusal(outcome=told.outputs["Output"]), "report")


def training(
    project: dict = FORM["project"],
    set: str = "",
    data_source: str = FORM["data_source"],
    evaluate_minimum: float = FORM["evaluate_minimum"],
    rollout_minimum_requests: int = FORM["rollout_minimum_requests"],
    rollout_steps: list = FORM["rollout_steps"],
    train_batch_size: int = FORM["train_batch_size"],
    train_epochs: int = FORM["train_epochs"],
    train_learning_rate: float = FORM["train_learning_rate"],
) -> None:
    """Data to a promoted model, or a refusal with its evidence. What the parameters are stands in `sluice.kfp.form`."""
    checked = validate_data(
        project=project,
        set=set,
        compiled=cluster.compiled_form(form.typed(FORM)),
        data_source=data_source,
        evaluate_minimum=evaluate_minimum,
        rollout_minimum_requests=rollout_minimum_requests,
        rollout_steps=rollout_steps,
        train_batch_size=train_batch_size,
        train_epochs=train_epochs,
        train_learning_rate=train_learning_rate,
        **cluster.folders("base_dir"),
    )
    cluster.place(checked, "validate_data")
    with contextlib.ExitStack() as gates:
        gates.enter_context(dsl.If(checked.outputs["Output"] == "pass", name="data-accepted"))
        given = {"project": checked.outputs["project"], "checked": checked.outputs["gate"]}
        follow([step for part in split() for step in part], given, gates)
    tell(project)


def pipeline_here(base_dir: str, home: str, own: cluster.Own = (), until: str = "") -> Callable[..., Any]:
    """The pipeline for a run on this machine, by kfp.local: the very same steps, in these folders; no further than `until` where one is named."""
    with cluster.running_here(base_dir, home, own, until):
        return flat.pipeline(training, name=NAME, description=DESCRIPTION)
