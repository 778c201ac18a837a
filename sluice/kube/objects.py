"""Objects of the kinds Sluice works with, by kind, namespace and name, over the one Kubernetes client."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import quote

from sluice.kube.client import Kube, KubeFault, Object

log = logging.getLogger("sluice.kube")

#: Of our own resources.
GROUP, VERSION = "sluice.dev", "v1alpha1"
#: kind -> (path prefix, plural)
KINDS = {
    "ModelRollout": (f"/apis/{GROUP}/{VERSION}", "modelrollouts"),
    "PipelineSchedule": (f"/apis/{GROUP}/{VERSION}", "pipelineschedules"),
    "PipelineRun": (f"/apis/{GROUP}/{VERSION}", "pipelineruns"),
    "ModelMonitor": (f"/apis/{GROUP}/{VERSION}", "modelmonitors"),
    "InferenceService": ("/apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "Revision": ("/apis/serving.knative.dev/v1", "revisions"),
    "TrainJob": ("/apis/trainer.kubeflow.org/v1alpha1", "trainjobs"),
    "RayJob": ("/apis/ray.io/v1", "rayjobs"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Pod": ("/api/v1", "pods"),
    "Event": ("/api/v1", "events"),
}


def path(kind: str, namespace: str, name: str = "", sub: str = "") -> str:
    """Where the API server has an object, or without a name the objects of a kind; `sub` is a subresource (``status``, ``log``)."""
    prefix, plural = KINDS[kind]
    return "/".join(p for p in (prefix, "namespaces", quote(namespace, safe=""), plural, quote(name, safe=":"), sub) if p)


class Objects:
    """Reads and writes objects.

    Args:
        kube: the API server.
        manager: who writes, by field: with server-side apply ours wins where another hand changed our fields.

    Raises (all methods):
        KubeFault: refused, or no answer.
    """

    def __init__(self, kube: Kube, *, manager: str = "sluice"):
        self.kube, self.manager = kube, manager

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, None when there is none."""
        return self.kube.get(path(kind, namespace, name))

    def list(self, kind: str, namespace: str, labels: str = "", fields: str = "") -> list[Object]:
        """The objects of a kind, by selectors of labels and fields."""
        query = {k: v for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v}
        items: list[Object] = self.kube.request("GET", path(kind, namespace), query=query)["items"]
        return items

    def create(self, kind: str, namespace: str, obj: Object, *, again: bool = False) -> Object:
        """Make an object; `again`: also where the server was busy or away, and may have made it already (then 409)."""
        found: Object = self.kube.request("POST", path(kind, namespace), obj, again=again)
        return found

    def apply(self, obj: Object, *, force: bool = True) -> Object:
        """Server-side apply under our own field manager; without `force` what another hand set is not taken: `KubeFault` 409 says which fields."""
        meta = obj["metadata"]
        query = {"fieldManager": self.manager, "force": "true" if force else "false"}
        found: Object = self.kube.request(
            "PATCH", path(obj["kind"], meta["namespace"], meta["name"]), obj, query=query, content="application/apply-patch+yaml"
        )
        return found

    def merge(
        self, kind: str, namespace: str, name: str, patch: Object, sub: str = "", *, query: Mapping[str, str] | None = None
    ) -> Object:
        """Change an object by a merge patch."""
        where = path(kind, namespace, name, sub)
        found: Object = self.kube.request("PATCH", where, patch, query=query, content="application/merge-patch+json")
        return found

    def replace(self, obj: Object, sub: str = "") -> Object:
        """Write an object as of the version that was read. Raises `KubeFault` 409 when someone was faster."""
        meta = obj["metadata"]
        found: Object = self.kube.request("PUT", path(obj["kind"], meta["namespace"], meta["name"], sub), obj)
        return found

    def replace_status(self, obj: Object) -> Object:
        """`replace` of the status alone."""
        return self.replace(obj, "status")

    def delete(self, kind: str, namespace: str, name: str, *, propagation: str = "Background") -> None:
        """Delete an object and what it owns; one that is gone already is fine."""
        try:
            self.kube.request("DELETE", path(kind, namespace, name), {"propagationPolicy": propagation})
        except KubeFault as e:
            if e.status != 404:
                raise

    def log(self, namespace: str, pod: str, container: str) -> str:
        """The end of what a container that has ended wrote; empty where it cannot be read."""
        query = {"container": container, "tailLines": "30", "limitBytes": "8192"}
        for previous in ("true", "false"):
            try:
                found = str(self.kube.request("GET", path("Pod", namespace, pod, "log"), query={**query, "previous": previous}))
            except KubeFault as e:
                log.debug("no log of %s/%s: %s", pod, container, e)
                continue
            if found.strip():
                return found
        return ""

    def page(self, namespace: str, pod: str, port: int | str, what: str) -> str:
        """A page that a pod shows on a port, through the API server."""
        return str(self.kube.request("GET", path("Pod", namespace, f"{pod}:{port}", f"proxy/{what}")))

    def tell(self, raw: Object, component: str, kind: str, reason: str, message: str, when: str) -> None:
        """An Event of one of our resources. It is a courtesy (the status is the record), so a fault is only logged."""
        meta = raw["metadata"]
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "type": kind,
            "reason": reason,
            "message": message[:1000],
            "count": 1,
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
            "firstTimestamp": when,
            "lastTimestamp": when,
            "source": {"component": component},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": raw["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
        }
        try:
            self.create("Event", meta["namespace"], event)
        except KubeFault as e:
            log.debug("event not written: %s", e)
