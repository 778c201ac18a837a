"""The same contract for each back-end on the real API server, then whole rollouts on Knative."""

from __future__ import annotations

import http.client
import importlib.util
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.controller.rollouts import resource
from serving.controller.rollouts.backends import BACKENDS
from serving.controller.rollouts.evidence import Pods
from sluice.kube.objects import Objects, path
from sluice.rollouts.load_generator import Load
from sluice.rollouts.state import Routed, State

_spec = importlib.util.spec_from_file_location("rollout_cluster", Path(__file__).with_name("conftest.py"))
assert _spec and _spec.loader
helpers = sys.modules.setdefault("rollout_cluster", importlib.util.module_from_spec(_spec))
if not hasattr(helpers, "manifest"):
    _spec.loader.exec_module(helpers)
manifest, digest, NAMESPACE, kubectl = helpers.manifest, helpers.digest, helpers.NAMESPACE, helpers.kubectl
wait_until = helpers.wait_until
ONE, TWO = digest("one"), digest("two")


class KServe21:
    """Plays what KServe 0.21 documents of ``spec.canary[]``: its HTTPRoute weighs main and canary predictors.

    0.20, which the lab has, makes the canary's Deployment and Service but no weights.
    """

    def __init__(self, kube: Objects, name: str):
        self.kube, self.name, self.halt = kube, name, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.halt.wait(0.5):
            service = self.kube.get("InferenceService", NAMESPACE, self.name)
            if service is None:
                continue
            spec = service["spec"]
            canaries = spec.get("canary") or []
            left = 100 - sum(c.get("trafficPercent", 0) for c in canaries)
            parts = [(spec["predictor"]["name"], left)] + [(c["predictor"]["name"], c.get("trafficPercent", 0)) for c in canaries]
            refs = [{"group": "", "kind": "Service", "name": f"{self.name}-{p}-predictor", "port": 80, "weight": w} for p, w in parts]
            self.kube.kube.request(
                "PATCH",
                path("HTTPRoute", NAMESPACE, self.name),
                {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "HTTPRoute",
                    "metadata": {"name": self.name, "namespace": NAMESPACE},
                    "spec": {
                        "parentRefs": [
                            {
                                "group": "gateway.networking.k8s.io",
                                "kind": "Gateway",
                                "name": "kserve-ingress-gateway",
                                "namespace": "kserve",
                            }
                        ],
                        "hostnames": [f"{self.name}.example.com"],
                        "rules": [{"backendRefs": refs}],
                    },
                },
                query={"fieldManager": "kserve-player", "force": "true"},
                content="application/apply-patch+yaml",
            )


def need_knative() -> None:
    """Skip where the cluster has no Knative: KServe's Serverless mode is an option of the platform."""
    if not kubectl("get", "crd", "revisions.serving.knative.dev", "--ignore-not-found"):
        pytest.skip("Knative Serving is not installed on this cluster")


@pytest.fixture(params=["Gateway", "Serverless", "KServeCanary"])
def backend_of(request: pytest.FixtureRequest, cluster: Objects, named: str) -> Iterator[Callable[[State], Any]]:
    """A back-end made anew as each look makes it, over a resource that is only in memory."""
    if request.param == "Serverless":
        need_knative()
    raw = manifest(named, "two", backend=request.param)
    raw["spec"]["model"]["uri"] = f"{helpers.FILES}/two.bin"
    if request.param == "KServeCanary":
        for obj in helpers.FILE_SERVER:
            kubectl("apply", "-f", "-", stdin=json.dumps(obj))
        kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod/files", "--timeout=60s")
    raw["metadata"] |= {"uid": "00000000-0000-0000-0000-000000000000", "generation": 1}
    player = KServe21(cluster, named) if request.param == "KServeCanary" else None

    def make(state: State) -> Any:
        status = {"state": state.to_dict(), "models": {ONE: f"{helpers.FILES}/one.bin", TWO: f"{helpers.FILES}/two.bin"}}
        rollout = resource.read({**raw, "status": status})
        return BACKENDS.get(request.param)(cluster, rollout, Pods(cluster, proxied=True))

    # An owner that does not exist would have everything collected as garbage.
    from serving.controller.rollouts.backends import base, gateway

    real = base.owner
    base.owner = gateway.owner = lambda rollout: None  # type: ignore[assignment]
    apply = cluster.apply

    def without_owner(obj: dict[str, Any]) -> dict[str, Any]:
        obj["metadata"].pop("ownerReferences", None)
        return apply(obj)

    cluster.apply = without_owner  # type: ignore[method-assign]
    yield make
    cluster.apply = apply  # type: ignore[method-assign]
    base.owner = gateway.owner = real
    if player:
        player.halt.set()
        player.thread.join(10)


def test_back_end_keeps_the_contract(backend_of: Callable[[State], Any], request: pytest.FixtureRequest):
    kind = request.node.callspec.params["backend_of"]
    first = State(candidate=ONE, phase="Pending")
    one = backend_of(first)
    view = one.observe(None, ONE)
    assert not view.arms["candidate"].exists and not view.arms["candidate"].ready
    assert one.adopt() is None

    def ready(state: State, arm: str) -> bool:
        seen = backend_of(state).observe(state.stable, state.candidate)
        return seen.arms[arm].ready and not seen.error

    for _ in range(2):  # asked for again and again
        one.launch(ONE)
    wait_until(lambda: ready(first, "candidate"), what="the first model", seconds=90, every=0.5)
    seen = one.observe(None, ONE)
    assert [r.counts["requests"] for r in seen.arms["candidate"].replicas] == [0]
    for _ in range(2):
        one.route({ONE: 100}, None)
    wait_until(lambda: backend_of(first).observe(None, ONE).routed == Routed({ONE: 100}), what="the first route", seconds=60, every=0.5)

    both = State(stable=ONE, candidate=TWO, phase="Pending")
    two = backend_of(both)
    assert not two.observe(ONE, TWO).arms["candidate"].exists
    two.launch(TWO)
    wait_until(lambda: ready(both, "candidate") and ready(both, "stable"), what="the second model", seconds=90, every=0.5)
    # The second model's predictor makes the gateway's weights anew, which takes a moment.
    wait_until(lambda: two.observe(ONE, TWO).routed == Routed({ONE: 100}), what="all traffic to the first", seconds=60, every=0.5)
    assert {ONE, TWO} <= set(two.observe(ONE, TWO).present or ())
    for weight in (20, 50):
        want = Routed({ONE: 100 - weight, TWO: weight})

        def led(want: Routed = want) -> bool:
            two.route(want.weights, None)  # asked for until it is seen, as the controller does
            return backend_of(both).observe(ONE, TWO).routed == want

        wait_until(led, what=f"{weight} %", seconds=60, every=1)
    if kind == "Gateway":
        two.route({ONE: 100}, TWO)
        wait_until(lambda: backend_of(both).observe(ONE, TWO).routed == Routed({ONE: 100}, TWO), what="the mirror", seconds=60, every=0.5)
    two.route({ONE: 100}, None)
    wait_until(lambda: backend_of(both).observe(ONE, TWO).routed == Routed({ONE: 100}), what="the way back", seconds=60, every=0.5)
    two.route({TWO: 100}, None)
    wait_until(lambda: backend_of(both).observe(ONE, TWO).routed == Routed({TWO: 100}), what="promotion", seconds=60, every=0.5)
    after = State(stable=TWO, phase="Succeeded")
    backend_of(after).retire(ONE)
    wait_until(lambda: ONE not in (backend_of(after).observe(TWO, None).present or ()), what="the old model to go", seconds=60, every=0.5)
    assert ready(after, "stable")
    assert backend_of(after).adopt() == (TWO, f"{helpers.FILES}/two.bin")
    backend_of(after).leave(TWO)
    time.sleep(2)
    assert ready(after, "stable")


@pytest.fixture
def kourier() -> tuple[str, int]:
    need_knative()
    return kubectl("get", "service", "-n", "kourier-system", "kourier", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"), 80


def test_serverless_canary_then_rollback_without_a_failed_request(
    operator: Any, api: Any, named: str, load: Callable[..., Load], kourier: tuple[str, int]
):
    api.apply(manifest(named, "one", backend="Serverless"))
    api.until(named, "Succeeded", version="one")
    traffic = load(named, 60, kourier, f"{named}-predictor.{NAMESPACE}.example.com")
    wait_until(lambda: traffic.report()["by_arm"].get(ONE[:12], 0) > 20, what="traffic", seconds=30)
    before = traffic.report()["failed"]
    api.apply(manifest(named, "two", backend="Serverless"))
    assert api.until(named, "Succeeded", version="two", seconds=240)["stable"] == TWO[:12]
    api.apply(manifest(named, "three", "errors=0.3", backend="Serverless"))
    status = api.until(named, "RolledBack", seconds=240)
    assert "errors" in status["message"]
    time.sleep(2)
    traffic.stop()
    report = traffic.report()
    # The third model's own errors are the only ones.
    assert report["failed"] - before == report["reasons"].get("status 500", 0), report
    assert report["by_arm"][TWO[:12]] > 100


@pytest.mark.parametrize("backend_of", ["Gateway"], indirect=True)
def test_cookie_keeps_a_user_in_the_arm_of_the_first_answer(
    backend_of: Callable[[State], Any], named: str, gateway: tuple[str, int], request: pytest.FixtureRequest
):
    both = State(stable=ONE, candidate=TWO, phase="Step")
    backend = backend_of(both)
    backend.rollout.raw["spec"]["traffic"]["sticky"] = "Cookie"
    for d in (ONE, TWO):
        backend.launch(d)

    def ready() -> bool:
        arms = backend.observe(ONE, TWO).arms
        return arms["stable"].ready and arms["candidate"].ready

    wait_until(ready, what="both models", seconds=90, every=0.5)
    backend.route({ONE: 50, TWO: 50}, None)
    wait_until(lambda: backend.observe(ONE, TWO).routed == Routed({ONE: 50, TWO: 50}), what="the split", seconds=60, every=0.5)

    def ask(cookie: str | None) -> tuple[str, str]:
        connection = http.client.HTTPConnection(*gateway, timeout=10)
        headers = {"host": f"{named}.example.com"} | ({"cookie": cookie} if cookie else {})
        connection.request("POST", "/v1/models/m:predict", body=b'{"instances": [1]}', headers=headers)
        got = connection.getresponse()
        got.read()
        given = [c.partition(";")[0] for c in got.headers.get_all("set-cookie") or []]
        return got.getheader("x-sluice-version", ""), "; ".join(given)

    wait_until(lambda: {ask(None)[0] for _ in range(20)} == {ONE[:12], TWO[:12]}, what="both arms to answer", seconds=60, every=1)
    for _ in range(6):
        arm, cookie = ask(None)
        # The arm's from the gateway; beside it the server's own, by which it counts users.
        assert [c for c in cookie.split("; ") if c.startswith(f"sluice-arm={arm}-")], cookie
        assert {ask(f"other=1; {cookie}; last=2")[0] for _ in range(15)} == {arm}
