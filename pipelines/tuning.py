"""The tuning pipeline: a study with its trials side by side, then the training pipeline with the best one's settings."""

from kfp import dsl

from components import cluster
from components.preprocess.component import preprocess
from components.tune.component import tune_begin, tune_choose, tune_trials
from components.validate_data.component import validate_data
from pipelines.training import learn

EXAMPLE = (
    "{name: digits, task: image, data: {source: 'sklearn://digits'}, model: {channels: 1, size: [8, 8]}, tune: {trials: 8, parallel: 2, "
    "storage: 'journal:/store/studies/digits.journal', space: {train.learning_rate: {type: float, low: 1e-4, high: 3e-2, log: true}, "
    "model.width: {type: int, low: 8, high: 32, step: 8}}}}"
)

NAME = "sluice-tuning"
DESCRIPTION = "Search for the best settings in parallel, then train with them, export, evaluate, register, and roll out by statistics."


def tuning(project: str = EXAMPLE, base_dir: str = "", home: str = ""):
    """Data to a promoted model with settings found by a search.

    Args:
        project: The project file (sluice.yaml) with a `tune` section, as YAML or JSON text.
        base_dir: The folder that relative paths in the project start from; leave empty with s3:// sources.
        home: The local home folder; leave empty on a cluster, and name `tune.storage`.
    """
    checked = cluster.place(validate_data(project=project, base_dir=base_dir), "validate_data")
    with dsl.If(checked.outputs["Output"] == "pass", name="data-accepted"):
        data = cluster.place(preprocess(project=project, base_dir=base_dir), "preprocess")
        begun = cluster.place(tune_begin(project=project, base_dir=base_dir, home=home, dataset=data.outputs["dataset"]), "preprocess")
        with dsl.ParallelFor(begun.outputs["Output"], name="processes") as worker:
            ran = tune_trials(project=project, base_dir=base_dir, home=home, worker=worker, dataset=data.outputs["dataset"])
            cluster.place(ran, "train")
        chosen = tune_choose(project=project, base_dir=base_dir, home=home, dataset=data.outputs["dataset"]).after(ran)
        cluster.place(chosen, "preprocess")
        learn(chosen.outputs["Output"], base_dir, home, data)


tuning_pipeline = dsl.pipeline(name=NAME, description=DESCRIPTION)(tuning)
