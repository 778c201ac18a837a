"""The hand-over to the rollout controller, which is the real one, on an API server in memory."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.controller.kube import connect
from serving.controller.rollouts import resource
from serving.controller.rollouts.evidence import Pods
from serving.controller.rollouts.reconcile import Rollouts
from sluice.core import files
from sluice.core.errors import DeadlineError, ProjectError, SluiceError
from sluice.kube.client import Kube
from sluice.kube.objects import Objects
from sluice.rollouts.handover import hand_over
from sluice.rollouts.local import RolloutResult
from sluice.rollouts.manifest import Target, manifest, plan_of, target
from sluice.rollouts.spec import RolloutSpec
from sluice.steps.step import STEPS

_spec = importlib.util.spec_from_file_location("handover_memory_api", Path(__file__).with_name("memory_api.py"))
assert _spec and _spec.loader
memory = importlib.util.module_from_spec(_spec)
sys.modules["handover_memory_api"] = memory
_spec.loader.exec_module(memory)

ONE, TWO = "1" * 64, "2" * 64
WHERE = Target("ns", "gateways/main", "models.example.org")
PATH = "/apis/sluice.dev/v1alpha1/namespaces/ns/modelrollouts/m"
PACE: dict[str, Any] = {
    "steps": [20, 50],
    "settle_seconds": 1,
    "warmup_seconds": 1,
    "verify_seconds": 2,
    "keep_seconds": 5,
    "step_deadline_seconds": 300,
    "ready_seconds": 60,
    "shadow": {"requests": 100},
}


def whole(value: Any) -> Any:
    """Floats without a fraction come back from an API server as whole numbers, however large."""
    if isinstance(value, dict):
        return {k: whole(v) for k, v in value.items()}
    if isinstance(value, list):
        return [whole(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class WholeNumbers:
    """The API server in memory, with numbers as a real one gives them back."""

    def __init__(self, api: Any):
        self.api = api

    def call_api(self, *args: Any, **kwargs: Any) -> Any:
        answer = self.api.call_api(*args, **kwargs)
        return memory.Answer(whole(json.loads(answer.data)))


class Cluster:
    """An API server and the controller; its time passes when the step waits."""

    def __init__(self) -> None:
        self.api = memory.MemoryApi()
        kube = connect(self.api)
        self.controller: Rollouts | None = Rollouts(kube, Pods(kube, proxied=True), clock=lambda: self.api.now)
        self.events: list[dict[str, Any]] = []

    def sleep(self, seconds: float) -> None:
        self.api.pass_time(seconds)
        if self.controller is not None and PATH in self.api.objects:
            self.controller.reconcile("ns", "m")

    def hand_over(self, digest: str, **plan: Any) -> RolloutResult:
        return hand_over(
            "m",
            digest,
            f"s3://models/sha256/{digest}",
            RolloutSpec(**{**PACE, **plan}),
            WHERE,
            on_event=self.events.append,
            objects=Objects(Kube(client=WholeNumbers(self.api))),
            poll=1.0,
            clock=lambda: self.api.now,
            sleep=self.sleep,
        )


def test_a_first_model_serves_and_the_next_one_is_promoted_by_evidence() -> None:
    cluster = Cluster()
    assert cluster.hand_over(ONE).outcome == "promoted"
    result = cluster.hand_over(TWO)
    assert result.outcome == "promoted"
    assert [e["phase"] for e in cluster.events if e["phase"] == "Succeeded"] == ["Succeeded", "Succeeded"]
    assert {at["weight"] for at in result.evidence["timeline"]} >= {0, 20, 50, 100}
    assert result.evidence["timeline"][-1]["weight"] == 100
    files.canonical_json(result.evidence)
    drawn = STEPS.get("rollout")().section(result.evidence)
    assert "Evidence in the last step" in drawn
    assert "Tests at the last judgement" in drawn


def test_evidence_beyond_64_bits_can_be_written_down() -> None:
    """An e-value of a long rollout, as an API server gives it back."""
    cluster = Cluster()
    cluster.hand_over(ONE)
    cluster.api.objects[PATH]["status"]["checks"] = [{"metric": "errors", "e_within": 10**99}]
    result = cluster.hand_over(ONE)
    assert result.evidence["timeline"][-1]["tests"][0]["e_within"] == 1e99
    files.canonical_json(result.evidence)


def test_a_bad_model_is_rolled_back_with_its_reason_and_not_tried_again() -> None:
    cluster = Cluster()
    cluster.hand_over(ONE)
    cluster.api.behaviour[TWO[:12]] = {"errors": 0.3}
    first = cluster.hand_over(TWO)
    assert first.outcome == "rolled_back"
    assert "errors" in " ".join(first.reasons)
    before = len(cluster.api.weights)
    again = cluster.hand_over(TWO)
    assert (again.outcome, again.reasons) == ("rolled_back", first.reasons)
    assert len(cluster.api.weights) == before


def test_a_digest_that_serves_already_is_promoted_at_once() -> None:
    cluster = Cluster()
    cluster.hand_over(ONE)
    cluster.controller = None
    assert cluster.hand_over(ONE).outcome == "promoted"


def test_what_the_platform_set_is_kept_when_a_run_changes_the_model() -> None:
    cluster = Cluster()
    cluster.hand_over(ONE)
    spec = cluster.api.objects[PATH]["spec"]
    spec["traffic"]["hostname"] = "own.example.org"
    spec["serving"]["predictor"]["maxReplicas"] = 7
    cluster.hand_over(TWO, minimum_requests=50)
    spec = cluster.api.objects[PATH]["spec"]
    assert (spec["traffic"]["hostname"], spec["serving"]["predictor"]["maxReplicas"]) == ("own.example.org", 7)
    assert (spec["model"]["digest"], spec["strategy"]["minimumRequests"]) == (TWO, 50)


def test_a_newer_model_handed_over_meanwhile_ends_the_wait() -> None:
    cluster = Cluster()
    cluster.hand_over(ONE)

    def meanwhile(method: str, path: str) -> None:
        if method == "PATCH" and path == PATH:
            cluster.api.after = lambda *_: None
            cluster.api.objects[PATH]["spec"]["model"]["digest"] = "3" * 64

    cluster.api.after = meanwhile
    result = cluster.hand_over(TWO)
    assert result.outcome == "rolled_back"
    assert "superseded" in result.reasons[0]


def test_no_controller_is_an_error_that_says_so() -> None:
    cluster = Cluster()
    cluster.controller = None
    with pytest.raises(DeadlineError, match="no controller"):
        cluster.hand_over(ONE)


def test_an_api_server_that_is_away_for_a_while_is_waited_for() -> None:
    cluster = Cluster()
    cluster.hand_over(ONE)
    down = [0]

    def fault(method: str, path: str) -> None:
        if method == "GET" and path == PATH and 3 < down[0] < 40:
            down[0] += 1
            raise memory.error(503)
        down[0] += 1

    cluster.api.fault = fault
    cluster.controller, controller = None, cluster.controller
    original = cluster.sleep

    def sleep(seconds: float) -> None:
        original(seconds)
        if down[0] >= 40:
            cluster.controller = controller

    cluster.sleep = sleep  # type: ignore[method-assign]
    assert cluster.hand_over(TWO).outcome == "promoted"
    assert down[0] >= 40


@pytest.mark.parametrize(("status", "word"), [(403, "sluice-pipeline"), (422, "422")])
def test_a_refusal_of_the_api_server_is_no_wait(status: int, word: str) -> None:
    cluster = Cluster()

    def fault(method: str, path: str) -> None:
        if method == "POST":
            raise memory.error(status)

    cluster.api.fault = fault
    with pytest.raises(SluiceError, match=word):
        cluster.hand_over(ONE)


def test_a_deleted_resource_ends_the_wait() -> None:
    cluster = Cluster()
    cluster.controller = None
    cluster.sleep = lambda seconds: cluster.api.objects.pop(PATH, None)  # type: ignore[assignment, method-assign, misc]
    with pytest.raises(SluiceError, match="deleted"):
        cluster.hand_over(ONE)


def test_a_plan_reaches_the_controller_as_the_project_file_has_it() -> None:
    plan = RolloutSpec(
        steps=[5, 25],
        minimum_requests=77,
        latency_slo_ms=150,
        slow=None,
        errors={"tolerance": 0.01, "margin": 0.03},
        shadow={"requests": 10},
        on_deadline="pause",
        restarts=2,
    )
    raw = manifest("m", ONE, "s3://b/sha256/x", plan, WHERE)
    raw["metadata"]["uid"] = "u"
    read = resource.read(raw).plan
    for name in ("steps", "minimum_requests", "latency_slo_ms", "slow", "errors", "on_deadline", "restarts"):
        assert getattr(read, name) == getattr(plan, name)
    assert read.shadow.requests == 10


def test_every_field_of_a_plan_has_a_place_in_the_resource() -> None:
    """A field added to `rollout:` must not be lost on the way."""
    local_only = {"replay", "business", "dry_run"}
    values = {name: getattr(RolloutSpec(), name) for name in RolloutSpec.model_fields if name not in local_only}
    strategy, analysis = plan_of(RolloutSpec(**values))
    assert len(strategy) + len(analysis) == len(values)


def test_what_a_project_leaves_open_is_left_to_the_controller() -> None:
    assert plan_of(RolloutSpec()) == ({}, {})


@pytest.mark.parametrize(
    ("name", "uri", "plan", "field"),
    [
        ("m" * 41, "s3://b/x", {}, "name"),
        ("m", "/store/sha256/x", {}, "SLUICE_STORE"),
        ("m", "s3://b/x", {"business": {}}, "rollout.business"),
    ],
)
def test_what_cannot_be_rolled_out_there_is_named(name: str, uri: str, plan: dict[str, Any], field: str) -> None:
    with pytest.raises(ProjectError) as e:
        manifest(name, ONE, uri, RolloutSpec(**plan), WHERE)
    assert e.value.field == field


def test_the_environment_is_read_from_the_step() -> None:
    assert target({}) is None
    assert target({"SLUICE_NAMESPACE": "production", "SLUICE_GATEWAY": "edge/public", "SLUICE_DOMAIN": "ml.example.org"}) == Target(
        "production", "edge/public", "ml.example.org"
    )


def test_the_wait_for_the_registry_is_short_and_says_what_the_controller_says() -> None:
    cluster = Cluster()
    assert cluster.hand_over(ONE).evidence["registry"] is None, "this controller follows none"
    told = {"type": "Registered", "status": "Unknown", "reason": "NotYet", "message": "the registry is being told"}
    cluster.api.objects[PATH]["status"]["conditions"].append(told)
    sleep, slept = cluster.sleep, []

    def answer(seconds: float) -> None:
        slept.append(seconds)
        sleep(seconds)
        if len(slept) == 3:
            told.update(status="True", reason="ChampionServes", message="m version 1 is champion")

    cluster.controller, cluster.sleep = None, answer  # type: ignore[method-assign]
    found = cluster.hand_over(ONE)
    assert found.evidence["registry"] == {"agrees": True, "message": "m version 1 is champion"} and len(slept) == 3
    assert found.evidence["unchanged"]
    told.update(status="False", reason="RegistryAway", message="no answer")
    slept[:] = [0.0] * 10
    assert cluster.hand_over(ONE).evidence["registry"] == {"agrees": None, "message": "no answer"} and len(slept) == 70


def test_a_run_waits_for_traffic_as_long_as_for_a_step_and_leaves_the_rollout_going() -> None:
    cluster = Cluster()
    cluster.hand_over(ONE)
    busy, cluster.api.rate = cluster.api.rate, 0.0
    began = cluster.api.now
    result = cluster.hand_over(TWO)
    assert result.outcome == "rolled_back" and cluster.api.now - began < 1200
    assert "no traffic" in result.reasons[0] and "goes on by itself" in result.reasons[-1]
    status = cluster.api.objects[PATH]["status"]
    assert (status["phase"], status["state"]["stable"], list(status["state"]["rejected"])) == ("Paused", ONE, [])
    cluster.api.rate = busy
    while cluster.api.objects[PATH]["status"]["phase"] != "Succeeded" and cluster.api.now - began < 3000:
        cluster.sleep(1.0)
    assert cluster.api.objects[PATH]["status"]["state"]["stable"] == TWO
