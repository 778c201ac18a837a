"""One InferenceService a model, one HTTPRoute of ours in front of them."""

from __future__ import annotations

from collections.abc import Mapping

from serving.rollout.backends.base import POD_OF, ClusterBackend
from serving.rollout.kube import Object
from serving.rollout.resource import DIGEST, OWNER, owner
from sluice.rollouts.backend import View
from sluice.rollouts.state import Routed

ARM_COOKIE = "sluice-arm"


class Gateway(ClusterBackend):
    """Standard mode: weights, mirror and stickiness are in an HTTPRoute this controller owns.

    A model's InferenceService is named after its digest and never changed once it serves, so going
    back is a change of weights. With ``spec.traffic.sticky: Cookie`` the first answer sets a cookie
    that keeps a user in the arm.
    """

    MODE = "Standard"

    def name(self, digest: str) -> str:
        return f"{self.rollout.name}-{digest[:8]}"

    def backend(self, digest: str) -> str:
        """The Service KServe makes for a predictor."""
        return f"{self.name(digest)}-predictor"

    def observe(self, stable: str | None, candidate: str | None) -> View:
        services = {s["metadata"]["annotations"].get(DIGEST, ""): s
                    for s in self.kube.list("InferenceService", self.rollout.namespace, f"{OWNER}={self.rollout.name}")
                    if not s["metadata"].get("deletionTimestamp")}  # fmt: skip
        arms = {arm: self.arm(d, f"{POD_OF}={self.name(d)}", declared=d in services)
                for arm, d in (("stable", stable), ("candidate", candidate)) if d}  # fmt: skip
        return self.view(arms, self.routed(set(services)), frozenset(services))

    def routed(self, digests: set[str]) -> Routed | None:
        """What the gateway has accepted; None while it has not, or there is no route."""
        route = self.kube.get("HTTPRoute", self.rollout.namespace, self.rollout.name)
        if route is None or not accepted(route):
            return None
        by_name = {self.backend(d): d for d in (*digests, *self.rollout.models)}
        rule = route["spec"]["rules"][-1]
        weights: dict[str, int] = {}
        for ref in rule.get("backendRefs") or []:
            if ref.get("weight", 1) > 0:
                weights[by_name.get(ref["name"], ref["name"])] = ref.get("weight", 1)
        copies = [f["requestMirror"]["backendRef"]["name"] for f in rule.get("filters") or [] if f["type"] == "RequestMirror"]
        total = sum(weights.values()) or 1
        return Routed({d: round(100 * w / total) for d, w in weights.items()}, by_name.get(copies[0], copies[0]) if copies else None)

    def launch(self, digest: str) -> None:
        self.kube.apply(self.service(self.name(digest), {"predictor": self.predictor(digest)}, digest, owned=True))

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        self.kube.apply(self.http_route(weights, mirror, owned=True))

    def retire(self, digest: str) -> None:
        self.kube.delete("InferenceService", self.rollout.namespace, self.name(digest))

    def adopt(self) -> tuple[str, str] | None:
        route = self.kube.get("HTTPRoute", self.rollout.namespace, self.rollout.name)
        if route is None:
            return None
        refs = sorted(route["spec"]["rules"][-1].get("backendRefs") or [], key=lambda r: -r.get("weight", 1))
        for service in self.kube.list("InferenceService", self.rollout.namespace, f"{OWNER}={self.rollout.name}"):
            noted = service["metadata"].get("annotations") or {}
            if refs and refs[0]["name"] == f"{service['metadata']['name']}-predictor" and DIGEST in noted:
                return noted[DIGEST], noted.get("sluice.dev/uri", "")
        return None

    def leave(self, stable: str | None) -> None:
        for service in self.kube.list("InferenceService", self.rollout.namespace, f"{OWNER}={self.rollout.name}"):
            digest = service["metadata"]["annotations"].get(DIGEST, "")
            if digest == stable:
                # Applied without the owner, ours is taken from the list: nobody collects it as garbage.
                self.kube.apply(self.service(self.name(digest), {"predictor": self.predictor(digest)}, digest, owned=False))
        if stable:
            self.kube.apply(self.http_route({stable: 100}, None, owned=False))
        for service in self.kube.list("InferenceService", self.rollout.namespace, f"{OWNER}={self.rollout.name}"):
            if service["metadata"]["annotations"].get(DIGEST) != stable:
                self.kube.delete("InferenceService", self.rollout.namespace, service["metadata"]["name"])

    def http_route(self, weights: Mapping[str, int], mirror: str | None, *, owned: bool) -> Object:
        traffic = self.rollout.spec["traffic"]
        gateway = traffic["gateway"]
        sticky = traffic.get("sticky") == "Cookie" and len(weights) > 1
        refs = []
        for digest, weight in sorted(weights.items()):
            ref: Object = {"group": "", "kind": "Service", "name": self.backend(digest), "port": 80, "weight": weight}
            if sticky:
                cookie = f"{ARM_COOKIE}={digest[:12]}; Path=/; HttpOnly; SameSite=Lax"
                ref["filters"] = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": cookie}]}}]
            refs.append(ref)
        rule: Object = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": refs}
        if mirror:
            copy = {"group": "", "kind": "Service", "name": self.backend(mirror), "port": 80}
            how: Object = {"backendRef": copy}
            if self.rollout.plan.shadow.percent < 100:
                how["percent"] = self.rollout.plan.shadow.percent
            rule["filters"] = [{"type": "RequestMirror", "requestMirror": how}]
        rules = [self._stuck(d) for d in sorted(weights)] if sticky else []
        meta: Object = {"name": self.rollout.name, "namespace": self.rollout.namespace, "labels": self.labels()}
        if owned:
            meta["ownerReferences"] = [owner(self.rollout)]
        return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta, "spec": {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway["name"],
                            "namespace": gateway.get("namespace", self.rollout.namespace)}],
            "hostnames": [traffic["hostname"]], "rules": [*rules, rule]}}  # fmt: skip

    def _stuck(self, digest: str) -> Object:
        """Who carries an arm's cookie goes there."""
        cookie = {"type": "RegularExpression", "name": "cookie", "value": f"(^|.*;\\s*){ARM_COOKIE}={digest[:12]}(;.*|$)"}
        return {"matches": [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [cookie]}],
                "backendRefs": [{"group": "", "kind": "Service", "name": self.backend(digest), "port": 80, "weight": 1}]}  # fmt: skip


def accepted(route: Object) -> bool:
    """A gateway has taken this very version of the route, and found its Services."""
    generation = route["metadata"].get("generation", 0)
    parents = (route.get("status") or {}).get("parents") or []
    for parent in parents:
        met = {c["type"] for c in parent.get("conditions") or [] if c["status"] == "True" and c.get("observedGeneration", 0) >= generation}
        if {"Accepted", "ResolvedRefs"} <= met:
            return True
    return False
