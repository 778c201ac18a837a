"""gRPC beside REST: the same weights, copies and cookies in one route, to the port that speaks it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from serving.controller.kube import connect
from serving.controller.rollouts.backends.base import grpc_port
from serving.controller.rollouts.backends.gateway import Gateway
from serving.controller.rollouts.backends.kserve_canary import KServeCanary
from serving.controller.rollouts.backends.serverless import Serverless
from serving.controller.rollouts.evidence import Pods
from tests.unit.rollouts import test_controller as helpers

ONE, TWO, THREE, PATH, Cluster, resource = helpers.ONE, helpers.TWO, helpers.THREE, helpers.PATH, helpers.Cluster, helpers.resource
ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes/m"
BOTH = [{"containerPort": 8080, "name": "http"}, {"containerPort": 9000, "name": "h2c"}]
REST = BOTH[:1]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers.kube_module, "_PAUSES", (0.0, 0.0))


def cluster(*speak: str) -> Any:
    c = Cluster()
    c.api.ports = {d[:12]: BOTH for d in speak}
    return c


def rules(c: Any) -> tuple[list[Any], list[Any]]:
    """What the route says of REST and of gRPC, alike but for paths and ports, with the ports checked."""
    found = c.api.objects[ROUTE]["spec"]["rules"]
    of_grpc = [r for r in found if "GRPC" in r["matches"][0]["path"]["value"]]
    assert found[len(found) - len(of_grpc) :] == of_grpc, "gRPC stands behind REST"
    for r in found:
        copies = [f["requestMirror"]["backendRef"] for f in r.get("filters", []) if f["type"] == "RequestMirror"]
        assert {x["port"] for x in (*r["backendRefs"], *copies)} == {9000 if r in of_grpc else 80}
    return [gist(r) for r in found if r not in of_grpc], [gist(r) for r in of_grpc]


def gist(rule: dict[str, Any]) -> Any:
    refs = [(r["name"], r["weight"], str(r.get("filters"))) for r in rule["backendRefs"]]
    copies = [
        (f["requestMirror"]["backendRef"]["name"], f["requestMirror"].get("percent"))
        for f in rule.get("filters", [])
        if f["type"] == "RequestMirror"
    ]
    return refs, copies, sorted({h["value"] for m in rule["matches"] for h in m.get("headers", [])})


@pytest.mark.parametrize("sticky", ["None", "Cookie"])
def test_a_whole_rollout_says_of_grpc_what_it_says_of_rest_at_every_moment(sticky: str):
    c = cluster(ONE, TWO, THREE)
    seen = []

    def note(method: str, path: str) -> None:
        if method == "PATCH" and path == ROUTE:
            rest, grpc = rules(c)
            assert rest == grpc and len(rest) == (3 if sticky == "Cookie" else 1)
            seen.append(rest[0])

    c.api.after = note
    c.api.behaviour[THREE[:12]] = {"errors": 0.3}
    for digest, end in ((ONE, "Succeeded"), (TWO, "Succeeded"), (THREE, "RolledBack")):
        c.apply(
            digest,
            traffic={"backend": "Gateway", "gateway": {"name": "g"}, "hostname": "m", "sticky": sticky},
            strategy={"shadow": {"requests": 100, "percent": 70}},
        )
        c.look()
        c.until(end)
    assert c.status["protocols"] == ["REST", "gRPC"]
    copies = {tuple(copy) for _, copy, _ in seen if copy}
    assert copies == {(("m-22222222-predictor", 70),), (("m-33333333-predictor", 70),)}
    assert len([1 for a, b in itertools.pairwise(seen) if a == b]) <= 1, "written once for each change"


def test_counters_and_the_repository_lie_on_no_path_of_the_route():
    c = cluster(ONE)
    c.apply(ONE, traffic={"backend": "Gateway", "gateway": {"name": "g"}, "hostname": "m", "sticky": "Cookie"})
    c.until("Succeeded")
    paths = [m["path"] for r in c.api.objects[ROUTE]["spec"]["rules"] for m in r["matches"]]

    def reached(asked: str) -> bool:
        """As Gateway API v1 says: a prefix is one of whole path elements."""
        return any(
            asked == p["value"] if p["type"] == "Exact" else asked == p["value"] or asked.startswith(p["value"].rstrip("/") + "/")
            for p in paths
        )

    inside = ("/metrics", "/v2/repository/index", "/v2/repository/models/m/load", "/v2/repository", "/metricsx")
    assert not any(map(reached, inside))
    asked = (
        "/",
        "/v1/models/m:predict",
        "/v1/models",
        "/v2",
        "/v2/models/m/infer",
        "/v2/models/m/feedback",
        "/v2/health/ready",
        "/v2/results/1",
    )
    assert all(map(reached, asked))


def test_paths_are_those_of_both_grpc_services_and_longer_than_anything():
    c = cluster(ONE)
    c.apply(ONE)
    c.until("Succeeded")
    matches = c.api.objects[ROUTE]["spec"]["rules"][1]["matches"]
    assert [m["path"] for m in matches] == [
        {"type": "PathPrefix", "value": f"/{s}"} for s in ("inference.GRPCInferenceService", "grpc.health.v1.Health")
    ]


def test_a_model_without_the_port_is_reached_by_rest_alone_and_disabled_by_the_spec():
    c = cluster()
    c.apply(ONE)
    c.until("Succeeded")
    assert rules(c)[1] == [] and c.status["protocols"] == ["REST"]
    c = cluster(ONE)
    c.apply(ONE, traffic={"backend": "Gateway", "gateway": {"name": "g"}, "hostname": "m", "grpc": "Disabled"})
    c.until("Succeeded")
    assert rules(c)[1] == [] and c.status["protocols"] == ["REST"]


def test_a_runtime_that_got_the_port_brings_grpc_to_the_model_that_serves_without_a_rollout():
    c = cluster()
    c.apply(ONE)
    c.until("Succeeded")
    before = c.api.objects[ROUTE]["spec"]["rules"][0]
    c.api.ports[ONE[:12]] = BOTH
    for _ in range(2):
        c.look()
    rest, grpc = rules(c)
    assert rest == grpc and c.status["protocols"] == ["REST", "gRPC"] and c.status["phase"] == "Succeeded"
    assert c.api.objects[ROUTE]["spec"]["rules"][0] == before


def test_grpc_waits_for_the_candidate_that_brings_it():
    """Sent to the candidate alone, it would be more than the candidate's share."""
    c = cluster(TWO)
    c.apply(ONE)
    c.until("Succeeded")
    c.api.after = lambda method, path: seen.append(c.served()) if method == "PATCH" and path == ROUTE and rules(c)[1] else None
    seen: list[dict[str, int]] = []
    c.apply(TWO)
    c.look()
    c.until("Succeeded")
    assert seen and all(w == {"m-22222222-predictor": 100} for w in seen) and rules(c)[1]


def test_a_candidate_that_would_take_grpc_away_gets_no_request_and_the_reason_says_what_to_do():
    c = cluster(ONE)
    c.apply(ONE)
    c.until("Succeeded")
    shares: list[dict[str, int]] = []
    c.api.after = lambda method, path: shares.append(c.served()) if method == "PATCH" and path == ROUTE else None
    c.apply(TWO)
    c.look()
    status = c.until("RolledBack", "Failed")
    assert "does not speak gRPC" in status["message"] and "spec.traffic.grpc" in status["message"]
    assert all(w == {"m-11111111-predictor": 100} for w in shares) and rules(c)[1]


def test_rules_do_not_come_and_go_with_pods():
    c = cluster(ONE, TWO)
    helpers.second(c, strategy={"minimumRequests": 10**6})
    c.until("Step")
    before = c.api.objects[ROUTE]["spec"]
    real = c.api.pods
    for gone in ({ONE}, {TWO}, {ONE, TWO}):
        c.api.pods = lambda only=None, gone=gone: {n: p for n, p in real(only).items() if n not in {f"m-{d[:8]}" for d in gone}}
        for _ in range(2):
            c.look()
            assert c.api.objects[ROUTE]["spec"] == before
        backend = Gateway(connect(c.api), resource.read(c.api.objects[PATH]), Pods(connect(c.api)))
        made = backend.http_route({ONE: 80, TWO: 20}, None, owned=True)["spec"]["rules"]
        assert [gist(r) for r in made] == [gist(r) for r in before["rules"]]


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        (REST, None),
        (BOTH, 9000),
        ([{"containerPort": 9000, "name": "h2c"}], 80),
        ([{"containerPort": 9000, "name": "grpc-port"}], 80),
        ([{"containerPort": 8080}], None),
        ([], None),
        (None, None),
        ([*REST, {"containerPort": 8500, "name": "grpc"}], 8500),
    ],
)
def test_the_services_port_follows_kserves_rules(ports: Any, found: int | None):
    assert (
        grpc_port([{"name": "queue-proxy", "ports": [{"containerPort": 1, "name": "h2c"}]}, {"name": "kserve-container", "ports": ports}])
        == found
    )


@pytest.mark.parametrize(("name", "said"), [("h2c", ("gRPC",)), ("http1", ("REST",)), ("user-port", ("REST",))])
def test_a_knative_revision_speaks_what_its_one_port_is_named_after(name: str, said: tuple[str, ...]):
    c = Cluster()
    c.apply(ONE, traffic={"backend": "Serverless"}, strategy={"shadow": {"requests": 0}})
    revision = {
        "kind": "Revision",
        "metadata": {"name": "m-1", "annotations": {"sluice.dev/digest": ONE}},
        "spec": {"containers": [{"name": "kserve-container", "ports": [{"containerPort": 9000, "name": name}]}]},
    }
    kube = connect(c.api)
    kube.list = lambda kind, *_, **__: [revision] if kind == "Revision" else []  # type: ignore[method-assign]
    backend = Serverless(kube, resource.read(c.api.objects[PATH]), Pods(kube))
    backend._revisions()
    assert backend.protocols() == said


@pytest.mark.parametrize(("grpc_weights", "said"), [((80, 20), ("REST", "gRPC")), ((100,), ("REST",)), (None, ("REST",))])
def test_kserves_own_route_carries_grpc_where_its_weights_are_rests(grpc_weights: tuple[int, ...] | None, said: tuple[str, ...]):
    def rule(path: str, weights: tuple[int, ...]) -> dict[str, Any]:
        refs = [{"name": f"m-m-{d[:8]}-predictor", "weight": w} for d, w in zip((ONE, TWO), weights, strict=False)]
        return {"matches": [{"path": {"type": "RegularExpression", "value": path}}], "backendRefs": refs}

    made = [rule("^/.*$", (80, 20))]
    if grpc_weights:
        made.insert(0, rule(r"^/inference\.GRPCInferenceService/.*$", grpc_weights))
    parents = [{"conditions": [{"type": t, "status": "True"} for t in ("Accepted", "ResolvedRefs")]}]
    route = {"metadata": {"generation": 0}, "spec": {"rules": made}, "status": {"parents": parents}}
    c = Cluster()
    c.apply(ONE, traffic={"backend": "KServeCanary"}, strategy={"shadow": {"requests": 0}})
    kube = connect(c.api)
    kube.get = lambda *_: route  # type: ignore[method-assign]
    backend = KServeCanary(kube, resource.read(c.api.objects[PATH]), Pods(kube))
    backend.pods = {ONE: [{"spec": {"containers": [{"name": "kserve-container", "ports": BOTH}]}}]}
    routed = backend._routed({ONE, TWO})
    assert routed is not None and dict(routed.weights) == {ONE: 80, TWO: 20} and backend.protocols() == said
