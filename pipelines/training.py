"""The training pipeline: from rows to a rolled-out model, with a gate after each judgement."""

from kfp import dsl

from components import cluster
from components.evaluate.component import evaluate
from components.export_onnx.component import export_onnx
from components.preprocess.component import preprocess
from components.register.component import register
from components.rollout.component import rollout
from components.train.component import train
from components.validate_data.component import validate_data

#: What the dashboard offers when nothing was filled in: a project that runs as it stands.
EXAMPLE = "{name: digits, task: image, data: {source: 'sklearn://digits'}, model: {channels: 1, size: [8, 8]}}"


NAME = "sluice-training"
DESCRIPTION = "Validate, preprocess, train, export to ONNX, evaluate against the champion, register, and roll out by statistics."


def learn(project, base_dir, home, data: dsl.PipelineTask) -> None:
    """The steps from a dataset to a rollout, inside whatever condition they are called in."""
    trained = train(project=project, base_dir=base_dir, home=home, environment=cluster.environment("train"), dataset=data.outputs["dataset"])
    cluster.place(trained, "train", cached=True)
    exported = export_onnx(project=project, base_dir=base_dir, environment=cluster.environment("export_onnx"),
                           dataset=data.outputs["dataset"], model=trained.outputs["model"])  # fmt: skip
    cluster.place(exported, "export_onnx", cached=True)
    with dsl.If(exported.outputs["Output"] == "pass", name="package-accepted"):
        judged = evaluate(project=project, base_dir=base_dir, home=home, run_id=trained.outputs["Output"],
                          dataset=data.outputs["dataset"], package=exported.outputs["package"])  # fmt: skip
        cluster.place(judged, "evaluate")
        with dsl.If(judged.outputs["Output"] == "pass", name="model-accepted"):
            registered = register(project=project, base_dir=base_dir, home=home, run_id=trained.outputs["Output"],
                                  package=exported.outputs["package"])  # fmt: skip
            cluster.place(registered, "register")
            rolled = rollout(project=project, base_dir=base_dir, home=home, digest=registered.outputs["Output"],
                             dataset=data.outputs["dataset"])  # fmt: skip
            cluster.place(rolled, "rollout")


def training(project: str = EXAMPLE, base_dir: str = "", home: str = ""):
    """Data to a promoted model, or a refusal with its evidence.

    Args:
        project: The project file (sluice.yaml), as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from; leave empty with s3:// sources.
        home: The local home folder; leave empty on a cluster.
    """
    checked = cluster.place(validate_data(project=project, base_dir=base_dir), "validate_data")
    with dsl.If(checked.outputs["Output"] == "pass", name="data-accepted"):
        data = cluster.place(preprocess(project=project, base_dir=base_dir), "preprocess")
        learn(project, base_dir, home, data)


training_pipeline = dsl.pipeline(name=NAME, description=DESCRIPTION)(training)
