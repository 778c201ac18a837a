"""One InferenceService a model, one HTTPRoute of ours in front of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from serving.controller.rollouts.backends.base import POD_OF, PORT, ClusterBackend, grpc_port
from serving.controller.rollouts.resource import DIGEST, OWNER, owner
from sluice.kube.client import Object
from sluice.rollouts.backend import MIRROR, SPLIT, STICKY, View
from sluice.rollouts.state import Obstacle, Routed

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

    Where every model in the route has a port for gRPC, the same rules follow once more for gRPC's paths, to that port: with the same
    weights, copies and cookies. They stand behind the others, whose places stay as they are.
    """

    MODE = "Standard"
    can = frozenset({MIRROR, STICKY, SPLIT})

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._route: Object | None = None

    def name(self, digest: str) -> str:
        """Of a model's InferenceService."""
        return f"{self.rollout.name}-{digest[:8]}"

    def backend(self, digest: str) -> str:
        """The Service KServe makes for a predictor."""
        return f"{self.name(digest)}-predictor"

    def observe(self, stable: str | None, candidate: str | None) -> View:
        """Arms by InferenceService, weights by the route the gateway has accepted."""
        services = {
            s["metadata"]["annotations"].get(DIGEST, ""): s
            for s in self.kube.list("InferenceService", self.rollout.namespace, f"{OWNER}={self.rollout.name}")
            if not s["metadata"].get("deletionTimestamp")
        }
        arms = {
            arm: self.arm(d, f"{POD_OF}={self.name(d)}", declared=services.get(d))
            for arm, d in (("stable", stable), ("candidate", candidate))
            if d
        }
        routed = self.routed(set(services))
        if stable and candidate and self.pods[candidate]:
            speaks = self.grpc([stable, candidate])
            if speaks[stable] and not speaks[candidate]:
                arm, said = arms["candidate"]
                arms["candidate"] = (replace(arm, ready=False, obstacle=arm.obstacle or _NO_GRPC), said)
        return self.view(arms, routed, frozenset(services))

    def routed(self, digests: set[str]) -> Routed | None:
        """What the gateway has accepted, nothing where there is no route; None while it has not, or for one of another make: for users who do (not) stick, with or without gRPC."""
        route = self._route = self.kube.get("HTTPRoute", self.rollout.namespace, self.rollout.name)
        if route is None:
            return Routed({})
        if not accepted(route):
            return None
        by_name = {self.backend(d): d for d in (*digests, *self.rollout.models)}
        rule = weighted(route)
        weights: Counter[str] = Counter()  # in the order of their places
        for ref in rule.get("backendRefs") or []:
            if ref.get("weight", 1) > 0:
                weights[by_name.get(ref["name"], ref["name"])] += ref.get("weight", 1)
        copies = [f["requestMirror"]["backendRef"]["name"] for f in rule.get("filters") or [] if f["type"] == "RequestMirror"]
        total = weights.total() or 1
        found = Routed({d: round(100 * w / total) for d, w in weights.items()}, by_name.get(copies[0], copies[0]) if copies else None)
        # The same weights, in a route as this controller makes it today: with or without cookies and gRPC.
        now = self.rules(list(weights), found.weights, found.mirror) if weights else []
        return found if list(map(_gist, route["spec"]["rules"])) == list(map(_gist, now)) else None

    def launch(self, digest: str) -> None:
        """Apply the model's InferenceService."""
        self.kube.apply(self.service(self.name(digest), {"predictor": self.predictor(digest)}, digest, owned=True))

    def route(self, weights: Mapping[str, int], mirror: str | None) -> None:
        """Apply the route; none where nobody is to be sent anywhere."""
        if not weights:
            self.kube.delete("HTTPRoute", self.rollout.namespace, self.rollout.name)
            return
        self.kube.apply(self.http_route(weights, mirror, owned=True))

    # -- gRPC --------------------------------------------------------------------------------------

    def grpc(self, digests: Iterable[str]) -> dict[str, int | None]:
        """By model, the port of its Service for gRPC beside REST, None where it has none.

        A model without pods speaks what the route says of it, or else what the others speak: rules do not come and go with pods.
        """
        if self.rollout.spec["traffic"].get("grpc") == "Disabled":
            return dict.fromkeys(digests)
        known: dict[str, int | None] = {}
        silent = []
        for digest in digests:
            if digest not in self.pods:
                self.pods[digest] = self.kube.list("Pod", self.rollout.namespace, f"{POD_OF}={self.name(digest)}")
            ports = {grpc_port(p["spec"]["containers"]) for p in self.pods[digest]}
            if ports:
                # One whose first port speaks gRPC needs no rule more: all requests go there.
                known[digest] = None if len(ports) > 1 or PORT in ports else ports.pop()
            else:
                silent.append(digest)
        if silent and self._route is None:
            self._route = self.kube.get("HTTPRoute", self.rollout.namespace, self.rollout.name)
        routed = {
            r["name"]: r["port"]
            for rule in (self._route or {"spec": {"rules": []}})["spec"]["rules"]
            if for_grpc(rule)
            for r in rule["backendRefs"]
        }
        others = next(filter(None, known.values()), None)
        return known | {d: routed.get(self.backend(d), others) for d in silent}

    def protocols(self) -> tuple[str, ...]:
        """What users may speak to the models."""
        if self._route is not None and any(map(for_grpc, self._route["spec"]["rules"])):
            return ("REST", "gRPC")
        return self.spoken()

    def retire(self, digest: str) -> None:
        """Delete the model's InferenceService."""
        self.kube.delete("InferenceService", self.rollout.namespace, self.name(digest))

    def adopt(self) -> tuple[str, str] | None:
        """The model that the route sends most to."""
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
        """The stable model and its route stay, without the rollout as owner."""
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
        """The route by these weights; not `owned` it outlives the rollout."""
        traffic = self.rollout.spec["traffic"]
        gateway = traffic["gateway"]
        # The stable model keeps its place, so that a candidate takes over the one nobody is sent to.
        arms = sorted(weights, key=lambda d: (d != self.rollout.state.stable, d))
        meta: Object = {"name": self.rollout.name, "namespace": self.rollout.namespace, "labels": self.labels()}
        if owned:
            meta["ownerReferences"] = [owner(self.rollout)]
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": meta,
            "spec": {
                "parentRefs": [
                    {
                        "group": "gateway.networking.k8s.io",
                        "kind": "Gateway",
                        "name": gateway["name"],
                        "namespace": gateway.get("namespace", self.rollout.namespace),
                    }
                ],
                "hostnames": [traffic["hostname"]],
                "rules": self.rules(arms, weights, mirror),
            },
        }

    def rules(self, arms: list[str], weights: Mapping[str, int], mirror: str | None) -> list[Object]:
        """The route's rules for models in these places. gRPC goes to those that speak it, if the one in the first place does."""
        ports = {d: port for d, port in self.grpc([*arms, *([mirror] if mirror else [])]).items() if port}
        rules = self._rules(arms, weights, mirror, {})
        return (
            rules + self._rules([d for d in arms if d in ports], weights, mirror if mirror in ports else None, ports)
            if arms[0] in ports
            else rules
        )

    def _rules(self, arms: list[str], weights: Mapping[str, int], mirror: str | None, grpc: Mapping[str, int]) -> list[Object]:
        """The rules for REST or, with each model's port in `grpc`, the same for gRPC."""
        paths = _GRPC if grpc else _ASKED
        rule: Object = {"matches": paths}
        stuck: list[Object] = []
        if self._sticky:
            # One model alone holds both places: in the second it waits, with next to no traffic, for a candidate.
            (a, x), (b, y) = [(d, weights[d]) for d in arms] if len(arms) > 1 else [(arms[0], 999), (arms[0], 1)]
            rule |= {"backendRefs": [self._ref(a, x, grpc, against=b), self._ref(b, y, grpc, against=a)], "filters": [_STAYS]}
            stuck = [
                {
                    "matches": [{**path, "headers": [_carried(_cookie(d, other))]} for path in paths],
                    "backendRefs": [self._ref(d, 1, grpc)],
                    "filters": [_STAYS],
                }
                for d, other in ((a, b), (b, a))
            ]
        else:
            rule["backendRefs"] = [{**self._service(d, grpc), "weight": weights[d]} for d in arms]
        if mirror:
            how: Object = {"backendRef": self._service(mirror, grpc)}
            if self.rollout.plan.shadow.percent < 100:
                how["percent"] = self.rollout.plan.shadow.percent
            rule["filters"] = [*rule.get("filters", []), {"type": "RequestMirror", "requestMirror": how}]
        return [rule, *stuck]

    @property
    def _sticky(self) -> bool:
        return bool(self.rollout.spec["traffic"].get("sticky") == "Cookie")

    def _service(self, digest: str, ports: Mapping[str, int]) -> Object:
        return {"group": "", "kind": "Service", "name": self.backend(digest), "port": ports.get(digest, PORT)}

    def _ref(self, digest: str, weight: int, ports: Mapping[str, int], against: str | None = None) -> Object:
        """A back-end that says which arm answers; with another to compare it `against`, as a cookie too."""
        say: Object = {"set": [{"name": ARM_HEADER, "value": digest[:12]}]}
        if against and against != digest:
            say["add"] = [{"name": "Set-Cookie", "value": f"{_cookie(digest, against)}; Path=/; HttpOnly; SameSite=Lax"}]
        return {
            **self._service(digest, ports),
            "weight": weight,
            "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": say}],
        }


#: What clients ask. Counters (``/metrics``) and the repository are for who stands inside, and lead nowhere from a gateway; feedback lies below
#: ``/v2/models`` and is taken from there with a token alone (`serving/runtime/http/outside.py`).
_ASKED = [
    *({"path": {"type": "PathPrefix", "value": path}} for path in ("/v1", "/v2/models", "/v2/health", "/v2/results")),
    *({"path": {"type": "Exact", "value": path}} for path in ("/", "/v2", "/v2/", "/openapi.json")),
]
#: gRPC's paths are those of its services. The longer of two prefixes decides, whatever headers the other rule asks for.
_SERVICE = "inference.GRPCInferenceService"
_GRPC = [{"path": {"type": "PathPrefix", "value": f"/{service}"}} for service in (_SERVICE, "grpc.health.v1.Health")]
_NO_GRPC = Obstacle(
    "does not speak gRPC, which the stable model does",
    "give its ServingRuntime a second port named h2c, or set spec.traffic.grpc to Disabled",
)
#: Says that users stay: the model server then puts who has none into a group of users (`serving/runtime/users.py`).
_STAYS = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-sluice-sticky", "value": "1"}]}}


def _cookie(arm: str, other: str) -> str:
    """Of both arms: who was drawn into one comparison is drawn anew in that of another pair."""
    return f"{ARM_COOKIE}={arm[:12]}-{other[:12]}"


def _carried(cookie: str) -> Object:
    return {"type": "RegularExpression", "name": "cookie", "value": f"(^|.*;\\s*){cookie}(;.*|$)"}


def _gist(rule: Object) -> list[Any]:
    """What a rule does, without what the API server adds to it: for gRPC or not, which paths, whose cookies it asks for, who gets how much and copies, by which port."""
    filters = rule.get("filters") or []
    copies = [f["requestMirror"] for f in filters if f["type"] == "RequestMirror"]
    asked = sorted({h["value"] for m in rule.get("matches") or [] for h in m.get("headers") or []})
    refs = [(r["name"], r.get("port"), r.get("weight", 1)) for r in rule.get("backendRefs") or []]
    paths = sorted({(m.get("path") or {}).get("value") or "/" for m in rule.get("matches") or [{}]})
    return [
        for_grpc(rule),
        paths,
        asked,
        refs,
        [f["type"] for f in filters],
        [(c["backendRef"]["name"], c["backendRef"].get("port"), c.get("percent")) for c in copies],
    ]


def for_grpc(rule: Object) -> bool:
    """Whether a rule is for gRPC's paths. KServe writes them as regular expressions."""
    return any(_SERVICE in ((m.get("path") or {}).get("value") or "").replace("\\", "") for m in rule.get("matches") or [])


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
