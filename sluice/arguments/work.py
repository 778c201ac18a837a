"""The commands that make a model: init, schema, run, tune, compile, upload, submit."""

from __future__ import annotations

from pathlib import Path

from sluice.arguments.shared import (
    Add,
    Commands,
    endpoint_arguments,
    home_argument,
    image_arguments,
    positive,
    project_arguments,
    site_arguments,
    tune_argument,
)


def add_to(commands: Commands, add: Add) -> None:
    """Add them, in this order."""
    init = add("init", "write a project that runs as it stands", "project:init")
    init.add_argument("directory", nargs="?", default=".", metavar="DIR", type=Path)
    init.add_argument(
        "--task",
        help="an example of that kind (tabular, text, image, audio, forecast, recommend, llm, and others: a name there is none of is answered with all); with --data: what it is, where the columns leave that open",
    )
    init.add_argument(
        "--data", type=Path, metavar="FILE", help="your own file or folder of images: it is looked at, and the project is one of it"
    )
    init.add_argument("--label", metavar="COL", help="with --data: the column to learn; default: found or asked for")
    init.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="A.B=V",
        help="with --data: a key of the project, such as model.user=buyer where a column's name does not tell it; may be repeated",
    )
    init.add_argument("--name", help="default: the directory's name")

    add("schema", "print the project file's JSON Schema", "project:schema_")

    run = add("run", "the whole pipeline here, no cluster, to a rolled-out model", "run:run")
    project_arguments(run)
    home_argument(run)
    run.add_argument("--quiet", action="store_true", help="show no progress")

    tune = add("tune", "search for the best settings: the project's `tune` section", "tune:tune")
    project_arguments(tune)
    home_argument(tune)
    tune.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where the project with the best settings goes; default: into the home"
    )
    tune.add_argument("--quiet", action="store_true", help="show no trials")

    compile_ = add("compile", "the project as a KFP pipeline (IR YAML), or as objects for kubectl", "pipelines:compile_")
    project_arguments(compile_)
    tune_argument(compile_)
    compile_.add_argument("-o", "--output", required=True, type=Path, metavar="FILE")
    compile_.add_argument("--kubernetes", action="store_true", help="write Pipeline and PipelineVersion objects, named by content hash")
    compile_.add_argument("--namespace", help="of these objects; default: kubectl's")
    compile_.add_argument("--context", help="of the kubeconfig; default: its current one")
    image_arguments(compile_)
    site_arguments(compile_)

    upload = add(
        "upload", "the pipeline on a Kubeflow Pipelines endpoint, for its page and for PipelineRuns; no run is started", "pipelines:upload"
    )
    project_arguments(upload, optional="default: the pipeline that takes any project, as the cluster's ConfigMap names it")
    tune_argument(upload)
    endpoint_arguments(upload)
    image_arguments(upload)
    site_arguments(upload)

    submit = add("submit", "a run on a Kubeflow Pipelines endpoint", "pipelines:submit")
    project_arguments(submit)
    tune_argument(submit)
    submit.add_argument("--wait", action="store_true", help="follow the run to its end; exit as `sluice run`")
    submit.add_argument("--timeout", type=positive, default=172800, metavar="SECONDS", help="with --wait: default 172800, two days")
    submit.add_argument("--quiet", action="store_true", help="show no progress")
    endpoint_arguments(submit)
    image_arguments(submit)
    site_arguments(submit)
