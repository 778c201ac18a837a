"""A Kubernetes API server in memory, with the rules the controller relies on, and faults on demand.

Versions and conflicts, generations, a status of its own, owners and finalizers, server-side apply by
replacement of what was applied. Applying an InferenceService makes a ready pod; applying an HTTPRoute
is accepted at once; the requests of a `World` fall on the pods by the route's weights.
"""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from kubernetes.client import ApiException

from serving.controller.rollouts.backends.gateway import weighted

Object = dict[str, Any]


class Answer:
    def __init__(self, value: Any):
        self.data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self._rest = io.BytesIO(self.data)

    def read1(self, size: int) -> bytes:
        return self._rest.read1(size)

    def close(self) -> None: ...

    def release_conn(self) -> None: ...


class MemoryApi:
    """Stands where ``kubernetes.client.ApiClient`` does.

    Attributes:
        objects: by path. behaviour: of the model with this version (12 digits): shares of errors and slow answers.
        ports: of a model's container, by version (12 digits); one port for REST by default.
        broken: versions whose pods never get ready; crashed: whose pods are in CrashLoopBackOff; status: of the pods of these versions.
        unmade: versions for whose pods there is no room. events: of the namespace. logs: by pod.
        fault: asked before each call; raises to make it fail.
    """

    def __init__(self, rate: float = 200.0, seed: int = 1):
        self.objects: dict[str, Object] = {}
        self.version = 0
        self.rate, self.now = rate, 1_000_000.0
        self.generator = np.random.default_rng(seed)
        self.behaviour: dict[str, dict[str, float]] = {}
        self.ports: dict[str, list[Object]] = {}
        self.broken: set[str] = set()
        self.crashed: set[str] = set()
        self.status: dict[str, Object] = {}
        self.unmade: set[str] = set()
        self.events: list[Object] = []
        self.logs: dict[str, str] = {}
        self.counts: dict[str, dict[str, float]] = {}
        self.fault: Callable[[str, str], None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None
        self.calls: list[tuple[str, str]] = []
        self.weights: list[dict[str, int]] = []

    # -- traffic -----------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for route in [o for o in self.objects.values() if o["kind"] == "HTTPRoute"]:
            rule = weighted(route)
            everything = sum(ref.get("weight", 1) for ref in rule["backendRefs"])
            total = int(self.generator.poisson(self.rate * seconds))
            for ref in rule["backendRefs"]:
                self.answer(ref["name"], int(self.generator.binomial(total, ref.get("weight", 1) / everything)))
            for f in [f for f in rule.get("filters", []) if f["type"] == "RequestMirror"]:
                self.answer(f["requestMirror"]["backendRef"]["name"], total)

    def answer(self, service: str, n: int) -> None:
        name = service.removesuffix("-predictor")
        pod = self.pods(name).get(name)
        if pod is None:
            return
        how = self.behaviour.get(pod["metadata"]["labels"]["sluice.dev/version"], {})
        c = self.counts.setdefault(pod["metadata"]["name"], {"requests": 0, "errors": 0, "slow": 0})
        c["requests"] += n
        c["errors"] += int(self.generator.binomial(n, how.get("errors", 0)))
        c["slow"] += int(self.generator.binomial(n, how.get("slow", 0)))

    def pods(self, only: str | None = None) -> dict[str, Object]:
        """Pod by InferenceService name; of one service if `only` names it."""
        out = {}
        services = "/apis/serving.kserve.io/v1beta1/namespaces/ns/inferenceservices/"
        for o in (
            list(self.objects.values()) if only is None else [self.objects[services + only]] if services + only in self.objects else []
        ):
            if o["kind"] != "InferenceService":
                continue
            labels = o["spec"]["predictor"]["labels"]
            version = labels["sluice.dev/version"]
            if version in self.unmade:
                continue
            ready = "False" if version in self.broken or version in self.crashed else "True"
            state = {"waiting": {"reason": "CrashLoopBackOff"}} if version in self.crashed else {"running": {}}
            last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}} if version in self.crashed else {}
            out[o["metadata"]["name"]] = {
                "metadata": {
                    "name": o["metadata"]["name"] + "-pod",
                    "namespace": o["metadata"]["namespace"],
                    "labels": {**labels, "serving.kserve.io/inferenceservice": o["metadata"]["name"]},
                },
                "spec": {"containers": [{"name": "kserve-container", "ports": self.ports.get(version, [{"containerPort": 8080}])}]},
                "status": self.status.get(version)
                or {
                    "conditions": [{"type": "Ready", "status": ready}],
                    "containerStatuses": [{"name": "kserve-container", "restartCount": 0, "state": state, "lastState": last}],
                },
            }
        return out

    def page(self, pod: str) -> str:
        c = self.counts.get(pod, {"requests": 0, "errors": 0, "slow": 0})
        good = c["requests"] - c["errors"]
        return (
            "\n".join(
                [
                    f'sluice_inference_requests_total{{code="200"}} {good}',
                    f'sluice_inference_requests_total{{code="500"}} {c["errors"]}',
                    f'sluice_inference_duration_seconds_bucket{{le="0.2"}} {c["requests"] - c["slow"]}',
                    f"sluice_inference_duration_seconds_count {c['requests']}",
                    f'sluice_predictions_total{{label="a"}} {good}',
                ]
            )
            + "\n"
        )

    # -- the API -----------------------------------------------------------------------------------

    def call_api(
        self, path: str, method: str, *, query_params: list[tuple[str, str]], body: Any, header_params: dict[str, str], **_: Any
    ) -> Answer:
        self.calls.append((method, path))
        self.fault(method, path)
        answer = self.serve(path, method, dict(query_params), copy.deepcopy(body), header_params["Content-Type"])
        self.after(method, path)
        return Answer(copy.deepcopy(answer))

    def serve(self, path: str, method: str, query: dict[str, str], body: Any, content: str) -> Any:
        if path.endswith("/proxy/metrics"):
            return self.page(path.rsplit("/", 3)[1].partition(":")[0])
        if path.endswith("/log"):
            return self.logs.get(path.rsplit("/", 2)[1]) or self.absent()
        if path.endswith("/events") and method == "GET":
            wanted = dict(p.split("=") for p in query["fieldSelector"].split(","))
            return {
                "items": [
                    e
                    for e in self.events
                    if all(e["involvedObject"]["name"] == v if k == "involvedObject.name" else e[k] == v for k, v in wanted.items())
                ]
            }
        if path.endswith("/pods"):
            wanted = dict(p.split("=") for p in query["labelSelector"].split(","))
            return {
                "items": [
                    p
                    for p in self.pods(wanted["serving.kserve.io/inferenceservice"]).values()
                    if wanted.items() <= p["metadata"]["labels"].items()
                ]
            }
        if method == "GET" and path not in self.objects:
            if path.rsplit("/", 1)[1] in ("inferenceservices", "modelrollouts", "modelmonitors", "httproutes", "leases"):
                wanted = dict(p.split("=") for p in query["labelSelector"].split(",")) if query else {}
                return {
                    "items": [
                        o
                        for p, o in self.objects.items()
                        if p.startswith(path + "/") and wanted.items() <= (o["metadata"].get("labels") or {}).items()
                    ]
                }
            raise error(404)
        if method == "GET":
            return self.objects[path]
        if method == "POST":
            if path.endswith("/events"):
                return body
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise error(409)
            return self.put(path, body)
        if method == "PATCH" and content == "application/apply-patch+yaml":
            old = self.objects.get(path)
            kept = {k: v for k, v in (old or {}).get("metadata", {}).items() if k in ("uid", "generation", "finalizers")}
            body["metadata"] = {**kept, **body["metadata"]}
            return self.put(path, {**{k: v for k, v in (old or {}).items() if k == "status"}, **body})
        base = path.removesuffix("/status")
        if base not in self.objects:
            raise error(404)
        old = self.objects[base]
        if method == "DELETE":
            return self.remove(base)
        asked = body.get("metadata", {}).get("resourceVersion")
        if asked is not None and asked != old["metadata"]["resourceVersion"]:
            raise error(409)
        if path.endswith("/status"):
            return self.put(base, {**old, "status": body["status"]})
        if method == "PUT":
            return self.put(base, body)
        new = merged(old, body)
        answer = self.put(base, new)
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self.collect(base)
        return answer

    def absent(self) -> Any:
        raise error(404)

    def put(self, path: str, obj: Object) -> Object:
        old = self.objects.get(path)
        self.version += 1
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self.version)
        meta.setdefault("uid", f"uid-{self.version}")
        meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        changed = old is None or old.get("spec") != obj.get("spec")
        meta["generation"] = (old["metadata"]["generation"] if old else 0) + (1 if changed else 0)
        if obj["kind"] == "HTTPRoute":
            conditions = [{"type": t, "status": "True", "observedGeneration": meta["generation"]} for t in ("Accepted", "ResolvedRefs")]
            obj["status"] = {"parents": [{"conditions": conditions}]}
            self.weights.append({r["name"]: r["weight"] for r in weighted(obj)["backendRefs"]})
        self.objects[path] = obj
        return obj

    def remove(self, path: str) -> Object:
        obj = self.objects[path]
        if obj["metadata"].get("finalizers"):
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return self.put(path, obj)
        self.collect(path)
        return obj

    def collect(self, path: str) -> None:
        """Gone, and with it what it owned."""
        uid = self.objects.pop(path)["metadata"]["uid"]
        for p in [p for p, o in self.objects.items() if any(r["uid"] == uid for r in o["metadata"].get("ownerReferences") or [])]:
            self.objects.pop(p, None)


def merged(old: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    base = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = merged(base.get(key), value)
    return base


def error(status: int) -> ApiException:
    e = ApiException(status=status, reason=f"made up {status}")
    e.body = json.dumps({"message": f"made up {status}"})
    return e


def now_and_then(share: float, seed: int) -> Callable[[str, str], None]:
    """A fault for a share of all calls: busy, broken, in conflict, or no answer."""
    dice = random.Random(seed)

    def fault(method: str, path: str) -> None:
        if dice.random() < share:
            kind = dice.choice([409, 410, 429, 500, 503, 0])
            raise error(kind) if kind else OSError("connection refused")

    return fault
