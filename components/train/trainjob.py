"""Kubeflow Trainer jobs: typed manifests, submitted, followed with all their logs, and cancelled."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.train.pod_logs import CONTAINER, IMAGE, JOBSET, Follower, held_up, rank_of
from sluice.core.errors import DeadlineError, SluiceError

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class TrainJobError(SluiceError):
    """The job failed, was refused, or was cancelled; the message says which node and why."""


class NodeLost(TrainJobError):
    """A node of a job that ran failed, was killed or evicted: the job may be started again."""


@dataclasses.dataclass(frozen=True)
class JobSpec:
    """What is asked of the Trainer.

    Attributes:
        name: DNS label, at most 50 characters: pods are named after it.
        nodes, processes: machines, and processes on each.
        command: started on every node; ``torchrun`` is part of it.
        runtime: a TrainingRuntime of the namespace.
        claim, mount: the shared volume and where it is mounted.
        image: in place of the runtime's.
        resources: requests of a node, for example ``{"cpu": "2", "nvidia.com/gpu": "1"}``.
        owner: an owner reference, so that the job goes when the step's pod does.
        deadline: seconds the job may run before the Trainer ends it.
    """

    name: str
    nodes: int
    processes: int
    command: tuple[str, ...]
    runtime: str = "sluice-torch"
    claim: str | None = None
    mount: str = "/store"
    image: str | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    owner: Mapping[str, Any] | None = None
    deadline: int | None = None

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 50:
            raise TrainJobError(
                "is empty or longer than 50 characters, and pods are named after it", field="name", value=self.name, fix="shorten it"
            )
        reserved = sorted(k for k in self.env if k.startswith("PET_"))
        if reserved:
            raise TrainJobError("is the Trainer's own", field="env", value=reserved, fix="set nodes and processes instead")

    def manifest(self) -> dict[str, Any]:
        """The ``TrainJob``."""
        trainer: dict[str, Any] = {"numNodes": self.nodes, "numProcPerNode": self.processes, "command": list(self.command)}
        if self.image:
            trainer["image"] = self.image
        if self.env:
            trainer["env"] = [{"name": k, "value": v} for k, v in sorted(self.env.items())]
        if self.resources:
            # Kubernetes wants a limit for what cannot be overcommitted: devices, whose names have a slash.
            devices = {k: v for k, v in self.resources.items() if "/" in k}
            trainer["resourcesPerNode"] = {"requests": dict(self.resources), **({"limits": devices} if devices else {})}
        spec: dict[str, Any] = {"runtimeRef": {"apiGroup": GROUP, "kind": "TrainingRuntime", "name": self.runtime}, "trainer": trainer}
        if self.deadline:
            spec["activeDeadlineSeconds"] = self.deadline
        if self.claim:
            pod = {
                "volumes": [{"name": "job", "persistentVolumeClaim": {"claimName": self.claim}}],
                "containers": [{"name": CONTAINER, "volumeMounts": [{"name": "job", "mountPath": self.mount}]}],
            }
            job = {"name": CONTAINER, "template": {"spec": {"template": {"spec": pod}}}}
            spec["runtimePatches"] = [
                {"manager": "sluice.dev/train", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}}}
            ]
        meta: dict[str, Any] = {
            "name": self.name,
            "labels": {"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/component": "training"},
        }
        if self.owner:
            meta["ownerReferences"] = [dict(self.owner)]
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": meta, "spec": spec}


def torchrun(spec_nodes: int, processes: int, job: Path) -> tuple[str, ...]:
    """The command of a node: the Trainer gives rendezvous and rank in ``PET_*``, which torchrun reads itself; all ranks' output is its own."""
    return (
        "torchrun",
        f"--nnodes={spec_nodes}",
        f"--nproc-per-node={processes}",
        "--tee=3",
        "-m",
        "sluice.learners.torch.worker",
        str(job),
    )


class TrainJobs:
    """Jobs of one namespace, over the official client.

    Args:
        namespace: default: the pod's own.
        custom, core: `CustomObjectsApi` and `CoreV1Api`; made from the pod's service account, else the kubeconfig.
    """

    def __init__(self, namespace: str | None = None, custom: Any = None, core: Any = None):
        if custom is None or core is None:
            from kubernetes import client, config

            try:
                config.load_incluster_config()
            except config.ConfigException:
                config.load_kube_config()
            custom, core = custom or client.CustomObjectsApi(), core or client.CoreV1Api()
        self.custom, self.core = custom, core
        self.namespace = namespace or own_namespace()

    def submit(self, spec: JobSpec) -> None:
        """Create the job. Raises `TrainJobError` when it is refused."""
        self._call("submit", self.custom.create_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, spec.manifest())

    def replace(self, spec: JobSpec, seconds: float = 120.0) -> None:
        """`submit`, in place of a job of that name which an earlier, killed step left.

        Raises:
            TrainJobError: refused.
            DeadlineError: the old one did not go.
        """
        self.cancel(spec.name)
        end = time.monotonic() + seconds
        while self.exists(spec.name):
            if time.monotonic() > end:
                raise DeadlineError(
                    f"is still there {seconds:g} s after it was deleted", field=f"TrainJob {spec.name}", fix="look at its finalizers"
                )
            time.sleep(1.0)
        self.submit(spec)

    def exists(self, name: str) -> bool:
        from kubernetes.client import ApiException

        try:
            self.custom.get_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=30)
        except ApiException as e:
            if e.status == 404:
                return False
            raise TrainJobError(f"cannot be read: {e.reason}", field=f"TrainJob {name}", fix="check the Role sluice-pipeline") from e
        return True

    def cancel(self, name: str) -> None:
        """Delete the job and its pods; nothing happens when it has gone."""
        from kubernetes.client import ApiException

        try:
            self.custom.delete_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, propagation_policy="Foreground", _request_timeout=30
            )
        except ApiException as e:
            if e.status != 404:
                raise TrainJobError(f"cannot be deleted: {e.reason}", field=f"TrainJob {name}", fix="check the Role sluice-pipeline") from e

    def condition(self, name: str) -> tuple[str, str]:
        """(``Complete`` | ``Failed`` | ``Running``, message)."""
        job = self._call("read", self.custom.get_namespaced_custom_object, GROUP, VERSION, self.namespace, PLURAL, name)
        for c in (job.get("status") or {}).get("conditions") or []:
            if c["type"] in ("Complete", "Failed") and c["status"] == "True":
                return c["type"], c.get("message", "")
        return "Running", ""

    def pods(self, name: str) -> list[Any]:
        found = self._call("list pods", self.core.list_namespaced_pod, self.namespace, label_selector=f"{JOBSET}={name}").items
        return sorted(found, key=rank_of)

    def wait(
        self,
        spec: JobSpec,
        *,
        on_line: Callable[[int, str], None],
        seconds: float,
        poll: float = 2.0,
        stop: threading.Event | None = None,
        on_state: Callable[[str], None] | None = None,
        image_seconds: float = 180.0,
    ) -> None:
        """Until the job is complete; every line of every node goes to `on_line(node, line)` as it comes.

        Args:
            spec: the submitted job.
            on_line: told of every line.
            seconds: how long the job may take.
            poll: seconds between two looks at it.
            stop: set by another thread to end the job.
            on_state: told why a node has not started, whenever that changes.
            image_seconds: how long an image that cannot be pulled is waited for.

        Raises:
            NodeLost: a node failed; the message names it and the cause.
            TrainJobError: it cannot start, or `stop` was set: then it is deleted.
            DeadlineError: not done after `seconds`: it is deleted.
        """
        start = time.monotonic()
        stop = stop or threading.Event()
        follower = Follower(self.core, self.namespace, spec.name, on_line)
        told = ""
        try:
            while True:
                pods = self.pods(spec.name)
                follower.see(pods)
                kind, message = self.condition(spec.name)
                if kind != "Running":
                    follower.close()
                    if kind == "Failed":
                        raise NodeLost(follower.cause(message), field=f"TrainJob {spec.name}", fix="the nodes' logs are above")
                    return
                held = "; ".join(f"node {rank_of(p)} waits, {why}" for p in pods if (why := held_up(p)[0]))
                if held != told and on_state:
                    on_state(held or "all nodes have started")
                told = held
                late = time.monotonic() - start > image_seconds and any(held_up(p)[0].startswith(IMAGE) for p in pods)
                if late or any(held_up(p)[1] for p in pods):
                    self.cancel(spec.name)
                    raise TrainJobError(
                        f"cannot start: {held}", field=f"TrainJob {spec.name}", fix=f"check the image of TrainingRuntime {spec.runtime}"
                    )
                if stop.wait(poll):
                    self.cancel(spec.name)
                    raise TrainJobError("was cancelled", field=f"TrainJob {spec.name}")
                if time.monotonic() - start > seconds:
                    states = ", ".join(f"node {rank_of(p)} {p.status.phase}" for p in pods) or "no pod was made"
                    self.cancel(spec.name)
                    raise DeadlineError(
                        f"not done after {seconds:g} s: {states}", field=f"TrainJob {spec.name}", fix="is there room for its pods?"
                    )
        finally:
            follower.close(0)

    def _call(self, what: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        for pause in (1.0, 3.0, None):
            try:
                return method(*args, **kwargs, _request_timeout=30)
            except (ApiException, HTTPError) as e:
                status = getattr(e, "status", 0) or 0
                if pause is not None and (status == 0 or status == 429 or status >= 500):
                    time.sleep(pause)
                    continue
                raise TrainJobError(
                    f"could not {what}: {status} {getattr(e, 'body', None) or e}"[:800],
                    field="TrainJob",
                    fix="is the Trainer installed, and does the Role sluice-pipeline allow it?",
                ) from e
        raise AssertionError("unreachable")


def own_namespace() -> str:
    """The pod's namespace. Raises `TrainJobError` outside a pod."""
    try:
        return _NAMESPACE_FILE.read_text().strip()
    except OSError as e:
        raise TrainJobError("is not known outside a pod", field="namespace", fix="name it") from e
