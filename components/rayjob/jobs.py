"""`RayJob`s submitted, followed with the job's log, and cancelled, as `TrainJob`s are."""

from __future__ import annotations

from collections.abc import Callable

from components.rayjob.spec import LABEL, SUBMITTER
from components.train.pod_logs import Follower
from components.train.trainjob import TrainJobError, TrainJobs
from sluice.kube.client import Object

_ENDED = {"Complete": "Complete", "Failed": "Failed", "ValidationFailed": "Failed"}


class RayJobs(TrainJobs):
    """Jobs of one namespace."""

    kind, fix = "RayJob", "is KubeRay installed, and does the Role sluice-pipeline allow it?"

    def condition(self, name: str) -> tuple[str, str]:
        """(``Complete`` | ``Failed`` | ``Running``, message)."""
        job = self.read(name)
        if job is None:
            raise TrainJobError("was deleted while it ran", field=f"RayJob {name}", fix="run the step again")
        status = job.get("status") or {}
        said = ", ".join(str(status[k]) for k in ("reason", "message") if status.get(k))
        kind = _ENDED.get(status.get("jobDeploymentStatus", ""), "Running")
        if kind == "Complete" and status.get("jobStatus") not in (None, "", "SUCCEEDED"):
            kind = "Failed"
        return kind, said

    def pods(self, name: str) -> list[Object]:
        """The job's pods: the submitter first, then the head, then the workers."""
        found = self.objects.list("Pod", self.namespace, f"{LABEL}={name}")
        return sorted(found, key=lambda pod: (_order(pod), pod["metadata"]["name"]))

    def follower(self, name: str, on_line: Callable[[int, str], None]) -> Follower:
        """The job's own output is what its submitter says."""
        return _Follower(self.objects, self.namespace, name, on_line)


class _Follower(Follower):
    container, label = SUBMITTER, LABEL

    def see(self, pods: list[Object]) -> None:
        super().see([p for p in pods if _order(p) == 0])

    def rank(self, pod: Object) -> int:
        return _order(pod)


def _order(pod: Object) -> int:
    kind = (pod["metadata"].get("labels") or {}).get("ray.io/node-type")
    return {"head": 1, "worker": 2}.get(kind or "", 0)
