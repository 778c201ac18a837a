"""Checks of a compiled pipeline: every image named for good, every task bounded, none with power over its node."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from sluice.core.errors import ProjectError
from sluice.kube import image as images

#: Keys that give a container power over its node, wherever they stand.
_POWERS = ("privileged", "allowPrivilegeEscalation", "hostNetwork", "hostPID", "hostIPC", "hostPath")
MAX_RETRIES = 10


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        task: the task's name, its loops before it: ``trials/tune-trials``.
        message: what is wrong.
        value: what stands there.
        fix: what to do.
    """

    task: str
    message: str
    value: Any
    fix: str

    def __str__(self) -> str:
        return f"{self.task}: {self.message} (got {self.value!r}); {self.fix}"


def faults(spec: Mapping[str, Any], platform: Mapping[str, Any] | None = None, *, allow_tag: bool = False) -> list[Fault]:
    """What is wrong with a compiled pipeline.

    Args:
        spec: the pipeline specification, the first document of KFP's IR YAML.
        platform: the platform specification, its second document.
        allow_tag: let an image be named by tag; never `latest`.
    """
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    extra = (platform or {}).get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    found: list[Fault] = []
    for name, task, label in _tasks(spec, spec.get("root", {}).get("dag", {}), ""):
        container = executors.get(label, {}).get("container")
        if container is None:
            continue
        found += _image(name, container, allow_tag)
        found += _resources(name, container.get("resources", {}))
        found += _time(name, task, extra.get(label, {}))
        found += _rights(name, extra.get(label, {}))
    return found


def require(spec: Mapping[str, Any], platform: Mapping[str, Any] | None = None, *, allow_tag: bool = False) -> None:
    """Raise `ProjectError` with every fault, each with its task."""
    found = faults(spec, platform, allow_tag=allow_tag)
    if not found:
        return
    if len(found) == 1:
        raise ProjectError(found[0].message, field=f"task {found[0].task}", value=found[0].value, fix=found[0].fix)
    raise ProjectError(f"{len(found)} faults\n  - " + "\n  - ".join(map(str, found)), field="compiled pipeline", fix="mend each of them")


def _tasks(spec: Mapping[str, Any], dag: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Every task that runs a container: its path, itself, its executor's label."""
    components = spec.get("components", {})
    for name, task in dag.get("tasks", {}).items():
        path = f"{prefix}{task.get('taskInfo', {}).get('name', name)}"
        component = components.get(task.get("componentRef", {}).get("name"), {})
        if "dag" in component:
            yield from _tasks(spec, component["dag"], f"{path}/")
        elif "executorLabel" in component:
            yield path, task, component["executorLabel"]


def _image(task: str, container: Mapping[str, Any], allow_tag: bool) -> Iterator[Fault]:
    reference = container.get("image", "")
    found = images.fault(reference, allow_tag=allow_tag)
    if found:
        yield Fault(task, f"its image {found[0]}", reference, found[1])


def _resources(task: str, resources: Mapping[str, Any]) -> Iterator[Fault]:
    for unit, key in (("cpu", "Cpu"), ("memory", "Memory")):
        for kind in ("Request", "Limit"):
            if not (resources.get(f"resource{key}{kind}") or resources.get(f"{unit}{kind}")):
                yield Fault(task, f"has no {unit} {kind.lower()}", None, f"set cluster.defaults.resources.{kind.lower()}s.{unit}")


def _time(task: str, spec: Mapping[str, Any], extra: Mapping[str, Any]) -> Iterator[Fault]:
    seconds = int(extra.get("activeDeadlineSeconds", 0))
    if seconds <= 0:
        yield Fault(task, "has no time limit", None, "set cluster.defaults.timeout")
    retries = int(spec.get("retryPolicy", {}).get("maxRetryCount", 0))
    if retries > MAX_RETRIES:
        yield Fault(task, "is started again too often", retries, f"at most {MAX_RETRIES} retries")


def _rights(task: str, extra: Mapping[str, Any]) -> Iterator[Fault]:
    for path, key, value in _leaves(extra, ""):
        if key in _POWERS and value:
            yield Fault(task, f"{path} gives it power over its node", value, "remove it: steps need no such rights")
    context = extra.get("securityContext", {})
    if not context.get("runAsNonRoot"):
        yield Fault(task, "may run as root", context.get("runAsNonRoot"), "set runAsNonRoot")
    if str(context.get("runAsUser", "1")) == "0":
        yield Fault(task, "runs as root", 0, "name another user")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{path}.{key}".lstrip("."), str(key), inner
            yield from _leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{at}]")
