"""The training pipeline: from rows to a rolled-out model, with a gate after each judgement."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from components import cluster
from components.evaluate.component import evaluate
from components.export_onnx.component import export_onnx
from components.preprocess.component import preprocess
from components.register.component import register
from components.report.component import refusal, report
from components.rollout.component import rollout
from components.train.component import train
from components.validate_data.component import validate_data
from pipelines import flat
from sluice.kfp import form
from sluice.kfp.config import duration_seconds

#: What the dashboard offers when nothing was filled in: a project that runs as it stands.
EXAMPLE = {"name": "digits", "task": "image", "data": {"source": "sklearn://digits"}, "model": {"channels": 1, "size": [8, 8]}}
FORM = form.defaults(EXAMPLE)


NAME = "sluice-training"
DESCRIPTION = (
    "Validate, preprocess, train, export to ONNX, evaluate against the champion, register, and roll out by statistics. " + form.RULE
)


def learn(project: Any, data: dsl.PipelineTask) -> None:
    """The steps from a dataset to a rollout, inside whatever condition they are called in. `project` is the checked one's text, as the step before hands it on."""
    base_dir, home = cluster.here().base_dir, cluster.here().home
    trained = train(
        project=project, base_dir=base_dir, home=home, environment=cluster.environment("train"), dataset=data.outputs["dataset"]
    )
    cluster.place(trained, "train", cached=True)
    exported = export_onnx(
        project=trained.outputs["handed"],
        base_dir=base_dir,
        environment=cluster.environment("export_onnx"),
        dataset=data.outputs["dataset"],
        model=trained.outputs["model"],
    )
    cluster.place(exported, "export_onnx", cached=True)
    with dsl.If(exported.outputs["Output"] == "pass", name="package-accepted"):
        judged = evaluate(
            project=exported.outputs["handed"],
            base_dir=base_dir,
            home=home,
            run_id=trained.outputs["Output"],
            dataset=data.outputs["dataset"],
            package=exported.outputs["package"],
        )
        cluster.place(judged, "evaluate")
        with dsl.If(judged.outputs["Output"] == "pass", name="model-accepted"):
            registered = register(
                project=judged.outputs["handed"],
                base_dir=base_dir,
                home=home,
                run_id=trained.outputs["Output"],
                package=exported.outputs["package"],
                prepared=data.outputs["gate"],
                trained=trained.outputs["gate"],
                exported=exported.outputs["gate"],
                judged=judged.outputs["gate"],
            )
            cluster.place(registered, "register")
            rolled = rollout(
                project=registered.outputs["handed"],
                base_dir=base_dir,
                home=home,
                digest=registered.outputs["Output"],
                dataset=data.outputs["dataset"],
            )
            cluster.place(rolled, "rollout")


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
    base_dir = cluster.here().base_dir
    checked = validate_data(
        project=project,
        set=set,
        base_dir=base_dir,
        compiled=cluster.compiled_form(form.typed(FORM)),
        data_source=data_source,
        evaluate_minimum=evaluate_minimum,
        rollout_minimum_requests=rollout_minimum_requests,
        rollout_steps=rollout_steps,
        train_batch_size=train_batch_size,
        train_epochs=train_epochs,
        train_learning_rate=train_learning_rate,
    )
    cluster.place(checked, "validate_data")
    with dsl.If(checked.outputs["Output"] == "pass", name="data-accepted"):
        data = cluster.place(preprocess(project=checked.outputs["project"], base_dir=base_dir), "preprocess")
        learn(data.outputs["handed"], data)
    tell(project)


def pipeline_here(base_dir: str, home: str) -> Callable[..., Any]:
    """The pipeline for a run on this machine, by kfp.local: the very same steps, in these folders."""
    with cluster.running_here(base_dir, home):
        return flat.pipeline(training, name=NAME, description=DESCRIPTION)
