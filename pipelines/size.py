"""What a run's Workflow comes to in Kubernetes, told before it is started.

Kubeflow Pipelines 2 keeps what each step was told in the Workflow's status, as JSON inside JSON: the task's driver has the step's component,
task, container and settings, and hands on a patch of its pod with all of them and every argument's value, which six nodes then hold (the
driver, the step and the container, each with a node for its retries). Argo packs a Workflow of more than a mebibyte
(`workflow/packer`), and a packed one Kubeflow Pipelines does not read: its run goes on, and its page stays as it was for good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sluice.core.errors import ProjectError

#: Bytes above which Argo packs.
LIMIT = 1 << 20
#: Nodes that hold a step's patch, and its driver's arguments; each has one more for its retries where a cluster's defaults ask for them.
_PATCHED, _DRIVERS = 4, 1
_RETRIED = 2
#: Bytes of a node beside its arguments; of the labels of a pod; of Argo's own templates.
_NODE, _LABELS, _TEMPLATES = 1_250, 550, 24_000
#: Characters of a gate that is handed to another step; of any other value that a step gives.
_GATE, _VALUE = 1_500, 40
_UUID = "0" * 36
_SESSION = {
    "Provider": "minio",
    "Params": {
        "accessKeyKey": "accesskey",
        "disableSSL": "true",
        "endpoint": "minio-service.kubeflow:9000",
        "fromEnv": "false",
        "maxRetries": "5",
        "region": "us-east-1",
        "secretKeyKey": "secretkey",
        "secretName": "mlpipeline-minio-artifact",
    },
}


def require(spec: Mapping[str, Any], platform: Mapping[str, Any], *, project: str, workers: int = 1) -> str:
    """What a person should know of a run's size; empty where nothing.

    Raises:
        ProjectError: a run of a compiled pipeline would be too large to be followed on any cluster, with the figure and what makes it smaller.
    """

    def comes_to(n: int, retries: bool = False) -> int:
        return stored(spec, platform, project=project, workers=n, retries=retries)

    if comes_to(workers) <= LIMIT:
        most = comes_to(workers, True)
        return "" if most <= LIMIT else f"{_said(most)}, where the cluster's workflowDefaults give each task retries"
    fewer = next((n for n in range(workers - 1, 0, -1) if comes_to(n) <= LIMIT), None)
    if fewer:
        raise ProjectError(
            _said(comes_to(workers)),
            field="tune.parallel",
            value=workers,
            fix=f"at most {fewer} with this project: each process of a study is a task of its own, whatever the trials",
        )
    raise ProjectError(
        _said(comes_to(workers)),
        field="project",
        value=f"{len(project):,} characters",
        fix="make the project file shorter: each step is handed all of it. rules of its data can stand in a file beside it (data.schema_file)",
    )


def _said(comes_to: int) -> str:
    return f"a run would come to about {comes_to:,} bytes in Kubernetes; above {LIMIT:,} Argo packs it, and Kubeflow Pipelines does not read it"


def stored(spec: Mapping[str, Any], platform: Mapping[str, Any], *, project: str, workers: int = 1, retries: bool = False) -> int:
    """Bytes of JSON that a finished run's Workflow comes to, about.

    Args:
        spec, platform: the compiled pipeline.
        project: the project, as a step hands it on.
        workers: tasks of each loop: the processes of a study.
        retries: whether the cluster's defaults (Argo's `workflowDefaults`) give every task retries.
    """
    of_steps = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    patched, drivers = (_PATCHED + _RETRIED, 2 * _DRIVERS) if retries else (_PATCHED, _DRIVERS)
    root, name = {k: spec[k] for k in ("root",)}, spec["pipelineInfo"]["name"]
    total = _TEMPLATES + drivers * (_text(root["root"]) + _text(_constants(root["root"])) + len(project) + 3 * _NODE) + _text(root["root"])
    for task, times in _tasks(spec, root["root"]["dag"], 1, workers):
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            total += drivers * times * (_text(component) + _text(task) + 3 * _NODE) + _text(component)
            continue
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        settings = of_steps.get(component["executorLabel"], {})
        told = _text(component) + _text(task) + _text(container) + _text(settings)
        patch = _text(_patch(name, component, task, container, settings, project))
        total += times * (drivers * (told + _NODE) + patched * patch + (patched - drivers) * (_NODE + _LABELS)) + told
    return total


def _tasks(spec: Mapping[str, Any], dag: Mapping[str, Any], times: int, workers: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Every task, and how often it is there."""
    for task in dag["tasks"].values():
        inner = spec["components"][task["componentRef"]["name"]]
        here = times * (workers if "parameterIterator" in task else 1)
        yield task, here
        if "dag" in inner:
            yield from _tasks(spec, inner["dag"], here, workers)


def _patch(
    pipeline: str,
    component: Mapping[str, Any],
    task: Mapping[str, Any],
    container: Mapping[str, Any],
    settings: Mapping[str, Any],
    project: str,
) -> dict[str, Any]:
    """What a driver writes for a step's pod: KFP's launcher with the step's arguments before the step's own command."""
    given, taken = component.get("inputDefinitions", {}), component.get("outputDefinitions", {})
    step = task["taskInfo"]["name"]
    place = f"minio://mlpipeline/v2/artifacts/{pipeline}/{_UUID}/{step}/{_UUID}"

    def artifact(name: str, **more: Any) -> dict[str, Any]:
        return {"artifacts": [{"name": name, "type": {"schemaTitle": "system.Artifact"}, "uri": f"{place}/{name}", **more}]}

    session = {"metadata": {"display_name": "model", "store_session_info": _json(_SESSION)}}
    told = {
        "inputs": {
            "artifacts": {n: artifact(n, **session) for n in given.get("artifacts", {})},
            "parameterValues": {n: _value(n, v, project) for n, v in task.get("inputs", {}).get("parameters", {}).items()},
        },
        "outputs": {
            "artifacts": {n: artifact(n) for n in [*taken.get("artifacts", {}), "executor-logs"]},
            "parameters": {n: {"outputFile": f"/tmp/kfp/outputs/{n}"} for n in taken.get("parameters", {})},
            "outputFile": f"{place}/output_metadata.json",
        },
    }
    launcher = ["/kfp-launcher/launch", "--pipeline_name", pipeline, "--run_id", _UUID, "--execution_id", "100", *_LAUNCHER]
    return {
        "containers": [
            {
                **{k: v for k, v in container.items() if k not in ("command", "resources")},
                "name": "main",
                "command": [*launcher, "--executor_input", _json(told), "--component_spec", _json(component), "--", *container["command"]],
                "settings": settings,
            }
        ]
    }


_LAUNCHER = (
    *("--pod_name", "$(KFP_POD_NAME)", "--pod_uid", "$(KFP_POD_UID)", "--mlmd_server_port", "8080", "--publish_logs", "true"),
    *("--ml_pipeline_server_address", "ml-pipeline.kubeflow.svc.cluster.local", "--ml_pipeline_server_port", "8887"),
    *("--mlmd_server_address", "metadata-grpc-service.kubeflow.svc.cluster.local"),
)


def _value(name: str, source: Mapping[str, Any], project: str) -> Any:
    """A value as long as the one that a step will be given."""
    if name == "project":
        return project
    if "runtimeValue" in source:
        return source["runtimeValue"].get("constant")
    return "0" * (_GATE if source.get("taskOutputParameter", {}).get("outputParameterKey") == "gate" else _VALUE)


def _constants(root: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.get("defaultValue") for k, v in root.get("inputDefinitions", {}).get("parameters", {}).items()}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _text(value: Any) -> int:
    """Bytes of a value as JSON in a text of JSON."""
    return len(_json(_json(value)).encode())
