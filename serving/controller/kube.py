"""A small face to the Kubernetes API: plain dictionaries, server-side apply, retries for what passes."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any

from sluice.core.errors import SluiceError

log = logging.getLogger("sluice.kube")

MANAGER = "sluice-rollout"
GROUP, VERSION, PLURAL = "sluice.dev", "v1alpha1", "modelrollouts"
Object = dict[str, Any]

_PASSING = {429, 500, 502, 503, 504}
_PAUSES = (0.2, 0.6)
_TIMEOUT = (3.0, 10.0)
#: Of one answer: a list of thousands of objects is a few tens of megabytes, and takes seconds.
_LIMIT, _SECONDS = 128 << 20, 60.0

#: kind -> (path prefix, plural)
KINDS = {
    "ModelRollout": (f"/apis/{GROUP}/{VERSION}", PLURAL),
    "PipelineSchedule": (f"/apis/{GROUP}/{VERSION}", "pipelineschedules"),
    "PipelineRun": (f"/apis/{GROUP}/{VERSION}", "pipelineruns"),
    "InferenceService": ("/apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "Revision": ("/apis/serving.knative.dev/v1", "revisions"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Pod": ("/api/v1", "pods"),
    "Event": ("/api/v1", "events"),
}


class ApiFault(SluiceError):
    """The API server refused or did not answer.

    Attributes:
        status: HTTP status, 0 when there was no answer.
    """

    def __init__(self, message: str, status: int, **kwargs: Any):
        super().__init__(message, **kwargs)
        self.status = status


class Kube:
    """Calls the API server with the official client's connection and credentials."""

    def __init__(self, client: Any = None):
        self.calls = 0
        if client is None:
            from kubernetes import client as api
            from kubernetes import config

            try:
                config.load_incluster_config()
            except config.ConfigException:
                config.load_kube_config()
            client = api.ApiClient()
        self._client = client

    def request(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, content: str = "application/json"
    ) -> Any:
        """One call, tried again while the server is busy or away and the call may be repeated.

        Raises:
            ApiFault: refused, or no answer after the retries.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        for pause in (*_PAUSES, None):
            self.calls += 1
            try:
                answer = self._client.call_api(
                    path,
                    method,
                    query_params=list((query or {}).items()),
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                    header_params={"Accept": "application/json", "Content-Type": content},
                    _request_timeout=_TIMEOUT,
                    body=body,
                    _return_http_data_only=True,
                )
                data = _whole(answer)
                return json.loads(data) if data[:1] in (b"{", b"[") else data.decode("utf-8", "replace")
            except ApiException as e:
                status, said = int(e.status or 0), _said(e)
            except (HTTPError, OSError, ValueError) as e:
                status, said = 0, f"{type(e).__name__}: {e}"
            again = (status in _PASSING or status == 0) and method != "POST"
            if not again or pause is None:
                raise ApiFault(said, status, field=f"{method} {path}", value=status)
            time.sleep(pause)
        raise AssertionError("unreachable")

    # -- objects -----------------------------------------------------------------------------------

    def path(self, kind: str, namespace: str, name: str = "", sub: str = "") -> str:
        prefix, plural = KINDS[kind]
        return "/".join(p for p in (prefix, "namespaces", namespace, plural, name, sub) if p)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, None when there is none."""
        try:
            found: Object = self.request("GET", self.path(kind, namespace, name))
            return found
        except ApiFault as e:
            if e.status == 404:
                return None
            raise

    def list(self, kind: str, namespace: str, labels: str = "", fields: str = "") -> list[Object]:
        query = {k: v for k, v in (("labelSelector", labels), ("fieldSelector", fields)) if v}
        items: list[Object] = self.request("GET", self.path(kind, namespace), query=query)["items"]
        return items

    def log(self, namespace: str, pod: str, container: str) -> str:
        """The end of what a container that has ended wrote; empty where it cannot be read."""
        query = {"container": container, "tailLines": "30", "limitBytes": "8192"}
        for previous in ("true", "false"):
            try:
                found = str(self.request("GET", self.path("Pod", namespace, pod, "log"), query={**query, "previous": previous}))
            except ApiFault as e:
                log.debug("no log of %s/%s: %s", pod, container, e)
                continue
            if found.strip():
                return found
        return ""

    def apply(self, obj: Object) -> Object:
        """Server-side apply under our own field manager; ours wins where another hand changed our fields."""
        meta = obj["metadata"]
        path = self.path(obj["kind"], meta["namespace"], meta["name"])
        found: Object = self.request(
            "PATCH", path, obj, query={"fieldManager": MANAGER, "force": "true"}, content="application/apply-patch+yaml"
        )
        return found

    def delete(self, kind: str, namespace: str, name: str) -> None:
        try:
            self.request("DELETE", self.path(kind, namespace, name), {"propagationPolicy": "Background"})
        except ApiFault as e:
            if e.status != 404:
                raise

    def merge(self, kind: str, namespace: str, name: str, patch: Object, sub: str = "") -> Object:
        found: Object = self.request("PATCH", self.path(kind, namespace, name, sub), patch, content="application/merge-patch+json")
        return found

    def replace_status(self, obj: Object) -> Object:
        """Write the status as of the version that was read. Raises `ApiFault` 409 when someone was faster."""
        meta = obj["metadata"]
        path = self.path(obj["kind"], meta["namespace"], meta["name"], "status")
        found: Object = self.request("PUT", path, obj)
        return found

    def create(self, kind: str, namespace: str, obj: Object) -> Object:
        found: Object = self.request("POST", self.path(kind, namespace), obj)
        return found

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
        except ApiFault as e:
            log.debug("event not written: %s", e)


def _whole(answer: Any) -> bytes:
    """The body of an answer. Raises ``OSError`` for one that is too long, or never ends: a page may be a pod's, passed through."""
    end, body = time.monotonic() + _SECONDS, bytearray()
    try:
        while chunk := answer.read1(1 << 16):
            body += chunk
            if len(body) > _LIMIT or time.monotonic() > end:
                raise OSError(f"an answer of more than {_LIMIT} bytes or {_SECONDS:g} s")
    except BaseException:
        answer.close()
        raise
    answer.release_conn()
    return bytes(body)


def _said(e: Any) -> str:
    try:
        return str(json.loads(e.body)["message"])[:500]
    except (ValueError, TypeError, KeyError):
        return re.sub(r"\s+", " ", str(e.reason or e))[:500]
