"""Whole rollouts whose counters come from a Prometheus that is gone, empty, stale, lying, or honest, and A/B by business outcome."""

from __future__ import annotations

import http.server
import importlib.util
import json
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from serving.controller import kube as kube_module
from serving.controller.kube import connect
from serving.controller.rollouts.evidence import allowed, port_of
from serving.controller.rollouts.reconcile import Rollouts

_spec = importlib.util.spec_from_file_location("rollout_memory_api", Path(__file__).with_name("memory_api.py"))
assert _spec and _spec.loader
memory = sys.modules.setdefault("rollout_memory_api", importlib.util.module_from_spec(_spec))
if not hasattr(memory, "MemoryApi"):
    _spec.loader.exec_module(memory)

ONE, TWO = "1" * 64, "2" * 64
PATH = "/apis/sluice.dev/v1alpha1/namespaces/ns/modelrollouts/m"


class Prometheus(http.server.ThreadingHTTPServer):
    """Scrapes the pods of a `MemoryApi` at the moment it is asked; `mode` says in what way it fails.

    `outcomes` gives (n, sum) of the business outcome of a version, of 32 groups of users alike; `lost` is taken off a pod's counters, as if it had started over.
    """

    def __init__(self, api: Any):
        self.api, self.mode, self.lost = api, "fine", {}
        self.outcomes: Callable[[str], tuple[float, float]] = lambda version: (0.0, 0.0)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                return

            def do_GET(self) -> None:
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["query"][0]
                body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": outer.answer(query)}}).encode()
                self.send_response(503 if outer.mode == "gone" else 200)
                self.end_headers()
                self.wfile.write(b"no healthy upstream" if outer.mode == "gone" else body)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, query: str) -> list[dict[str, Any]]:
        if self.mode == "empty":
            return []
        version = query.partition('version="')[2][:12]
        pods = [p["metadata"]["name"] for p in self.api.pods().values() if p["metadata"]["labels"]["sluice.dev/version"] == version]
        now = time.time()
        if "timestamp(" in query:
            return [{"metric": {"pod": p}, "value": [now, str(now - (600 if self.mode == "stale" else 1))]} for p in pods]
        if query.startswith("business_"):
            n, total = self.outcomes(version)
            return [
                {"metric": {"pod": p, "group": str(g)}, "value": [now, str((n if "outcomes" in query else total) / 32)]}
                for p in pods
                for g in range(32)
            ]
        out = []
        for pod in pods:
            for line in self.api.page(pod).splitlines():
                name, _, value = line.rpartition(" ")
                labels = dict(x.split("=") for x in name.partition("{")[2].rstrip("}").split(",") if x)
                metric = {"__name__": name.partition("{")[0], "pod": pod, **{k: v.strip('"') for k, v in labels.items()}}
                shown = "NaN" if self.mode == "nan" else str(max(0.0, float(value) - self.lost.get((pod, name), 0.0)))
                out.append({"metric": metric, "value": [now, shown]})
        return out

    def start_over(self) -> None:
        """Every counter of now is zero."""
        for pod in self.api.pods().values():
            name = pod["metadata"]["name"]
            for line in self.api.page(name).splitlines():
                series, _, value = line.rpartition(" ")
                self.lost[name, series] = float(value)


class World:
    def __init__(self) -> None:
        self.api = memory.MemoryApi()
        self.prometheus = Prometheus(self.api)
        self.url = f"http://127.0.0.1:{self.prometheus.server_address[1]}"
        self.controller = Rollouts(connect(self.api), prometheus=["http://127.0.0.1:1", self.url], clock=lambda: self.api.now)

    def apply(self, digest: str, **more: Any) -> None:
        strategy = {
            "steps": [20, 50],
            "shadow": {"requests": 0},
            "troubleSeconds": 2,
            "settleSeconds": 1,
            "warmupSeconds": 1,
            "verifySeconds": 2,
            "keepSeconds": 5,
            "stepDeadlineSeconds": 120,
            "readySeconds": 60,
        } | more.pop("strategy", {})
        analysis = {"prometheus": {"url": self.url}} | more.pop("analysis", {})
        spec = {
            "model": {"uri": f"s3://models/{digest[:8]}", "digest": digest},
            "strategy": strategy,
            "analysis": analysis,
            "traffic": {"backend": "Gateway", "gateway": {"name": "g"}, "hostname": "m.example.com"},
            **more,
        }
        old = self.api.objects.get(PATH)
        self.api.put(
            PATH,
            {**old, "spec": spec}
            if old
            else {"apiVersion": "sluice.dev/v1alpha1", "kind": "ModelRollout", "metadata": {"name": "m", "namespace": "ns"}, "spec": spec},
        )

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.objects[PATH].get("status") or {}
        return found

    def look(self) -> None:
        self.api.pass_time(1.0)
        self.controller.reconcile("ns", "m")

    def until(self, *phases: str, stage: str = "", looks: int = 400) -> dict[str, Any]:
        for _ in range(looks):
            if self.status.get("phase") in phases and stage in ("", self.status["stage"]):
                return self.status
            self.look()
        raise AssertionError(f"{self.status.get('phase')}, not {phases}: {self.status.get('message')}")

    def second(self, **more: Any) -> None:
        self.apply(ONE)
        self.until("Succeeded")
        self.apply(TWO, **more)
        self.look()

    def candidate_share(self) -> int:
        return max((w.get("m-22222222-predictor", 0) for w in self.api.weights), default=0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(kube_module, "_PAUSES", (0.0, 0.0))
    one = World()
    yield one
    one.prometheus.shutdown()
    one.prometheus.server_close()


def test_rollout_by_an_honest_prometheus_is_promoted(world: World):
    world.second()
    assert world.until("Succeeded")["stable"] == TWO[:12]


@pytest.mark.parametrize(
    ("mode", "word"), [("gone", "Prometheus"), ("empty", "Prometheus has nothing of"), ("nan", "lies about"), ("stale", "since 600 s")]
)
def test_prometheus_that_fails_mid_canary_promotes_nothing_and_the_reason_is_readable(world: World, mode: str, word: str):
    world.second()
    world.until("Step", stage="collect")
    world.prometheus.mode = mode
    world.look()
    assert "cannot be measured" in world.status["message"] and word in world.status["message"]
    status = world.until("RolledBack")
    assert "could not be measured" in status["message"] and word in status["message"]
    assert world.candidate_share() == 20


def test_prometheus_that_comes_back_before_the_deadline_only_delays(world: World):
    world.second()
    world.until("Step", stage="collect")
    world.prometheus.mode = "gone"
    for _ in range(30):
        world.look()
    assert world.status["phase"] == "Step"
    world.prometheus.mode = "fine"
    assert world.until("Succeeded")["stable"] == TWO[:12]


@pytest.mark.parametrize(("errors", "phase"), [(0.0, "Succeeded"), (0.2, "RolledBack")])
def test_counters_that_start_over_mid_canary_neither_hide_errors_nor_make_any(world: World, errors: float, phase: str):
    world.api.behaviour[TWO[:12]] = {"errors": errors}
    world.second()
    world.until("Step", stage="collect")
    world.prometheus.start_over()
    assert world.until("Succeeded", "RolledBack")["phase"] == phase


@pytest.mark.parametrize(("better", "phase"), [(0.2, "Succeeded"), (-0.1, "RolledBack")])
def test_ab_switches_to_the_winner_by_its_outcome_and_shows_the_interval(world: World, better: float, phase: str):
    rates = {ONE[:12]: 0.15, TWO[:12]: 0.15 + better}

    def outcomes(version: str) -> tuple[float, float]:
        answered = next((c["requests"] for pod, c in world.api.counts.items() if pod.startswith(f"m-{version[:8]}")), 0.0)
        return answered // 2, round(answered // 2 * rates[version])

    world.prometheus.outcomes = outcomes
    queries = {"outcomes": 'business_outcomes{version="$(VERSION)"}', "sum": 'business_sum{version="$(VERSION)"}'}
    prometheus = {"url": world.url}
    world.second(
        strategy={"kind": "AB", "steps": [50]},
        analysis={"prometheus": prometheus, "business": {"queries": queries, "minimumOutcomes": 100}},
    )
    status = world.until("Succeeded", "RolledBack")
    assert status["phase"] == phase
    verdict = next(h for h in reversed(status["history"]) if h["kind"] == "verdict")
    shown = next(c for c in verdict["checks"] if c["metric"] == "business")
    assert shown["low"] < better < shown["high"] and (shown["low"] > 0) == (better > 0)
    assert shown["unit"] == "users" and shown["groups"] == [32, 32] and shown["known"] == [1.0, 1.0]
    assert f"between {shown['low']:+.4g} and {shown['high']:+.4g} better" in shown["reason"]


def test_metrics_of_the_controller_name_phase_weight_and_why_it_decided(world: World):
    world.api.behaviour[TWO[:12]] = {"errors": 0.3}
    world.second()
    world.until("Step", stage="collect")
    world.look()
    page = generate_latest(world.controller.metrics.registry).decode()
    assert 'sluice_rollout_phase{name="m",namespace="ns",phase="Step"} 1.0' in page
    assert 'sluice_rollout_weight{arm="candidate",name="m",namespace="ns"} 20.0' in page
    world.until("RolledBack")
    world.look()
    page = generate_latest(world.controller.metrics.registry).decode()
    assert 'sluice_rollout_decisions_total{decision="RolledBack",reason="errors"} 1.0' in page
    assert 'phase="Step"' not in page
    world.api.remove(PATH)
    world.look()
    assert 'name="m"' not in generate_latest(world.controller.metrics.registry).decode()


@pytest.mark.parametrize(
    "named",
    [
        "http://169.254.169.254/latest",
        "http://127.0.0.1:1.evil.example/",
        "http://127.0.0.1:12/",
        "http://u@127.0.0.1:1",
        "https://127.0.0.1:1",
    ],
)
def test_a_prometheus_that_the_operator_did_not_name_is_never_asked(world: World, named: str):
    world.apply(ONE, analysis={"prometheus": {"url": named}})
    world.look()
    assert (
        "may ask" in world.status["message"]
        and "controller.prometheus" in world.status["message"]
        and world.status.get("phase") != "Succeeded"
    )


def test_an_address_is_allowed_with_what_lies_below_it_and_nothing_beside():
    many = ("http://prometheus.monitoring:9090", "https://mimir.example/prometheus/")
    for good in (
        "http://prometheus.monitoring:9090/",
        "http://prometheus.monitoring:9090/sub",
        "https://mimir.example/prometheus",
        "https://mimir.example:443/prometheus/a",
    ):
        assert allowed(good, many), good
    for bad in (
        "http://prometheus.monitoring",
        "http://prometheus.monitoring.evil:9090",
        "https://mimir.example/prometheus2",
        "https://mimir.example/",
        "https://mimir.example/prometheus/../admin",
        "https://mimir.example/prometheus?x=1",
        "ftp://prometheus.monitoring:9090",
        "http://[::1",
        "http://a:99999",
    ):
        assert not allowed(bad, many), bad


@pytest.mark.parametrize(
    ("noted", "port"), [("9464", 9464), ("0", 8080), ("65536", 8080), ("\u00b2", 8080), ("80 ", 8080), ("-1", 8080), ("99999999999", 8080)]
)
def test_a_pods_annotation_names_a_port_or_nothing(noted: str, port: int):
    pod = {
        "metadata": {"annotations": {"prometheus.io/port": noted}},
        "spec": {"containers": [{"name": "kserve-container", "ports": [{"containerPort": 8080}]}]},
    }
    assert port_of(pod) == port
