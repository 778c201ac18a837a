"""`PipelineSchedule` and `PipelineRun`: reading their specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sluice import project
from sluice.core import cron, files
from sluice.core.cron import Cron
from sluice.core.errors import ProjectError, SluiceError
from sluice.kfp import form
from sluice.kube.client import Object
from sluice.kube.objects import GROUP, Objects

#: The annotation that steers, as a ModelRollout's does: ``sluice.dev/command: retry#1``.
COMMAND = f"{GROUP}/command"
FINALIZER = f"{GROUP}/pipelines"
#: The training pipeline's parameter that takes a project.
PROJECT = form.PROJECT
#: The most Kubeflow Pipelines runs at once of one recurring run.
_MOST = 10

Command = Literal["retry", "terminate", "abandon"]


class SpecError(SluiceError):
    """A spec that the schema lets through and that makes no sense all the same."""

    exit_code = 2


@dataclass(frozen=True)
class Source:
    """What is to run: a pipeline of Kubeflow Pipelines, a project for the training pipeline, or both.

    Attributes:
        pipeline: its name; by default the project's. version: name or id; None is the newest.
        inline, config_map: the project's text, or (name, key) of a ConfigMap that holds it.
        fallback: the pipeline for any project, where none has the project's name; empty: there is none.
    """

    pipeline: str | None
    version: str | None
    parameters: Mapping[str, Any]
    inline: str | None
    config_map: tuple[str, str] | None
    service_account: str
    root: str
    fallback: str = ""

    def resolve(self, kube: Objects, namespace: str) -> tuple[str, str | None]:
        """The pipeline's name, and the project's text where one is given.

        Raises:
            SpecError: no such ConfigMap or key. ProjectError: the project is wrong.
        """
        text, where = self.inline, "spec.project.inline"
        if self.config_map is not None:
            name, key = self.config_map
            where = f"ConfigMap {namespace}/{name}: {key}"
            found = kube.get("ConfigMap", namespace, name)
            text = ((found or {}).get("data") or {}).get(key)
            if text is None:
                raise SpecError(
                    "there is no such key" if found else "there is no such ConfigMap",
                    field=where,
                    fix="make it, or change spec.project.configMapKeyRef",
                )
        if text is None:
            assert self.pipeline is not None
            return self.pipeline, None
        raw = project.read_text(text, where)
        if ":" not in str(raw.get("task", "")):
            project.parse(raw, where=where)
        elif not isinstance(raw.get("name"), str):
            # A plug-in task's own checks need its code, which is in the pipeline's image and not here.
            raise ProjectError("a project has a name", field=where)
        return self.pipeline or str(raw["name"]), text

    def filled(self, version: Object, text: str | None) -> dict[str, Any]:
        """The parameters to start a run of a version with: all that its form asks for, so that runs can be compared by them.

        Of a pipeline with a form of another kind only what is given, and the project as text.

        Raises:
            ProjectError: naming the parameter that is wrong.
        """
        inputs = inputs_of(version)
        if not has_form(version):
            return {**self.parameters, **({PROJECT: text} if text is not None else {})}
        given = dict(self.parameters)
        if text is None and isinstance(given.get(PROJECT), str):
            text = given.pop(PROJECT)
        raw = project.read_text(text, f"spec.parameters.{PROJECT}") if text is not None else None
        return form.fill({name: one.get("defaultValue") for name, one in inputs.items()}, given, raw)


def inputs_of(version: Object) -> dict[str, Object]:
    """The parameters of a pipeline's version: name -> ``{parameterType, defaultValue, ...}``."""
    spec: Object = version.get("pipeline_spec") or {}
    spec = spec.get("pipeline_spec", spec)
    found: dict[str, Object] = (((spec.get("root") or {}).get("inputDefinitions") or {}).get("parameters")) or {}
    return found


def has_form(version: Object) -> bool:
    """Whether it asks for a project as an object, as what `sluice compile` writes does."""
    inputs = inputs_of(version)
    return form.SET in inputs and (inputs.get(PROJECT) or {}).get("parameterType") == "STRUCT"


def source(spec: Object) -> Source:
    """Raises `SpecError`."""
    named, given = spec.get("pipeline") or {}, spec.get("project") or {}
    ref = given.get("configMapKeyRef")
    parameters = dict(spec.get("parameters") or {})
    if given and PROJECT in parameters:
        raise SpecError("is given by spec.project already", field=f"spec.parameters.{PROJECT}", fix="leave one of them out")
    if not given and not named.get("name"):
        raise SpecError(
            "names neither a pipeline nor a project", field="spec", fix="give pipeline.name, project.inline or project.configMapKeyRef"
        )
    return Source(
        named.get("name"),
        named.get("version"),
        parameters,
        given.get("inline"),
        (ref["name"], ref["key"]) if ref else None,
        spec.get("serviceAccountName") or "",
        spec.get("pipelineRoot") or "",
    )


@dataclass(frozen=True)
class Schedule:
    """A `PipelineSchedule` as it was read.

    Attributes:
        together: how many runs may go on at once. replace: end the older ones.
        succeeded, failed: how many ended runs stay. remove: delete the others in place of archiving them.
    """

    raw: Object
    cron: Cron
    zone: ZoneInfo
    source: Source
    together: int
    replace: bool
    suspended: bool
    catch_up: bool
    succeeded: int
    failed: int
    remove: bool

    @property
    def title(self) -> str:
        """The beginning of its recurring runs' names; their hash follows."""
        return title(self.raw)

    def digest(self, pipeline: str, version: str, parameters: Mapping[str, Any], six: str) -> str:
        """12 hex digits over everything a recurring run is made from."""
        return files.digest_of(
            [pipeline, version, dict(parameters), six, self.together, self.catch_up, self.source.service_account, self.source.root]
        )[:12]


def title(raw: Object) -> str:
    """Name and namespace, as Kubeflow Pipelines shows them."""
    return f"{raw['metadata']['name']}/{raw['metadata']['namespace']}"


def schedule(raw: Object) -> Schedule:
    """Raises `SluiceError` naming the field."""
    spec, history = raw["spec"], raw["spec"].get("history") or {}
    policy = spec.get("concurrencyPolicy", "Forbid")
    # Replace lets the new run start beside the old, which is ended then.
    together = {"Forbid": 1, "Replace": 2, "Allow": int(spec.get("maxConcurrency", _MOST))}[policy]
    return Schedule(
        raw,
        cron.parse(spec["schedule"]),
        cron.zone(spec.get("timeZone", "UTC")),
        source(spec),
        together,
        policy == "Replace",
        bool(spec.get("suspend")),
        bool(spec.get("catchUp")),
        int(history.get("succeeded", 10)),
        int(history.get("failed", 10)),
        history.get("excess", "Archive") == "Delete",
    )


@dataclass(frozen=True)
class PipelineRun:
    """A `PipelineRun` as it was read.

    Attributes:
        attempt: the one that goes on, from 1. handled: commands that were acted on. retries: more attempts after a failure.
        timeout: seconds from the resource's creation until it is given up.
    """

    raw: Object
    source: Source
    experiment: str
    retries: int
    timeout: float
    attempt: int
    handled: tuple[str, ...] = field(default=())

    def name(self, attempt: int) -> str:
        """The run's name in Kubeflow Pipelines: the same for the same attempt of the same resource, and no other's."""
        meta = self.raw["metadata"]
        return f"{title(self.raw)} {meta['uid'][:8]}-{attempt}"

    def command(self) -> tuple[str, Command] | None:
        """The command that has not been acted on."""
        found = command(self.raw)
        return found if found and found[0] not in self.handled else None


def command(raw: Object) -> tuple[str, Command] | None:
    """The annotation's whole value and the command in it."""
    value = (raw["metadata"].get("annotations") or {}).get(COMMAND, "")
    word = value.partition("#")[0]
    return (value, word) if word in ("retry", "terminate", "abandon") else None


def run(raw: Object) -> PipelineRun:
    """Raises `SluiceError` naming the field."""
    spec, status = raw["spec"], raw.get("status") or {}
    return PipelineRun(
        raw,
        source(spec),
        spec.get("experiment") or raw["metadata"]["namespace"],
        int(spec.get("retries", 0)),
        float(spec.get("timeoutSeconds", 604800)),
        int(status.get("attempt", 1)),
        tuple(status.get("handled") or ()),
    )
