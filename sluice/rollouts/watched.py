"""The ``ModelMonitor`` that a project's `monitor:` asks for, once its model serves.

It is named after the project. Written by server-side apply that takes nothing from anybody: what a person wrote into it stays, and where the two
disagree the step says so and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.kube.client import KubeFault
from sluice.kube.objects import GROUP, VERSION, Objects
from sluice.monitor.config import MonitorConfig
from sluice.rollouts.cluster import connect
from sluice.rollouts.manifest import Target, camel

#: The most characters of a project that the resource holds.
_INLINE = 65_536
#: The only setting for which null is something else than nothing said.
_MAY_BE_NULL = ("window", "rows")


def asked(config: MonitorConfig, where: Target) -> bool:
    """Whether a model is watched there: the place of the logs is known, and its project sets something of `monitor:` or the environment wants all."""
    return bool(where.log) and (where.watch_all or bool(said(config)))


def said(config: MonitorConfig) -> dict[str, Any]:
    """The sections of a ModelMonitor's spec, of what the project file sets; the controller's own defaults hold for the rest."""
    found = {name: _spelled(part, (name,)) for name, part in config.model_dump(mode="json", exclude_unset=True).items()}
    return {name: part for name, part in found.items() if part}


def _spelled(value: Any, at: tuple[str, ...]) -> Any:
    """Keys as the resource spells them; features keep their names."""
    if not isinstance(value, Mapping):
        return value
    features = at[-1] == "columns"
    items = ((k, _spelled(v, (*at, k))) for k, v in value.items() if v is not None or (*at, k) == _MAY_BE_NULL)
    return {k if features else camel(k): v for k, v in items}


def desired(
    name: str, config: MonitorConfig, project: str, where: Target, found: Mapping[str, Any] | None = None, *, manager: str = "sluice"
) -> tuple[dict[str, Any], str]:
    """The resource as the step wants it, and what it had to leave out, if anything.

    Args:
        project: the project file's text, which a retraining runs. found: the ModelMonitor that is there. manager: who writes.
    """
    spec, short, there = said(config), "", (found or {}).get("spec") or {}
    mine = _owned(found or {}, manager)
    if (spec.get("quality") or {}).get("detector") == "adwin":
        del spec["quality"]["detector"]
        short = "monitor.quality.detector: the controller has no adwin and watches by page_hinkley"
    meta: dict[str, Any] = {"name": name, "namespace": where.namespace}
    # A monitor that a person made watches what, and where, that person says.
    if found is None or "f:log" in mine:
        meta["labels"] = {"app.kubernetes.io/part-of": "sluice"}
        spec = {"model": name, "rollout": name, "log": where.log, **spec}
    if "retrain" in spec and _runs_ours(there, mine):
        if len(project) > _INLINE:
            del spec["retrain"]
            many = f"monitor.retrain: the project has more than the {_INLINE} characters a ModelMonitor holds; give its spec.retrain.run a ConfigMap"
            short = "; ".join(w for w in (short, many) if w)
        else:
            spec["retrain"]["run"] = {"project": {"inline": project}}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ModelMonitor", "metadata": meta, "spec": spec}, short


def _owned(found: Mapping[str, Any], manager: str) -> Mapping[str, Any]:
    """What of the spec `manager` applied, as the API server keeps account of it."""
    for entry in (found.get("metadata") or {}).get("managedFields") or []:
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            owned: Mapping[str, Any] = (entry.get("fieldsV1") or {}).get("f:spec") or {}
            return owned
    return {}


def _runs_ours(there: Mapping[str, Any], mine: Mapping[str, Any]) -> bool:
    """Whether what a retraining runs is this step's to say: nobody else has said it."""
    project = ((mine.get("f:retrain") or {}).get("f:run") or {}).get("f:project") or {}
    return not (there.get("retrain") or {}).get("run") or "f:inline" in project


def watch(name: str, config: MonitorConfig, project: str, where: Target, *, objects: Objects | None = None) -> tuple[str, ...]:
    """Have a model that serves watched.

    The model serves whatever comes of this, so a fault is told and not raised.

    Returns:
        What a person has to know; empty where it is watched as the project says.
    """
    title = f"ModelMonitor {where.namespace}/{name}"
    objects = objects or connect()
    try:
        found = objects.get("ModelMonitor", where.namespace, name)
        resource, short = desired(name, config, project, where, found, manager=objects.manager)
        objects.apply(resource, force=False)
        rollout = objects.get("ModelRollout", where.namespace, name)
    except KubeFault as e:
        return (f"{title} is not as monitor: of the project says: {_why(e)}",)
    return tuple(w for w in (f"{title}: {short}" if short else "", "" if _logs(rollout) else _unlogged(name, where)) if w)


def _why(e: KubeFault) -> str:
    fix = {
        403: "; bind the Role sluice-pipeline to the step's service account (manifests/components/kfp)",
        404: "; apply manifests/crds",
        409: "; somebody set these by hand, and that stays: take them out there or set the same in the project file",
    }.get(e.status, "")
    return f"{e.status or 'no answer:'} {e.message}{fix}"


def _logs(rollout: Mapping[str, Any] | None) -> bool:
    """Whether the ModelRollout itself has its servers write a log."""
    predictor = (((rollout or {}).get("spec") or {}).get("serving") or {}).get("predictor") or {}
    return any(str(arg).partition("=")[0] == "--log" for arg in (predictor.get("model") or {}).get("args") or [])


def _unlogged(name: str, where: Target) -> str:
    return (
        f"ModelRollout {where.namespace}/{name} was made without --log, and its predictor is left as it is: unless the ServingRuntime names the log, "
        f"add --log={where.log} to spec.serving.predictor.model.args, or its ModelMonitor has nothing to read"
    )
