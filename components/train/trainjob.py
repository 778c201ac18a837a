"""Kubeflow Trainer jobs: typed manifests, submitted, followed with all their logs, and cancelled."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from components.train.pod_logs import CONTAINER, IMAGE, JOBSET, Follower, held_up, rank_of
from sluice.core.errors import DeadlineError, SluiceError
from sluice.kube.client import Kube, KubeFault, Object, own_namespace
from sluice.kube.objects import Objects

GROUP, VERSION = "trainer.kubeflow.org", "v1alpha1"
#: Seconds to wait for an answer, and between the tries of a call.
_READ, _PAUSES = 30.0, (1.0, 3.0)


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

    @property
    def told(self) -> str:
        """Where its image comes from."""
        return self.image or f"TrainingRuntime {self.runtime}"

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


class Submitted(Protocol):
    """What `TrainJobs` and `RayJobs` take."""

    @property
    def name(self) -> str: ...
    @property
    def told(self) -> str:
        """Where its image comes from."""
        ...

    def manifest(self) -> dict[str, Any]: ...


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


def owner() -> dict[str, Any] | None:
    """This pod as an owner reference, from what KFP tells a step: the job goes when the pod does."""
    name, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
    return {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid} if name and uid else None


class TrainJobs:
    """Jobs of one namespace.

    Args:
        namespace: default: the pod's own.
        objects: the cluster; default: the pod's own, else the kubeconfig's.

    Raises (all methods):
        TrainJobError: refused, or no answer after three tries.
    """

    kind, fix = "TrainJob", "is the Trainer installed, and does the Role sluice-pipeline allow it?"

    def __init__(self, namespace: str | None = None, objects: Objects | None = None):
        self.objects = objects or Objects(Kube(read=_READ, pauses=_PAUSES))
        found = namespace or own_namespace()
        if not found:
            raise TrainJobError("is not known outside a pod", field="namespace", fix="name it")
        self.namespace = found

    def submit(self, spec: Submitted) -> None:
        """Create the job."""
        with self._asked("submit it", spec.name):
            self.objects.create(self.kind, self.namespace, spec.manifest(), again=True)

    def replace(self, spec: Submitted, seconds: float = 120.0) -> None:
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
                    f"is still there {seconds:g} s after it was deleted", field=f"{self.kind} {spec.name}", fix="look at its finalizers"
                )
            time.sleep(1.0)
        self.submit(spec)

    def exists(self, name: str) -> bool:
        """Whether there is a job of that name."""
        return self.read(name) is not None

    def read(self, name: str) -> Object | None:
        """The job, as it stands."""
        with self._asked("read it", name):
            return self.objects.get(self.kind, self.namespace, name)

    def cancel(self, name: str) -> None:
        """Delete the job and its pods; nothing happens when it has gone."""
        with self._asked("delete it", name):
            self.objects.delete(self.kind, self.namespace, name, propagation="Foreground")

    def condition(self, name: str) -> tuple[str, str]:
        """(``Complete`` | ``Failed`` | ``Running``, message)."""
        job = self.read(name)
        if job is None:
            raise TrainJobError("was deleted while it ran", field=f"{self.kind} {name}", fix="run the step again")
        for c in (job.get("status") or {}).get("conditions") or []:
            if c["type"] in ("Complete", "Failed") and c["status"] == "True":
                return c["type"], c.get("message", "")
        return "Running", ""

    def pods(self, name: str) -> list[Object]:
        """The job's pods, by their node's number."""
        with self._asked("list its pods", name):
            return sorted(self.objects.list("Pod", self.namespace, f"{JOBSET}={name}"), key=rank_of)

    def wait(
        self,
        spec: Submitted,
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
        follower = self.follower(spec.name, on_line)
        told = ""
        try:
            while True:
                pods = self.pods(spec.name)
                follower.see(pods)
                kind, message = self.condition(spec.name)
                if kind != "Running":
                    follower.close()
                    if kind == "Failed":
                        raise NodeLost(follower.cause(message), field=f"{self.kind} {spec.name}", fix="the nodes' logs are above")
                    return
                held = "; ".join(f"node {rank_of(p)} waits, {why}" for p in pods if (why := held_up(p)[0]))
                if held != told and on_state:
                    on_state(held or "all nodes have started")
                told = held
                late = time.monotonic() - start > image_seconds and any(held_up(p)[0].startswith(IMAGE) for p in pods)
                if late or any(held_up(p)[1] for p in pods):
                    self.cancel(spec.name)
                    raise TrainJobError(f"cannot start: {held}", field=f"{self.kind} {spec.name}", fix=f"check the image: {spec.told}")
                if stop.wait(poll):
                    self.cancel(spec.name)
                    raise TrainJobError("was cancelled", field=f"{self.kind} {spec.name}")
                if time.monotonic() - start > seconds:
                    states = ", ".join(f"node {rank_of(p)} {p['status'].get('phase')}" for p in pods) or "no pod was made"
                    self.cancel(spec.name)
                    raise DeadlineError(
                        f"not done after {seconds:g} s: {states}", field=f"{self.kind} {spec.name}", fix="is there room for its pods?"
                    )
        finally:
            follower.close(0)

    def follower(self, name: str, on_line: Callable[[int, str], None]) -> Follower:
        """Who reads the job's logs."""
        return Follower(self.objects, self.namespace, name, on_line)

    @contextlib.contextmanager
    def _asked(self, what: str, name: str) -> Iterator[None]:
        """A call of the API server, with its failure as a `TrainJobError`."""
        try:
            yield
        except KubeFault as e:
            raise TrainJobError(f"could not {what}: {e.status} {e.message}"[:800], field=f"{self.kind} {name}", fix=self.fix) from e
