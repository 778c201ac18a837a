"""One InferenceService a model, one HTTPRoute of ours in front of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from serving.rollout.backends.base import POD_OF, ClusterBackend
from serving.rollout.kube import Object
from serving.rollout.resource import DIGEST, OWNER, owner
from sluice.rollouts.backend import View
from sluice.rollouts.state import Routed

ARM_COOKIE = "sluice-arm"
#: The response header that names the arm, where users stick to one.
ARM_HEADER = "x-sluice-arm"


class Gateway(ClusterBackend):
    """Standard mode: weights, mirror and stickiness are in an HTTPRoute this controller owns.

    A model's InferenceService is named after its digest and never changed once it serves, so going
    back is a change of weights. With ``spec.traffic.sticky: Cookie`` the first answer sets a cookie
    that keeps a user in the arm for as long as these two arms are compared. The route then has the
    same rules with as many back-ends each at all times: Envoy Gateway names Envoy's clusters by their
    places in the route, and one that goes away does so before the routes that lead to it.
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
        arms = {arm: self.arm(d, f"{POD_OF}={self.name(d)}", declared=services.get(d))
                for arm, d in (("stable", stable), ("candidate", candidate)) if d}  # fmt: skip
        return self.view(arms, self.routed(set(services)), frozenset(services))

    def routed(self, digests: set[str]) -> Routed | None:
        """What the gateway has accepted, nothing where there is no route; None while it has not, or for one for users who do (not) stick."""
        route = self.kube.get("HTTPRoute", self.rollout.namespace, self.rollout.name)
        if route is None:
            return Routed({})
        if not accepted(route) or len(route["spec"]["rules"]) != (3 if self._sticky else 1):
            return None
        by_name = {self.backend(d): d for d in (*digests, *self.rollout.models)}
        rule = weighted(route)
        weights: Counter[str] = Counter()
        for ref in rule.get("backendRefs") or []:
            if ref.get("weight", 1) > 0:
                weights[by_name.get(ref["name"], ref["name"])] += ref.get("weight", 1)
        copies = [f["requestMirror"]["backendRef"]["name"] for f in rule.get("filters") or [] if f["type"] == "RequestMirror"]
        total = weights.total() or 1
        return Routed({d: round(100 * w / total) for d, w in weights.items()}, by_name.get(copies[0], copies[0]) if copies else None)

    def launch(self, digest: str) -> None:
        self.kube.apply(self.service(self.name(digest), {"predictor": self.predictor(digest)}, digest, owned=True))

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        if not weights:
            self.kube.delete("HTTPRoute", self.rollout.namespace, self.rollout.name)
            return
        self.kube.apply(self.http_route(weights, mirror, owned=True))

    def retire(self, digest: str) -> None:
        self.kube.delete("InferenceService", self.rollout.namespace, self.name(digest))

    def adopt(self) -> tuple[str, str] | None:
        route = self.kube.get("HTTPRoute", self.rollout.namespace, self.rollout.name)
        if route is None:
            return None
        refs = sorted(weighted(route).get("backendRefs") or [], key=lambda r: -r.get("weight", 1))
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
        # The stable model keeps its place, so that a candidate takes over the one nobody is sent to.
        arms = sorted(weights, key=lambda d: (d != self.rollout.state.stable, d))
        rule: Object = {"matches": [_ANYTHING]}
        stuck: list[Object] = []
        if self._sticky:
            # One model alone holds both places: in the second it waits, with next to no traffic, for a candidate.
            (a, x), (b, y) = [(d, weights[d]) for d in arms] if len(arms) > 1 else [(arms[0], 999), (arms[0], 1)]
            rule |= {"backendRefs": [self._ref(a, x, against=b), self._ref(b, y, against=a)], "filters": [_STAYS]}
            stuck = [{"matches": [{**_ANYTHING, "headers": [_carried(_cookie(d, other))]}], "backendRefs": [self._ref(d, 1)], "filters": [_STAYS]}
                     for d, other in ((a, b), (b, a))]  # fmt: skip
        else:
            rule["backendRefs"] = [{**self._service(d), "weight": weights[d]} for d in arms]
        if mirror:
            how: Object = {"backendRef": self._service(mirror)}
            if self.rollout.plan.shadow.percent < 100:
                how["percent"] = self.rollout.plan.shadow.percent
            rule["filters"] = [*rule.get("filters", []), {"type": "RequestMirror", "requestMirror": how}]
        meta: Object = {"name": self.rollout.name, "namespace": self.rollout.namespace, "labels": self.labels()}
        if owned:
            meta["ownerReferences"] = [owner(self.rollout)]
        return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta, "spec": {
            "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway["name"],
                            "namespace": gateway.get("namespace", self.rollout.namespace)}],
            "hostnames": [traffic["hostname"]], "rules": [rule, *stuck]}}  # fmt: skip

    @property
    def _sticky(self) -> bool:
        return bool(self.rollout.spec["traffic"].get("sticky") == "Cookie")

    def _service(self, digest: str) -> Object:
        return {"group": "", "kind": "Service", "name": self.backend(digest), "port": 80}

    def _ref(self, digest: str, weight: int, against: str | None = None) -> Object:
        """A back-end that says which arm answers; with another to compare it `against`, as a cookie too."""
        say: Object = {"set": [{"name": ARM_HEADER, "value": digest[:12]}]}
        if against and against != digest:
            say["add"] = [{"name": "Set-Cookie", "value": f"{_cookie(digest, against)}; Path=/; HttpOnly; SameSite=Lax"}]
        return {**self._service(digest), "weight": weight, "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": say}]}


_ANYTHING = {"path": {"type": "PathPrefix", "value": "/"}}
#: Says that users stay: the model server then puts who has none into a group of users (`serving/runtime/users.py`).
_STAYS = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-sluice-sticky", "value": "1"}]}}


def _cookie(arm: str, other: str) -> str:
    """Of both arms: who was drawn into one comparison is drawn anew in that of another pair."""
    return f"{ARM_COOKIE}={arm[:12]}-{other[:12]}"


def _carried(cookie: str) -> Object:
    return {"type": "RegularExpression", "name": "cookie", "value": f"(^|.*;\\s*){cookie}(;.*|$)"}


def weighted(route: Object) -> Object:
    """The rule for those who carry no cookie."""
    rules: list[Object] = route["spec"]["rules"]
    return next((r for r in rules if not any(m.get("headers") for m in r.get("matches") or [])), rules[-1])


def accepted(route: Object) -> bool:
    """A gateway has taken this very version of the route, and found its Services."""
    generation = route["metadata"].get("generation", 0)
    parents = (route.get("status") or {}).get("parents") or []
    for parent in parents:
        met = {c["type"] for c in parent.get("conditions") or [] if c["status"] == "True" and c.get("observedGeneration", 0) >= generation}
        if {"Accepted", "ResolvedRefs"} <= met:
            return True
    return False
