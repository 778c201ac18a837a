"""The controller against an API server in memory that conflicts, refuses, forgets to answer, and outlives it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.controller import kube as kube_module
from serving.controller.kube import connect
from serving.controller.rollouts import resource
from serving.controller.rollouts.evidence import Pods
from serving.controller.rollouts.reconcile import IDLE, Rollouts
from sluice.kube.client import KubeFault

_spec = importlib.util.spec_from_file_location("rollout_memory_api", Path(__file__).with_name("memory_api.py"))
assert _spec and _spec.loader
memory = importlib.util.module_from_spec(_spec)
sys.modules["rollout_memory_api"] = memory
_spec.loader.exec_module(memory)

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)
PATH = "/apis/sluice.dev/v1alpha1/namespaces/ns/modelrollouts/m"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "_PAUSES", (0.0, 0.0))


def rollout(digest: str, **spec: Any) -> dict[str, Any]:
    strategy = {
        "steps": [20, 50],
        "shadow": {"requests": 100},
        "troubleSeconds": 2,
        "settleSeconds": 1,
        "warmupSeconds": 1,
        "verifySeconds": 2,
        "keepSeconds": 5,
        "stepDeadlineSeconds": 300,
        "readySeconds": 60,
    } | spec.pop("strategy", {})
    return {
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "ModelRollout",
        "metadata": {"name": "m", "namespace": "ns"},
        "spec": {
            "model": {"uri": f"s3://models/{digest[:8]}", "digest": digest},
            "strategy": strategy,
            "traffic": {"backend": "Gateway", "gateway": {"name": "g"}, "hostname": "m.example.com"},
            **spec,
        },
    }


class Cluster:
    """An API server and a controller that can be replaced at any time."""

    def __init__(self, seed: int = 1):
        self.api = memory.MemoryApi(seed=seed)
        self.replace_controller()

    def replace_controller(self) -> None:
        kube = connect(self.api)
        self.controller = Rollouts(kube, Pods(kube, proxied=True), clock=lambda: self.api.now)

    def apply(self, digest: str, **spec: Any) -> None:
        old = self.api.objects.get(PATH)
        new = rollout(digest, **spec)
        if old is not None:
            new = {**old, "spec": new["spec"]}
        self.api.put(PATH, new)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.objects[PATH].get("status") or {}
        return found

    def look(self) -> float | None:
        self.api.pass_time(1.0)
        return self.controller.reconcile("ns", "m")

    def until(self, *phases: str, looks: int = 600) -> dict[str, Any]:
        for _ in range(looks):
            if self.status.get("phase") in phases:
                return self.status
            try:
                self.look()
            except KubeFault:
                continue
        raise AssertionError(f"{self.status.get('phase')}, not {phases}: {self.status.get('message')}")

    def served(self) -> dict[str, int]:
        route = self.api.objects["/apis/gateway.networking.k8s.io/v1/namespaces/ns/httproutes/m"]
        return {r["name"]: r["weight"] for r in route["spec"]["rules"][0]["backendRefs"]}

    def services(self) -> set[str]:
        return {o["metadata"]["name"] for o in self.api.objects.values() if o["kind"] == "InferenceService"}


def second(c: Cluster, digest: str = TWO, **spec: Any) -> None:
    c.apply(ONE)
    c.until("Succeeded")
    c.apply(digest, **spec)
    c.look()


def test_two_models_one_after_the_other_take_all_traffic():
    c = Cluster()
    second(c)
    status = c.until("Succeeded")
    for _ in range(12):
        after = c.look()
    assert after == IDLE
    assert (status["stable"], status["verdict"]) == (TWO[:12], "")
    assert c.served() == {"m-22222222-predictor": 100}
    assert c.services() == {"m-22222222"}
    shares = [w.get("m-22222222-predictor", 0) for w in c.api.weights]
    assert sorted(set(shares)) == [0, 20, 50, 95, 100]
    assert set(c.status["models"]) == {ONE, TWO}, "the one before may still have to be registered"


@pytest.mark.parametrize(("behaviour", "word"), [({"errors": 0.2}, "errors"), ({"slow": 0.4}, "slow answers")])
def test_worse_model_is_rolled_back_removed_and_remembered(behaviour: dict[str, float], word: str):
    c = Cluster()
    c.api.behaviour[TWO[:12]] = behaviour
    second(c)
    status = c.until("RolledBack")
    assert word in status["message"]
    for _ in range(5):
        c.look()
    assert c.services() == {"m-11111111"}
    assert c.served() == {"m-11111111-predictor": 100}
    assert {x["type"]: x["status"] for x in c.status["conditions"]} == {"Accepted": "True", "Progressing": "False", "Succeeded": "False"}
    said = c.status["history"]
    assert any(h["checks"] for h in said) and [h["sequence"] for h in said] == sorted({h["sequence"] for h in said})


def test_model_whose_container_crash_loops_is_rolled_back_with_what_kubernetes_says():
    c = Cluster()
    c.api.crashed.add(TWO[:12])
    second(c)
    assert "CrashLoopBackOff, last ended by OOMKilled with status 137" in c.until("RolledBack")["message"]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.02, 0.3), st.booleans())
def test_api_server_that_conflicts_refuses_and_does_not_answer_only_delays(seed: int, share: float, good: bool):
    c = Cluster(seed)
    kube_module._PAUSES = (0.0, 0.0)
    c.api.behaviour[TWO[:12]] = {} if good else {"errors": 0.3}
    c.apply(ONE)
    c.until("Succeeded")
    c.api.fault = memory.now_and_then(share, seed)
    c.apply(TWO)
    for _ in range(3):
        try:
            c.look()
        except KubeFault:
            continue
    while c.status["state"]["candidate"] is None and c.status["state"]["phase"] == "Succeeded" and c.status["state"]["stable"] == ONE:
        try:
            c.look()
        except KubeFault:
            continue
    c.until("Succeeded" if good else "RolledBack", looks=3000)
    assert c.served() == {f"m-{(TWO if good else ONE)[:8]}-predictor": 100}


class Killed(BaseException):
    """Stands for SIGKILL."""


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 25), st.booleans()), max_size=10), st.booleans())
def test_controller_killed_around_any_write_goes_on_and_no_decision_is_made_twice(kills: list[tuple[int, bool]], good: bool):
    c = Cluster()
    c.api.behaviour[TWO[:12]] = {} if good else {"errors": 0.3}
    c.apply(ONE)
    c.until("Succeeded")
    c.apply(TWO)
    plan, left = list(kills), [0]

    def count(before: bool) -> Any:
        def strike(method: str, path: str) -> None:
            if method == "GET" or not plan or plan[0][1] != before:
                return
            left[0] += 1
            if left[0] >= plan[0][0]:
                plan.pop(0)
                left[0] = 0
                raise Killed

        return strike

    c.api.fault, c.api.after = count(True), count(False)
    end = "Succeeded" if good else "RolledBack"
    for _ in range(1500):
        try:
            c.look()
        except Killed:
            c.replace_controller()
        state = c.status["state"]
        if state["phase"] == end and (state["stable"] == TWO) == good and not state["candidate"]:
            break
    assert c.status["phase"] == end
    for _ in range(10):
        try:
            c.look()
        except Killed:
            c.replace_controller()
    assert c.served() == {f"m-{(TWO if good else ONE)[:8]}-predictor": 100}
    history = c.status["history"]
    assert [h["sequence"] for h in history] == list(range(history[0]["sequence"], history[0]["sequence"] + len(history)))
    assert len([h for h in history if h["message"].startswith("step 1 of 2:")]) <= 1
    shares = [w.get("m-22222222-predictor", 0) for w in c.api.weights]
    assert not good or shares == sorted(shares)


def test_two_controllers_at_once_decide_once():
    c = Cluster()
    second(c)
    other = connect(c.api)
    rival = Rollouts(other, Pods(other, proxied=True), clock=lambda: c.api.now)
    real = c.controller.kube.replace_status

    def overtaken(obj: dict[str, Any]) -> dict[str, Any]:
        c.controller.kube.replace_status = real  # type: ignore[method-assign]
        rival.reconcile("ns", "m")
        return real(obj)

    before = c.status["state"]["sequence"]
    while c.status["phase"] == "Pending" or c.status["state"]["sequence"] == before:
        c.controller.kube.replace_status = overtaken  # type: ignore[method-assign]
        c.look()
    c.controller.kube.replace_status = real  # type: ignore[method-assign]
    c.until("Succeeded")
    history = c.status["history"]
    assert [h["sequence"] for h in history] == list(range(1, len(history) + 1))


def test_replica_that_lost_the_lease_writes_nothing():
    c = Cluster()
    c.apply(ONE)
    c.controller.may_act = lambda: False
    for _ in range(5):
        c.look()
    assert {m for m, _ in c.api.calls} == {"GET"}
    assert c.status == {}


def test_deleted_mid_canary_leaves_stable_serving_and_owned_by_nobody():
    c = Cluster()
    second(c, strategy={"minimumRequests": 10**6})
    c.until("Step")
    c.api.remove(PATH)
    c.look()
    assert PATH not in c.api.objects
    assert c.services() == {"m-11111111"}
    assert c.served() == {"m-11111111-predictor": 100}
    assert not any(o["metadata"].get("ownerReferences") for o in c.api.objects.values())


def test_restored_without_its_status_it_takes_what_serves_as_stable():
    c = Cluster()
    second(c)
    c.until("Succeeded")
    for _ in range(10):
        c.look()
    del c.api.objects[PATH]["status"]
    c.look()
    assert (c.status["stable"], c.status["phase"]) == (TWO[:12], "Succeeded")
    assert c.served() == {"m-22222222-predictor": 100}


def test_unusable_spec_is_said_so_once_and_changes_nothing():
    c = Cluster()
    c.apply(ONE)
    c.until("Succeeded")
    c.apply(TWO, strategy={"steps": [50, 10]})
    assert c.look() is None
    accepted = next(x for x in c.status["conditions"] if x["type"] == "Accepted")
    assert accepted["status"] == "False" and "rising" in accepted["message"]
    calls = len(c.api.calls)
    c.look()
    assert len(c.api.calls) == calls + 1
    assert c.served() == {"m-11111111-predictor": 100}
    c.apply(TWO)
    c.look()
    assert c.until("Succeeded")["conditions"][0]["status"] == "True"


def test_command_in_the_annotation_acts_once():
    c = Cluster()
    second(c, strategy={"minimumRequests": 10**6})
    c.until("Step")
    c.api.objects[PATH]["metadata"]["annotations"] = {resource.COMMAND: "pause#1"}
    c.look()
    assert c.status["phase"] == "Paused"
    sequence = c.status["state"]["sequence"]
    c.look()
    assert c.status["state"]["sequence"] == sequence
    c.api.objects[PATH]["metadata"]["annotations"] = {resource.COMMAND: "abort"}
    c.until("RolledBack")


def test_idle_rollout_costs_less_than_one_call_a_minute():
    c = Cluster()
    c.apply(ONE)
    c.until("Succeeded")
    for _ in range(10):
        c.look()
    before = len(c.api.calls)
    assert c.look() == IDLE
    # Scrapes through the API server are counted too, though a controller inside the cluster makes none.
    assert (len(c.api.calls) - before) / (IDLE / 60) <= 1.0
