"""`sluice compile`: a project as KFP IR YAML, or as Pipeline and PipelineVersion objects."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format

from components.cluster import Target, compiling_for
from pipelines import batch_inference, flat, monitoring, size, tuning
from pipelines.training import DESCRIPTION, FORM, NAME, training
from sluice.core import files, yamlfile
from sluice.core.errors import ProjectError
from sluice.kfp import checks, form
from sluice.kfp.config import ClusterConfig
from sluice.kube.image import check as check_image
from sluice.project import Project, read_text
from sluice.steps.step import own_steps
from sluice.tuning.study import STORAGE_ENV, settings_of

GOLDEN = Path(__file__).parent / "compiled"
#: The image of the golden files: a reference of the right form, of no image.
GOLDEN_IMAGE = "registry.example/sluice/pipeline@sha256:" + "0" * 64
IMAGE_VARIABLE = "SLUICE_PIPELINE_IMAGE"


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        name: the pipeline's name: a DNS label.
        spec, platform: KFP's pipeline specification, and what it adds for Kubernetes.
        digest: sha256 (hex) of the two.
    """

    name: str
    spec: dict[str, Any]
    platform: dict[str, Any]
    digest: str

    @property
    def version(self) -> str:
        """The version's name: the same content always has the same, another content another."""
        return f"{self.name}-{self.digest[:12]}"

    @property
    def text(self) -> str:
        """IR YAML: the specification, and the platform's as a second document."""
        return to_yaml(self.spec, self.platform)


def compile_pipeline(
    function: Callable[..., Any],
    target: Target,
    *,
    name: str,
    description: str,
    parameters: dict[str, Any] | None = None,
    allow_tag: bool = False,
) -> Compiled:
    """Compile a pipeline function for a cluster, and check what came out.

    Args:
        function: composed of steps that were each given to `components.cluster.place`.
        target: image and settings of the steps.
        name: a DNS label.
        description: one sentence for the dashboard.
        parameters: new defaults of the function's parameters.
        allow_tag: let the image be named by tag.

    Raises:
        ProjectError: a task is not bounded, not pinned or not restricted; it is named.
    """
    with compiling_for(target):
        built = flat.pipeline(function, name=name, description=description, here=False)
    # KFP's own writer puts defaults into comments, and one of several lines breaks the file.
    spec, platform = (json_format.MessageToDict(m) for m in (built.pipeline_spec, built.platform_spec))
    declared = spec["root"]["inputDefinitions"]["parameters"]
    for key, value in (parameters or {}).items():
        declared[key]["defaultValue"] = value
    for key, told in form.DESCRIPTIONS.items():
        if key in declared:
            declared[key].setdefault("description", told)
    checks.require(spec, platform, allow_tag=allow_tag)
    return Compiled(name, spec, platform, files.digest_of([spec, platform]))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def to_yaml(*documents: dict[str, Any]) -> str:
    """YAML with sorted keys: equal documents are equal texts."""
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True))


def image_of(image: str | None, *, allow_tag: bool) -> str:
    """The image steps run in: as given, else ``$SLUICE_PIPELINE_IMAGE``.

    Raises:
        ProjectError: none was given, or it is not named by digest.
    """
    field = "--image" if image else IMAGE_VARIABLE
    image = image or os.environ.get(IMAGE_VARIABLE)
    if not image:
        raise ProjectError(
            "no image was given for the steps",
            field="--image",
            fix=f"--image REGISTRY/sluice/pipeline@sha256:..., or set {IMAGE_VARIABLE}; `make images` builds it",
        )
    return check_image(image, field=field, allow_tag=allow_tag)


def compile_training(
    project: Project, *, text: str, image: str | None = None, allow_tag: bool = False, name: str | None = None
) -> Compiled:
    """The training pipeline of a project, its settings the defaults of the pipeline's parameters.

    Raises:
        ProjectError: no image, one that is not pinned, a task that is not bounded, or more than Kubeflow Pipelines can follow.
    """
    return _of_project(project, training, DESCRIPTION, name or project.name, form.TRAINING, text=text, image=image, allow_tag=allow_tag)


def compile_tuning(project: Project, *, text: str, image: str | None = None, allow_tag: bool = False, name: str | None = None) -> Compiled:
    """The tuning pipeline of a project, ``NAME-tuning``.

    Raises:
        ProjectError: as `compile_training`; there is no `tune` section, or nowhere that its tasks could share the study.
    """
    _check_storage(project)
    return _of_project(
        project,
        tuning.tuning,
        tuning.DESCRIPTION,
        name or f"{project.name}-tuning",
        form.TUNING,
        text=text,
        image=image,
        allow_tag=allow_tag,
    )


def _check_storage(project: Project) -> None:
    """Every task of the study, each in a pod of its own, must reach the same storage."""
    storage = settings_of(project).storage
    for step in ("preprocess", "train"):
        settings = project.cluster.of(step)
        named = storage or settings.env.get(STORAGE_ENV)
        if not named and not any(STORAGE_ENV in s.env.values() for s in settings.secrets):
            raise ProjectError(
                "is not set: tasks in pods of their own share the study",
                field="tune.storage",
                fix="name a database's URL, or journal:FILE on a volume of cluster.defaults; "
                f"or give {STORAGE_ENV} in cluster.defaults, by env or from a Secret",
            )
        mounts = [v.mount for v in settings.volumes]
        if (
            named
            and named.startswith("journal:")
            and not any(named.removeprefix("journal:").startswith(m.rstrip("/") + "/") for m in mounts)
        ):
            raise ProjectError(
                f"is on no volume of the step {step}: each pod would have a study of its own",
                field="tune.storage",
                value=named,
                fix="put it below a mount of cluster.defaults.volumes",
            )
        if named and named.startswith("sqlite"):
            raise ProjectError(
                "is a file for the processes of one machine",
                field="tune.storage",
                value=named,
                fix="name journal:FILE on a volume of cluster.defaults, or a database server's URL",
            )


def _of_project(
    project: Project,
    function: Callable[..., Any],
    does: str,
    name: str,
    parameters: Sequence[form.Parameter],
    *,
    text: str,
    image: str | None,
    allow_tag: bool,
) -> Compiled:
    raw = read_text(text, "the project")
    values = form.defaults(raw, parameters)
    own = [(where, step) for where, step, _ in own_steps(project.steps, beside=project.base_dir)]
    target = Target(project.cluster, image_of(image, allow_tag=allow_tag), form.typed(values), own)
    said = does if name not in (project.name, f"{project.name}-tuning") else f"{project.name}: {does[0].lower()}{does[1:]}"
    made = compile_pipeline(function, target, name=name, description=said, parameters=values, allow_tag=allow_tag)
    workers = settings_of(project).parallel if parameters is form.TUNING else 1
    note = size.require(made.spec, made.platform, project=yamlfile.line(raw), workers=workers)
    if note:
        print(f"note: {note}", file=sys.stderr)
    return made


def compile_project(
    project: Project,
    out: Path,
    *,
    text: str,
    image: str | None = None,
    allow_tag: bool = False,
    kubernetes: bool = False,
    namespace: str | None = None,
    tune: bool = False,
    name: str | None = None,
) -> dict[str, Any]:
    """Write a pipeline with the project baked in as its parameters' defaults.

    Args:
        project: the checked project.
        out: the file to write.
        text: the project as YAML or JSON text, overrides applied.
        image: of the steps, by digest; default ``$SLUICE_PIPELINE_IMAGE``.
        allow_tag: let the image be named by tag; nothing is cached then.
        kubernetes: write Pipeline and PipelineVersion objects for `kubectl apply` instead of IR.
        namespace: of these objects; default: kubectl's.
        tune: the tuning pipeline instead of the training pipeline.
        name: of the pipeline, where it is for any project and this one only an example; default: the project's own.

    Returns:
        Where it was written, its pipeline's and version's names and content hash.

    Raises:
        ProjectError: as `compile_training` or `compile_tuning`.
    """
    made = (compile_tuning if tune else compile_training)(project, text=text, image=image, allow_tag=allow_tag, name=name)
    files.write_text(out, to_yaml(*manifests(made, namespace)) if kubernetes else made.text)
    return {
        "file": str(out),
        "pipeline": made.name,
        "version": made.version,
        "project": project.name,
        "sha256": made.digest,
        "kubernetes": kubernetes,
    }


def manifests(made: Compiled, namespace: str | None = None) -> list[dict[str, Any]]:
    """KFP's own resources for a compiled pipeline.

    A PipelineVersion's specification cannot be changed once it is there, so it is named by its
    content: applying the same again changes nothing, another content is another version.
    """
    where = {"namespace": namespace} if namespace else {}
    labels = {"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/name": made.name}
    api, description = "pipelines.kubeflow.org/v2beta1", made.spec["pipelineInfo"]["description"]
    version = {"displayName": made.version, "description": description, "pipelineName": made.name, "pipelineSpec": made.spec}
    if made.platform:
        version["platformSpec"] = made.platform
    return [
        {
            "apiVersion": api,
            "kind": "Pipeline",
            "metadata": {"name": made.name, "labels": labels, **where},
            "spec": {"displayName": made.name, "description": description},
        },
        {
            "apiVersion": api,
            "kind": "PipelineVersion",
            "spec": version,
            "metadata": {"name": made.version, "labels": labels, "annotations": {"sluice.dev/sha256": made.digest}, **where},
        },
    ]


def golden() -> dict[str, str]:
    """The checked-in compiled pipelines: file name -> text."""
    target = Target(ClusterConfig(), GOLDEN_IMAGE)
    return {
        "training.yaml": compile_pipeline(training, target, name=NAME, description=DESCRIPTION, parameters=FORM).text,
        "tuning.yaml": compile_pipeline(
            tuning.tuning, target, name=tuning.NAME, description=tuning.DESCRIPTION, parameters=tuning.FORM
        ).text,
        "batch_inference.yaml": compile_pipeline(
            batch_inference.batch_inference, target, name=batch_inference.NAME, description=batch_inference.DESCRIPTION
        ).text,
        "monitoring.yaml": compile_pipeline(monitoring.monitoring, target, name=monitoring.NAME, description=monitoring.DESCRIPTION).text,
    }


def write_golden() -> None:
    """Refresh the checked-in compiled pipelines."""
    for name, text in golden().items():
        files.write_text(GOLDEN / name, text)


if __name__ == "__main__":
    write_golden()
