"""A typed `RayJob`: a head, workers and a submitter, restricted pods of one image, one shared volume, gone when it is done."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from components.train.trainjob import TrainJobError

GROUP, VERSION = "ray.io", "v1"
#: KubeRay names a cluster after a job, and services after a cluster.
LONGEST = 47
#: The container whose log is the job's, as KubeRay names it; and the label by which a job's pods are found, the submitter's too.
SUBMITTER, LABEL = "ray-job-submitter", "sluice.dev/rayjob"
#: Of Ray's own store and of the submitter, which waits.
_HEAD, _SUBMITTER = {"cpu": "1", "memory": "2Gi"}, {"cpu": "100m", "memory": "256Mi"}
_GCS, _AGENT = 6379, 52365


@dataclasses.dataclass(frozen=True)
class RayJobSpec:
    """What is asked of KubeRay.

    Attributes:
        name: DNS label, at most 47 characters: pods are named after it.
        command: started on the head, once its cluster is up.
        image: of all pods; it has Ray, with its job server, and this code.
        workers: how many, each with `resources`.
        claim, mount: the shared volume and where it is mounted.
        version: of Ray in the image.
        owner: an owner reference, so that the job goes when the step's pod does.
        deadline: seconds the job may run before KubeRay ends it.
        retries: how often it is begun again, on a new cluster, after it failed.
    """

    name: str
    command: tuple[str, ...]
    image: str
    workers: int = 2
    resources: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"cpu": "1", "memory": "2Gi"})
    claim: str | None = None
    mount: str = "/store"
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    owner: Mapping[str, Any] | None = None
    deadline: int | None = None
    retries: int = 0
    version: str = ""
    account: str | None = None

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > LONGEST:
            raise TrainJobError(
                f"is empty or longer than {LONGEST} characters, and pods are named after it",
                field="name",
                value=self.name,
                fix="shorten it",
            )
        if self.workers < 1:
            raise TrainJobError("is less than one", field="workers", value=self.workers, fix="ask for a worker")
        reserved = sorted(k for k in self.env if k.startswith("RAY_"))
        if reserved:
            raise TrainJobError("is Ray's own", field="env", value=reserved, fix="leave it out")

    @property
    def told(self) -> str:
        """Where its image comes from."""
        return self.image

    def manifest(self) -> dict[str, Any]:
        """The ``RayJob``."""
        labels = {"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/component": "data"}
        meta: dict[str, Any] = {"name": self.name, "labels": labels}
        if self.owner:
            meta["ownerReferences"] = [dict(self.owner)]
        cluster: dict[str, Any] = {
            # the head has no part in the work: what it holds is what ends the job
            "headGroupSpec": {
                "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0", "disable-usage-stats": "true"},
                "template": self._pod("ray-head", _HEAD, _GCS),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": self.workers,
                    "minReplicas": self.workers,
                    "maxReplicas": self.workers,
                    "rayStartParams": {"num-cpus": str(_whole(self.resources["cpu"])), "disable-usage-stats": "true"},
                    "template": self._pod("ray-worker", self.resources, _AGENT),
                }
            ],
        }
        if self.version:
            cluster["rayVersion"] = self.version
        spec: dict[str, Any] = {
            "entrypoint": shlex.join(self.command),
            "submissionMode": "K8sJobMode",
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": 60,
            "backoffLimit": self.retries,
            "submitterConfig": {"backoffLimit": 0},
            "rayClusterSpec": cluster,
            "submitterPodTemplate": self._pod(SUBMITTER, _SUBMITTER, None),
        }
        if self.deadline:
            spec["activeDeadlineSeconds"] = self.deadline
        return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "RayJob", "metadata": meta, "spec": spec}

    def _pod(self, container: str, resources: Mapping[str, str], port: int | None) -> dict[str, Any]:
        """A pod under Pod Security ``restricted``, with a place to write."""
        env = {
            **self.env,
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
        }  # KubeRay 1.5 knows no token; a NetworkPolicy keeps others out
        volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
        mounts = [{"name": "tmp", "mountPath": "/tmp"}]
        if self.claim:
            volumes.append({"name": "job", "persistentVolumeClaim": {"claimName": self.claim}})
            mounts.append({"name": "job", "mountPath": self.mount})
        made: dict[str, Any] = {
            "name": container,
            "image": self.image,
            "resources": {"requests": dict(resources), "limits": {k: v for k, v in resources.items() if k != "cpu"}},
            "env": [{"name": k, "value": v} for k, v in sorted(env.items())],
            "volumeMounts": mounts,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        if port is not None:  # KubeRay's own probes ask by wget, which the image has not
            probe = {"tcpSocket": {"port": port}, "timeoutSeconds": 2}
            made |= {
                "readinessProbe": {**probe, "periodSeconds": 5},
                "livenessProbe": {**probe, "initialDelaySeconds": 60, "failureThreshold": 12},
            }
        spec: dict[str, Any] = {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": volumes,
            "containers": [made],
        }
        if self.account:
            spec["serviceAccountName"] = self.account
        if port is None:
            spec["restartPolicy"] = "Never"
        return {"metadata": {"labels": {LABEL: self.name, "app.kubernetes.io/part-of": "sluice"}}, "spec": spec}


def _whole(cpu: str) -> int:
    """Whole cores of a quantity, at least one."""
    return max(1, int(float(cpu[:-1]) / 1000) if cpu.endswith("m") else int(float(cpu)))
